"""What the tables of a config have in common whose sources are tables themselves."""

import os
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self

import msgspec
from msgspec import Meta

from streamrnn.model.tables import Input
from streamrnn.sources.fields import Fields
from streamrnn.sources.pace import Clock, Pace, RecordedPace
from streamrnn.sources.source import Problems, Source, SourceError, SourceTable
from streamrnn.sources.tables import choice
from streamrnn.sources.tables.dialect import Dialect
from streamrnn.sources.tables.tape import FileTape
from streamrnn.sources.tables.trail import trail
from streamrnn.sources.text import check_readable
from streamrnn.tables import NonEmpty, Rate

if TYPE_CHECKING:
    from streamrnn.sources.tables.rows import Table

Columns = Mapping[str, Sequence[Any]]  # the values in the first rows, by the column's name


class Found(NamedTuple):
    """How a table is written."""

    fields: Fields
    dialect: Dialect | None = None  # of separated cells


class TableConfig(SourceTable, frozen=True, kw_only=True):
    """What is not given is found from the first rows."""

    size_0: ClassVar[str] = "one for each column of numbers"

    path: NonEmpty  # a file, packed by gzip or not; a folder, whose files are read in order; `-`: standard input
    columns: list[NonEmpty] | None = None  # the names of those that are the vector's numbers
    time: str | None = None  # the name of the column of times; "" = none is
    time_format: str = ""  # "iso", "s", "ms", "us", "ns" since 1970, or as strptime takes it: "%d.%m.%Y %H:%M"
    zone: NonEmpty = "UTC"  # of times that name none: "Europe/Berlin"
    key: NonEmpty | None = None  # the name of the column whose values name streams
    bad_rows: Literal["stop", "skip"] = "stop"  # what becomes of a row that cannot be read
    # what becomes of a row whose time is before that of the row before: dropped and counted, the end of the source, or
    # sorted in where it is late by no more than `window` rows
    order: Literal["drop", "stop", "sort"] = "drop"
    window: Annotated[int, Meta(ge=1, le=10_000)] = 100
    follow: bool = False  # wait for more rows, as tail -F; a file put away is read to its end
    pace: Literal["recorded"] | None = None  # as far apart as their times are; without, at the rate
    speed: Annotated[float, Meta(gt=0, le=1e9)] = 1.0  # times as fast as recorded
    rate: Rate = 0.0  # rows per second; 0 = as fast as it learns

    @property
    def line(self) -> str:
        path = "standard input" if self.path == "-" else self.path
        if self.pace:
            pace = "as recorded" if self.speed == 1 else f"{self.speed:g} times as fast as recorded"
        else:
            pace = f"{self.rate:g} rows a second" if self.rate else "as fast as it learns"
        return f"{path}, {'and what comes, ' if self.follow else ''}{pace}"

    @property
    def keyed(self) -> bool:
        return self.key is not None

    def size(self) -> int:
        return len(self.channels() or ())

    def channels(self) -> list[str] | None:
        if self.columns is not None:
            return list(self.columns)
        found = self._found()
        return list(found.fields.channels) if isinstance(found, Found) else None

    def units(self) -> dict[str, str]:
        found = self._found()
        if not isinstance(found, Found) or not found.dialect or not found.dialect.units:
            return {}
        every = dict(zip(found.dialect.names, found.dialect.units, strict=False))
        return {name: every[name] for name in found.fields.channels if every.get(name)}

    def completed(self, name: str, input: Input) -> Self:
        return self if self.columns is not None else msgspec.structs.replace(self, columns=input.channels)

    def misfits(self, input: Input) -> Problems:
        if "\0" in self.path:
            yield "source.path", "holds a NUL character; take it out"
            return
        if input.kind != "vector":
            yield "input.kind", f'must be "vector" with a {self.kind} source'
        if self.speed != 1 and not self.pace:
            yield "source.speed", 'needs pace = "recorded"'
        if self.rate and self.pace:
            yield "source.rate", 'does not go with pace = "recorded": take one of them out'
        if self.order == "sort" and (self.pace or self.rate or self.path == "-" or _is_pipe(self.path)):
            yield "source.order", 'can be "sort" only for files that are read as fast as it learns'
        if self.order == "stop" and self.key:
            yield "source.order", 'cannot be "stop" with a key: each stream has its own order'
        found = self._found()
        if isinstance(found, str):
            yield "source", f"cannot be read: {found}"
        elif (size := self.size()) == 0:
            yield "source.columns", f"must name the columns that are the input: {self.path} has no rows to find them in"
        elif input.size != size:
            yield "input.size", f"must be {size}, the number of columns (or 0 for as many as there are)"

    def open(self) -> Source:
        return self.begin(time.monotonic)

    def begin(self, clock: Clock) -> Source:
        """Begin to read, by that clock. Raises SourceError."""
        from streamrnn.sources.tables.piped import PipedTable
        from streamrnn.sources.tables.recorded import RecordedTable
        from streamrnn.sources.tables.sorting import Sorted

        pace = RecordedPace(self.speed, clock) if self.pace else Pace(self.rate, clock)
        if self.path == "-":
            check_readable(0, "standard input")
            return PipedTable(0, "standard input", self.look, pace)
        if _is_pipe(self.path):
            return PipedTable(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK), self.path, self.look, pace)
        table = RecordedTable(trail(self.path, self.follow), self.look, pace, clock)
        return Sorted(table, self.window) if self.order == "sort" else table

    def look(self, text: bytes, whole: bool, path: str) -> "Table | None":
        """How the rows of a table are read whose text begins so; `whole`: and ends so. None where it has none yet.

        Raises SourceError where it is no table, or has not what the config names.
        """
        raise NotImplementedError

    def find(self, text: bytes, whole: bool, path: str) -> Found | None:
        """What `look` finds; it reads no rows."""
        raise NotImplementedError

    def fields(self, columns: Columns, path: str, decimal: str = "") -> Fields:
        """Which of them are the channels, the time and the key. Raises SourceError."""
        try:
            for name in (*(self.columns or ()), self.time, self.key):
                if name and name not in columns:
                    raise ValueError(f"has no column {name}; it has {', '.join(columns)}")
            clock, format = self._clock(columns)
            if self.pace and clock is None:
                raise ValueError('has no column of times, as pace = "recorded" needs; name it in time')
            channels = self.columns or choice.channels_of(columns, (clock, self.key))
            if not channels:
                raise ValueError("has no column of numbers; give a table of numbers, or name its columns in columns")
            return Fields(channels, clock, self.key, time_format=format, zone=self.zone, decimal=decimal)
        except ValueError as error:
            raise SourceError(f"{path}: {error}") from None

    def _clock(self, columns: Columns) -> tuple[str | None, str]:
        """The column of times and their format. Raises ValueError."""
        if self.time == "":
            return None, ""
        if self.time:
            return self.time, self.time_format or choice.format_of(self.time, columns[self.time]) or ""
        taken = (*(self.columns or ()), self.key)
        left = {name: cells for name, cells in columns.items() if name not in taken}
        return choice.time_of(left, self.time_format) or (None, "")

    def _found(self) -> Found | str | None:
        """What is found in the files; what is wrong with them; None where there is nothing to see yet."""
        if self.path == "-" or _is_pipe(self.path):
            return None
        with suppress(OSError, ValueError):
            status = os.stat(self.path)
            return _found(type(self), msgspec.json.encode(self), (status.st_ino, status.st_size, status.st_mtime_ns))
        return None if self.follow else f"{self.path}: no such file; give one that can be read"


@lru_cache(4)
def _found(kind: type[TableConfig], encoded: bytes, stamp: tuple[int, ...]) -> Found | str | None:
    """See `TableConfig._found`; `stamp` is another where the files are."""
    config = msgspec.json.decode(encoded, type=kind)
    try:
        tape = FileTape(trail(config.path, config.follow))
        return config.find(*tape.top(), tape.path) if tape.start() else None
    except SourceError as error:
        return str(error)


def _is_pipe(path: str) -> bool:
    """Whether it is there, and neither a file nor a folder."""
    with suppress(OSError, ValueError):
        mode = os.stat(path).st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False
