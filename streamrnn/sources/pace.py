"""When frames are due: at a rate, or as they were recorded."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamrnn.sources.frames import Times

Clock = Callable[[], float]
AT_ONCE = 4096  # frames: after a failure all of them are taken again before new checkpoints are begun
NANOSECONDS, LATEST = 10**9, 2**63 - 1  # in a second; and the latest time
EARLY = 1e-6  # seconds by which a frame may come early: rounding must not send the gate back for a nanosecond


class Pace:
    """Frame k is due k / rate seconds after the first question. Whoever comes late catches up on at most a second."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self.rate, self._clock = rate, clock
        self._start: float | None = None
        self._given = 0

    @property
    def at_once(self) -> int:
        """Most frames that may be taken before their time: those due in a second."""
        return min(AT_ONCE, max(1, int(self.rate))) if self.rate else AT_ONCE

    def delay(self) -> float:
        """Seconds until the next frame is due."""
        return wait(-self._ahead() / self.rate) if self.rate else 0.0

    def due(self, limit: int) -> int:
        """How many frames may go out now, at most `limit`."""
        if not self.rate:
            return limit
        return min(limit, max(0, math.floor(self._ahead() + EARLY * self.rate) + 1))

    def took(self, count: int) -> None:
        """Count frames that have gone out; those before the first question were due before."""
        if self._start is not None:
            self._given += count

    def _ahead(self) -> float:
        """By how many frames the clock is ahead of what was given."""
        now = self._clock()
        if self._start is None:
            self._start = now
        self._start = max(self._start, now - 1 - self._given / self.rate)
        return (now - self._start) * self.rate - self._given


class RecordedPace:
    """Frames come as far apart as their times are, `speed` times as fast; one whose time goes back comes at once.

    Times are in nanoseconds. Whoever comes late catches up on at most a second.
    """

    def __init__(self, speed: float, clock: Clock) -> None:
        self.speed, self._clock = speed, clock
        self._start: float | None = None  # when frames of the first one's time are due
        self._first = self._latest = 0

    def delay(self, time: int) -> float:
        """Seconds until the next frame, of that time, is due."""
        return wait(-self._ahead(time))

    def due(self, times: "Times") -> int:
        """How many of the next frames, of those times (n,), may go out now."""
        if not len(times) or (ahead := self._ahead(int(times[0]))) < -EARLY:
            return 0
        return self._until(times, max(self._latest, int(times[0])) + self._recorded(ahead + EARLY))

    def at_once(self, times: "Times") -> int:
        """How many of the next frames may be taken before their time: those due in a second."""
        return self._until(times, int(times[0]) + self._recorded(1.0)) if len(times) else 1

    def took(self, times: "Times") -> None:
        """Note frames that have gone out."""
        if len(times):
            self._latest = max(self._latest, int(times.max()))

    def _ahead(self, time: int) -> float:
        """By how many seconds the clock is ahead of the next frame."""
        now = self._clock()
        if self._start is None:
            self._start, self._first, self._latest = now, time, time
        after = (max(self._latest, time) - self._first) / NANOSECONDS / self.speed
        self._start = max(self._start, now - 1 - after)
        return now - self._start - after

    def _recorded(self, seconds: float) -> int:
        """Nanoseconds of the recording in so many seconds."""
        return int(seconds * self.speed * NANOSECONDS)

    def _until(self, times: "Times", last: int) -> int:
        """How many there are up to the first that is later."""
        late = times > min(last, LATEST)
        return int(late.argmax()) if late.any() else len(times)


def wait(seconds: float) -> float:
    """The time to wait until what is due in so many seconds."""
    return seconds if seconds > EARLY else 0.0
