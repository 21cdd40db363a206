"""Training by processes that torchrun, accelerate or Slurm has started, on one machine or several.

Each of them is a whole ``distill train``. The first does everything that the command does; the
others wait until it has something to train, take part in that, and end.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from distill.errors import StageError
from distill.train_sections import TrainSection
from distill.types import Progress
from engine.launched import Launched
from engine.meeting import Meeting
from students.durable import whole_folder
from students.order import TrainOrder, carry_out, read_order, write_order
from students.parallel import Ranks
from students.prepared import Trained
from students.train_report import TrainReport

ORDER = "train"
_ORDER_FOLDER = "order"


def train_launched(
    examples: Iterable[Trained] | Mapping[str, Iterable[Trained]],
    base: Path,
    section: TrainSection,
    out_dir: Path,
    checkpoint_dir: Path,
    *,
    launched: Launched,
    seed: int,
    on_progress: Callable[[Progress], None],
    history_path: Path | None = None,
) -> TrainReport:
    """``students.sft.train`` by all launched processes; the first one makes this call.

    Raises:
        StageError: If another process is gone or stopped.
        DistillError: What training itself raises.
    """
    Ranks(0, launched.meeting.size).turns(section.batch_tokens // section.seq_len)
    order = TrainOrder(base, section, out_dir, checkpoint_dir, seed, history_path)
    with whole_folder(checkpoint_dir / _ORDER_FOLDER) as folder:
        write_order(order, examples, folder)
    folder = (checkpoint_dir / _ORDER_FOLDER).absolute()
    return _take_part(folder, launched.order(ORDER, str(folder)), on_progress)


def follow_training(folder: str, meeting: Meeting) -> None:
    """Take part in what the first process trains."""
    _take_part(Path(folder), meeting, lambda _progress: None)


def _take_part(
    folder: Path, meeting: Meeting, on_progress: Callable[[Progress], None]
) -> TrainReport:
    seconds = read_order(folder).section.stall_seconds
    try:
        with meeting.group(seconds):
            return carry_out(folder, Ranks(meeting.rank, meeting.size), on_progress)
    except RuntimeError as error:
        raise StageError(
            f"rank {meeting.rank} of {meeting.size} cannot go on: {str(error).splitlines()[0]}",
            hint="another rank has died, or stopped for longer than train.stall_seconds "
            f"({seconds:g}); its own output says more\n"
            "the same command goes on from the newest checkpoint",
        ) from error
