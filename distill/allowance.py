"""``Allowance``: whoever says whether more may be asked for, and the two ways to say no."""

from dataclasses import dataclass
from typing import Protocol

from distill.types import Usage


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now, such as before the off-peak hours: ask again after so many seconds."""

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Not in this run any more: a limit is reached."""

    why: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What a user allows; ``None`` sets no limit.

    Attributes:
        usd: Money, what earlier tries spent included.
        tokens: Tokens read and written, those of earlier tries included.
        deadline: Seconds since the epoch after which nothing is asked for.
        off_peak_only: Whether to wait while the endpoint charges its peak price.
    """

    usd: float | None = None
    tokens: int | None = None
    deadline: float | None = None
    off_peak_only: bool = False


class Allowance(Protocol):
    """What a run may spend."""

    def refusal(self, *, in_flight: int) -> Wait | Stop | None:
        """Why no request may be sent now; ``None`` if one may.

        Args:
            in_flight: Requests that were sent and whose cost is not known yet.
        """
        ...

    def room(self, *, in_flight: int) -> int | None:
        """Requests that may be sent beside those in flight; ``None`` if nothing says how many."""
        ...

    def add(self, usage: Usage, usd: float | None, *, unanswered: int = 0) -> None:
        """Count what a stored sample cost, those of earlier tries included.

        Args:
            usage: Its tokens.
            usd: Money; ``None`` if that is not known.
            unanswered: Further attempts for it that may have been billed.
        """
        ...
