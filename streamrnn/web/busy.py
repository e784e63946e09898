"""How busy the workers of a daemon are: the share of the last seconds, from looks at its status."""

from collections import deque
from collections.abc import Sequence
from typing import Any

SPAN = 2.0  # seconds over which it is taken


class Busy:
    """Takes each worker's seconds since its start at every look."""

    def __init__(self) -> None:
        self._looks: dict[tuple[str, int], deque[tuple[float, float]]] = {}  # by name and pid of workers

    def look(self, workers: Sequence[dict[str, Any]], now: float) -> list[float | None]:
        """The share of each of the `workers` of a status, None at the first look; now: in seconds, of any clock."""
        there = {(worker["name"], worker["pid"]) for worker in workers}
        self._looks = {key: looks for key, looks in self._looks.items() if key in there}
        return [self._share(worker, now) for worker in workers]

    def _share(self, worker: dict[str, Any], now: float) -> float | None:
        looks = self._looks.setdefault((worker["name"], worker["pid"]), deque())
        looks.append((now, worker["busy"]))
        while now - looks[0][0] > SPAN:
            looks.popleft()
        since, spent = looks[0]
        return min(max((worker["busy"] - spent) / (now - since), 0.0), 1.0) if now > since else None
