"""What a comparison of two answers came to: the same, different, or undecided."""

from dataclasses import dataclass

from distill.verify.units import Unit


@dataclass(frozen=True, slots=True)
class Finding:
    """What a comparison came to.

    Attributes:
        is_same: ``None`` if undecided.
        missing: A unit that stands on one side only, where all else is the same.
        note: Why it is undecided, if there is a reason.
    """

    is_same: bool | None
    missing: Unit | None = None
    note: str = ""


SAME, DIFFERENT, UNDECIDED = Finding(True), Finding(False), Finding(None)
TOO_LARGE = Finding(None, note="too large to tell apart")
