"""Curves in letters."""

import itertools
import math
from collections.abc import Sequence

LEVELS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], rows: int = 1) -> list[str]:
    """Bars from the lowest value (an eighth of a row) to the highest (all rows), top row first.

    What is not finite leaves a gap.
    """
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    top = len(LEVELS) * rows - 1
    heights = [_height(value, low, high, top) for value in values]
    return ["".join(_cell(height - len(LEVELS) * row) for height in heights) for row in range(rows - 1, -1, -1)]


def _height(value: float, low: float, high: float, top: int) -> int:
    """Eighths of a row: 1 for the lowest value, top + 1 for the highest, 0 for what is no number."""
    if not math.isfinite(value):
        return 0
    span = high / 2 - low / 2  # halved: no overflow
    share = (value / 2 - low / 2) / span if span else 0.0
    return 1 + round(share * top)


def _cell(height: int) -> str:
    return LEVELS[min(height, len(LEVELS)) - 1] if height > 0 else " "


def resample(values: Sequence[float], width: int) -> list[float]:
    """At most `width` values: means of equal parts; what is not finite counts in no mean (nan if nothing is left)."""
    if len(values) <= width:
        return list(values)
    edges = [i * len(values) // width for i in range(width + 1)]
    return [_mean(values[start:end]) for start, end in itertools.pairwise(edges)]


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(value / len(finite) for value in finite) if finite else math.nan
