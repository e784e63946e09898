"""Which file comes after which: one alone, those of a folder, or those that a growing file is rotated into."""

import os
import re
from contextlib import suppress
from typing import NamedTuple
from zlib import crc32

from streamrnn.kernels.columns import NO_TIME
from streamrnn.sources.source import SourceError
from streamrnn.sources.tables.files import File


class Place(NamedTuple):
    """Where a row begins, in plain values: a source's position."""

    file: str  # its name, in its folder
    offset: int = 0  # bytes
    line: int = 1  # its number
    check: int = 0  # of the last bytes before
    inode: int = 0
    time: int = NO_TIME  # of the row before


class Trail:
    """Files in their order, at a path."""

    ends = True  # whether no more comes where none is next
    trouble = ""  # what is away, in a line
    lost = ""  # what of it was lost, in a line

    def __init__(self, path: str) -> None:
        self.path = path

    def first(self) -> File | None:
        """The file to begin with; None where it is still to come. Raises SourceError."""
        return opened(self.path)

    def next(self, file: File) -> File | None:
        """The one behind a file that was read to its end. Raises SourceError."""
        if file.is_another_now():
            raise SourceError(f"{file.path}: was cut short while it was being read, at byte {file.offset}")
        return None

    def find(self, place: Place) -> File | None:
        """The file of that place, there; None where it is still to come. Raises SourceError where it is gone."""
        return _found(self.path, place)


class Folder(Trail):
    """Its files by their names, 2 before 10; hidden ones are none of them."""

    def __init__(self, path: str, follow: bool) -> None:
        super().__init__(path)
        self.ends = not follow

    def first(self) -> File | None:
        file = self._behind("")
        if not file and self.ends:
            raise SourceError(f"{self.path}: has no files in it; put some there, or set follow = true to wait for them")
        return file

    def next(self, file: File) -> File | None:
        super().next(file)
        return self._behind(file.name)

    def find(self, place: Place) -> File | None:
        path = os.path.join(self.path, place.file)
        if self.ends or os.path.exists(path):
            return _found(path, place)
        self.lost = f"{path}: is gone, and was read up to line {place.line}; goes on with the next file"
        return self._behind(place.file)

    def _behind(self, name: str) -> File | None:
        for each in sorted(self._names(), key=_natural):
            path = os.path.join(self.path, each)
            if _natural(each) > _natural(name) and (self.ends or _size(path)):
                return opened(path)
        return None

    def _names(self) -> list[str]:
        try:
            with os.scandir(self.path) as entries:
                return [entry.name for entry in entries if entry.name[0] != "." and entry.is_file()]
        except OSError as error:
            raise SourceError(f"{self.path}: {error.strerror}; give a folder that can be read") from None


class Growing(Trail):
    """A file that grows, is put away under another name when it is long, and begins anew."""

    ends = False

    def first(self) -> File | None:
        try:
            file, self.trouble = File(self.path), ""
        except FileNotFoundError:
            self.trouble = f"{self.path}: is not there; waits for it"
            return None
        return file

    def next(self, file: File) -> File | None:
        """The oldest that was changed since; or the same, where it was cut short or written over."""
        if file.is_another_now():
            self.lost = f"{file.path}: was cut short or written over at byte {file.offset}; begun at its start anew"
            return opened(file.path)
        if _inode(self.path) == file.inode:
            return None
        end = Place(file.name, file.offset, check=crc32(file.tail))
        for path in self._put_away(since=file.changed):
            if _inode(path) != file.inode and not _is_there(path, end):
                with suppress(SourceError):  # it was put away once more
                    return opened(path)
        following = self.first()
        return following if following and following.size else None  # as long as it is empty the old one is written to

    def find(self, place: Place) -> File | None:
        paths = [self.path, *reversed(self._put_away())]
        for path in sorted(paths, key=lambda path: _inode(path) != place.inode):
            with suppress(SourceError):
                return _found(path, place)
        file = self.first()
        self.lost = (
            f"{self.path}: what was read up to line {place.line} is no longer there, nor what may have come behind; "
            "goes on at the start of what is there now"
        )
        return file

    def _put_away(self, since: int = 0) -> list[str]:
        """Those it was rotated into and that were changed since then, the oldest first."""
        folder, name = os.path.split(os.path.abspath(self.path))
        stem, ending = map(re.escape, os.path.splitext(name))
        pattern = re.compile(rf"{re.escape(name)}[.~_-].*|{stem}[._-][0-9._T:Z-]+{ending}(\.gz)?")
        found = []
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if pattern.fullmatch(entry.name) and entry.is_file() and (at := entry.stat().st_mtime_ns) >= since:
                    found.append((at, entry.path))
        return [path for _, path in sorted(found)]


def trail(path: str, follow: bool) -> Trail:
    """That of a path."""
    if os.path.isdir(path):
        return Folder(path, follow)
    return Growing(path) if follow else Trail(path)


def opened(path: str) -> File:
    """The file at a path. Raises SourceError."""
    try:
        return File(path)
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file; give one that can be read, or - for standard input") from None


def _found(path: str, place: Place) -> File:
    """The file there, at that place."""
    file = opened(path)
    try:
        if file.go_to(place.offset) and crc32(file.tail) == place.check:
            return file
        raise SourceError(
            f"{path}: is not what was read before: it has changed before byte {place.offset}, in line {place.line}; "
            "give the file as it was, or begin anew with --new"
        )
    except SourceError:
        file.close()
        raise


def _is_there(path: str, place: Place) -> bool:
    with suppress(SourceError):
        _found(path, place).close()
        return True
    return False


def _inode(path: str) -> int | None:
    with suppress(OSError):
        return os.stat(path).st_ino
    return None


def _size(path: str) -> int:
    with suppress(OSError):
        return os.stat(path).st_size
    return 0


def _natural(name: str) -> tuple[list[str | int], str]:
    """By which names are sorted: numbers in them by their size."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name
