"""A cell's units on a device, forward and back: a thread has one unit of a few frames, or of a window.

A file of `streamrnn.kernels.cells` lets every unit be for itself, and its vectors are one block of H numbers after
another. So a thread calls the very same functions for H = 1, on what it has gathered of its own unit.
"""

from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

from numba import float32

from streamrnn.cuda.compiler import SIMULATED, cuda, device_function, device_kernel
from streamrnn.kernels.buffers import PLAN_BEGIN, PLAN_ROW, PLAN_SLOT, PLAN_STREAM
from streamrnn.kernels.cells import CELLS
from streamrnn.kernels.instructions import fma
from streamrnn.kernels.rounds import BEFORE, KEPT

UNITS, SIDE = (4, 2) if SIMULATED else (32, 8)  # threads of a block: units, and fours of frames
EACH = 4  # frames that a thread has
FEW = SIDE * EACH  # frames that a block has
DEEP = 4 if SIMULATED else 32  # terms of a sum that are in shared memory at a time
ALONE = 8 if SIMULATED else 64  # threads of a block that has all frames of one stream
ON_CHIP = 48 * 1024  # bytes of weights that a block can keep
RESERVED = 1024  # bytes of shared memory that each block has beside
MOST_BLOCKS = 16  # at a time on one multiprocessor
TOGETHER = 32  # floats that a device reads together: hidden states of two frames share none of such stretches
ZERO = float32(0)


@device_function
def hidden_before(plan, links, r, state, hidden, k):
    """Number k of the hidden state before a row of the plan."""
    if plan[r, PLAN_BEGIN]:
        return ZERO
    before = links[r, BEFORE]
    return hidden[before, k] if before >= 0 else state[plan[r, PLAN_STREAM], k]


class Alone(NamedTuple):
    """How `forward_alone` is launched."""

    units: int  # of which a block keeps the weights
    blocks: int
    memory: int  # bytes of shared memory of a block


@cache
def alone(cell: str, hidden: int) -> Alone | None:
    """For a layer of that size, or None where its weights do not fit on the device at once."""
    gates = CELLS[cell].gates
    units = min(hidden, (ON_CHIP // 4 - hidden) // (gates * (hidden + 1)))
    if units < 1 or (units < hidden and (SIMULATED or hidden % TOGETHER)):
        return None
    memory, count = 4 * (hidden + units * gates * (hidden + 1)), -(-hidden // units)
    if not SIMULATED:
        device = cuda.get_current_device()
        a_time = device.MAX_SHARED_MEMORY_PER_MULTIPROCESSOR // (memory + RESERVED)
        if count > device.MULTIPROCESSOR_COUNT * min(a_time, MOST_BLOCKS):
            return None
    return Alone(units, count, memory)


class CellKernels(NamedTuple):
    """The kernels of one cell."""

    forward: Any  # a round of frames, each of another stream
    forward_alone: Any  # all frames, of one stream
    backward: Any  # a frame of each of several windows
    own_gradient: Any  # of the cell's own parameters


@cache
def kernels_of(name: str) -> CellKernels:
    """Those of a cell in the table."""
    cell, module = CELLS[name], import_module(f"streamrnn.kernels.cells.{name.lower()}")
    GATES, TAPE, STATE, OWN, SEPARATE = cell.gates, cell.tape, len(cell.state), len(cell.own), cell.separate
    OWN_ROOM = max(OWN, 1)
    step, gradient = module.step, module.gradient
    gradient_of_own: Any = getattr(module, "own_gradient", None)

    @device_function
    def unit(plan, links, r, j, at_hidden, at_own, sums, p, Z, state, hidden, tape):
        """Unit j of row r of the plan, with what the way back needs of it; sums (GATES,): what its own state adds."""
        z, u = cuda.local.array(GATES, float32), cuda.local.array(GATES, float32)
        own, kept = cuda.local.array(OWN_ROOM, float32), cuda.local.array(STATE, float32)
        needed = cuda.local.array(TAPE, float32)
        H = hidden.shape[1]
        stream, slot, row, begins = plan[r, PLAN_STREAM], plan[r, PLAN_SLOT], plan[r, PLAN_ROW], plan[r, PLAN_BEGIN]
        for gate in range(GATES):
            z[gate] = Z[r, gate * H + j]
            u[gate] = sums[gate]
        for k in range(OWN):
            own[k] = p[k * H + j]
        before = hidden_before(plan, links, r, state, hidden, j)
        kept[0] = before
        for k in range(1, STATE):
            kept[k] = ZERO if begins else state[stream, k * H + j]
        step(z, u, own, kept, needed)
        hidden[r, j] = kept[0]
        for k in range(1, STATE):
            state[stream, k * H + j] = kept[k]
        if not links[r, KEPT]:
            return
        if row == 0:
            tape[slot, at_hidden + j] = before
        tape[slot, at_hidden + (row + 1) * H + j] = kept[0]
        for k in range(TAPE):
            tape[slot, at_own + (row * TAPE + k) * H + j] = needed[k]

    @device_kernel
    def forward(plan, links, rows, first, count, at_hidden, at_own, W_hh, p, Z, state, hidden, tape):
        """The frames rows[first : first + count] of the plan; their hidden states into `hidden` (frames, H).

        Z (frames, G): what inputs add. h in `state` stays as it was; what else the cell keeps changes in place.
        at_hidden, at_own: where hidden states and what the cell needs begin in a window's tape.
        """
        inputs = cuda.shared.array((FEW, DEEP), float32)
        sums = cuda.local.array((EACH, GATES), float32)
        x, y = cuda.threadIdx.x, cuda.threadIdx.y
        H, top = W_hh.shape[0], cuda.blockIdx.y * FEW
        j = cuda.blockIdx.x * UNITS + x
        column = min(j, H - 1)
        for i in range(EACH):
            for gate in range(GATES):
                sums[i, gate] = ZERO
        for start in range(0, H, DEEP):
            for i in range(y, FEW, SIDE):
                for k in range(x, DEEP, UNITS):
                    if top + i < count and start + k < H:
                        inputs[i, k] = hidden_before(plan, links, rows[first + top + i], state, hidden, start + k)
            cuda.syncthreads()
            for k in range(min(DEEP, H - start)):
                for gate in range(GATES):
                    weight = W_hh[start + k, gate * H + column]
                    for i in range(EACH):
                        sums[i, gate] = fma(inputs[y * EACH + i, k], weight, sums[i, gate])
            cuda.syncthreads()
        for i in range(EACH):
            place = top + y * EACH + i
            if place < count and j < H:
                r = rows[first + place]
                unit(plan, links, r, j, at_hidden, at_own, sums[i], p, Z, state, hidden, tape)

    @device_kernel
    def forward_alone(plan, links, start, end, units, at_hidden, at_own, W_hh, p, Z, state, hidden, tape, arrived):
        """The rows start to end of the plan, all of one stream; hidden states as `forward` gives them.

        A block keeps the weights of so many units in shared memory, and all blocks wait for each other after each
        frame: they must be on the device at once. `arrived` (1,) is 0.
        """
        memory = cuda.shared.array(0, float32)
        thread, H = cuda.threadIdx.x, W_hh.shape[0]
        first, columns = cuda.blockIdx.x * units, GATES * units
        weights, h, sums = memory[: H * columns], memory[H * columns : H * columns + H], memory[H * columns + H :]
        for at in range(thread, H * columns, ALONE):
            k, column = at // columns, at % columns
            j = min(first + column // GATES, H - 1)
            weights[at] = W_hh[k, column % GATES * H + j]
        for r in range(start, end):
            for k in range(thread, H, ALONE):
                h[k] = hidden_before(plan, links, r, state, hidden, k)
            cuda.syncthreads()
            for column in range(thread, columns, ALONE):
                total = ZERO
                for k in range(H):
                    total = fma(h[k], weights[k * columns + column], total)
                sums[column] = total
            cuda.syncthreads()
            for u in range(thread, min(units, H - first), ALONE):
                own = sums[u * GATES : (u + 1) * GATES]
                unit(plan, links, r, first + u, at_hidden, at_own, own, p, Z, state, hidden, tape)
            cuda.threadfence()
            cuda.syncthreads()
            if thread == 0:
                cuda.atomic.add(arrived, 0, 1)
                while cuda.atomic.add(arrived, 0, 0) < cuda.gridDim.x * (r + 1 - start):
                    pass
            cuda.syncthreads()

    @device_kernel
    def backward(t, frames, A, before, p, dH, carry, dz, du):
        """Frame t of windows of so many frames, whose rows lie one after another in A, before, dH, dz and du.

        carry (2, windows, H): gradients of h and c from the frame behind, become what reaches both directly.
        """
        kept, h, own = (
            cuda.local.array(TAPE, float32),
            cuda.local.array(1, float32),
            cuda.local.array(OWN_ROOM, float32),
        )
        dh, dc = cuda.local.array(1, float32), cuda.local.array(1, float32)
        dz_own, du_own = cuda.local.array(GATES, float32), cuda.local.array(GATES, float32)
        j, w = cuda.grid(2)
        H = before.shape[1]
        if j < H and w < carry.shape[1]:
            r, last = w * frames + t, t == frames - 1
            for k in range(TAPE):
                kept[k] = A[r, k * H + j]
            for k in range(OWN):
                own[k] = p[k * H + j]
            h[0] = before[r, j]
            dh[0] = (ZERO if last else carry[0, w, j]) + dH[r, j]
            dc[0] = ZERO if last else carry[1, w, j]
            gradient(kept, h, own, dh, dc, dz_own, du_own)
            for gate in range(GATES):
                dz[r, gate * H + j] = dz_own[gate]
                if SEPARATE:
                    du[r, gate * H + j] = du_own[gate]
            carry[0, w, j] = dh[0]
            carry[1, w, j] = dc[0]

    @device_kernel
    def own_gradient(A, dz, du, dp):
        """A thread for each unit, over all rows in order."""
        j = cuda.grid(1)
        H = dp.shape[0] // OWN_ROOM
        if j < H:
            gradient_of_own(A[:, j::H], dz[:, j::H], du[:, j::H], dp[j::H])

    return CellKernels(forward, forward_alone, backward, own_gradient)
