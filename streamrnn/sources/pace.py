"""When frames are due at a rate."""

import math
from collections.abc import Callable

Clock = Callable[[], float]
EARLY = 1e-6  # seconds by which a frame may come early: rounding must not send the gate back for a nanosecond


class Pace:
    """Frame k is due k / rate seconds after the first question. Whoever comes late catches up on at most a second."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self.rate, self._clock = rate, clock
        self._start: float | None = None
        self._given = 0

    def delay(self) -> float:
        """Seconds until the next frame is due."""
        return wait(-self._ahead() / self.rate) if self.rate else 0.0

    def due(self, limit: int) -> int:
        """How many frames may go out now, at most `limit`."""
        if not self.rate:
            return limit
        return min(limit, max(0, math.floor(self._ahead() + EARLY * self.rate) + 1))

    def took(self, count: int) -> None:
        """Count frames that have gone out."""
        self._given += count

    def _ahead(self) -> float:
        """By how many frames the clock is ahead of what was given."""
        now = self._clock()
        if self._start is None:
            self._start = now
        self._start = max(self._start, now - 1 - self._given / self.rate)
        return (now - self._start) * self.rate - self._given


def wait(seconds: float) -> float:
    """The time to wait until what is due in so many seconds."""
    return seconds if seconds > EARLY else 0.0
