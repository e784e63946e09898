"""What takes a network's frames through its stages: the kernels of the CPU, or a device with the same bits."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from streamrnn.cuda import device as devices
from streamrnn.kernels import chain, stage
from streamrnn.kernels.buffers import Stage, table_of
from streamrnn.kernels.frames import SCORED
from streamrnn.storage import stream_state

if TYPE_CHECKING:
    from threading import RLock


class OnCPU:
    """The stages' arrays are those that everybody sees."""

    def __init__(self, stages: Sequence[Stage], buffers: chain.FrameBuffers) -> None:
        self.stages, self.schedule = table_of(stages), buffers.schedule
        self.buffers = chain.table_of_frame_buffers([buffers])

    def step(self, *frame: Any) -> None:
        """One frame, see `kernels.chain.step`."""
        chain.step(self.stages, self.buffers, *frame)

    def run_series(self, *series: Any) -> None:
        """Many of one stream, see `kernels.chain.run_series`."""
        chain.run_series(self.stages, self.buffers, *series)

    def run(self, *places: np.ndarray) -> None:
        """Frames that have been written down, see `kernels.chain.run`."""
        chain.run(self.stages, self.schedule, *places)

    def dismiss(self, readout: int, stream: int, said: int) -> None:
        """An alarm was none, see `kernels.stage.dismiss`."""
        stage.dismiss(self.stages, readout, stream, said)

    def drop(self, owners: Sequence[Any], stream: int) -> None:
        """Have nothing left of a stream."""
        stream_state.drop(owners, self.schedule, stream)

    def here(self) -> None:
        """Have the stages' arrays hold what is in force, for whoever reads them or writes into them."""

    def take_rates(self) -> None:
        """Have the learning rates in the stages' arrays hold."""


class OnDevice:
    """The stages' arrays are copies: of before, unless `here` was called since the last frame."""

    def __init__(
        self, device: str, stages: Sequence[Stage], buffers: chain.FrameBuffers, classes: bool, lock: "RLock"
    ) -> None:
        """Raises DeviceError where the device cannot be used, or has too little memory."""
        self.lock = lock
        self.stages, self.buffers, self.gpu = stages, buffers, devices.gpu(device)
        sizes = buffers.x.shape[1], 0 if classes else buffers.target.shape[1], buffers.losses.shape[1]
        from streamrnn.cuda import room

        devices.check_room(device, room.bytes_of(stages, buffers.schedule, *sizes))
        from streamrnn.cuda.chain import Chain

        with self.gpu:
            self.chain = Chain(stages, buffers.schedule, *sizes)
        self.away = True  # whether what is in force is there

    def step(self, stream: int, flags: int, token: int, before: bool, answer: int, time: int) -> None:
        """One frame, see `kernels.chain.step`."""
        buffer, frames = self.buffers, self.buffers.frames[:2]
        scored = before or flags & SCORED
        chain.put_frame(frames, stream, flags, token, answer, time)
        X, targets = buffer.x[: 1 if token < 0 else 0], buffer.target[: 1 if scored and answer < 0 else 0]
        self.run(frames[0 if before else 1 :], X, targets, buffer.losses, buffer.y)

    def run_series(
        self,
        stream: int,
        flags: int,
        last: int,
        follows: bool,
        tokens: np.ndarray,
        answers: np.ndarray,
        X: np.ndarray,
        targets: np.ndarray,
        times: np.ndarray,
        losses: np.ndarray,
        Y: np.ndarray,
    ) -> None:
        """Many of one stream, see `kernels.chain.run_series`."""
        rows, count = 2 if follows else 1, len(Y)
        block = len(self.buffers.frames) // rows
        for start in range(0, count, block):
            end = min(start + block, count)
            frames = self.buffers.frames[: rows * (end - start)]
            facts = start, end, stream, flags, last if end == count else 0
            chain.put_frames(frames, *facts, tokens, answers, times)
            self.run(frames, X[start:end], targets[start:end], self.buffers.losses, Y[start:end])
            losses[start:end] = self.buffers.losses[: len(frames) : rows]

    def run(self, *places: np.ndarray) -> None:
        """Frames that have been written down, see `kernels.chain.run`."""
        with self.gpu:
            if not self.away:
                self.chain.take_over()
            self.away = True
            frames, X, targets, losses, Y = places
            self.chain.run(frames, X, targets, losses[: len(frames)], Y)

    def dismiss(self, readout: int, stream: int, said: int) -> None:
        """An alarm was none, see `kernels.stage.dismiss`."""
        self.here()
        stage.dismiss(table_of(self.stages), readout, stream, said)

    def drop(self, owners: Sequence[Any], stream: int) -> None:
        """Have nothing left of a stream."""
        if self.away:
            with self.gpu:
                self.chain.drop(stream)
        else:
            stream_state.drop(owners, self.buffers.schedule, stream)

    def here(self) -> None:
        """Have the stages' arrays hold what is in force; it is taken over from there before the next frame."""
        with self.lock, self.gpu:
            if self.away:
                self.chain.bring_back()
            self.away = False

    def take_rates(self) -> None:
        """Have the learning rates in the stages' arrays hold."""
        with self.gpu:
            self.chain.take_rates()


Engine = OnCPU | OnDevice


def engine_on(
    device: str, stages: Sequence[Stage], buffers: chain.FrameBuffers, classes: bool, lock: "RLock"
) -> Engine:
    """The one for a device; classes: targets are classes; lock: of the network. Raises DeviceError."""
    return OnCPU(stages, buffers) if device == devices.CPU else OnDevice(device, stages, buffers, classes, lock)
