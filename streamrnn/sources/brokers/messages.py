"""What sources that take messages from a broker have in common."""

from collections.abc import Collection, Mapping
from importlib.util import find_spec
from typing import ClassVar, Self

import msgspec

from streamrnn.model import channels
from streamrnn.model.tables import Input
from streamrnn.sources.brokers.payload import record
from streamrnn.sources.fields import Fields, Reading, find
from streamrnn.sources.source import Problems, SourceTable
from streamrnn.tables import NonEmpty


class MessageTable(SourceTable, frozen=True):
    """Keys of [source] for messages that hold JSON, numbers with commas in between, or one number."""

    size_0: ClassVar[str] = "one for each of the columns"
    module: ClassVar[str]  # that speaks to the broker; the extra to be installed is called as the kind

    columns: list[NonEmpty] | None = None  # the fields that make a vector, in its order; default: input.channels
    time: NonEmpty | None = None  # the field that says when it was measured
    time_format: str = ""  # of that field, see `streamrnn.sources.times`; default: found out
    zone: str = "UTC"  # of times that name none
    key: NonEmpty | None = None  # the field that names the stream; default: all are of one stream

    @property
    def keyed(self) -> bool:
        return self.key is not None

    def size(self) -> int:
        return len(self.columns or ())

    def channels(self) -> list[str] | None:
        return self.columns

    def completed(self, name: str, input: Input) -> Self:
        if self.columns is None and input.channels is not None:
            return msgspec.structs.replace(self, columns=input.channels)
        return self

    def misfits(self, input: Input) -> Problems:
        if find_spec(self.module) is None:
            yield "source.kind", f'"{self.kind}" needs more than is installed: pip install streamrnn[{self.kind}]'
        if input.kind != "vector":
            yield "input.kind", f'must be "vector" with a source of kind "{self.kind}"'
        elif self.columns is None:
            yield "source.columns", "must name the fields that make a vector; or name them in input.channels"
        elif problem := channels.problem(self.columns, input.size):
            yield "source.columns", problem
        elif input.channels not in (None, self.columns):
            yield "input.channels", "must be the same as source.columns; take one of them out"
        try:
            self.fields()
        except ValueError as error:
            yield "source.time_format", str(error)

    def fields(self) -> Fields:
        """Raises ValueError where the format of times or the zone is unknown."""
        return Fields(self.columns or [], self.time, self.key, time_format=self.time_format, zone=self.zone)


class Readings:
    """Messages as readings. What is none is counted: `refused` of them, and `refusal` says why the newest is none.

    `beside` are fields that are not in the messages.
    """

    def __init__(self, fields: Fields, beside: Collection[str] = ()) -> None:
        self.fields = fields
        self.refused, self.refusal = 0, ""
        has_time = fields.time and fields.time not in beside
        self._names = [str(fields.time), *fields.channels] if has_time else fields.channels

    def read(self, origin: str, payload: bytes | None, about: Mapping[str, str | int | None]) -> Reading | None:
        """What a message says, with fields that are not in it; `origin` says which one it is."""
        try:
            fields = {**record(payload, self._names), **about}
            if all(find(fields, name) is None and name not in fields for name in self.fields.channels):
                raise ValueError(f"has none of the fields {', '.join(self.fields.channels)}")
            return self.fields.reading(fields)
        except ValueError as error:
            self.refused += 1
            self.refusal = f"{origin}: {error}"
            return None
