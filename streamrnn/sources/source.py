"""What every kind of source has: a table of the config, and what the gate polls once that is opened."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from streamrnn.model.tables import Input
from streamrnn.sources.arrays import AnyFrames
from streamrnn.tables import Tagged


class SourceError(OSError):
    """A source that cannot be opened or read; the message is one line that says which and why."""


class Source:
    """Frames of the daemon's own. The gate polls it and never waits for it."""

    names: tuple[str, ...] = ()  # of the numbers in a vector

    @property
    def ended(self) -> bool:
        """Whether no more is to come."""
        return False

    def delay(self) -> float:
        """Seconds until frames are due; 0 = now, inf = not before `fileno` is readable, or never (`ended`).

        Poll the descriptor only while it is inf: a rate makes frames wait although the descriptor is readable.
        """
        raise NotImplementedError

    def fileno(self) -> int | None:
        """A descriptor for poll(2), if it has one."""
        return None

    def read(self, limit: int) -> AnyFrames:
        """At most `limit` frames that are due, perhaps none: int64 (n,) or float64 (n, size). Raises SourceError."""
        raise NotImplementedError

    def skip(self, n: int) -> None:
        """Pass over the first n frames, because a resumed run has seen them; nothing where they do not come again."""

    def close(self) -> None:
        """Let go of what it reads."""


class Rereadable(Source, ABC):
    """A source that gives the same frames again, by their position: what of it comes next can be told beforehand."""

    @property
    @abstractmethod
    def at_once(self) -> int:
        """Most frames that may be taken before their time: those due in a second."""

    @abstractmethod
    def peek(self, position: int, count: int) -> AnyFrames:
        """The next `count` frames behind that position, perhaps fewer; none at the end. Raises SourceError."""

    @abstractmethod
    def where(self, position: int, count: int) -> str:
        """Which frames those are, in words."""


Problems = Iterator[tuple[str, str]]  # keys of the config, and what is wrong there


class SourceTable(Tagged, frozen=True):
    """The table [source] of one kind, and what follows from it."""

    size_0: ClassVar[str] = ""  # what a size of 0 in the config stands for, in words, where this kind knows

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
