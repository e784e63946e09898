"""A clock that stands still while its process does not run: stopped by a signal, or on a machine that sleeps."""

import time

LONGEST_STEP = 0.2  # seconds between two looks that count; whoever looks more seldom did not run


class RunningClock:
    """`seconds` that this process has run, as of the last `look`. To be looked at several times a second."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._looked = time.monotonic()

    def look(self) -> float:
        """Read it anew."""
        now = time.monotonic()
        self.seconds += min(now - self._looked, LONGEST_STEP)
        self._looked = now
        return self.seconds
