"""Columns of cells as arrays, all of a column at once. The same as cell by cell, and ValueError where one is wrong."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from streamrnn.sources.cells import number
from streamrnn.sources.times import UNITS, TimeFormat

_ISO = re.compile(
    "(?P<Y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})"
    "(?:[ T](?P<H>[0-9]{2}):(?P<M>[0-9]{2})(?::(?P<S>[0-9]{2})(?:[.,](?P<f>[0-9]{1,9}))?)?"
    "(?P<zone>Z|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])?)?"
)
_WIDTHS = {"Y": "{4}", "y": "{2}", "m": "{2}", "d": "{2}", "H": "{2}", "M": "{2}", "S": "{2}", "f": "{1,6}"}
_HIGHEST = {"H": 23, "M": 59, "S": 59}
_DAY, _SECOND = 86_400 * 10**9, 10**9

Integers = NDArray[np.int64]


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
    found = _counts(cells, format) if format.format in UNITS else _clocks(cells, format)
    if found is not None:
        return found
    read = []
    for cell in cells:
        read.append(after := format.read(cell, after))
    return np.array(read, np.int64)


def _counts(cells: Sequence[str], format: TimeFormat) -> Integers | None:
    """Whole counts since 1970, None where they are no such."""
    text, unit = "".join(cells), UNITS[format.format]
    if not (text.isascii() and text.isdecimal()) or max(map(len, cells)) > 18 - len(str(unit)) + 1:
        return None
    return np.array(list(map(int, cells)), np.int64) * unit


def _clocks(cells: Sequence[str], format: TimeFormat) -> Integers | None:
    """Dates and times that all have their digits at the same places, None where they have not."""
    layout = _layout(format.format)
    match, text, width = layout.fullmatch(cells[0]) if layout else None, "".join(cells), len(cells[0])
    if not layout or not match or set(map(len, cells)) != {width} or not text.isascii():
        return None
    signs = np.frombuffer(text.encode(), np.uint8).reshape(-1, width)
    spans = {name: match.span(name) for name, part in match.groupdict().items() if part and name != "zone"}
    fixed = np.ones(width, bool)
    for start, end in spans.values():
        fixed[start:end] = False
    digits = signs - np.uint8(ord("0"))
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


def _whole(digits: NDArray[np.uint8]) -> Integers:
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
