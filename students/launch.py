"""Training by several processes of this machine: start them, watch them, end them all together.

The process that starts them holds the run's lock, shows the progress and trains nothing. Each of
the others writes what its libraries print into ``rank-N.log`` beside the checkpoints. When one
dies, stops or fails, all are ended, and the error says which one it was and what it said last; the
same command then goes on from the newest checkpoint.
"""

import json
import selectors
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill import errors
from distill.errors import DistillError, StageError
from distill.records import from_record
from distill.storage import make_folder
from distill.train_sections import TrainSection
from distill.types import Progress
from engine.member import Member
from engine.processes import Processes
from engine.watch import Watch
from students.order import TrainOrder, write_order
from students.parallel import Ranks
from students.prepared import Trained
from students.train_report import TrainReport

_LOOK_SECONDS = 0.5
_OTHERS_SECONDS = 3.0  # when one has ended: how long to wait for what the others say of it
_GOES_ON = "the same command goes on from the newest checkpoint"


def train_together(
    examples: Iterable[Trained] | Mapping[str, Iterable[Trained]],
    base: Path,
    section: TrainSection,
    out_dir: Path,
    checkpoint_dir: Path,
    *,
    processes: Processes,
    seed: int,
    on_progress: Callable[[Progress], None],
    history_path: Path | None = None,
) -> TrainReport:
    """``students.sft.train`` by several processes; the arguments are the same.

    Raises:
        StageError: If a process died or stopped.
        DistillError: What training itself raises.
    """
    Ranks(0, processes.count).turns(section.batch_tokens // section.seq_len)
    order = TrainOrder(base, section, out_dir, checkpoint_dir, seed, history_path)
    make_folder(checkpoint_dir)
    with tempfile.TemporaryDirectory(prefix="distill-") as name:
        folder = Path(name)
        write_order(order, examples, folder)
        team = _Team(
            checkpoint_dir, Watch(processes.count, section.stall_seconds, time.monotonic())
        )
        try:
            for rank in range(processes.count):
                team.start(rank, processes, folder)
            return team.wait(on_progress)
        finally:
            team.end()


@dataclass(slots=True)
class _Trainer:
    """A process that trains, and what it has said."""

    member: Member
    unread: bytes = b""
    failure: dict[str, Any] | None = None
    is_done: bool = False

    @property
    def rank(self) -> int:
        """Which one it is."""
        return self.member.rank

    @property
    def has_died(self) -> bool:
        """Whether it ended otherwise than it should."""
        return self.failure is not None or self.member.end is not None


@dataclass(slots=True)
class _Team:
    """All processes of one training."""

    logs: Path
    watch: Watch
    trainers: list[_Trainer] = field(default_factory=list)
    report: dict[str, Any] | None = None

    def start(self, rank: int, processes: Processes, folder: Path) -> None:
        """Start one process."""
        member = Member.start(
            "students.worker",
            rank,
            [folder, folder / "meeting-point", rank, processes.count],
            log=self.logs / f"rank-{rank}.log",
            environment=processes.environment(rank),
        )
        member.line.setblocking(False)
        self.trainers.append(_Trainer(member))

    def wait(self, on_progress: Callable[[Progress], None]) -> TrainReport:
        """Until all are done, or one is not well."""
        with selectors.DefaultSelector() as lines:
            for trainer in self.trainers:
                lines.register(trainer.member.line, selectors.EVENT_READ, trainer)
            while not all(trainer.is_done for trainer in self.trainers):
                self._listen(lines, _LOOK_SECONDS, on_progress)
                if any(trainer.has_died for trainer in self.trainers):
                    self._hear_others(lines, on_progress)
                    raise self._death()
                stalled = self.watch.stalled(time.monotonic())
                if stalled is not None:
                    raise self._stall(stalled)
        assert self.report is not None
        return from_record(TrainReport, self.report, "the report of rank 0")

    def end(self) -> None:
        """End whoever is left, stopped ones too; a kill loses nothing since the last checkpoint."""
        for trainer in self.trainers:
            trainer.member.kill()
        for trainer in self.trainers:
            trainer.member.bury()

    def _listen(
        self,
        lines: selectors.BaseSelector,
        seconds: float,
        on_progress: Callable[[Progress], None],
    ) -> None:
        for key, _ in lines.select(seconds):
            trainer: _Trainer = key.data
            line = trainer.member.line
            try:
                received = line.recv(1 << 16)
            except OSError:
                received = b""
            if not received:
                lines.unregister(line)
                trainer.member.process.wait()
                continue
            *whole, trainer.unread = (trainer.unread + received).split(b"\n")
            for message in whole:
                self._take(trainer, json.loads(message), on_progress)

    def _take(
        self, trainer: _Trainer, message: dict[str, Any], on_progress: Callable[[Progress], None]
    ) -> None:
        ((kind, value),) = message.items()
        if kind == "alive":
            self.watch.hear(trainer.rank, value, time.monotonic())
        elif kind == "progress":
            progress = from_record(Progress, value, "progress")
            self.watch.hear(trainer.rank, progress.done, time.monotonic())
            on_progress(progress)
        elif kind == "failed":
            trainer.failure = value
        elif kind == "done":
            trainer.is_done = True
            self.report = value or self.report

    def _hear_others(
        self, lines: selectors.BaseSelector, on_progress: Callable[[Progress], None]
    ) -> None:
        """The death of one is the failure of the others; hear them to know who was first."""
        until = time.monotonic() + _OTHERS_SECONDS
        while time.monotonic() < until and lines.get_map():
            self._listen(lines, _LOOK_SECONDS, on_progress)

    def _death(self) -> DistillError:
        """What ended the training: an error with a name, else a kill, else the first to fail."""
        dead = [trainer for trainer in self.trainers if trainer.has_died]
        first = min(dead, key=_order_of_blame)
        failure = first.failure
        if failure is not None and failure["error"] is not None:
            kind = getattr(errors, failure["error"])
            error: DistillError = kind(failure["problem"], hint=failure["hint"])
            return error
        how = (first.member.end if failure is None else None) or "failed"
        return StageError(
            f"rank {first.rank} of {len(self.trainers)} {how} after step {self.watch.step}",
            hint=f"{_GOES_ON}\n{first.member.last_words()}".rstrip(),
        )

    def _stall(self, what: str) -> StageError:
        return StageError(
            f"training has stopped: {what}",
            hint=f"{_GOES_ON}; if it was only slow, raise train.stall_seconds "
            f"(now {self.watch.seconds:g})",
        )


def _order_of_blame(trainer: _Trainer) -> tuple[int, float]:
    failure = trainer.failure
    if failure is not None:
        return (0 if failure["error"] is not None else 2), failure["at"]
    return (3 if trainer.member.end == "failed" else 1), 0.0
