"""Consecutive stages at work on a device: `streamrnn.kernels.chain` there, with the same bits.

The host keeps the schedule, as every worker does. What goes to the device is a segment of frames, what comes back are
its outputs and losses. Windows that have closed are learned from together, in their order.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from streamrnn.cuda import stages
from streamrnn.cuda.compiler import cuda
from streamrnn.cuda.layer import Layer
from streamrnn.cuda.memory import empty
from streamrnn.cuda.products import ALL_LANES
from streamrnn.cuda.readout import Readout
from streamrnn.cuda.room import most_rows
from streamrnn.cuda.segment import Mirror, Segment, streams_of
from streamrnn.cuda.stages import launch
from streamrnn.cuda.windows import TOKENS, VECTORS, Windows, closed, inputs_of
from streamrnn.kernels import chain
from streamrnn.kernels.buffers import KIND, PLAN_ROW, PLAN_SLOT, READOUT, Stage
from streamrnn.kernels.columns import ACCUMULATE, APPLIED, CLOSED, DELAY, DUE, LEARNED, SLOT, WINDOW
from streamrnn.kernels.frames import FLAGS, SCORED
from streamrnn.kernels.schedule import Schedule, release, scan
from streamrnn.storage.network_state import BY_STREAM, BY_WINDOW
from streamrnn.storage.stream_state import drop_window

NOTHING = np.zeros((0, 0), np.float32)


class Chain:
    """Stages on a device, and their schedule, here; `bring_back` has the arrays of the host be those of the device.

    size: numbers of a vector from outside; targets: of a target that is a vector, else 0; losses: those that say what
    a target costs.
    """

    def __init__(self, hosts: Sequence[Stage], schedule: Schedule, size: int, targets: int, losses: int) -> None:
        self.schedule, self.stream = schedule, cuda.stream()
        frames, streams = schedule.plan.shape[0], schedule.streams.shape[0]
        slots, window, self.rows = schedule.free.shape[0], int(schedule.config[WINDOW]), most_rows(schedule)
        self.stages = [
            (Readout if host.config[KIND] >= READOUT else Layer)(host, frames, self.rows, self.stream) for host in hosts
        ]
        first, last = self.stages[0], self.stages[-1]
        self.segment = Segment(streams, frames, slots, window, self.stream)
        self.inputs = inputs_of(schedule, hosts[0].tokens)
        self.windows = Windows(self._mirror(slots, dtype=np.int64), self._mirror(slots))
        self._said = empty(2, dtype=np.float64)
        self._vectors = self._mirror(frames, size, dtype=np.float64)
        self._X, self._dx = self._mirror(frames, first.inputs), self._mirror(self.rows, first.inputs)
        self._Y, self._dY = self._mirror(frames, last.outputs), self._mirror(self.rows, last.outputs)
        self._output: Any = None
        if isinstance(last, Readout):
            self._targets = self._mirror(frames, targets, dtype=np.float64)
            self._losses = self._mirror(frames, losses, dtype=np.float64)
            if last.values:
                self._Y = self._mirror(frames * last.outputs, dtype=np.float64)

    def _mirror(self, *shape: int, dtype: Any = np.float32) -> Mirror:
        return Mirror(shape, dtype, self.stream)

    def advance(self, frames: np.ndarray, start: int, X: np.ndarray, vectors: np.ndarray) -> tuple[int, int]:
        """Take the segment that begins at frames[start] forward; see `kernels.chain.advance`."""
        end, inputs = scan(self.schedule, frames, start)
        if not inputs:
            return end, 0
        plan, segment = self.schedule.plan[:inputs], self.segment
        tokens = not len(vectors) and not len(X)
        self.inputs[plan[plan[:, PLAN_ROW] == 0, PLAN_SLOT]] = 0
        self.inputs[plan[:, PLAN_SLOT]] |= TOKENS if tokens else VECTORS
        segment.take_plan(plan)
        x = None
        if len(vectors):
            x = self._enter(plan, vectors[:inputs])
        elif len(X):
            x = self._X.give(X[:inputs])
        for stage in self.stages:
            x, tokens = stage.forward(segment, x, tokens), False
        self._output = x
        return end, inputs

    def _enter(self, plan: np.ndarray, vectors: np.ndarray) -> Any:
        """What the first stage sees of vectors from outside."""
        first, given = self.stages[0], self._vectors.give(vectors)
        order, starts, count = self.segment.by_stream(streams_of(plan))
        launch(stages.enter, (count,), self.stream, first.table, self.segment.plan, given, order, starts, count)
        return first.at["input"][: len(plan)]

    def score(self, frames: np.ndarray, targets: np.ndarray, losses: np.ndarray) -> int:
        """Score the targets of a segment; see `kernels.chain.score`."""
        readout, count = self.stages[-1], len(frames)
        assert isinstance(readout, Readout)
        self.segment.take_frames(frames, self.schedule.where[:count])
        met = int(np.count_nonzero(frames[:, FLAGS] & SCORED))
        said = self._losses.there[:count]
        readout.score(
            self.segment, self._targets.give(targets[:met]) if len(targets) else self._targets.there[:0], said
        )
        losses[:] = self._losses.fetch(said)
        return met

    def outputs(self, count: int) -> np.ndarray:
        """The outputs of the last segment's frames with an input, as `kernels.chain.outputs` gives them."""
        last = self.stages[-1]
        if isinstance(last, Readout) and last.values:
            numbers = self._Y.fetch(last.at["presented"][: count * last.outputs])
            return numbers.view(np.float32).reshape(count, 2 * last.outputs)
        return self._Y.fetch(self._output[:count] if count else self._Y.there[:0])

    def learn(self, count: int, dY: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Learn from the next `count` windows that have closed; dY: their gradients, in rows, unless a readout ends it.

        Gives the gradients dx (n, I) of the inputs of some of the windows, in order, which hold until the next ones.
        """
        t, at = self.schedule, 0
        versions = max(1, self.stages[0].host.versions.shape[0])
        for together in list(closed(t, count, versions, self.inputs, self.rows)):
            self.windows.take(together)
            given = None if dY is None else self._dY.give(dY[at : at + together.rows])
            at += together.rows
            for k in range(len(self.stages) - 1, -1, -1):
                given = self.stages[k].backward(together, self.windows, given, VECTORS if k else together.inputs)
            for slot in together.slots:
                release(t, slot)
            t.counters[LEARNED] += len(together.slots)
            yield self._dx.fetch(given)

    def settle(self) -> bool:
        """Apply the update that is due, if any; see `kernels.chain.settle`."""
        counters, config = self.schedule.counters, self.schedule.config
        if not counters[DUE]:
            return True
        accumulate, delay = config.item(ACCUMULATE), config.item(DELAY)
        number = counters.item(CLOSED) // accumulate - 1 - delay
        if number >= 0:
            if counters[LEARNED] < (number + 1) * accumulate:
                return False
            for stage in self.stages:
                self._update(stage, number % (delay + 1), accumulate)
            counters[APPLIED] += 1
        counters[DUE] = 0
        return True

    def _update(self, stage: Layer | Readout, group: int, windows: int) -> None:
        counters, params = self.schedule.counters, stage.at["params"]
        if params.size and counters[LEARNED] < counters[CLOSED]:
            kept = stage.at["versions"][counters.item(APPLIED) % stage.host.versions.shape[0]]
            launch(stages.copy, params.shape, self.stream, params, kept)
        stages.measure[1, ALL_LANES, self.stream](stage.table, group, windows, self._said)
        launch(stages.update, params.shape, self.stream, stage.table, group, self._said)

    def run(
        self, frames: np.ndarray, vectors: np.ndarray, targets: np.ndarray, losses: np.ndarray, Y: np.ndarray
    ) -> None:
        """Take frames through a whole network, learning on the way; see `kernels.chain.run`."""
        start, inputs, met, counters = 0, 0, 0, self.schedule.counters
        chain.mark_gaps(frames, targets)
        while start < len(frames):
            end, count = self.advance(frames, start, NOTHING, vectors[inputs:])
            met += self.score(frames[start:end], targets[met:], losses[start:end])
            Y[inputs : inputs + count] = self.outputs(count)
            inputs += count
            for _ in self.learn(int(counters[CLOSED] - counters[LEARNED])):
                pass
            self.settle()
            start = end

    def bring_back(self) -> None:
        """Have the arrays of the host be those of the device."""
        self.stream.synchronize()
        for stage in self.stages:
            stage.bring_back()

    def take_over(self) -> None:
        """Have the arrays of the device be those of the host."""
        self.stream.synchronize()
        self.inputs = inputs_of(self.schedule, self.stages[0].host.tokens)
        for stage in self.stages:
            stage.take_over()

    def bring_counters(self) -> None:
        """Have what is counted of updates here."""
        self.stream.synchronize()
        for stage in self.stages:
            stage.at["counters"].copy_to_host(stage.host.counters)

    def bring_back_stream(self, stream: int) -> None:
        """Have the arrays of the host be those of the device where they are a stream's."""
        self.stream.synchronize()
        for there, here in self._of_stream(stream):
            there.copy_to_host(here)

    def take_over_stream(self, stream: int) -> None:
        """Have the arrays of the device be those of the host where they are a stream's."""
        self.stream.synchronize()
        for there, here in self._of_stream(stream):
            there.copy_to_device(here)
        first = self.stages[0]
        first.at["tokens"].copy_to_host(first.host.tokens)
        self.inputs = inputs_of(self.schedule, first.host.tokens)

    def _of_stream(self, stream: int) -> Iterator[tuple[Any, np.ndarray]]:
        """Its rows on the device and here: its state, and the tape of its open window."""
        slot = self.schedule.streams.item(stream, SLOT)
        for stage in self.stages:
            yield from stage.rows(BY_STREAM, stream)
            if slot >= 0:
                yield from stage.rows(BY_WINDOW, slot)

    def take_rates(self) -> None:
        """Have the learning rates of the device be those of the host."""
        for stage in self.stages:
            stage.at["hyper"].copy_to_device(stage.host.hyper, stream=self.stream)

    def drop(self, stream: int) -> None:
        """Have nothing left of a stream; see `stream_state.drop`."""
        drop_window(self.schedule, stream)
        self.stream.synchronize()
        for stage in self.stages:
            for there, _ in stage.rows(BY_STREAM, stream):
                there.copy_to_device(np.zeros(there.shape, there.dtype))
