"""Files of records, one after the other, that are rotated: what is in them is whole after any death of the writer.

When a file would grow beyond `rotate` bytes it becomes PATH.1, what was that PATH.2, and so on. Its last record says
how far the writer was; a record that was only half written is cut off.
"""

import fcntl
import os
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

from msgspec import Meta

from streamrnn.sinks.sink import Problems, Sink, SinkError, SinkTable, reason
from streamrnn.storage import files
from streamrnn.tables import NonEmpty

if TYPE_CHECKING:
    from streamrnn.sinks.records import Record

PIECE = 1 << 20  # bytes read at once


class FileTable(SinkTable, frozen=True, kw_only=True):
    path: NonEmpty
    rotate: Annotated[int, Meta(ge=0, le=2**50)] = 2**26  # bytes of a file; 0 = any number
    keep: Annotated[int, Meta(ge=1, le=1000)] = 4  # rotated files, the oldest goes

    @property
    def origin(self) -> str:
        return f"{self.kind} {Path(self.path).absolute()}"

    @property
    def line(self) -> str:
        return self.path

    def problems(self) -> Problems:
        if "\0" in self.path:
            yield "path", "holds a NUL character; take it out"
        elif Path(self.path).is_dir():
            yield "path", f"must name a file, and {self.path} is a folder"


class FileSink(Sink):
    """Appends what `encode` makes of records; a kind of file says how one record ends and the next begins."""

    begins: bytes  # each file
    header: bytes = b""  # of each file, its first record

    def __init__(self, table: FileTable) -> None:
        self._table, self._path = table, Path(table.path)
        self._file, self._size = -1, 0

    def last(self, run: str) -> int | None:
        try:
            self._open()
            for path in (self._path, self._rotated(1)):  # right behind a rotation the file is empty
                if (record := self._last_of(path)) is not None:
                    return record[1] if record[0] == run else None
        except OSError as error:
            raise self._error(error) from None
        return None

    def write(self, records: "Sequence[Record]") -> int:
        piece: list[bytes] = []
        size = self._size
        try:
            for record in records:
                line = self.encode(record)
                if self._table.rotate and size > len(self.header) and size + len(line) > self._table.rotate:
                    self._append(b"".join(piece))
                    self._rotate()
                    piece, size = [], self._size
                piece.append(line)
                size += len(line)
            self._append(b"".join(piece))
        except OSError as error:
            with suppress(OSError):  # a full disk: no half line stays
                os.ftruncate(self._file, self._size)
            raise self._error(error) from None
        return len(records)

    def flush(self, seconds: float) -> bool:
        try:
            os.fsync(self._file)
        except OSError as error:
            raise self._error(error) from None
        return True

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @abstractmethod
    def encode(self, record: "Record") -> bytes:
        """A record, and what ends it."""

    @abstractmethod
    def last_record(self, file: BinaryIO) -> tuple[int, int]:
        """Where the last record that is whole begins and ends; both are 0 where there is none."""

    @abstractmethod
    def decode(self, record: bytes) -> tuple[str, int]:
        """Run and SEQ of a record. Raises ValueError, or one of `files.NOT_JSON`, if it is none."""

    def _open(self) -> None:
        """Without half a record at its end, and with this header."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SinkError(f"{self._path}: another sink writes to it") from None
        with open(self._path, "rb") as file:
            if not self.begins.startswith(file.read(len(self.begins))):
                raise SinkError(f"{self._path}: was written by something else: move it away, or name another file")
            self._size = self.last_record(file)[1]
            file.seek(0)
            fits = file.read(len(self.header)) == self.header
        os.ftruncate(self._file, self._size)
        if self._size and not fits:
            self._rotate()
        elif not self._size:
            self._append(self.header)
            files.flush_folder(self._path.parent)

    def _last_of(self, path: Path) -> tuple[str, int] | None:
        """Run and SEQ of the last record of a file, None where it has none."""
        if not path.exists():
            return None
        with open(path, "rb") as file:
            start, end = self.last_record(file)
            file.seek(start)
            record = file.read(end - start)
        if not record or (self.header and start == 0):
            return None
        try:
            return self.decode(record)
        except (ValueError, *files.NOT_JSON):
            raise SinkError(f"{path}: its last line is no record of a sink: move it away") from None

    def _append(self, data: bytes) -> None:
        written = 0
        while written < len(data):
            written += os.write(self._file, data[written:])
        self._size += len(data)

    def _rotate(self) -> None:
        """Begin a new file, and make each that there is one older; one that is missing stops that."""
        os.fsync(self._file)
        number = next((k for k in range(1, self._table.keep) if not self._rotated(k).exists()), self._table.keep)
        for k in range(number, 1, -1):
            os.replace(self._rotated(k - 1), self._rotated(k))
        os.replace(self._path, self._rotated(1))
        self.close()
        self._open()

    def _rotated(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _error(self, error: OSError) -> SinkError:
        return error if isinstance(error, SinkError) else SinkError(f"{self._path}: {reason(error)}")


def tail(file: BinaryIO, ends: int, end: bytes) -> list[int]:
    """Where the last `ends` of something in a file end, as far as there are so many; searched from its end."""
    found: list[int] = []
    place = file.seek(0, os.SEEK_END)
    while place and len(found) < ends:
        start = max(0, place - PIECE)
        file.seek(start)
        piece = file.read(place - start)
        at = len(piece)
        while len(found) < ends and (at := piece.rfind(end, 0, at)) >= 0:
            found.append(start + at + len(end))
        place = start
    return found[::-1]
