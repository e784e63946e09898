"""Rows in the order of their times, where some come too early by a few rows."""

import math
from collections import deque
from heapq import heappop, heappush
from typing import NamedTuple

from streamrnn.kernels.columns import NO_TIME
from streamrnn.sources.frames import Frames, joined
from streamrnn.sources.source import Position, Rereadable

AT_ONCE = 4096  # rows


class Held(NamedTuple):
    """A row that was read and has not been taken."""

    time: int
    number: int  # in the order in which they were read, which that of equal times is
    frame: Frames
    before: Position  # of the source, before it was read


class Sorted(Rereadable):
    """The rows of another source: of `window` + 1 that are there, the one with the earliest time comes next.

    One that comes later than that is given in its turn, out of order. A row without a time comes as soon as those
    before it. The position is that of the source before the first row that has not been taken, and which of the rows
    behind that have been.
    """

    def __init__(self, source: Rereadable, window: int) -> None:
        self._source, self._window = source, window
        self.go_to(None)

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._source.names

    @property
    def trouble(self) -> str:  # type: ignore[override]
        return self._source.trouble

    @property
    def lost(self) -> str:  # type: ignore[override]
        return self._source.lost

    @property
    def refused(self) -> int:  # type: ignore[override]
        return self._source.refused

    @property
    def refusal(self) -> str:  # type: ignore[override]
        return self._source.refusal

    @property
    def ended(self) -> bool:
        return self._source.ended and not self._heap and not self._ready

    @property
    def position(self) -> Position:
        held = [*self._heap, *self._ready]
        if not held:
            return [self._source.position, []]
        first = min(held, key=lambda row: row.number)
        return [first.before, sorted(number - first.number for number in self._taken if number > first.number)]

    def go_to(self, position: Position) -> None:
        start, taken = position or (None, [])
        if position:
            self._source.go_to(start)
        self._heap: list[Held] = []
        self._ready: deque[Held] = deque()
        self._read = 0  # rows
        self._taken: set[int] = set(taken)  # numbers of those behind the first that has not been

    def delay(self) -> float:
        if self.ended:
            return math.inf
        return 0.0 if self._ready or self._source.ended else self._source.delay()

    @property
    def at_once(self) -> int:
        return AT_ONCE

    def peek(self, limit: int) -> Frames:
        while len(self._ready) < limit and self._pull():
            pass
        rows = [self._ready[k].frame for k in range(min(limit, len(self._ready)))]
        return joined(rows) if rows else self._source.peek(0)

    def take(self, count: int) -> None:
        for _ in range(count):
            self._taken.add(self._ready.popleft().number)
        first = min((row.number for row in (*self._heap, *self._ready)), default=self._read)
        self._taken = {number for number in self._taken if number > first}

    def due(self, limit: int) -> int:
        return len(self.peek(limit))

    def where(self, position: Position, count: int) -> str:
        return self._source.where(position[0] if position else None, count)

    def close(self) -> None:
        self._source.close()

    def _pull(self) -> bool:
        """Have one more row ready, or one more held; whether there was one."""
        before, frame = self._source.position, self._source.peek(1)
        if len(frame):
            self._source.take(1)
            number, self._read = self._read, self._read + 1
            if number not in self._taken:
                time = NO_TIME if frame.times is None else int(frame.times[0])
                heappush(self._heap, Held(time, number, frame, before))
        elif not (self._source.ended and self._heap):
            return False
        if self._heap and (len(self._heap) > self._window or not len(frame)):
            self._ready.append(heappop(self._heap))
        return True
