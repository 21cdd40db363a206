"""What the stages share: the open run that they work on, and what each leaves to be recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.progress import Report
from distill.allowance import Limits
from distill.recipe import Recipe
from distill.rundir import RunDir, StageRun

if TYPE_CHECKING:
    from engine.launched import Launched
    from engine.processes import Processes


@dataclass(frozen=True, slots=True)
class Job:
    """One open run, whom to tell how it goes, and what sampling may cost.

    Attributes:
        run: The run folder.
        report: Called with the progress.
        limits: What may be spent; ``None`` for no limit.
        pilot: Sample so many prompts only; ``None`` for all.
        reuse: Folder of a run whose answers are taken over; ``None`` for none.
        processes: Who trains; ``None`` for this process alone.
        on: Where workers are; ``None`` for this process alone.
        workers: How many of them; ``None`` for as many as fit.
    """

    run: RunDir
    report: Report
    limits: Limits | None = None
    pilot: int | None = None
    reuse: Path | None = None
    processes: "Processes | Launched | None" = None
    on: str | None = None
    workers: int | None = None

    @property
    def launched(self) -> "Launched | None":
        """The processes that a launcher has started with this one, if it did."""
        from engine.processes import Processes

        return None if isinstance(self.processes, Processes) else self.processes

    @property
    def recipe(self) -> Recipe:
        """What is run."""
        return self.run.recipe


@dataclass(frozen=True, slots=True)
class Work:
    """What a stage has done and leaves to be recorded.

    Attributes:
        begun: The stage, as the run folder knows it.
        outputs: Files and folders that it made.
        summary: Its figures.
        is_partial: Whether it was a pilot, which leaves the stage unfinished.
    """

    begun: StageRun
    outputs: Sequence[Path]
    summary: Mapping[str, object]
    is_partial: bool = False
