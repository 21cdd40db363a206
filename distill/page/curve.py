"""A curve over steps, as SVG: each step pale, the mean of its neighbours strong."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from distill.page.document import svg

_LEFT: Final = 60
_PLOT: Final = 660
_HEIGHT: Final = 220
_POINTS: Final = 400
_SMOOTHED_SHARE: Final = 1 / 50
_TICKS: Final = 5


def curve(values: Sequence[float], title: str, *, x_name: str = "step") -> str:
    """A curve of one value per step, the first step being 1.

    Long curves are drawn through the means of equal stretches, so that the page stays small.

    Args:
        values: At least one, all finite.
        title: What is plotted, for those who hear the page.
        x_name: What is counted along the bottom.

    Example:
        >>> curve([2.0, 1.0, 0.5], "loss").count("<polyline")
        2
    """
    low, high, unit = _scale(min(values), max(values))
    parts = []
    for tick in range(math.floor((high - low) / unit + 0.5) + 1):
        value = low + tick * unit
        y = _y(value, low, high)
        parts.append(
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_LEFT + _PLOT}" y2="{y:.1f}" class="axis"/>'
            f'<text x="{_LEFT - 8}" y="{y:.1f}" class="label">{value:g}</text>'
        )
    points, smooth = _thin(values), _thin(_smoothed(values))
    for look, line in (("curve pale", points), ("curve", smooth)):
        drawn = " ".join(
            f"{_x(step, len(values)):.1f},{_y(value, low, high):.1f}" for step, value in line
        )
        parts.append(f'<polyline points="{drawn}" class="{look}"/>')
    for x, anchor, text in (
        (_LEFT, "start", "1"),
        (_LEFT + _PLOT, "end", f"{x_name} {len(values):,}"),
    ):
        parts.append(
            f'<text x="{x}" y="{_HEIGHT + 18}" class="note" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )
    return svg("".join(parts), _LEFT + _PLOT + 10, _HEIGHT + 30, title)


def _x(step: float, steps: int) -> float:
    return _LEFT + _PLOT * (step / max(steps - 1, 1))


def _y(value: float, low: float, high: float) -> float:
    return 10 + (_HEIGHT - 10) * (high - value) / (high - low)


def _scale(lowest: float, highest: float) -> tuple[float, float, float]:
    """Bottom, top and distance of round ticks around the values."""
    rough = max(highest - lowest, abs(highest) * 1e-3, 1e-9) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    unit = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
    low = math.floor(lowest / unit) * unit
    return low, max(math.ceil(highest / unit) * unit, low + unit), unit


def _smoothed(values: Sequence[float]) -> list[float]:
    """Mean over the steps around each, fewer near the ends."""
    reach = max(1, round(len(values) * _SMOOTHED_SHARE))
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    smoothed = []
    for step in range(len(values)):
        around = min(reach, step, len(values) - 1 - step)
        first, end = step - around, step + around + 1
        smoothed.append((sums[end] - sums[first]) / (end - first))
    return smoothed


def _thin(values: Sequence[float]) -> list[tuple[float, float]]:
    """(step from 0, value) of at most so many points: means of equal stretches."""
    stretch = max(1, math.ceil(len(values) / _POINTS))
    points = []
    for start in range(0, len(values), stretch):
        part = values[start : start + stretch]
        points.append((start + (len(part) - 1) / 2, math.fsum(part) / len(part)))
    return points
