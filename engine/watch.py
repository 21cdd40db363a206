"""``Watch``: which of several processes has stopped, from what each of them says.

Each process says once a second that it lives, and how far it is. One that has stopped stops all
others, because they wait for it in the next exchange; so the one to name is the one
that says nothing any more, or that is behind.

This module knows times and steps, nothing of processes or models; it is told what time it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Life:
    """What is known of one process.

    Attributes:
        heard: When it said something for the last time.
        moved: When it had finished one step more than before.
        step: How many it has finished.
    """

    heard: float
    moved: float
    step: int = 0


@dataclass(slots=True)
class Watch:
    """Processes that work in step.

    Attributes:
        size: How many there are.
        seconds: How long one may be silent, and how long a step may take.
        started: When they were started.
    """

    size: int
    seconds: float
    started: float
    lives: list[Life] = field(init=False)

    def __post_init__(self) -> None:
        self.lives = [Life(self.started, self.started) for _ in range(self.size)]

    def hear(self, rank: int, step: int, now: float) -> None:
        """A process says that it lives and how many steps it has finished."""
        life = self.lives[rank]
        life.heard = now
        if step != life.step:
            life.step, life.moved = step, now

    def rest(self, now: float) -> None:
        """There is nothing to do just now: nobody is behind."""
        for life in self.lives:
            life.moved = now

    @property
    def step(self) -> int:
        """Steps that are finished, as far as is known."""
        return max(life.step for life in self.lives)

    def silent(self, now: float, seconds: float) -> str | None:
        """Who said nothing for so long, in words; ``None`` if everybody did."""
        silent = [rank for rank, life in enumerate(self.lives) if now - life.heard > seconds]
        if not silent:
            return None
        longest = now - min(self.lives[rank].heard for rank in silent)
        return f"{_names(silent)} said nothing for {longest:.0f} s after step {self.step}"

    def stalled(self, now: float) -> str | None:
        """What has stopped, in words; ``None`` if nothing has.

        Before the first step nobody is behind: loading a model takes as long as it takes.
        """
        if (silent := self.silent(now, self.seconds)) is not None:
            return silent
        waited = now - max(life.moved for life in self.lives)
        if self.step == 0 or waited <= self.seconds:
            return None
        least = min(life.step for life in self.lives)
        behind = [rank for rank, life in enumerate(self.lives) if life.step == least]
        who = "no rank" if len(behind) == self.size else _names(behind)
        has = "has" if len(behind) == self.size else "has not"
        return f"{who} {has} finished step {least + 1} in {waited:.0f} s"


def _names(ranks: Sequence[int]) -> str:
    """Of some ranks, such as ``"rank 1"`` or ``"ranks 1, 3"``."""
    return ("rank " if len(ranks) == 1 else "ranks ") + ", ".join(map(str, ranks))
