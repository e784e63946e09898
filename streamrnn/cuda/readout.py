"""A readout on a device: outputs, losses, and the gradients that they begin with."""

from typing import Any

from streamrnn.cuda import products, stages
from streamrnn.cuda.memory import Memory, empty, first_rows, turned
from streamrnn.cuda.products import blocks
from streamrnn.cuda.room import lanes_of
from streamrnn.cuda.segment import Segment
from streamrnn.cuda.stages import launch
from streamrnn.cuda.windows import NEWEST, Together, Windows
from streamrnn.kernels.buffers import INPUTS, OUTPUTS, WINDOW, Stage


class Readout(Memory):
    """Its arrays, and the way through it."""

    def __init__(self, host: Stage, frames: int, rows: int, stream: Any) -> None:
        """frames: of a segment at most; rows: of windows that are learned from together, at most."""
        self.threads = lanes_of(host)
        super().__init__(host, frames, self.threads)
        self.stream = stream
        self.inputs, self.outputs, self.window = host.config[[INPUTS, OUTPUTS, WINDOW]].tolist()
        self.experts, self.values = host.settings.shape[0] > 0, host.presented.shape[0] > 0
        self.params = self._named(self.at["params"])
        self.grads = [self._named(self.at["grads"][k]) for k in range(host.grads.shape[0])]
        self.versions = [self._named(self.at["versions"][k]) for k in range(host.versions.shape[0])]
        self.X, self.dx, self.D = empty(rows, self.inputs), empty(rows, self.inputs), empty(rows, self.outputs)
        self.first_outputs, self.first_inputs = first_rows(self.at["output"]), first_rows(self.X)
        self.first = first_rows(self.dx), first_rows(self.D)

    def _named(self, flat: Any) -> list[Any]:
        """W_hy (I, O) and b_y (O,) as views of flat parameters; experts have none."""
        if self.experts:
            return [flat, flat]
        size = self.inputs * self.outputs
        return [flat[:size].reshape((self.inputs, self.outputs)), flat[size : size + self.outputs]]

    def forward(self, segment: Segment, X: Any, tokens: bool) -> Any:
        """The outputs (n, O) of the planned frames of inputs X (n, I), in the units of the network, on the device."""
        plan, n, tape = segment.plan, segment.plan.shape[0], self.at["tape"]
        output = self.first_outputs(n)
        if self.experts:
            launch(stages.keep_for_experts, (self.inputs, n), self.stream, plan, X, self.at["input"], tape)
            return output
        W_hy, b_y = self.params
        launch(stages.spread, (self.outputs, n), self.stream, b_y, output)
        products.launch_product(X, W_hy, output, self.stream)
        links, sizes = segment.links, (self.outputs, self.inputs, self.window)
        for start, end, *_ in segment.parts:
            shape = self.inputs, end - start
            launch(stages.keep_inputs, shape, self.stream, plan, links, start, False, X, self.inputs, tape)
            launch(stages.activate, shape[1:], self.stream, self.table, plan, links, start, end, *sizes)
        return output

    def score(self, segment: Segment, targets: Any, losses: Any) -> None:
        """Score the targets of a segment, and bring outputs to the units of their streams."""
        grid, count = blocks(self.threads, stages.THREADS), min(self.threads, segment.streams)
        run = stages.score[grid, stages.THREADS, self.stream]
        frames = segment.frames, segment.where, segment.counts
        run(self.lanes, count, *frames, targets, losses, segment.order, segment.starts, segment.streams)

    def backward(self, together: Together, windows: Windows, dY: Any, inputs: int) -> Any:
        """Take windows back from what `score` noted; returns the gradients of their inputs, dx (n, I)."""
        n, frames, tape = together.rows, together.frames, self.at["tape"]
        (dx, D), X = (first(n) for first in self.first), self.first_inputs(n)
        places = tape, windows.slots, frames
        if self.experts:
            launch(stages.gather_shares, (self.inputs, n), self.stream, *places, 0, self.inputs, windows.shares, dx)
            return dx
        W_hy, _ = self.params if together.version == NEWEST else self.versions[together.version]
        dW_hy, db_y = self.grads[together.group]
        at = self.window * (self.inputs + self.outputs)
        launch(stages.gather, (self.inputs, n), self.stream, *places, 0, 0, self.inputs, X)
        launch(stages.gather_shares, (self.outputs, n), self.stream, *places, at, self.outputs, windows.shares, D)
        products.launch_product(turned(X), D, dW_hy, self.stream)
        products.launch_rows(D, db_y, self.stream)
        launch(stages.clear, (self.inputs, n), self.stream, dx)
        products.launch_transposed(D, W_hy, dx, self.stream)
        return dx
