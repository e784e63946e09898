"""Which fields of a record are the numbers of a vector, its time and its stream."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from streamrnn.kernels.columns import NO_TIME
from streamrnn.sources.cells import is_missing, number, show
from streamrnn.sources.frames import Frames, times, vectors
from streamrnn.sources.times import TimeFormat


class FieldError(ValueError):
    """A field that does not say what it should; the message is one line that names it and shows its value."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field, self.problem = field, problem


class Reading(NamedTuple):
    """A frame to be."""

    values: list[float]  # NaN where one is missing
    time: int  # nanoseconds since 1970 in UTC, or NO_TIME
    key: str | None  # its stream, where the records say it


class Fields:
    """The names of the fields that are the channels, in their order; of the time; and of the key, the stream's name.

    A name with dots is that of a field within a field: "sensor.temp" of {"sensor": {"temp": 20}}, "data.0" of
    {"data": [20]}. `decimal` is as in `streamrnn.sources.cells.number`. Raises ValueError as TimeFormat does.
    """

    def __init__(
        self,
        channels: Sequence[str],
        time: str | None = None,
        key: str | None = None,
        *,
        time_format: str = "",
        zone: str = "UTC",
        decimal: str = "",
    ) -> None:
        self.channels, self.time, self.key, self.decimal = list(channels), time, key, decimal
        self.time_format = TimeFormat(time_format, zone)

    def reading(self, record: Mapping[str, Any], after: int = NO_TIME) -> Reading:
        """What a record says. Raises FieldError where a value is no number, or the time or the key is missing.

        A field that is absent, empty, null or a word such as n/a is missing. `after` is the time of the reading
        before, see TimeFormat.read.
        """
        values = [self._number(record, name) for name in self.channels]
        time = NO_TIME if self.time is None else self._time(record, self.time, after)
        return Reading(values, time, None if self.key is None else key_of(record, self.key))

    def frames(self, readings: Sequence[Reading]) -> Frames:
        """They as arrays: values (n, channels), times (n,)."""
        return Frames(
            vectors([reading.values for reading in readings], len(self.channels)),
            None if self.time is None else times([reading.time for reading in readings]),
            None if self.key is None else [reading.key or "" for reading in readings],
        )

    def _number(self, record: Mapping[str, Any], name: str) -> float:
        try:
            return number(find(record, name), self.decimal)
        except ValueError as error:
            raise FieldError(name, str(error)) from None

    def _time(self, record: Mapping[str, Any], name: str, after: int) -> int:
        if is_missing(value := find(record, name)):
            raise FieldError(name, "has no time")
        try:
            return self.time_format.read(value, after)
        except ValueError as error:
            raise FieldError(name, str(error)) from None


def find(record: Mapping[str, Any], name: str) -> Any:
    """The value of a field, None where there is none."""
    if name in record or "." not in name:
        return record.get(name)
    value: Any = record
    for part in name.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def key_of(record: Mapping[str, Any], name: str) -> str:
    """The name of a record's stream. Raises FieldError."""
    value = find(record, name)
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int | float) and value == value:
        return str(value)
    raise FieldError(name, "has no key" if is_missing(value) else f"{show(value)} is no key")
