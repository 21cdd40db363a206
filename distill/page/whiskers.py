"""Shares with their intervals on one scale from 0 to 100 %, as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from distill.page.document import svg

_ROW: Final = 26
_GAP: Final = 12
_LABEL: Final = 170
_PLOT: Final = 400
_RIGHT: Final = 190
_TICKS: Final = (0, 25, 50, 75, 100)


@dataclass(frozen=True, slots=True)
class Whisker:
    """One row of a plot.

    Attributes:
        label: On its left.
        value: The estimate, in [0, 1].
        low: Lower end of its interval.
        high: Upper end.
        note: On its right.
        look: Class of the mark, for its colour.
        opens_group: Whether a gap stands above it.
    """

    label: str
    value: float
    low: float
    high: float
    note: str
    look: str
    opens_group: bool = False


def whiskers(rows: Sequence[Whisker], title: str) -> str:
    """A dot for each estimate and a line over its interval.

    Args:
        rows: From top to bottom.
        title: What is plotted, for those who hear the page.

    Example:
        >>> whiskers([Whisker("a", 0.5, 0.4, 0.6, "50 %", "student")], "t").count("<circle")
        1
    """
    marks, top = [], 0
    for row in rows:
        top += _GAP if row.opens_group else 0
        marks.append(_row(row, top))
        top += _ROW
    width, bottom = _LABEL + _PLOT + _RIGHT, top + 4
    parts = [_tick(tick, bottom) for tick in _TICKS] + marks
    return svg("".join(parts), width, bottom + 20, title)


def _tick(percent: int, bottom: int) -> str:
    x = _LABEL + _PLOT * percent / 100
    return (
        f'<line x1="{x:g}" y1="0" x2="{x:g}" y2="{bottom}" class="axis"/>'
        f'<text x="{x:g}" y="{bottom + 11}" class="note" text-anchor="middle">{percent} %</text>'
    )


def _row(row: Whisker, top: int) -> str:
    y = top + _ROW / 2
    low, value, high = (_LABEL + _PLOT * share for share in (row.low, row.value, row.high))
    look = f'class="whisker {row.look}"'
    return (
        f'<text x="{_LABEL - 12}" y="{y:g}" class="label">{escape(row.label)}</text>'
        f'<line x1="{low:.1f}" y1="{y:g}" x2="{high:.1f}" y2="{y:g}" {look}/>'
        f'<circle cx="{value:.1f}" cy="{y:g}" r="5" class="{row.look}"/>'
        f'<text x="{_LABEL + _PLOT + 14}" y="{y:g}" class="note">{escape(row.note)}</text>'
    )
