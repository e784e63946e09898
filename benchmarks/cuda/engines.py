"""The same network on a core and on a device, behind one `run`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import streamrnn as sr
from streamrnn.kernels import chain
from streamrnn.kernels.buffers import Sizes, Stage, table_of
from streamrnn.kernels.schedule import new_schedule


class Core:
    """One core of the CPU."""

    def __init__(self, net: sr.Network, sizes: Sizes) -> None:
        self.stages: Sequence[Stage] = net.allocate(0, len(net.stages), sizes)
        self.schedule = new_schedule(sizes, net.accumulate, net.gradient_delay)
        self._table = table_of(self.stages)

    def run(self, *arrays: np.ndarray) -> None:
        """Frames, their vectors and targets; what comes of them goes into losses and Y, see `kernels.chain.run`."""
        chain.run(self._table, self.schedule, *arrays)

    def finish(self) -> None:
        """Have everything in the arrays of `stages`, where it is."""


class Device:
    """The GPU."""

    def __init__(self, net: sr.Network, sizes: Sizes) -> None:
        from streamrnn.cuda.chain import Chain

        self.stages: Sequence[Stage] = net.allocate(0, len(net.stages), sizes)
        self.schedule = new_schedule(sizes, net.accumulate, net.gradient_delay)
        readout = net.readout
        targets = 0 if readout.classes else readout.size
        self.chain = Chain(self.stages, self.schedule, net.input_size, targets, readout.loss_size)

    def run(self, *arrays: np.ndarray) -> None:
        """As a core does it; what comes of the last update may still be under way."""
        self.chain.run(*arrays)

    def finish(self) -> None:
        """Have everything in the arrays of `stages`."""
        self.chain.bring_back()

    def wait(self) -> None:
        """Until the device is through."""
        self.chain.stream.synchronize()


def outputs_for(net: sr.Network, count: int) -> np.ndarray:
    """Room for the outputs of so many frames; as `run` takes it with .view(np.float32)."""
    numbers: Any = np.float32 if net.readout.classes else np.float64
    return np.zeros((count, net.readout.output_size), numbers)
