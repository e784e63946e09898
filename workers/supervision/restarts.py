"""How often workers were started again of late, and how long each recovery took."""

import time
from collections import deque

from streamrnn.workers.worker import GaveUp

RESTART_SPAN = 60.0  # seconds in which restarts are counted


class Restarts:
    """`count` each; a recovery takes from the first one to `recovered`."""

    def __init__(self) -> None:
        self.failures: deque[float] = deque()  # when they were, of late
        self.died = 0.0  # when a worker died from which the daemon has not recovered; 0 for none

    def count(self) -> None:
        """A worker has died, and all are to be started again."""
        now = time.monotonic()
        self.died = self.died or now
        self.failures.append(now)
        while now - self.failures[0] > RESTART_SPAN:
            self.failures.popleft()

    def too_many(self, most: int) -> bool:
        """Whether there were more than `most` of late."""
        return len(self.failures) > most

    def forget(self) -> None:
        """Count anew: what made them die is gone."""
        self.failures.clear()

    def check(self, most: int, reason: str) -> None:
        """Raise GaveUp if there were more than `most` of late; reason: why one more is needed."""
        if self.too_many(most):
            raise GaveUp(f"{reason}; given up after {len(self.failures) - 1} restarts in {RESTART_SPAN:.0f} s")

    def recovered(self) -> float | None:
        """All is as before: how many seconds that took, None where nothing had died."""
        if not self.died:
            return None
        seconds, self.died = time.monotonic() - self.died, 0.0
        return seconds
