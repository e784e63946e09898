"""CSV: a row for each output, and their names at the top of each file. What is not known is empty.

As RFC 4180 says, but for lines that end in a line feed alone: what holds a comma, a quote or a line's end is in quotes,
in which a quote is doubled. So a record ends at a line's end with an even number of quotes before it.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from streamrnn.sinks.line_files import PIECE, FileSink, FileTable
from streamrnn.sinks.sink import About

if TYPE_CHECKING:
    from streamrnn.sinks.records import Record, Records

FIRST = ("time", "run", "seq", "stream", "loss")
ALARM = ("score", "threshold", "event")
QUOTED = re.compile(r'[",\r\n]')


class CsvSink(FileSink):
    begins = ",".join(FIRST).encode()

    def __init__(self, table: FileTable, records: "Records") -> None:
        super().__init__(table)
        self._records = records
        self.header = row(different(self._columns()))

    def encode(self, record: "Record") -> bytes:
        return row(self._values(record))

    def last_record(self, file: BinaryIO) -> tuple[int, int]:
        file.seek(0)
        found, quotes = [0, 0], 0
        for start, piece in enumerate(iter(lambda: file.read(PIECE), b"")):
            outside = line_ends(piece, quotes, 2)
            found = [*found, *(start * PIECE + end for end in outside)][-2:]
            quotes += piece.count(b'"')
        return found[0], found[1]

    def decode(self, record: bytes) -> tuple[str, int]:
        _, run, seq, *_ = next(csv.reader([record.decode()]))
        return run, int(seq)

    def _columns(self) -> Iterator[str]:
        yield from FIRST
        if self._records.anomaly:
            yield from ALARM
        if self._records.readout.classes:
            yield from ("token", "probability")
        for name in self._records.names:
            yield from (name, f"{name} loss")
            yield from (f"{name} {part}" for part in self._records.parts)
            for horizon in self._records.horizons:
                yield from (f"{name} {part} +{horizon}" for part in self._records.parts)

    def _values(self, record: "Record") -> Iterator[Any]:
        yield from (record[name] for name in FIRST)
        if self._records.anomaly:
            yield from (record[name] for name in ALARM)
        if self._records.readout.classes:
            yield from record["likeliest"][0].values()
            return
        for channel in record["channels"].values():
            yield from (channel["value"], channel["loss"])
            yield from (channel[part] for part in self._records.parts)
            for horizon in self._records.horizons:
                yield from channel["ahead"][str(horizon)].values()


class CsvConfig(FileTable, frozen=True, kw_only=True, tag="csv"):
    def open(self, about: About) -> CsvSink:
        return CsvSink(self, about.records)


def row(values: Iterable[Any]) -> bytes:
    """A line of a file."""
    return (",".join(map(field, values)) + "\n").encode()


def field(value: Any) -> str:
    """A value: a number so that it is read back to the bit."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f'"{value.replace(chr(34), chr(34) * 2)}"' if QUOTED.search(value) else value
    return repr(value)


def different(columns: Iterable[str]) -> Iterator[str]:
    """The same, each once: where a channel is called as another column is, a ' stands behind it."""
    seen: set[str] = set()
    for column in columns:
        while column in seen:
            column += "'"
        seen.add(column)
        yield column


def line_ends(piece: bytes, quotes: int, most: int) -> list[int]:
    """Where the last lines of a piece end, `most` of them; quotes: how many have come before it."""
    found: list[int] = []
    end = len(piece)
    parts = piece.split(b'"')
    for k in range(len(parts) - 1, -1, -1):
        start = end - len(parts[k])
        if (quotes + k) % 2 == 0:
            at = end
            while len(found) < most and (at := piece.rfind(b"\n", start, at)) >= 0:
                found.append(at + 1)
            if len(found) == most:
                break
        end = start - 1
    return found[::-1]
