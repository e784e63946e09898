"""Text, byte by byte: of known length, or as it comes through a pipe."""

import fcntl
import math
import os
import select
import stat
import time

from streamrnn.model.tables import Input
from streamrnn.sources.frames import Frames, tokens
from streamrnn.sources.pace import Clock, Pace
from streamrnn.sources.source import Position, Problems, Rereadable, Source, SourceError, SourceTable
from streamrnn.tables import Count, NonEmpty, Rate

CHUNK = 1 << 16  # most bytes read at once


class _File:
    """A regular file, read in pieces: a map would end the process where the file is cut short."""

    def __init__(self, descriptor: int, path: str, size: int) -> None:
        self._descriptor, self.path, self._size = descriptor, path, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        wanted = part.stop - part.start
        try:
            piece = os.pread(self._descriptor, wanted, part.start)
        except OSError as error:
            raise SourceError(f"{self.path}: {_reason(error)} at byte {part.start}") from None
        if not piece and wanted:
            raise SourceError(f"{self.path}: was cut short while it was being read, at byte {part.start}")
        return piece

    def close(self) -> None:
        os.close(self._descriptor)


class TextSource(Rereadable):
    """A text of known length: `passes` times through (0 = for ever) at `rate` bytes a second (0 = at once)."""

    def __init__(self, text: bytes | _File, passes: int = 1, rate: float = 0.0, clock: Clock = time.monotonic) -> None:
        self.name = text.path if isinstance(text, _File) else "Python's help"
        self._text, self._pace = text, Pace(rate, clock)
        self._end = len(text) * passes if passes else math.inf
        self._position = 0

    @property
    def ended(self) -> bool:
        return self._position >= self._end or not len(self._text)

    def delay(self) -> float:
        return math.inf if self.ended else self._pace.delay()

    @property
    def position(self) -> int:
        return self._position

    def go_to(self, position: Position) -> None:
        self._position = position or 0

    def due(self, limit: int) -> int:
        return self._pace.due(limit)

    def peek(self, limit: int) -> Frames:
        """As tokens (n,); never beyond the end of a pass."""
        if self.ended:
            return Frames(tokens(b""))
        start = self._position % len(self._text)
        return Frames(tokens(self._text[start : start + min(limit, CHUNK, len(self._text) - start)]))

    def take(self, count: int) -> None:
        self._position += count
        self._pace.took(count)

    def where(self, position: Position, count: int) -> str:
        start = (position or 0) % max(len(self._text), 1)
        return f"{self.name}: bytes {start:,} to {start + count:,}"

    @property
    def at_once(self) -> int:
        return self._pace.at_once

    def close(self) -> None:
        if isinstance(self._text, _File):
            self._text.close()


class PipeSource(Source):
    """Bytes that come when they come: standard input, a named pipe, a device; `rate` bytes a second at most.

    It asks poll(2) before each read and leaves the descriptor blocking: a terminal's standard input shares its
    flags with standard output, which would then lose what it cannot print at once.
    """

    ended = False

    def __init__(self, descriptor: int, name: str, rate: float = 0.0, clock: Clock = time.monotonic) -> None:
        self._descriptor, self._name, self._pace = descriptor, name, Pace(rate, clock)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def delay(self) -> float:
        return self._pace.delay() if not self.ended and self._poll.poll(0) else math.inf

    def fileno(self) -> int | None:
        return None if self.ended else self._descriptor

    def read(self, limit: int) -> Frames:
        """At most `limit` bytes that are there and due, as tokens (n,). Raises SourceError."""
        if self.ended or not self._poll.poll(0):
            return Frames(tokens(b""))
        count = self._pace.due(min(limit, CHUNK))
        if not count:
            return Frames(tokens(b""))
        try:
            piece = os.read(self._descriptor, count)
        except BlockingIOError:
            return Frames(tokens(b""))
        except OSError as error:
            raise SourceError(f"{self._name}: {_reason(error)}") from None
        self.ended = not piece
        self._pace.took(len(piece))
        return Frames(tokens(piece))

    def close(self) -> None:
        self.ended = True
        if self._descriptor:  # standard input is not ours to close
            os.close(self._descriptor)


class TextConfig(SourceTable, frozen=True, tag="text"):
    path: NonEmpty | None = None  # `-` is standard input; default: the strings of pydoc_data.topics
    passes: Count = 1  # times through the file; 0 = for ever
    rate: Rate = 0.0  # frames per second; 0 = as fast as it learns

    @property
    def line(self) -> str:
        what = {None: "the topics of Python's help", "-": "standard input"}.get(self.path, self.path)
        pace = f"{self.rate:g} bytes a second" if self.rate else "as fast as it learns"
        times = {0: "over and over", 1: "once"}.get(self.passes, f"{self.passes} times")
        return f"{what}, {pace}" if self.path == "-" else f"{what}, {times}, {pace}"

    def misfits(self, input: Input) -> Problems:
        if (input.kind, input.size) != ("tokens", 256):
            yield "input", 'must be kind = "tokens", size = 256 to read text: the bytes are the tokens'
        if "\0" in (self.path or ""):
            yield "source.path", "holds a NUL character; take it out"

    def open(self) -> TextSource | PipeSource:
        return open_text(self.path, self.passes, self.rate)


def open_text(
    path: str | None, passes: int = 1, rate: float = 0.0, clock: Clock = time.monotonic
) -> TextSource | PipeSource:
    """The bytes of a file, of standard input (`-`), or of Python's own help texts (None).

    A named pipe or a device is read once, as its bytes come. Raises SourceError.
    """
    if path is None:
        from pydoc_data.topics import topics

        return TextSource("\n\n".join(topics.values()).encode(), passes, rate, clock)
    if path == "-":
        check_readable(0, "standard input")
        return PipeSource(0, "standard input", rate, clock)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # without O_NONBLOCK a named pipe waits for its writer
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: {_reason(error)}; give a file that can be read, or - for standard input") from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size:
        return TextSource(_File(descriptor, path, status.st_size), passes, rate, clock)
    if stat.S_ISDIR(status.st_mode):
        os.close(descriptor)
        raise SourceError(f"{path}: is a folder; give a file")
    return PipeSource(descriptor, path, rate, clock)


def check_readable(descriptor: int, name: str) -> None:
    """Raises SourceError where it is closed, or open for writing only."""
    try:
        is_readable = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY
    except OSError as error:
        raise SourceError(f"{name}: {_reason(error)}; open it, or give a file") from None
    if not is_readable:
        raise SourceError(f"{name}: is open for writing only; open it for reading, or give a file")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
