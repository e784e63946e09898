"""What every kind of source has: a table of the config, and what the gate polls once that is opened."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

from streamrnn.model.tables import Input
from streamrnn.sources.frames import Frames
from streamrnn.tables import NonEmpty, Tagged

Position = Any  # a plain value, of what JSON has; None: the beginning


class SourceError(OSError):
    """A source that cannot be opened or read; the message is one line that says which and why."""


class LastingError(SourceError):
    """What comes next cannot be read, and never will be: the source has ended there."""


class Source:
    """Frames of the daemon's own. The gate polls it and never waits for it."""

    names: tuple[str, ...] = ()  # of the numbers in a vector
    trouble: str = ""  # why nothing comes although more should: what it reads is away, and it tries again; a line
    lost: str = ""  # what came while it was away and is not to be had any more, the newest such; a line
    acknowledges: bool = False  # what it reads from keeps only so much until that is known to be on the disk
    refused: int = 0  # records that were passed over because they are no frames
    refusal: str = ""  # why the newest of them is none; a line

    @property
    def ended(self) -> bool:
        """Whether no more is to come."""
        return False

    @property
    def position(self) -> Position:
        """Where it is, behind all that was read."""
        return None

    def go_to(self, position: Position) -> None:
        """Begin there: once before the first `read`, and none is received before. A run that is resumed goes on so.

        Nothing where what was read does not come again. Raises SourceError where that place is no longer to be had.
        """

    def delay(self) -> float:
        """Seconds until frames are due; 0 = now, inf = not before `fileno` is readable, or never (`ended`).

        Poll the descriptor only while it is inf: a rate makes frames wait although the descriptor is readable.
        """
        raise NotImplementedError

    def fileno(self) -> int | None:
        """A descriptor for poll(2), if it has one."""
        return None

    def read(self, limit: int) -> Frames:
        """At most `limit` frames that are due, perhaps none. Raises SourceError, and what is before is not lost."""
        raise NotImplementedError

    def durable(self, position: Position) -> None:
        """All up to that position is on the disk, and need never be given again."""

    def close(self) -> None:
        """Let go of what it reads."""


class Rereadable(Source, ABC):
    """A source that gives the same frames again from the same position: what of it comes next can be told beforehand.

    So its frames are not journalled, only their position and a checksum of them.
    """

    @property
    @abstractmethod
    def at_once(self) -> int:
        """Most frames that may be taken before their time: those due in a second."""

    @abstractmethod
    def peek(self, limit: int) -> Frames:
        """The frames behind `position`, at most `limit`, due or not; none where none is there. Raises SourceError.

        Asked again for as many or fewer it gives the same.
        """

    @abstractmethod
    def take(self, count: int) -> None:
        """Move `position` behind that many of the frames that the last `peek` gave."""

    @abstractmethod
    def due(self, limit: int) -> int:
        """How many of the frames that the last `peek` gave are due, at most `limit`."""

    def read(self, limit: int) -> Frames:
        frames = self.peek(self.due(limit))
        self.take(len(frames))
        return frames

    @abstractmethod
    def where(self, position: Position, count: int) -> str:
        """Which frames those are, in words."""


Problems = Iterator[tuple[str, str]]  # keys of the config, and what is wrong there


class SourceTable(Tagged, frozen=True, kw_only=True):
    """The table [source] of one kind, and what follows from it."""

    size_0: ClassVar[str] = ""  # what a size of 0 in the config stands for, in words, where this kind knows
    paths: ClassVar[tuple[str, ...]] = ("path",)  # keys that are paths, relative to the config's file

    stream: NonEmpty | None = None  # that its frames make; default: "source", of several "source 2" and so on

    @property
    def origin(self) -> str:
        """What its positions are of, in words: from another origin it is read from the beginning."""
        path = getattr(self, "path", None)
        return str(Path(path).absolute()) if path not in (None, "-") else f"{self.kind} {path or ''}".strip()

    @property
    def keyed(self) -> bool:
        """Whether its frames may be of several streams."""
        return False

    @property
    def line(self) -> str:
        """What it reads and how fast, in a line."""
        raise NotImplementedError

    def size(self) -> int:
        """The number that a size of 0 in the config stands for."""
        return 0

    def channels(self) -> list[str] | None:
        """What the numbers in its vectors are called, where this kind knows."""
        return None

    def units(self) -> dict[str, str]:
        """The units of those that have one, by name, where this kind knows."""
        return {}

    def completed(self, name: str, input: Input) -> Self:
        """The same with the defaults that follow from the daemon's name and what the network takes."""
        return self

    def problems(self, input: Input, predict: str) -> Problems:
        """What of the config does not fit it: the frames that the network takes, and what it predicts."""
        if predict == "target":
            yield "predict", f'must be "next" with a {self.kind} source: targets come only from clients'
        yield from self.misfits(input)

    def misfits(self, input: Input) -> Problems:
        """Why the network cannot take its frames, or it cannot be opened."""
        raise NotImplementedError

    def open(self) -> Source | None:
        """Begin to read; None where there is nothing to be read. Raises SourceError."""
        raise NotImplementedError
