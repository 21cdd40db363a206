"""Progress of a stage on stderr: a live bar on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cli.console import is_terminal, note
from distill.types import Progress

Report = Callable[[Progress], None]

_LINE_SECONDS = 5.0


@contextmanager
def show_progress() -> Iterator[Report]:
    """Yield what a stage calls with its progress.

    Each ``Progress.stage`` gets a line of its own, in the order of their first report.
    """
    if is_terminal(sys.stderr):
        with _live_bars() as report:
            yield report
    else:
        yield _Lines()


@dataclass(slots=True)
class Pace:
    """How fast a stage goes, from its reports alone.

    Attributes:
        started: When this try began, in seconds of the clock.
    """

    started: float

    def seconds_left(self, progress: Progress, now: float) -> float | None:
        """What remains at the pace so far; ``None`` while there is nothing to judge by."""
        done_now = progress.done - progress.resumed
        if done_now <= 0 or progress.total <= 0:
            return None
        return (now - self.started) / done_now * max(progress.total - progress.done, 0)


def clock(seconds: float | None) -> str:
    """Time left as a clock shows it.

    Example:
        >>> clock(75.2), clock(3700), clock(None)
        ('1:15', '1:01:40', '-:--')
    """
    if seconds is None:
        return "-:--"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def figures_text(progress: Progress) -> str:
    """The figures beside the bar, in one line; a total is left out where its rate is shown."""
    shown = [name for name in progress.figures if f"{name}/s" not in progress.figures]
    return "  ".join(f"{name} {progress.figures[name]}" for name in shown)


@dataclass(slots=True)
class _Lines:
    """Plain lines: the first report, one every few seconds, and the last."""

    paces: dict[str, Pace] = field(default_factory=dict)
    printed: dict[str, float] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        pace = self.paces.setdefault(progress.stage, Pace(now))
        is_last = progress.total > 0 and progress.done >= progress.total
        since = now - self.printed.get(progress.stage, float("-inf"))
        if progress.stage in self.ended or (since < _LINE_SECONDS and not is_last):
            return
        if is_last:
            self.ended.add(progress.stage)
        self.printed[progress.stage] = now
        left = "" if is_last else f"  {clock(pace.seconds_left(progress, now))} left"
        line = f"{progress.stage:<18} {progress.done:,}/{progress.total:,}{left}"
        note(f"  {line}  {figures_text(progress)}".rstrip())


@contextmanager
def _live_bars() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    def whole(least: int) -> Column:
        return Column(no_wrap=True, min_width=least)

    # On a narrow terminal the figures lose their end, and nothing else does.
    bars = Bars(
        TextColumn("  {task.description}", table_column=whole(10)),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[count]:>12}", table_column=whole(15)),
        TextColumn("{task.fields[left]:>7} left", table_column=whole(12)),
        TextColumn("[dim]{task.fields[figures]}[/dim]", table_column=Column(no_wrap=True)),
        console=Console(stderr=True),
        refresh_per_second=4,
        transient=True,
    )
    tasks: dict[str, tuple[TaskID, Pace]] = {}

    def report(progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage not in tasks:
            task = bars.add_task(progress.stage, total=None, count="", left="", figures="")
            tasks[progress.stage] = (task, Pace(now))
        task, pace = tasks[progress.stage]
        bars.update(
            task,
            completed=progress.done,
            total=progress.total or None,
            count=f"{progress.done:,}/{progress.total:,}",
            left=clock(pace.seconds_left(progress, now)),
            figures=figures_text(progress),
        )

    with bars:
        yield report
