"""Training by processes that torchrun, accelerate or Slurm has started, on one machine or several.

Each of them is a whole ``distill train``. The first does everything that the command does; the
others wait until it has something to train, take part in that, and end.

This takes the launcher's variables out of the environment: accelerate, on which transformers'
Trainer stands, would wrap the model in DDP if it saw them.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch import distributed
from torch.distributed.rendezvous import rendezvous

from distill.errors import RecipeError, StageError
from distill.train_sections import TrainSection
from distill.types import Progress
from students.durable import whole_folder
from students.order import TrainOrder, carry_out, read_order, write_order
from students.parallel import Ranks, process_group
from students.prepared import Trained
from students.train_report import TrainReport

_ORDER_FOLDER = "order"
_KEY = "distill/order"
_WAIT = timedelta(hours=1)
_LAUNCHERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")


@dataclass(slots=True)
class Launched:
    """This process among those that a launcher has started.

    Attributes:
        ranks: Which one it is.
        store: What the processes tell each other before they train.
        has_told: Whether the first one has said what is to be done.
    """

    ranks: Ranks
    store: Any  # torch's stubs do not know distributed.Store
    has_told: bool = False

    @classmethod
    def join(cls) -> "Launched":
        """Meet the others.

        Raises:
            RecipeError: If the environment is not whole, or nobody else comes.
        """
        _see_one_gpu()
        try:
            store, rank, size = next(iter(rendezvous("env://")))
        except (ValueError, RuntimeError) as error:
            raise RecipeError(
                f"this process was started as one of several, but cannot meet them: {error}",
                hint="start with torchrun or accelerate launch, or unset WORLD_SIZE and RANK",
            ) from error
        for name in list(os.environ):
            if name in _LAUNCHERS or name.startswith(("ACCELERATE_", "FSDP_")):
                del os.environ[name]
        return cls(Ranks(rank, size), store)

    def train(
        self,
        examples: Iterable[Trained] | Mapping[str, Iterable[Trained]],
        base: Path,
        section: TrainSection,
        out_dir: Path,
        checkpoint_dir: Path,
        *,
        seed: int,
        on_progress: Callable[[Progress], None],
        history_path: Path | None = None,
    ) -> TrainReport:
        """``students.sft.train`` by all of them; the first one makes this call.

        Raises:
            StageError: If another process is gone or stopped.
            DistillError: What training itself raises.
        """
        self.ranks.turns(section.batch_tokens // section.seq_len)
        order = TrainOrder(base, section, out_dir, checkpoint_dir, seed, history_path)
        with whole_folder(checkpoint_dir / _ORDER_FOLDER) as folder:
            write_order(order, examples, folder)
        self._tell(str((checkpoint_dir / _ORDER_FOLDER).absolute()))
        return self._take_part(checkpoint_dir / _ORDER_FOLDER, on_progress)

    def follow(self) -> None:
        """Take part in what the first process trains, if it trains anything."""
        while True:
            with suppress(distributed.DistStoreError):
                self.store.wait([_KEY], _WAIT)
                break
        folder = self.store.get(_KEY).decode()
        if folder:
            self._take_part(Path(folder), lambda _progress: None)

    def release(self) -> None:
        """Let the others go if there was nothing to train."""
        if not self.has_told:
            self._tell("")

    def _tell(self, folder: str) -> None:
        self.store.set(_KEY, folder)
        self.has_told = True

    def _take_part(self, folder: Path, on_progress: Callable[[Progress], None]) -> TrainReport:
        seconds = read_order(folder).section.stall_seconds
        place: dict[str, Any] = {"rank": self.ranks.rank, "world_size": self.ranks.size}
        try:
            with process_group(seconds, store=self.store, **place):
                return carry_out(folder, self.ranks, on_progress)
        except RuntimeError as error:
            raise StageError(
                f"rank {self.ranks.rank} of {self.ranks.size} cannot go on: "
                f"{str(error).splitlines()[0]}",
                hint="another rank has died, or stopped for longer than train.stall_seconds "
                f"({seconds:g}); its own output says more\n"
                "the same command goes on from the newest checkpoint",
            ) from error


def _see_one_gpu() -> None:
    """Or the Trainer would copy the model to all that it sees."""
    local = os.environ.get("LOCAL_RANK")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    if local is not None:
        names = visible if visible != [""] else [str(number) for number in range(int(local) + 1)]
        os.environ["CUDA_VISIBLE_DEVICES"] = names[int(local) % len(names)]
