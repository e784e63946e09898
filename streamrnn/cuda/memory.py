"""Where the numbers of a stage lie on a device.

The arrays of `kernels.buffers.Stage` keep their names and shapes there, so code of the CPU that takes one frame runs as
it is, on a table of records whose addresses are those of the device. A thread that scores has a record of its own,
whose spare room nobody else uses.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from streamrnn.cuda.compiler import SIMULATED, cuda
from streamrnn.kernels.buffers import Stage, table_of

KEPT = "params", "grads", "moments", "counters", "versions", "state", "stats", "experts", "tape", "tokens"

VIEWS = 64  # of an array, that are kept


def to_device(array: np.ndarray) -> Any:
    """A copy of an array there."""
    return cuda.to_device(np.ascontiguousarray(array))


def empty(*shape: int, dtype: Any = np.float32) -> Any:
    """Room there, zeroed."""
    return to_device(np.zeros(shape, dtype))


def first_rows(array: Any) -> Callable[[int], Any]:
    """What gives the first rows of an array there; to make a view takes about as long as to launch a kernel."""
    return lru_cache(VIEWS)(lambda count: array[:count])


def turned(A: Any) -> Any:
    """A (M, N).T as a view. (That of numba.cuda is a copy, by a kernel that it compiles at every call.)"""
    if SIMULATED:
        return A.T
    return type(A)(shape=A.shape[::-1], strides=A.strides[::-1], dtype=A.dtype, gpu_data=A.gpu_data)


class Memory:
    """A stage's arrays on the device: `at` by name, and what only a device needs.

    table    one record of them, for `stage_at(table, 0)`
    lanes    so many records of them, whose spare room differs
    z        (frames, G) what inputs add to pre-activations
    hidden   (frames, H) hidden states after the frames of a segment
    """

    def __init__(self, host: Stage, frames: int, lanes: int) -> None:
        """frames: of a segment at most."""
        self.host = host
        self.at = {name: to_device(array) for name, array in host._asdict().items()}
        self.z, self.hidden = empty(frames, host.z.shape[1]), empty(frames, host.h.shape[1])
        self.work = empty(lanes, host.work.shape[0], dtype=np.float64)
        self.scales = to_device(np.repeat(host.scales[np.newaxis], lanes, axis=0))
        self.dy = empty(lanes, 1, host.scales.shape[1])
        self.table, self.lanes = self._table(1), self._table(lanes)

    def _table(self, lanes: int) -> Any:
        """Records of the stage; as addresses, they grow evenly from one to the next."""
        if SIMULATED:
            return table_of([self._record(lane) for lane in range(lanes)])
        first, second = (table_of([self._record(lane)])[0] for lane in (0, min(1, lanes - 1)))
        return to_device(first + np.arange(lanes)[:, np.newaxis] * (second - first))

    def _record(self, lane: int) -> Stage:
        room = {"work": self.work[lane], "scales": self.scales[lane], "dy": self.dy[lane]}
        return Stage(**{name: bare(array) for name, array in (self.at | room).items()})

    def bring_back(self) -> None:
        """Have what is kept of the stage in the host's arrays."""
        for name in KEPT:
            if self.at[name].size:
                self.at[name].copy_to_host(getattr(self.host, name))

    def take_over(self) -> None:
        """Have on the device what is in the host's arrays."""
        for name in (*KEPT, "hyper", "config"):
            if self.at[name].size:
                self.at[name].copy_to_device(getattr(self.host, name))

    def rows(self, names: Iterable[str], number: int) -> Iterator[tuple[Any, np.ndarray]]:
        """Row `number` of arrays, there and here; of those that have something in them."""
        for name in names:
            if self.at[name].size:
                yield self.at[name][number : number + 1], getattr(self.host, name)[number : number + 1]


def bare(array: Any) -> Any:
    """What a record holds of a device's array: itself, or the array that a simulated one is made of."""
    return array._ary if SIMULATED else array
