"""Tables that come through a pipe: rows that come once, when they come."""

import math

from streamrnn.sources.frames import Frames
from streamrnn.sources.pace import Pace, RecordedPace
from streamrnn.sources.source import Source
from streamrnn.sources.tables.reader import Look, Reader
from streamrnn.sources.tables.tape import PipeTape


class PipedTable(Source):
    """The rows of standard input, a named pipe or a device. `look` as in Reader."""

    def __init__(self, descriptor: int, name: str, look: Look, pace: Pace | RecordedPace) -> None:
        self._tape = PipeTape(descriptor, name)
        self._reader = Reader(self._tape, look, pace)

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._reader.names

    @property
    def refused(self) -> int:  # type: ignore[override]
        return self._reader.refused

    @property
    def refusal(self) -> str:  # type: ignore[override]
        return self._reader.refusal

    @property
    def ended(self) -> bool:
        return self._reader.ended

    def fileno(self) -> int | None:
        return None if self._tape.whole else self._tape.descriptor

    def delay(self) -> float:
        ready = self._reader.ready
        if ready.left:
            return ready.delay()
        there = self._tape.is_readable or self._tape.whole or ready.rows.problem or ready.rows.used
        return 0.0 if there and not self.ended else math.inf

    def read(self, limit: int) -> Frames:
        """At most `limit` rows that are there and due. Raises SourceError."""
        self._reader.fill()
        frames = self._reader.part(self._reader.ready.due(limit))
        self._reader.ready.take(len(frames))
        return frames

    def close(self) -> None:
        self._tape.close()
        self._reader.ready.go_on(self._reader.ready.time)
