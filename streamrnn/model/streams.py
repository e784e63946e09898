"""The streams of a network by name: their numbers, which are their rows in its buffers, and what is known of each."""

from heapq import heappop, heappush

import numpy as np

from streamrnn.model.feedback import Last


class Streams:
    """Numbers are given from 0 on; those of streams that were let go are given again, the lowest first."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.used = 0  # numbers below that are given to streams, or free
        self.free: list[int] = []  # a heap
        self.fresh: set[int] = set()  # streams whose next frame begins a sequence
        self.losses: dict[int, np.ndarray] = {}  # what their newest targets cost, see `streamrnn.kernels.readouts`
        self.last: dict[int, Last] = {}  # what can be fed back
        self.ended: tuple[str | None, np.ndarray | None] = None, None  # the one that ended last, and its losses

    def open(self, name: str) -> int:
        """A number for a new stream."""
        number = heappop(self.free) if self.free else self.used
        self.used = max(self.used, number + 1)
        self.names[name] = number
        self.fresh.add(number)
        return number

    def let_go(self, name: str) -> int:
        """Forget a stream; its number is free once it has been given back."""
        number = self.names.pop(name)
        self.fresh.discard(number)
        self.losses.pop(number, None)
        self.last.pop(number, None)
        return number

    def give_back(self, number: int) -> None:
        """Another stream may get that number."""
        heappush(self.free, number)

    def unnamed(self) -> set[int]:
        """Numbers in use that no stream has."""
        return set(range(self.used)) - set(self.names.values())

    def close_up(self) -> list[int]:
        """Number the streams anew, so that no number is free; their numbers until now, in order."""
        numbers = sorted(set(range(self.used)) - set(self.free))
        places = {number: place for place, number in enumerate(numbers)}
        self.names = {name: places[number] for name, number in self.names.items()}
        self.fresh = {places[number] for number in self.fresh}
        self.losses = {places[number]: losses for number, losses in self.losses.items()}
        self.last = {places[number]: last for number, last in self.last.items()}
        self.used, self.free = len(numbers), []
        return numbers

    def losses_of(self, name: str) -> np.ndarray | None:
        """What the newest target of a stream cost, None before the first, and once another stream has ended too."""
        known = self.losses.get(self.names.get(name, -1))
        return self.ended[1] if known is None and name == self.ended[0] else known
