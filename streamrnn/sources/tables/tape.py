"""Text as it is read: out of files in their order, with the place of each row in it, or out of a pipe."""

import os
import select
from abc import ABC, abstractmethod
from zlib import crc32

from streamrnn.sources.source import SourceError
from streamrnn.sources.tables.files import CHUNK, TAIL, File, reason
from streamrnn.sources.tables.trail import Place, Trail, opened

TOP = 1 << 18  # bytes from which it is found how a table is written


class Tape(ABC):
    """`text` is what was read and not dropped, of one file."""

    def begin(self, line: int = 1) -> None:
        """Nothing of a file has been read."""
        self.text, self.line = b"", line  # the number of its first line
        self.whole = False  # whether no more of the file comes
        self.fresh = True  # whether what stands above the rows is still to come

    @property
    @abstractmethod
    def path(self) -> str:
        """Of the file."""

    @property
    def ended(self) -> bool:
        """Whether no more text is to come, of any file."""
        return self.whole and not self.text

    def start(self) -> bool:
        """Begin with the first file; whether it is there. Raises SourceError."""
        return True

    @abstractmethod
    def top(self) -> tuple[bytes, bool]:
        """The text at the top of the file, and whether that is all of it. Raises SourceError."""

    @abstractmethod
    def more(self) -> bool:
        """Read more of the file; whether more was there. Raises SourceError."""

    def turn(self) -> bool:
        """Go over to the next file, behind all of one; whether there is one."""
        return False

    def drop(self, count: int, lines: int) -> None:
        """Forget the first bytes of the text, which have so many lines."""
        self.text, self.line = self.text[count:], self.line + lines

    @abstractmethod
    def close(self) -> None:
        """Close what is open."""


class FileTape(Tape):
    """The text of a trail of files."""

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self._file: File | None = None  # None: it is still to come
        self._next: File | None = None
        self._turn_to(None)

    @property
    def path(self) -> str:
        return self._file.path if self._file else self._trail.path

    @property
    def ended(self) -> bool:
        return super().ended and self._trail.ends and not self._next

    def start(self) -> bool:
        if not self._file:
            self._turn_to(self._trail.first())
        return self._file is not None

    def go_to(self, place: Place) -> None:
        """Go on there. Raises SourceError."""
        file = self._trail.find(place)
        self._turn_to(file, place.line if file and file.offset == place.offset else 1)

    def place(self, count: int, lines: int, time: int) -> Place:
        """That of what stands behind the first `count` bytes of the text."""
        file = self._file
        if not file:
            return Place("")
        check = crc32(self._before(count))
        return Place(file.name, self._offset + count, self.line + lines, check, file.inode, time)

    def top(self) -> tuple[bytes, bool]:
        file, text = opened(self.path), b""
        try:
            while len(text) < TOP and (piece := file.read()):
                text += piece
        finally:
            file.close()
        return text, self._trail.ends and not piece

    def more(self) -> bool:
        assert self._file
        if not self._waits and self._read():
            return True
        following = self._trail.next(self._file)
        if following and following.inode == self._file.inode:
            self._turn_to(following)
            return self._read()
        if self._read():  # before the next one was begun
            if following:
                following.close()
            return True
        if following or self._trail.ends:
            self._file.check_end()
            self.whole, self._next = True, following
        return False

    def turn(self) -> bool:
        if not (super().ended and self._next):
            return False
        self._turn_to(self._next)
        return True

    def drop(self, count: int, lines: int) -> None:
        self._tail = self._before(count)
        self._offset += count
        super().drop(count, lines)

    def close(self) -> None:
        for file in (self._file, self._next):
            if file:
                file.close()
        self._file = self._next = None

    def _before(self, count: int) -> bytes:
        """The last bytes before that one of the text."""
        return (self._tail + self.text[max(0, count - TAIL) : count])[-TAIL:]

    def _turn_to(self, file: File | None, line: int = 1) -> None:
        self.begin(line)
        self.fresh = file is not None and not file.offset
        if self._file:
            self._file.close()
        self._file, self._next, self._waits = file, None, False
        self._offset, self._tail = (file.offset, file.tail) if file else (0, b"")  # of the text, and before it

    def _read(self) -> bool:
        assert self._file
        piece = self._file.read()
        self.text += piece
        self._waits = not piece
        return bool(piece)


class PipeTape(Tape):
    """What comes through a descriptor. It asks poll(2) before each read and leaves it blocking, as PipeSource."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor, self._name = descriptor, name
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self.begin()

    @property
    def path(self) -> str:
        return self._name

    @property
    def is_readable(self) -> bool:
        """Whether something is there, be it the end."""
        return not self.whole and bool(self._poll.poll(0))

    def top(self) -> tuple[bytes, bool]:
        return self.text, self.whole

    def more(self) -> bool:
        if not self.is_readable:
            return False
        try:
            piece = os.read(self.descriptor, CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            raise SourceError(f"{self.path}: {reason(error)}") from None
        self.text += piece
        self.whole = not piece
        return bool(piece)

    def close(self) -> None:
        self.text, self.whole = b"", True
        if self.descriptor:  # standard input is not ours to close
            os.close(self.descriptor)
