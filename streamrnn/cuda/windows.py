"""Windows that can be learned from together: those that closed one after another, have as many frames as each other,
and use and change the same parameters. Their rows lie one window after another, in the order in which they closed.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from streamrnn.kernels.columns import ACCUMULATE, APPLIED, CLOSED, DELAY, FRAMES, LEARNED, SLOT, TARGETS, VERSION
from streamrnn.kernels.schedule import Schedule

NEWEST = -1  # a version: the parameters in force


class Together(NamedTuple):
    """What windows that are learned from together share, and what each has for itself."""

    frames: int  # of each
    group: int  # the gradient buffer
    version: int  # the row of older parameters, or NEWEST
    vectors: bool  # whether inputs are vectors, not tokens
    slots: list[int]
    shares: list[np.float32]  # one over the number of targets

    @property
    def rows(self) -> int:
        """Frames of all."""
        return self.frames * len(self.slots)


class Windows:
    """Room on the device for the slots and shares of windows that are learned from together."""

    def __init__(self, slots: Any, shares: Any) -> None:
        self._slots, self._shares = slots, shares
        self.slots: Any = None
        self.shares: Any = None

    def take(self, together: Together) -> None:
        """Bring them there."""
        self.slots = self._slots.give(np.array(together.slots))
        self.shares = self._shares.give(np.array(together.shares))


def closed(t: Schedule, count: int, versions: int, vectors: np.ndarray, rows: int) -> Iterator[Together]:
    """The next `count` windows that have closed, those together that can be, of so many rows at most.

    vectors (slots,): whether a window's inputs are vectors.
    """
    learned, applied, row = t.counters.item(LEARNED), t.counters.item(APPLIED), t.queue
    assert learned + count <= t.counters[CLOSED]
    newest: Together | None = None
    for number in range(learned, learned + count):
        window = row[number % len(row)]
        version = NEWEST if window[VERSION] == applied else int(window[VERSION] % versions)
        group = int(number // t.config[ACCUMULATE] % (t.config[DELAY] + 1))
        slot, frames = window.item(SLOT), window.item(FRAMES)
        facts = frames, group, version, bool(vectors[slot])
        if newest is None or newest[:4] != facts or newest.rows + frames > max(rows, frames):
            if newest:
                yield newest
            newest = Together(*facts, [], [])
        newest.slots.append(slot)
        newest.shares.append(np.float32(1.0 / window.item(TARGETS)))
    if newest:
        yield newest
