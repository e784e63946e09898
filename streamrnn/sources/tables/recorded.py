"""Tables in files and folders: rows that can be read again, from any of them on."""

import math
import time

from streamrnn.sources.frames import Frames
from streamrnn.sources.pace import Clock, Pace, RecordedPace
from streamrnn.sources.source import Position, Rereadable
from streamrnn.sources.tables.reader import Look, Reader
from streamrnn.sources.tables.tape import FileTape
from streamrnn.sources.tables.trail import Place, Trail

LOOK_AGAIN = 0.2  # seconds


class RecordedTable(Rereadable):
    """The rows of a trail of files. `look` as in Reader. Raises SourceError where there are none."""

    def __init__(self, trail: Trail, look: Look, pace: Pace | RecordedPace, clock: Clock = time.monotonic) -> None:
        self._trail, self._tape, self._clock = trail, FileTape(trail), clock
        self._reader = Reader(self._tape, look, pace)
        self._again = -math.inf  # when to look for more
        self._reader.know()

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._reader.names

    @property
    def units(self) -> dict[str, str]:
        """Those of channels that have one."""
        return self._reader.table.units if self._reader.table else {}

    @property
    def refused(self) -> int:  # type: ignore[override]
        return self._reader.refused

    @property
    def refusal(self) -> str:  # type: ignore[override]
        return self._reader.refusal

    @property
    def trouble(self) -> str:  # type: ignore[override]
        return self._trail.trouble

    @property
    def lost(self) -> str:  # type: ignore[override]
        return self._trail.lost

    @property
    def ended(self) -> bool:
        return self._reader.ended

    @property
    def position(self) -> Position:
        """See `streamrnn.sources.tables.trail.Place`."""
        return list(self._tape.place(*self._reader.ready.place))

    def go_to(self, position: Position) -> None:
        self._again = -math.inf
        if position and (place := Place(*position)).file:
            self._tape.go_to(place)
            self._reader.ready.go_on(place.time)
            self._reader.know()

    def delay(self) -> float:
        if self.ended:
            return math.inf
        return self._reader.ready.delay() if self._reader.ready.left else max(0.0, self._again - self._clock())

    @property
    def at_once(self) -> int:
        return self._reader.ready.at_once

    def peek(self, limit: int) -> Frames:
        self._fill()
        return self._reader.part(limit)

    def take(self, count: int) -> None:
        self._reader.ready.take(count)

    def due(self, limit: int) -> int:
        self._fill()
        return self._reader.ready.due(limit)

    def where(self, position: Position, count: int) -> str:
        place = Place(*position) if position else Place(self._tape.path)
        return f"{place.file}: {count:,} rows from line {place.line:,} on"

    def close(self) -> None:
        self._tape.close()

    def _fill(self) -> None:
        """See that rows are left, if there are more; look for them only when it is time to. Raises SourceError."""
        if not self._reader.ready.left and self._again <= self._clock() and not self._reader.fill():
            self._again = self._clock() + LOOK_AGAIN
