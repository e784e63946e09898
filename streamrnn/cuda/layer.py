"""A layer on a device: frames forward, windows back."""

from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from streamrnn.cuda import products, stages, units
from streamrnn.cuda.memory import Memory, empty
from streamrnn.cuda.products import blocks
from streamrnn.cuda.segment import Part, Segment
from streamrnn.cuda.stages import launch
from streamrnn.cuda.windows import NEWEST, TOKENS, VECTORS, Together, Windows
from streamrnn.kernels.buffers import HIDDEN, INPUTS, KIND, NEEDS_DX, OUTPUTS, OWN_OUTPUT, SEPARATE, WINDOW, Stage
from streamrnn.kernels.cells import CELLS


class Layer(Memory):
    """Its arrays, and the way through it."""

    def __init__(self, host: Stage, frames: int, rows: int, stream: Any) -> None:
        """frames: of a segment at most; rows: of windows that are learned from together, at most."""
        super().__init__(host, frames, 1)
        self.stream = stream
        self.name = list(CELLS)[host.config[KIND]]
        self.cell, self.kernels = CELLS[self.name], units.kernels_of(self.name)
        self.inputs, self.H, self.outputs, self.window = host.config[[INPUTS, HIDDEN, OUTPUTS, WINDOW]].tolist()
        self.own_output, self.needs_dx = bool(host.config[OWN_OUTPUT]), bool(host.config[NEEDS_DX])
        self.at_hidden = self.window * self.inputs  # in a tape
        self.at_own = self.at_hidden + (self.window + 1) * self.H
        self.params = self._named(self.at["params"])
        self.grads = [self._named(self.at["grads"][k]) for k in range(host.grads.shape[0])]
        self.versions = [self._named(self.at["versions"][k]) for k in range(host.versions.shape[0])]
        self.alone, self.arrived = units.alone(self.name, self.H), empty(1, dtype=np.int64)
        H, G = self.H, self.cell.gates * self.H
        self.X, self.dx = empty(rows, self.inputs), empty(rows, self.inputs)
        self.before, self.after, self.dH = empty(rows, H), empty(rows, H), empty(rows, H)
        self.A, self.carry = empty(rows, self.cell.tape * H), empty(2, rows, H)
        self.dz = empty(rows, G)
        self.du = empty(rows, G) if host.config[SEPARATE] else self.dz

    def _named(self, flat: Any) -> list[Any]:
        """W_xh, W_hh, b_h, the cell's own, W_hy and b_y as views of flat parameters; see `kernels.stage.cell_views`."""
        I, H, G = self.inputs, self.H, self.cell.gates * self.H
        own = self.outputs if self.own_output else 0
        views, start = [], 0
        for shape in ((I, G), (H, G), (G,), (len(self.cell.own) * H,), (H, own), (own,)):
            views.append(flat[start : start + prod(shape)].reshape(shape) if prod(shape) else flat)
            start += prod(shape)
        return views

    def forward(self, segment: Segment, X: Any, tokens: bool) -> Any:
        """The outputs (n, O) of the planned frames; inputs are tokens or X (n, I). All on the device."""
        plan, n = segment.plan, segment.plan.shape[0]
        W_xh, _, b_h, _, W_hy, b_y = self.params
        launch(stages.start_sums, (self.z.shape[1], n), self.stream, plan, tokens, W_xh, b_h, self.z)
        if not tokens:
            products.launch_product(X, W_xh, self.z[:n], self.stream)
        for part in segment.parts:
            self._keep_inputs(segment, part, X, tokens)
            self._go_through(segment, part)
            places = segment.links, part.start, self.hidden, self.at["state"]
            launch(stages.finish, (self.H, part.end - part.start), self.stream, plan, *places)
        if not self.own_output:
            return self.hidden[:n]
        output = self.at["output"][:n]
        launch(stages.spread, (self.outputs, n), self.stream, b_y, output)
        products.launch_product(self.hidden[:n], W_hy, output, self.stream)
        return output

    def _keep_inputs(self, segment: Segment, part: Part, X: Any, tokens: bool) -> None:
        """Into the tapes of windows, which slide before if they must."""
        plan, links, tape, kept = segment.plan, segment.links, self.at["tape"], self.at["tokens"]
        count = part.end - part.start
        if part.slides:
            W, needed = self.window, self.cell.tape * self.H
            for at, rows, width in ((0, W, self.inputs), (self.at_hidden, W + 1, self.H), (self.at_own, W, needed)):
                launch(stages.slide, (width, count), self.stream, plan, part.start, at, rows, width, tape)
            launch(stages.slide_tokens, (count,), self.stream, plan, part.start, part.end, kept)
        x = self.z if tokens else X
        shape = self.inputs, count
        launch(stages.keep_inputs, shape, self.stream, plan, links, part.start, tokens, x, self.inputs, tape)
        launch(stages.keep_tokens, (count,), self.stream, plan, links, part.start, part.end, tokens, kept)

    def _go_through(self, segment: Segment, part: Part) -> None:
        """Hidden states, round after round, or those of one stream in one launch where it fits on the device."""
        _, W_hh, _, p, _, _ = self.params
        shared = self.at_hidden, self.at_own, W_hh, p, self.z, self.at["state"], self.hidden, self.at["tape"]
        plan, links, rows = segment.plan, segment.links, segment.rows
        if part.alone and self.alone and part.end - part.start > 1:
            launch(stages.clear_count, (1,), self.stream, self.arrived)
            kept, count, memory = self.alone
            run = self.kernels.forward_alone[count, units.ALONE, self.stream, memory]
            run(plan, links, part.start, part.end, kept, *shared, self.arrived)
            return
        for first, last in pairwise(part.rounds):
            grid = blocks(self.H, units.UNITS), blocks(last - first, units.FEW)
            run = self.kernels.forward[grid, (units.UNITS, units.SIDE), self.stream]
            run(plan, links, rows, first, last - first, *shared)

    def backward(self, together: Together, windows: Windows, dY: Any, inputs: int) -> Any:
        """Take windows back, whose gradients are the rows of dY (n, O); returns those of their inputs, dx (n, I).

        inputs: what these are; tokens have none.
        """
        n, frames, count = together.rows, together.frames, len(together.slots)
        params = self.params if together.version == NEWEST else self.versions[together.version]
        W_xh, W_hh, _, p, W_hy, _ = params
        dW_xh, dW_hh, db_h, dp, dW_hy, db_y = self.grads[together.group]
        X, before, A, dz, du = (each[:n] for each in (self.X, self.before, self.A, self.dz, self.du))
        self._gather(windows.slots, frames, n)
        dH = dY
        if self.own_output:
            products.launch_product(self.after[:n].T, dY, dW_hy, self.stream)
            products.launch_rows(dY, db_y, self.stream)
            dH = self.dH[:n]
            launch(stages.clear, (self.H, n), self.stream, dH)
            products.launch_transposed(dY, W_hy, dH, self.stream)
        carry = self.carry[:, :count]
        for t in range(frames - 1, -1, -1):
            grid = blocks(self.H, stages.THREADS), count
            run = self.kernels.backward[grid, (stages.THREADS, 1), self.stream]
            run(t, frames, A, before, p, dH, carry, dz, du)
            if t > 0:
                products.launch_transposed(du[t::frames], W_hh, carry[0], self.stream)
        products.launch_product(before.T, du, dW_hh, self.stream)
        products.launch_rows(dz, db_h, self.stream)
        if self.cell.own:
            launch(self.kernels.own_gradient, (self.H,), self.stream, A, dz, du, dp)
        if inputs & TOKENS:
            kept = self.at["tokens"]
            launch(stages.add_tokens, dW_xh.shape[::-1], self.stream, kept, windows.slots, frames, dz, dW_xh)
        if not inputs & VECTORS:
            return self.dx[:0]
        products.launch_product(X.T, dz, dW_xh, self.stream)
        dx = self.dx[:n]
        if self.needs_dx:
            launch(stages.clear, (self.inputs, n), self.stream, dx)
            products.launch_transposed(dz, W_xh, dx, self.stream)
        return dx

    def _gather(self, slots: Any, frames: int, n: int) -> None:
        """Have the rows of windows one after another: inputs, hidden states, what the cell keeps."""
        needed = self.cell.tape * self.H
        wanted = [
            (0, 0, self.inputs, self.X),
            (self.at_hidden, 0, self.H, self.before),
            (self.at_own, 0, needed, self.A),
        ]
        if self.own_output:
            wanted.append((self.at_hidden, 1, self.H, self.after))
        for at, first, width, out in wanted:
            launch(stages.gather, (width, n), self.stream, self.at["tape"], slots, frames, at, first, width, out)
