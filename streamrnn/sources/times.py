"""Times as files and messages write them, in nanoseconds since 1970 in UTC."""

import re
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from streamrnn.kernels.columns import NO_TIME
from streamrnn.sources.cells import show

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}  # nanoseconds in a unit of a count since 1970
FORMATS = "iso", *UNITS
LARGEST = {"s": 10**11, "ms": 10**14, "us": 10**17}  # a larger count is one of smaller units

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COUNT = re.compile(r"[+-]?[0-9]{1,30}(?:[.,][0-9]{0,30})?(?:[eE][+-]?[0-9]{1,2})?")
_BELOW_MICROSECONDS = re.compile(r"[.,][0-9]{6}([0-9]{1,3})")


class TimeFormat:
    """How times are written.

    `format` is "iso", a unit of counts since 1970 ("s", "ms", "us", "ns"), what strptime takes, or "": counts are told
    apart by their size, and the rest is ISO 8601. `zone` is that of times which name none.
    Raises ValueError that says which of them is unknown.
    """

    def __init__(self, format: str = "", zone: str = "UTC") -> None:
        if format and format not in FORMATS and "%" not in format:
            raise ValueError(f"{show(format)} is no format of times: one of {', '.join(FORMATS)}, or as %d.%m.%Y %H:%M")
        self.format, self.zone = format, _zone(zone)

    def read(self, value: Any, after: int = NO_TIME) -> int:
        """The time that it says. Raises ValueError.

        Of the two times of an hour that comes twice when clocks are set back, the first that is not before `after`.
        """
        try:
            time = self._count(value) if self._is_count(value) else self._clock(value, after)
        except OverflowError:
            time = NO_TIME
        if not NO_TIME < time < -NO_TIME:
            raise ValueError(f"{show(value)} is no time between the years 1678 and 2262")
        return time

    def _is_count(self, value: Any) -> bool:
        if isinstance(value, str):
            return self.format in UNITS or (self.format == "" and not _is_date(value) and _is_number(value))
        return isinstance(value, int | float) and not isinstance(value, bool) and self.format in ("", *UNITS)

    def _count(self, value: Any) -> int:
        text = value.strip().replace(",", ".") if isinstance(value, str) else repr(value)
        if not _COUNT.fullmatch(text):
            raise ValueError(f"{show(value)} is no time in {self.format or 's'} since 1970")
        count = Decimal(text)
        nanoseconds = count * UNITS[self.format or unit_of(count)]
        return int(nanoseconds) if abs(nanoseconds) < -NO_TIME else NO_TIME

    def _clock(self, value: Any, after: int) -> int:
        """A date and a time of the day."""
        if not isinstance(value, str):
            raise ValueError(f"{show(value)} is no time")
        text = value.strip()
        try:
            time = datetime.strptime(text, self.format) if "%" in self.format else datetime.fromisoformat(text)
        except ValueError:
            wanted = f"as {self.format}" if "%" in self.format else "as 2024-01-31 23:59:59"
            raise ValueError(f"{show(value)} is no time {wanted}") from None
        below = _BELOW_MICROSECONDS.search(text) if len(text) > 20 else None
        return self._utc(time, after) + (int(below[1].ljust(3, "0")) if below else 0)

    def _utc(self, time: datetime, after: int) -> int:
        if time.tzinfo is not None:
            return _nanoseconds(time)
        if self.zone is UTC:
            return _nanoseconds(time.replace(tzinfo=UTC))
        first, second = (_nanoseconds(time.replace(tzinfo=self.zone, fold=fold)) for fold in (0, 1))
        return second if first < after <= second else first


def unit_of(count: Any) -> str:
    """The unit of a count since 1970, by its size."""
    return next((unit for unit, largest in LARGEST.items() if abs(count) < largest), "ns")


def _is_number(text: str) -> bool:
    return _COUNT.fullmatch(text.strip()) is not None


def _is_date(text: str) -> bool:
    """Whether it is a date such as 20240131, which as a count of seconds would be one of 1970."""
    return len(text := text.strip()) == 8 and text.isdigit() and text[:2] in ("19", "20")


def _nanoseconds(time: datetime) -> int:
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError(f"{show(name)} is no zone that is known here: give one such as Europe/Berlin") from None
