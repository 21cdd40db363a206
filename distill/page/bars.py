"""Bars that lie, one row for each thing, as SVG.

Colours come from the page's style, so that a plot looks right on light and dark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from distill.page.document import svg

_ROW: Final = 26
_BAR: Final = 16
_LABEL: Final = 130
_PLOT: Final = 400
_RIGHT: Final = 230


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a plot.

    Attributes:
        label: On its left.
        whole: Length of the pale bar.
        part: Length of the strong bar on it.
        note: On its right.
        of_part: Class of the strong bar, for its colour.
        of_rest: Class of what is seen of the pale one.
    """

    label: str
    whole: float
    part: float
    note: str
    of_part: str = "kept"
    of_rest: str = "whole"


def bars(rows: Sequence[Bar], title: str) -> str:
    """Lying bars on a common scale.

    Args:
        rows: From top to bottom.
        title: What is plotted, for those who hear the page.

    Example:
        >>> bars([Bar("a", 2, 1, "1 of 2")], "kept").count("<rect")
        2
    """
    most = max((row.whole for row in rows), default=0) or 1
    width, height = _LABEL + _PLOT + _RIGHT, len(rows) * _ROW + 4
    parts = [_bar(row, place, most) for place, row in enumerate(rows)]
    return svg("".join(parts), width, height, title)


def _bar(row: Bar, place: int, most: float) -> str:
    top = place * _ROW + (_ROW - _BAR) / 2
    middle = place * _ROW + _ROW / 2
    whole, part = (_PLOT * length / most for length in (row.whole, row.part))
    box = f'<rect x="{_LABEL}" y="{top:g}" height="{_BAR}"'
    return (
        f'<text x="{_LABEL - 10}" y="{middle:g}" class="label">{escape(row.label)}</text>'
        f'{box} width="{max(whole, 1):.1f}" class="{row.of_rest}"/>'
        f'{box} width="{part:.1f}" class="{row.of_part}"/>'
        f'<text x="{_LABEL + max(whole, 1) + 8:.1f}" y="{middle:g}" class="note">'
        f"{escape(row.note)}</text>"
    )
