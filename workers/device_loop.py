"""The loop of a worker whose stages are on a device: that of `streamrnn.workers.kernels.loop`, in the same order.

It is Python around the same kernels for messages. Windows whose gradients have come are learned from together.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from streamrnn.cuda import device, room
from streamrnn.kernels.buffers import KIND, OUTPUTS, READOUT, Stage, table_of
from streamrnn.kernels.columns import CLOSED, FRAMES, LEARNED
from streamrnn.kernels.frames import BEGIN, COLUMNS, FLAGS, INPUT, SCORED, STREAM
from streamrnn.kernels.messages import (
    DOUBLE,
    GRADIENT,
    H_BYTES,
    H_EXTRA,
    H_FRAMES,
    H_KIND,
    H_NUMBER,
    H_VECTORS,
    H_WIDTH,
    HEADER,
    RATE,
)
from streamrnn.kernels.schedule import Schedule, new_schedule
from streamrnn.model.network import Network
from streamrnn.workers.device_room import sizes_of
from streamrnn.workers.kernels import loop

TRIAL_FRAMES = 8  # of each stream


def parts(message: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """frames (n, COLUMNS), extra (k,) and vectors (m, width) of a message, as views."""
    counts = message[[H_FRAMES, H_EXTRA, H_VECTORS, H_WIDTH, H_BYTES]].tolist()
    frames, extra, vectors, width, size = counts
    at = HEADER + COLUMNS * frames
    numbers = message[at + extra :].view(np.float64 if size == DOUBLE else np.float32)
    rows = message[HEADER:at].reshape(frames, COLUMNS)
    return rows, message[at : at + extra].view(np.float64), numbers[: vectors * width].reshape(vectors, width)


class DeviceLoop:
    """`serve` works until Python should have a look. The stages' arrays are those of the device after `bring_back`."""

    def __init__(self, gpu: Any, chain: Any, hosts: Sequence[Stage], links: loop.Links, memory: int) -> None:
        self.gpu, self.chain, self.schedule, self.links = gpu, chain, chain.schedule, links
        self.hosts, self.table = hosts, table_of(hosts)
        self.readout = bool(hosts[-1].config[KIND] >= READOUT)
        self.outputs = hosts[-1].config.item(OUTPUTS)
        self.device_memory = memory  # bytes

    def serve(self) -> int:
        """See `loop.serve`."""
        with self.gpu:
            return self._serve()

    def _serve(self) -> int:
        links, counters = self.links, self.schedule.counters
        state = links.state
        until = (time.monotonic_ns() // loop.LOOK_EVERY + 1) * loop.LOOK_EVERY
        while time.monotonic_ns() < until:
            if not self.readout:
                self.take_gradients()
            elif counters[LEARNED] < counters[CLOSED]:
                self.learn(int(counters[CLOSED] - counters[LEARNED]), None)
            if not self.chain.settle() or (state[loop.HAS_BARRIER] and counters[LEARNED] < counters[CLOSED]):
                loop.flush(links, loop.NO_STREAM)
                if loop.wait(links, loop.GRADIENTS_IN, until):
                    return loop.PAUSE
            elif state[loop.HAS_FRAMES]:
                self.work()
            elif state[loop.HAS_BARRIER]:
                state[loop.HAS_BARRIER] = 0
                return loop.AT_BARRIER
            elif loop.receive(links, loop.FRAMES_IN, links.incoming) >= 0:
                if self.accept():
                    return loop.AT_STREAM
            else:
                if not (self.readout and state[loop.MORE_COMES]):
                    loop.flush(links, loop.NO_STREAM)
                if loop.wait(links, loop.FRAMES_IN, until):
                    break
        loop.flush(links, loop.NO_STREAM)
        return loop.PAUSE

    def accept(self) -> bool:
        """See `loop.accept`."""
        moves = bool(loop.accept(self.table, self.links))
        if self.links.incoming[H_KIND] == RATE:
            self.chain.take_rates()
        return moves

    def take_gradients(self) -> None:
        """Learn from every window whose gradient has come, and pass the gradients of their inputs on."""
        links, counters, queue = self.links, self.schedule.counters, self.schedule.queue
        message, come = links.gradient, []
        number = counters.item(LEARNED)
        while number < counters[CLOSED] and loop.receive(links, loop.GRADIENTS_IN, message) >= 0:
            dY = parts(message)[2]
            shape = queue.item(number % len(queue), FRAMES), self.outputs
            if message[H_KIND] == GRADIENT and message[H_NUMBER] == number and dY.shape == shape:
                come.append(dY.copy())
                number += 1
            else:
                links.state[loop.BAD] += 1
        if come:
            self.learn(len(come), np.concatenate(come))

    def learn(self, count: int, dY: np.ndarray | None) -> None:
        """Take the oldest closed windows back, and send the gradients of their inputs up if there is somebody."""
        number, queue = self.schedule.counters.item(LEARNED), self.schedule.queue
        frames = queue[np.arange(number, number + count) % len(queue), FRAMES].tolist()
        for dX in self.chain.learn(count, dY):
            while self.links.sockets[loop.GRADIENTS_OUT] and len(dX):
                own, dX = dX[: frames[0]], dX[frames.pop(0) :]
                loop.send_gradient(self.links, number, own)
                number += 1

    def work(self) -> None:
        """Take the next segment of the frames in hand forward and send its outputs."""
        links, state = self.links, self.links.state
        frames, targets, vectors = parts(links.incoming)
        start, count = int(state[loop.START]), len(frames)
        X = vectors[state[loop.USED_INPUTS] :]
        none = X[:0]
        end, inputs = self.chain.advance(frames, start, *((none, X) if X.dtype == np.float64 else (X, none)))
        segment = frames[start:end]
        cut, scored = loop.begin_segment(self.schedule, links, segment, count)
        width, used = int(state[loop.TARGET_WIDTH]), int(state[loop.USED_TARGETS])
        targets = targets[used * width : (used + scored) * width]
        if self.readout:
            losses = links.losses[: len(segment) * state[loop.LOSSES]].reshape(len(segment), -1)
            self.chain.score(segment, targets.reshape(scored if width else 0, width), losses)
            loop.say(links, segment, self.chain.outputs(inputs), targets)
            cut = -1
        else:
            loop.keep(links, segment, self.chain.outputs(inputs), INPUT, targets)
        loop.end_segment(links, segment, count, inputs, scored, cut)

    def look(self) -> None:
        """Have what is counted of updates in the stages' arrays."""
        with self.gpu:
            self.chain.bring_counters()

    def bring_back(self) -> None:
        """Have everything in the stages' arrays."""
        with self.gpu:
            self.chain.bring_back()

    def bring_back_stream(self, stream: int) -> None:
        """Have what there is of a stream in the stages' arrays."""
        with self.gpu:
            self.chain.bring_back_stream(stream)

    def take_over_stream(self, stream: int) -> None:
        """Have on the device what is in the stages' arrays of a stream."""
        with self.gpu:
            self.chain.take_over_stream(stream)


def made(name: str, net: Network, first: int, last: int, schedule: Schedule, links: loop.Links) -> DeviceLoop:
    """The loop of stages[first:last] on a device of that name, everything compiled.

    Raises DeviceError where it cannot be used or has too little memory.
    """
    hosts = [owner.stage for owner in net.stages[first:last]]
    sizes = sizes_of(net)
    memory = room.bytes_of(hosts, schedule, *sizes)
    device.check_room(name, memory)
    from streamrnn.cuda.chain import Chain

    gpu = device.gpu(name)
    with gpu:
        compile_for(net.spec(), first, last)
        return DeviceLoop(gpu, Chain(hosts, schedule, *sizes), hosts, links, memory)


def compile_for(spec: dict[str, Any], first: int, last: int) -> None:
    """Have the kernels of such stages compiled: take a few frames through a network like it, of two streams."""
    from streamrnn.cuda.chain import Chain

    net = Network.from_spec(spec | {"window": 2, "accumulate": 1, "gradient_delay": 1}, fresh=False)
    net.initialize(first, last)
    sizes = net.sizes(2, 4 * TRIAL_FRAMES, versions=1 if last < len(net.stages) else 0)
    hosts, schedule = net.allocate(first, last, sizes), new_schedule(sizes, 1, 1)
    chain = Chain(hosts, schedule, *sizes_of(net))
    for vectors in (False, True):
        take_through(chain, net, first, vectors)


def take_through(chain: Any, net: Network, first: int, vectors: bool) -> None:
    """Frames of both streams, then of one; tokens, or vectors from outside or from the stage before.

    Gradients that come from below are late by a window, as in a pipeline.
    """
    hosts, schedule = [stage.host for stage in chain.stages], chain.schedule
    readout, outputs = hosts[-1].config[KIND] >= READOUT, hosts[-1].config.item(OUTPUTS)
    frames = np.zeros((2 * TRIAL_FRAMES, COLUMNS), np.int64)
    frames[:, FLAGS], frames[TRIAL_FRAMES:, FLAGS] = INPUT, INPUT | SCORED
    frames[:TRIAL_FRAMES:2, STREAM] = 1
    frames[:2, FLAGS] |= BEGIN
    nothing, given = np.zeros((0, 0), np.float32), np.ones((len(frames), net.input_size))
    X = np.zeros((len(frames), hosts[0].dx.shape[1]), np.float32) if first else nothing
    targets = np.ones((len(frames), 0 if net.readout.classes else net.readout.size))
    start = inputs = 0
    while start < len(frames):
        from_outside = given[inputs:] if vectors and not first else np.zeros((0, 0))
        end, count = chain.advance(frames, start, X[inputs:], from_outside)
        if readout:
            scored = int(np.count_nonzero(frames[start:end, FLAGS] & SCORED))
            losses = np.zeros((end - start, net.readout.loss_size))
            chain.score(frames[start:end], targets[: scored if targets.shape[1] else 0], losses)
        chain.outputs(count)
        closed = int(schedule.counters[CLOSED] - schedule.counters[LEARNED])
        for _ in range(closed if readout else closed - 1):
            rows = schedule.queue.item(schedule.counters.item(LEARNED) % len(schedule.queue), FRAMES)
            for _ in chain.learn(1, None if readout else np.zeros((rows, outputs), np.float32)):
                pass
        chain.settle()
        start, inputs = end, inputs + count
