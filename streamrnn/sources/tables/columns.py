"""Columns of cells as arrays, all of a column at once. The same as cell by cell, and ValueError where one is wrong."""

import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrnn.kernels.decimals import POWERS, decimals
from streamrnn.sources.cells import number
from streamrnn.sources.pace import LATEST
from streamrnn.sources.times import UNITS, TimeFormat

_ISO = re.compile(
    "(?P<Y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})"
    "(?:[ T](?P<H>[0-9]{2}):(?P<M>[0-9]{2})(?::(?P<S>[0-9]{2})(?:[.,](?P<f>[0-9]{1,9}))?)?"
    "(?P<zone>Z|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])?)?"
)
_WIDTHS = {"Y": "{4}", "y": "{2}", "m": "{2}", "d": "{2}", "H": "{2}", "M": "{2}", "S": "{2}", "f": "{1,6}"}
_HIGHEST = {"H": 23, "M": 59, "S": 59}
_DAY, _SECOND = 86_400 * 10**9, 10**9

ZERO, DIGITS = np.uint8(ord("0")), 18  # every number of so many fits into 64 bits

Integers = NDArray[np.int64]
Signs = NDArray[np.uint8]


class Cells:
    """The cells of a table between signs of its text: where each begins and ends, (columns, rows)."""

    def __init__(self, text: bytes, signs: Signs, starts: Integers, ends: Integers) -> None:
        self._text, self._signs, self._starts, self._ends = text, signs, starts, ends

    def texts(self, column: int) -> list[str]:
        """What they say. Raises ValueError where that is not UTF-8."""
        return [self._text[start:end].decode() for start, end in self._places(column)]

    def says_something(self, column: int) -> bool:
        """Whether not all are empty."""
        return any(self._text[start:end].strip() for start, end in self._places(column))

    def numbers(self, column: int, decimal: str) -> NDArray[np.float64]:
        """As `streamrnn.sources.cells.number`: (n,), NaN where one is missing. Raises ValueError."""
        starts, ends = self._starts[column], self._ends[column]
        values, left = np.empty(len(starts)), np.empty(len(starts), np.int64)
        count = decimals(self._signs, starts, ends, ord(decimal or "."), POWERS, values, left)
        for row in left[:count].tolist():
            values[row] = _number(self._text[starts[row] : ends[row]], decimal)
        return values

    def times(self, column: int, format: TimeFormat, after: int) -> Integers:
        """As `TimeFormat.read`, (n,); `after` is the time before the first of them. Raises ValueError."""
        starts, ends = self._starts[column], self._ends[column]
        width = int(ends[0] - starts[0])
        if (ends - starts == width).all():
            found = times_at_once(self._signs[starts[:, None] + np.arange(width)], format)
            if found is not None:
                return found
        return times(self.texts(column), format, after)

    def _places(self, column: int) -> Iterator[tuple[int, int]]:
        return zip(self._starts[column].tolist(), self._ends[column].tolist(), strict=True)


def _number(cell: bytes, decimal: str) -> float:
    """A number that is not a plain one."""
    try:
        if decimal != "," and b"_" not in cell and math.isfinite(value := float(cell)):
            return value
    except ValueError:
        pass
    return number(cell.decode(), decimal)


def numbers(cells: Sequence[str], decimal: str) -> NDArray[np.float64]:
    """As `streamrnn.sources.cells.number`: (n,), NaN where one is missing."""
    text = "\n".join(cells)
    if "_" in text or (decimal == "," and "." in text):
        return np.array([number(cell, decimal) for cell in cells])
    if decimal == ",":
        plain: Sequence[str] = text.replace(",", ".").split("\n")
    else:
        plain = cells
    try:
        array = np.array(list(map(float, plain)))
    except ValueError:
        array = _with_gaps(cells, plain, decimal)
    if np.isinf(array).any():
        raise ValueError("is not finite")
    return array


def _with_gaps(cells: Sequence[str], plain: Sequence[str], decimal: str) -> NDArray[np.float64]:
    try:
        return np.array([float(cell or "nan") for cell in plain])
    except ValueError:
        return np.array([number(cell, decimal) for cell in cells])


def times(cells: Sequence[str], format: TimeFormat, after: int) -> Integers:
    """As `TimeFormat.read`, (n,); `after` is the time before the first of them."""
    text, width = "".join(cells), len(cells[0])
    if text.isascii() and set(map(len, cells)) == {width}:
        found = times_at_once(np.frombuffer(text.encode(), np.uint8).reshape(-1, width), format)
        if found is not None:
            return found
    return times_one_by_one(cells, format, after)


def times_one_by_one(cells: Sequence[Any], format: TimeFormat, after: int) -> Integers:
    """As `times`, of values of any kind."""
    read = []
    for cell in cells:
        read.append(after := format.read(cell, after))
    return np.array(read, np.int64)


def times_at_once(signs: Signs, format: TimeFormat) -> Integers | None:
    """The times in rows of ASCII (n, width); None where they have not all their digits at the same places."""
    return _counts(signs, format) if format.format in UNITS else _clocks(signs, format)


def _counts(signs: Signs, format: TimeFormat) -> Integers | None:
    """Whole counts since 1970."""
    digits, unit = signs - ZERO, UNITS[format.format]
    if not 0 < signs.shape[1] <= DIGITS or (digits > 9).any():
        return None
    counts = _whole(digits)
    return counts * unit if counts.max() <= LATEST // unit else None


def _clocks(signs: Signs, format: TimeFormat) -> Integers | None:
    """Dates and times of the day."""
    layout, width = _layout(format.format), signs.shape[1]
    match = layout.fullmatch(signs[0].tobytes().decode("ascii", "replace")) if layout else None
    if not layout or not match:
        return None
    spans = {name: match.span(name) for name, part in match.groupdict().items() if part and name != "zone"}
    fixed = np.ones(width, bool)
    for start, end in spans.values():
        fixed[start:end] = False
    digits = signs - ZERO
    if (digits[:, ~fixed] > 9).any() or (signs[:, fixed] != signs[0, fixed]).any():
        return None
    parts = {name: _whole(digits[:, start:end]) for name, (start, end) in spans.items()}
    if "f" in parts:
        parts["f"] *= 10 ** (9 - (spans["f"][1] - spans["f"][0]))
    local = _local(parts)
    if local is None:
        return None
    zone = match["zone"] if "zone" in layout.groupindex else None
    return local - _offset(zone) if zone else _utc(local, format.zone)


@lru_cache
def _layout(format: str) -> re.Pattern[str] | None:
    """Where the parts of a time are, in groups by the names that strptime gives them."""
    if "%" not in format:
        return _ISO
    parts = re.split("%(.)", format)
    names = parts[1::2]
    if not {"m", "d"} <= set(names) or not set(names) <= set(_WIDTHS) or len(set(names)) < len(names):
        return None
    groups = [f"(?P<{part}>[0-9]{_WIDTHS[part]})" if index % 2 else re.escape(part) for index, part in enumerate(parts)]
    return re.compile("".join(groups)) if "Y" in names or "y" in names else None


def _whole(digits: Signs) -> Integers:
    """The numbers of rows of digits, (n,)."""
    total = np.zeros(len(digits), np.int64)
    for column in digits.T:
        total *= 10
        total += column
    return total


def _local(parts: dict[str, Integers]) -> Integers | None:
    """Nanoseconds since 1970 by the clock, None where a part is too large or small."""
    if "y" in parts:
        parts["Y"] = parts["y"] + np.where(parts["y"] < 69, 2000, 1900)
    year, month, day = parts["Y"], parts["m"], parts["d"]
    if year.min() < 1700 or year.max() > 2200 or month.min() < 1 or month.max() > 12 or day.min() < 1:
        return None
    months = (year - 1970) * 12 + month - 1
    first, following = (each.astype("M8[M]").astype("M8[D]").astype(np.int64) for each in (months, months + 1))
    if (day > following - first).any() or any(
        (parts[name] > _HIGHEST[name]).any() for name in _HIGHEST if name in parts
    ):
        return None
    nothing = np.zeros_like(day)
    hour, minute, second, below = (parts.get(name, nothing) for name in "HMSf")
    return (first + day - 1) * _DAY + ((hour * 60 + minute) * 60 + second) * _SECOND + below


def _offset(zone: str) -> int:
    """Nanoseconds by which the clocks of +02:00 are ahead."""
    if zone == "Z":
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[-2:])
    return minutes * 60 * _SECOND * (-1 if zone[0] == "-" else 1)


def _utc(local: Integers, zone: tzinfo) -> Integers | None:
    """In UTC; None on days on which clocks are set."""
    if zone is UTC:
        return local
    days, which = np.unique(local // _DAY, return_inverse=True)
    offsets = [_offset_of(int(day), zone) for day in days]
    if None in offsets:
        return None
    return local - np.array(offsets, np.int64)[which]


@lru_cache(10_000)
def _offset_of(day: int, zone: tzinfo) -> int | None:
    """Nanoseconds by which the zone's clocks are ahead all of that day, None where it is not the same all day."""
    start = datetime(1970, 1, 1) + timedelta(days=day)
    edges = (start, start + timedelta(days=1, microseconds=-1))
    offsets = {edge.replace(tzinfo=zone, fold=fold).utcoffset() for edge in edges for fold in (0, 1)}
    offset = offsets.pop() if len(offsets) == 1 else None
    return None if offset is None else round(offset.total_seconds()) * _SECOND
