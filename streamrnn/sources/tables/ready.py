"""Rows that were read and not taken yet, and when they are due."""

from streamrnn.kernels.columns import NO_TIME
from streamrnn.sources.frames import Frames
from streamrnn.sources.pace import Pace, RecordedPace
from streamrnn.sources.tables.rows import NOTHING, Rows


class Ready:
    """The rows of a text, taken one after the other: at a rate, or as far apart as their times are."""

    def __init__(self, pace: Pace | RecordedPace) -> None:
        self.rows, self.taken = NOTHING, 0
        self.time = NO_TIME  # of the row taken last
        self._pace = pace

    @property
    def place(self) -> tuple[int, int, int]:
        """Bytes and lines from the start of the text to the end of what was taken, and the time of the last row."""
        at = self.taken - 1
        end, lines = (int(self.rows.ends[at]), int(self.rows.lines[at])) if self.taken else (0, 0)
        return end, lines, self.time

    @property
    def left(self) -> int:
        return len(self.rows.frames) - self.taken

    def have(self, rows: Rows) -> None:
        """Go over to those rows."""
        self.rows, self.taken = rows, 0

    def go_on(self, time: int) -> None:
        """Forget them: others come next, behind a row of that time."""
        self.have(NOTHING)
        self.time = time

    def part(self, limit: int) -> Frames:
        """The next ones, at most `limit`, due or not."""
        return self.rows.frames.part(self.taken, self.taken + min(limit, self.left))

    def take(self, count: int) -> None:
        """Move behind that many."""
        frames = self.part(count)
        self.taken += len(frames)
        if isinstance(self._pace, Pace):
            self._pace.took(len(frames))
        elif frames.times is not None:
            self._pace.took(frames.times)
        if frames.times is not None and count:
            self.time = int(frames.times[-1])

    def delay(self) -> float:
        """Seconds until the next one is due; one must be left."""
        times = self.part(1).times
        if isinstance(self._pace, Pace):
            return self._pace.delay()
        return 0.0 if times is None else self._pace.delay(int(times[0]))

    def due(self, limit: int) -> int:
        """How many of the next ones are due, at most `limit`."""
        frames = self.part(limit)
        if isinstance(self._pace, Pace):
            return self._pace.due(len(frames))
        return len(frames) if frames.times is None else self._pace.due(frames.times)

    @property
    def at_once(self) -> int:
        """Most that may be taken before their time: those due in a second."""
        times = self.part(self.left).times
        if isinstance(self._pace, Pace):
            return self._pace.at_once
        return 1 if times is None else max(1, self._pace.at_once(times))
