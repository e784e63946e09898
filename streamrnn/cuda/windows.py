"""Windows that can be learned from together: those that closed one after another, have as many frames as each other,
and use and change the same parameters. Their rows lie one window after another, in the order in which they closed.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from streamrnn.kernels.columns import ACCUMULATE, APPLIED, CLOSED, DELAY, FRAMES, LEARNED, SLOT, TARGETS, VERSION
from streamrnn.kernels.schedule import Schedule

NEWEST = -1  # a version: the parameters in force
TOKENS, VECTORS = 1, 2  # what the inputs of a window are


class Together(NamedTuple):
    """What windows that are learned from together share, and what each has for itself."""

    frames: int  # of each
    group: int  # the gradient buffer
    version: int  # the row of older parameters, or NEWEST
    inputs: int  # TOKENS, VECTORS or both
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
        self.slots = self.shares = None

    def take(self, together: Together) -> None:
        """Bring them there."""
        self.slots = self._slots.give(np.array(together.slots))
        self.shares = self._shares.give(np.array(together.shares))


def inputs_of(t: Schedule, tokens: np.ndarray) -> np.ndarray:
    """What the inputs (slots,) are of the windows that are open or not learned from; tokens (slots, W): a layer's."""
    inputs = np.zeros(len(tokens), np.int64)
    waiting = np.arange(t.counters[LEARNED], t.counters[CLOSED]) % len(t.queue)
    for window in (*t.streams, *t.queue[waiting]):
        if window[SLOT] >= 0:
            there = tokens[window[SLOT], : window[FRAMES]] >= 0
            inputs[window[SLOT]] = TOKENS * there.any() | VECTORS * (~there).any()
    return inputs


def closed(t: Schedule, count: int, versions: int, inputs: np.ndarray, rows: int) -> Iterator[Together]:
    """The next `count` windows that have closed, those together that can be, of so many rows at most.

    inputs (slots,): TOKENS, VECTORS or both, and a window that has both is alone.
    """
    learned, applied, row = t.counters.item(LEARNED), t.counters.item(APPLIED), t.queue
    assert learned + count <= t.counters[CLOSED]
    newest: Together | None = None
    for number in range(learned, learned + count):
        window = row[number % len(row)]
        version = NEWEST if window[VERSION] == applied else int(window[VERSION] % versions)
        group = int(number // t.config[ACCUMULATE] % (t.config[DELAY] + 1))
        slot, frames = window.item(SLOT), window.item(FRAMES)
        facts = frames, group, version, inputs.item(slot)
        mixed = facts[-1] == TOKENS | VECTORS
        if newest is None or mixed or newest[:4] != facts or newest.rows + frames > max(rows, frames):
            if newest:
                yield newest
            newest = Together(*facts, [], [])
        newest.slots.append(slot)
        newest.shares.append(np.float32(1.0 / window.item(TARGETS)))
    if newest:
        yield newest
