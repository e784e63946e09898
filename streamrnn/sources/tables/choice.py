"""Which columns of a table are its time and its numbers: found from their names and their first cells."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise, product
from typing import Any

from streamrnn.sources.cells import is_missing, is_number, mostly, number
from streamrnn.sources.times import UNITS, TimeFormat, unit_of

RISING = 0.9  # share of the steps of a column of times that do not go back
TRIED = 5  # cells, by which a format that is not theirs is known

_DIGITS = {8: "iso", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}  # by how many they are
_DATES = "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y", "%d-%b-%Y", "%d %b %Y"
_MONTH_LAST = "%d/%m/%Y", "%d/%m/%y", "%d-%m-%Y"
_MONTH_FIRST = "%m/%d/%Y", "%m/%d/%y", "%m-%d-%Y"
_CLOCKS = "", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p"
FORMATS = [*map("".join, product((*_DATES, *_MONTH_LAST, *_MONTH_FIRST), _CLOCKS))]

_NAME = re.compile(
    "times?|timestamp|date|datetime|ts|epoch|unix|unixtime|utc|zeit|zeitstempel|datum|uhrzeit|tijd|fecha|hora|heure"
)
_SINCE_START = re.compile(r"(?:t|time|timestamp|ts|elapsed|seconds|zeit)(?:[ _(\[]+(s|sec|ms|us|µs|ns)[\])]?)?")
_ROW_NUMBER = "", "index", "row", "no", "nr", "id", "#", "unnamed: 0", "column 1"
_PLAUSIBLE = 631_152_000, 4_102_444_800  # seconds since 1970 from 1990 to 2100


def time_of(columns: Mapping[str, Sequence[Any]], format: str = "") -> tuple[str, str] | None:
    """The name of the column that is the time, and its format, if that is not given; None where there is none.

    Raises ValueError where it could be read in two ways.
    """
    named = [name for name in columns if is_named_time(name)]
    first = next(iter(columns), None)
    for name in [*named, *(name for name in columns if name not in named)]:
        if format and "%" in format and mostly(_reads(format), columns[name]):
            return name, format
        if found := format_of(name, columns[name], name in named or name == first):
            return name, format or found
    return None


def channels_of(columns: Mapping[str, Sequence[Any]], others: Sequence[str | None]) -> list[str]:
    """The names of those that are numbers, but for `others`, for further times and for row numbers."""
    return [
        name
        for name, cells in columns.items()
        if name not in others
        and mostly(is_number, cells)
        and not (is_named_time(name) and format_of(name, cells, True))
        and not _counts_rows(name, cells)
    ]


def is_named_time(name: str) -> bool:
    """Whether a column is called as times are."""
    words = re.split("[^a-zµ]+", re.sub("([a-z])([A-Z])", r"\1 \2", name).lower())
    return any(map(_NAME.fullmatch, words))


def format_of(name: str, cells: Sequence[Any], counts: bool = True) -> str | None:
    """The format of a column of times, None where it is none; with `counts`, of counts since 1970 as well.

    Raises ValueError where the day and the month could be either.
    """
    said = [cell for cell in cells if not is_missing(cell)]
    if not said:
        return None
    if formats := _fitting(said):
        return _one_of(name, formats, said)
    if counts and mostly(is_number, said):
        return _unit(name, [number(cell, ".") for cell in said if _is_plain(cell)])
    return None


def _fitting(said: list[Any]) -> list[str]:
    """The formats in which most of them are dates, and times of a day."""
    if not all(isinstance(cell, str) for cell in said):
        return []
    lengths = {len(cell) if cell.isdecimal() and cell[:2] in ("19", "20") else 0 for cell in said}
    formats = [_DIGITS.get(max(lengths), "")] if lengths != {0} else ["iso", *FORMATS]
    some = [format for format in formats if format and mostly(_reads(format), said[:TRIED])]
    fitting = [format for format in some if mostly(_reads(format), said)]
    return ["iso"] if "iso" in fitting else fitting


def _one_of(name: str, formats: list[str], said: list[Any]) -> str:
    """The one, or that in which the steps from time to time are most even."""
    uneven = {format: _unevenness(_times(format, said)) for format in formats}
    best = min(formats, key=lambda format: uneven[format])
    if others := [format for format in formats if format != best and uneven[format] == uneven[best]]:
        raise ValueError(f"column {name}: its times may be as {best} or as {others[0]}; say which in time_format")
    return best


def _unevenness(times: list[int]) -> float:
    steps = [after - before for before, after in pairwise(times)]
    return (max(steps) - min(steps)) / (sum(map(abs, steps)) or 1) * len(steps) if steps else 0.0


def _reads(format: str) -> Callable[[Any], bool]:
    times = TimeFormat(format)

    def reads(cell: Any) -> bool:
        with suppress(ValueError):
            times.read(cell)
            return True
        return False

    return reads


def _times(format: str, said: list[Any]) -> list[int]:
    reads, times = _reads(format), TimeFormat(format)
    return [times.read(cell) for cell in said if reads(cell)]


def _unit(name: str, counts: list[float]) -> str | None:
    """The unit of counts since 1970, if they can be such, or since the start of a recording."""
    if not counts or not _is_rising(counts):
        return None
    unit = unit_of(max(map(abs, counts)))
    low, high = _PLAUSIBLE
    if all(low <= count * UNITS[unit] / UNITS["s"] <= high for count in counts):
        return unit
    if (match := _SINCE_START.fullmatch(name.lower())) and len(counts) > 1 and counts[0] < counts[-1]:
        return {"sec": "s", "µs": "us", None: "s"}.get(match[1], match[1])
    return None


def _counts_rows(name: str, cells: Sequence[Any]) -> bool:
    """Whether it is 0, 1, 2, ... or 1, 2, 3, ..., and called as such columns are."""
    if name.lower() not in _ROW_NUMBER or len(cells) < 3:
        return False
    counts = [number(cell) if _is_plain(cell) else -1 for cell in cells]
    return counts[0] in (0, 1) and all(after == before + 1 for before, after in pairwise(counts))


def _is_rising(numbers: Sequence[float]) -> bool:
    """Whether hardly one is smaller than the one before."""
    steps = [after >= before for before, after in pairwise(numbers)]
    return sum(steps) >= RISING * len(steps)


def _is_plain(cell: Any) -> bool:
    with suppress(ValueError):
        return number(cell) == number(cell)
    return False
