"""The gate's durable log: what it lets in is written here, in order, before it goes down the pipeline.

It is a folder of segments, files that are only appended to, each named by the number of its first record. A record is
one write, which outlives the death of any process. A thread flushes records to the disk behind the writes: soon where
somebody waits or much has been written, else once a second, because each flush writes a whole page of the disk
however little is new; `durable` tells how far. Records are removed by removing whole segments.

    segment  MAGIC, then a record with the run's name, then the records
    record   length and crc32 (begun with the record's number), 4 bytes each, and the data

The data of a segment's records is one zstd stream, flushed at the end of each, so that small records share what those
before have in common. A record that is cut short or damaged at the end of the newest segment was being written when the
power went; anywhere else it is an error.
"""

import fcntl
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

import zstandard

from streamrnn.storage.files import WRITING, flush_folder, write_file
from streamrnn.workers.worker import Failure

KIND = b"srnnjrn"
MAGIC = KIND + b"3"
HEAD = struct.Struct("<II")
SUFFIX = ".segment"
NAMES = f"[0-9]*{SUFFIX}"
WAIT = 5.0  # seconds for another process to let go of the folder
LAZY = 1.0  # seconds until what was written goes to the disk when nobody waits for it,
MANY = 1 << 15  # or so many bytes
LARGEST = 1 << 22  # bytes; then a record begins another segment
COMPRESSION = zstandard.ZstdCompressionParameters.from_level(
    1, window_log=18, write_checksum=False, write_content_size=False
)


class JournalFull(OSError):
    """There is no room for another record on the disk."""


class Contents(NamedTuple):
    """What is in the file of a segment."""

    run: bytes
    records: list[bytes]  # still compressed
    length: int  # bytes up to the end of the last whole record
    whole: bool  # nothing is behind that


def framed(number: int, data: bytes) -> bytes:
    """A record's bytes in a segment."""
    return HEAD.pack(len(data), zlib.crc32(data, number & 0xFFFFFFFF)) + data


def read_segment(path: Path) -> Contents | None:
    """What a segment holds; None where its beginning is damaged. Raises Failure where it is of another version."""
    data, first = path.read_bytes(), number_of(path)
    if data.startswith(KIND) and data[len(KIND) : len(MAGIC)].isdigit() and not data.startswith(MAGIC):
        raise Failure(f"{path} was written by another version: stop the daemon with that one, then remove it")
    found: list[bytes] = []
    at = len(MAGIC)
    while data.startswith(MAGIC) and at + HEAD.size <= len(data):
        length, checksum = HEAD.unpack_from(data, at)
        piece = data[at + HEAD.size : at + HEAD.size + length]
        number = first + max(len(found) - 1, 0)  # the run's name is checked as the first record is
        if not length or len(piece) < length or zlib.crc32(piece, number & 0xFFFFFFFF) != checksum:
            break
        found.append(piece)
        at += HEAD.size + length
    return Contents(found[0], found[1:], at, at == len(data)) if found else None


def number_of(path: Path) -> int:
    """Of a segment's first record."""
    return int(path.name.removesuffix(SUFFIX))


class Journal:
    """Records numbered from 1.

    run: the name of the run whose records they are; those of another run are removed. first: the number that the first
    record gets at least. Raises Failure where another process has the journal, or records from `first` on are damaged.
    """

    def __init__(self, path: Path, run: str, first: int) -> None:
        self.path, self._run = path, run.encode()
        if path.is_file():
            raise Failure(f"{path} was written by an earlier version: stop the daemon with that one, then remove it")
        path.mkdir(0o700, exist_ok=True)
        flush_folder(path.parent)
        self._folder = held(path)
        self._segments: list[Path] = []  # those before the one that is written
        self._kept = self._size = 0  # bytes of those, and of that one
        self._path, self._first, self._descriptor = path, 0, -1  # of that one
        self._torn = False  # the last write has failed
        self.last = 0
        self._flushing = threading.Lock()
        try:
            self._find(first)
        except (Failure, OSError):
            os.close(self._folder)
            raise
        self.durable = self.last
        self.woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # readable when `durable` has changed
        self._written, self._hurried = threading.Event(), threading.Event()
        self._unflushed = 0  # bytes
        self._error: OSError | None = None
        self._closing = False
        self._flusher = threading.Thread(target=self._flush_behind, name="journal", daemon=True)
        self._flusher.start()

    def _find(self, first: int) -> None:
        """See what is there, down to a gap or to damage that does not matter any more, and begin a new segment."""
        for path in self.path.glob(f"*{WRITING}"):
            path.unlink()
        following = 0  # the number that must come behind a segment
        for path in sorted(self.path.glob(NAMES), reverse=True):
            found = read_segment(path)
            if found and found.run != self._run:
                path.unlink()
                continue
            if not found or (following and not found.whole):
                if 0 < following <= first:
                    break
                raise Failure(
                    f"{path} is damaged: put it back as it was, or give up what came since a checkpoint: "
                    "streamrnn checkpoints rollback"
                )
            if following and number_of(path) + len(found.records) != following:
                break
            if not following:
                cut_off(path, found.length)
                self.last = number_of(path) + len(found.records) - 1
            following = number_of(path)
            self._kept += found.length
            self._segments.insert(0, path)
        if self.last < first - 1:  # the end is missing: what is there must not be taken for what comes before the next
            self._segments, self._kept, self.last = [], 0, first - 1
        if self._segments and number_of(self._segments[-1]) > self.last:  # it is empty: the new one takes its place
            self._kept -= self._segments.pop().stat().st_size
        self._begin()
        if self.begins <= first:  # else what is missing may be put back
            self._remove_before()

    @property
    def begins(self) -> int:
        """Records before that one are gone."""
        return number_of(self._segments[0]) if self._segments else self._first

    def _begin(self) -> None:
        """Begin a segment; those before are on the disk then."""
        if self._descriptor >= 0:
            self._mend()
            self.flush()
        path = self.path / f"{self.last + 1:020d}{SUFFIX}"
        writing, beginning = path.with_name(path.name + WRITING), MAGIC + framed(self.last + 1, self._run)
        write_file(writing, beginning)
        os.replace(writing, path)
        flush_folder(self.path)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        with self._flushing:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                if self._first <= self.last:
                    self._segments.append(self._path)
                    self._kept += self._size
            self._descriptor, self._path, self._first, self._size = descriptor, path, self.last + 1, len(beginning)
        self._torn = False
        self._compressor = zstandard.ZstdCompressor(compression_params=COMPRESSION).compressobj()

    def _mend(self) -> None:
        """Remove what a write that failed has left."""
        if self._torn:
            os.ftruncate(self._descriptor, self._size)

    def append(self, record: bytes, soon: bool = True) -> int:
        """Write a record of at least a byte, safe from the death of any process; its number.

        Raises JournalFull, and nothing changed.

        soon: it is to be on the disk within a second; else with the next that is, or when `hurry` says.
        """
        if self._error:
            raise self._error
        try:
            if self._torn or self._size >= LARGEST:
                self._begin()
            self._torn = True
            data = framed(self.last + 1, self._compressor.compress(record) + self._compressor.flush(FLUSH))
            if os.write(self._descriptor, data) < len(data):
                raise OSError("only a part was written: the disk is full")
        except OSError as error:
            with suppress(OSError):  # `_begin` tries again
                self._mend()
            raise JournalFull(f"{self.path}: {error.strerror or error}") from error
        self._torn = False
        self._size += len(data)
        self.last += 1
        self._unflushed += len(data)
        if soon:
            self._written.set()
        if self._unflushed >= MANY:
            self.hurry()
        return self.last

    def size(self) -> int:
        """Bytes that the records take."""
        return self._kept + self._size

    def after(self, number: int) -> Iterator[tuple[int, bytes]]:
        """The records behind that one, with their numbers. Raises Failure where a segment has been damaged since."""
        last, segments = self.last, [*self._segments, self._path]
        for path, following in zip(segments, [*map(number_of, segments[1:]), last + 1], strict=True):
            if following <= number + 1:
                continue
            found, first = read_segment(path), number_of(path)
            if not found or len(found.records) < following - first:
                raise Failure(f"{path} is damaged")
            stream = zstandard.ZstdDecompressor().decompressobj()
            for k, piece in enumerate(found.records[: following - first], first):
                record = stream.decompress(piece)
                if k > number:
                    yield k, record

    def turn(self) -> None:
        """Begin a segment, so that the records up to now can be removed by themselves. Raises JournalFull."""
        if self._first > self.last:
            return
        try:
            self._begin()
        except OSError as error:
            raise JournalFull(f"{self.path}: {error.strerror or error}") from error

    def cut(self, number: int) -> None:
        """Remove the segments whose records are all up to that one. Raises JournalFull where there is no room even for
        the next segment, whose name says where the journal begins."""
        if number >= self.last:
            self.turn()
        while self._segments and ([*map(number_of, self._segments[1:]), self._first])[0] <= number + 1:
            self._kept -= self._segments.pop(0).stat().st_size
        self._remove_before()

    def _remove_before(self) -> None:
        for path in self.path.glob(NAMES):
            if number_of(path) < self.begins:
                path.unlink()

    def flush(self) -> None:
        """Bring all that was written to the disk, and return then."""
        with self._flushing:
            written, self._unflushed = self.last, 0
            if written > self.durable:
                os.fdatasync(self._descriptor)
                self.durable = written

    def _flush_behind(self) -> None:
        while not self._error:
            self._written.wait()
            self._hurried.wait(LAZY)
            if self._closing:
                return
            self._written.clear()
            self._hurried.clear()
            try:
                self.flush()
            except OSError as error:
                self._error = error
            os.eventfd_write(self.woken, 1)

    def hurry(self) -> None:
        """Somebody waits for what has been written to be durable."""
        if self.durable < self.last:
            self._hurried.set()
            self._written.set()

    def heard(self) -> None:
        """Note that `woken` has been seen. Raises OSError where the disk does not take what was written."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.woken)
        if self._error:
            raise self._error

    def close(self) -> None:
        """Flush, and let go of the folder."""
        self._closing = True
        self._written.set()
        self._hurried.set()
        self._flusher.join()
        self.flush()
        for descriptor in (self._descriptor, self._folder, self.woken):
            os.close(descriptor)


FLUSH = zstandard.COMPRESSOBJ_FLUSH_BLOCK


def held(folder: Path) -> int:
    """A descriptor that holds a folder until it is closed or the process dies. Raises Failure."""
    descriptor, until = os.open(folder, os.O_RDONLY | os.O_CLOEXEC), time.monotonic() + WAIT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(descriptor)
                raise Failure(f"{folder} is in use by another process") from None
            time.sleep(0.01)


def cut_off(path: Path, length: int) -> None:
    """Remove what is behind that many bytes of a file; the rest is on the disk then."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, length)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class NoJournal:
    """What keeps nothing: whatever was let in behind the last checkpoint is lost with the workers.

    Raises Failure if there is a journal of that run whose records no checkpoint holds; another one is removed, or it
    would be taken for what came since, should the run go on with it.
    """

    def __init__(self, path: Path, run: str, first: int) -> None:
        if path.exists():
            kept = Journal(path, run, first)
            kept.close()
            if kept.last >= first:
                raise Failure(f"{path} has frames that no checkpoint holds: first go on with journal.enabled = true")
            rmtree(path)
        self.path, self.begins, self.last = path, first, first - 1
        self.woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # never readable

    @property
    def durable(self) -> int:
        return self.last

    def append(self, record: bytes, soon: bool = True) -> int:
        self.last += 1
        return self.last

    def size(self) -> int:
        return 0

    def after(self, number: int) -> Iterator[tuple[int, bytes]]:
        return iter(())

    def cut(self, number: int) -> None:
        self.begins = max(self.begins, number + 1)

    def flush(self) -> None:
        pass

    turn = hurry = heard = flush

    def close(self) -> None:
        os.close(self.woken)
