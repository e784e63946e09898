"""What a stage does on a device beside its units and matrix products. See `streamrnn.kernels.stage`, which it follows.

Most kernels have a thread for each number of a matrix (columns, rows); those that take frames one after another have
one for each stream, and run the code of the CPU.
"""

from collections.abc import Sequence
from typing import Any

from numba import float32, float64

from streamrnn.cuda.compiler import SIMULATED, cuda, device_kernel
from streamrnn.cuda.products import ALL_LANES, blocks, folded
from streamrnn.kernels import chain, stage
from streamrnn.kernels.buffers import (
    KIND,
    OPTIMIZER,
    PLAN_ROW,
    PLAN_SLIDE,
    PLAN_SLOT,
    PLAN_STREAM,
    PLAN_TOKEN,
    UPDATES,
    stage_at,
)
from streamrnn.kernels.instructions import fma
from streamrnn.kernels.optimizers import MOMENTS
from streamrnn.kernels.optimizers import update as updates
from streamrnn.kernels.readouts import dispatch as readouts
from streamrnn.kernels.rounds import INPUTS, KEPT, LAST, TARGETS
from streamrnn.kernels.tiles import LANES

MOST_MOMENTS = max(MOMENTS.values())
THREADS = 8 if SIMULATED else 64  # of a block
ZERO = float32(0)


def launch(kernel: Any, shape: Sequence[int], stream: Any, *arguments: Any) -> None:
    """Run a thread for each of (columns, rows), or of (columns,)."""
    if 0 not in shape:
        grid = blocks(shape[0], THREADS), *shape[1:]
        kernel[grid, (THREADS, *(1 for _ in shape[1:])), stream](*arguments)


@device_kernel
def enter(table, plan, vectors, order, starts, streams):
    """What the first stage sees of vectors from outside: a thread for each stream, frame after frame."""
    k = cuda.grid(1)
    if k < streams:
        s = stage_at(table, 0)
        for at in range(starts[k], starts[k + 1]):
            r = order[at]
            stage.enter_one(s, plan[r], vectors[r], s.input[r])


@device_kernel
def start_sums(plan, tokens, W_xh, b_h, Z):
    """Z (frames, G) = b_h, and where there are tokens their row of W_xh."""
    j, r = cuda.grid(2)
    if j < Z.shape[1]:
        token = plan[r, PLAN_TOKEN] if tokens else -1
        Z[r, j] = b_h[j] + W_xh[token, j] if token >= 0 else b_h[j]


@device_kernel
def spread(b, out):
    """Each row of out (n, N) = b (N,)."""
    j, r = cuda.grid(2)
    if j < out.shape[1]:
        out[r, j] = b[j]


@device_kernel
def keep_inputs(plan, links, start, tokens, X, inputs, tape):
    """Inputs X (frames, I) of the rows from `start` on into the tapes of their windows; zeros where they are tokens."""
    j, r = cuda.grid(2)
    r += start
    if j < inputs and links[r, KEPT]:
        tape[plan[r, PLAN_SLOT], plan[r, PLAN_ROW] * inputs + j] = ZERO if tokens else X[r, j]


@device_kernel
def keep_tokens(plan, links, start, end, tokens, kept):
    """Their tokens into kept (slots, W), -1 where there are none."""
    r = start + cuda.grid(1)
    if r < end and links[r, KEPT]:
        kept[plan[r, PLAN_SLOT], plan[r, PLAN_ROW]] = plan[r, PLAN_TOKEN] if tokens else -1


@device_kernel
def slide(plan, start, at, rows, width, tape):
    """Drop the oldest frames of a part (rows, width), at place `at`, of each tape that slides: a thread a column."""
    j, r = cuda.grid(2)
    r += start
    count, slot = plan[r, PLAN_SLIDE], plan[r, PLAN_SLOT]
    if j < width and count > 0:
        for t in range(count, rows):
            tape[slot, at + (t - count) * width + j] = tape[slot, at + t * width + j]


@device_kernel
def slide_tokens(plan, start, end, kept):
    """The same for tokens, kept (slots, W)."""
    r = start + cuda.grid(1)
    if r < end:
        count, slot = plan[r, PLAN_SLIDE], plan[r, PLAN_SLOT]
        if count > 0:
            for t in range(count, kept.shape[1]):
                kept[slot, t - count] = kept[slot, t]


@device_kernel
def finish(plan, links, start, hidden, state):
    """The hidden state after the last frame of each stream, of the rows from `start` on, into its state."""
    j, r = cuda.grid(2)
    r += start
    if j < hidden.shape[1] and links[r, LAST]:
        state[plan[r, PLAN_STREAM], j] = hidden[r, j]


@device_kernel
def activate(table, plan, links, start, end, outputs, inputs, window):
    """The outputs of a readout, a thread for each row from `start` on, also into the tape of its window."""
    r = start + cuda.grid(1)
    if r < end:
        s = stage_at(table, 0)
        y = s.output[r]
        readouts.activate(s.config[KIND], y)
        if not links[r, KEPT]:
            return
        at = window * inputs + plan[r, PLAN_ROW] * outputs
        for j in range(outputs):
            s.tape[plan[r, PLAN_SLOT], at + j] = y[j]
            s.tape[plan[r, PLAN_SLOT], at + window * outputs + j] = ZERO


@device_kernel
def keep_for_experts(plan, X, kept, tape):
    """What experts are to see, X (frames, I); no gradient as yet."""
    j, r = cuda.grid(2)
    if j < X.shape[1]:
        kept[r, j] = X[r, j]
        tape[plan[r, PLAN_SLOT], plan[r, PLAN_ROW] * X.shape[1] + j] = ZERO


@device_kernel
def score(lanes, count, frames, where, counts, targets, losses, order, starts, streams):
    """Each frame of a segment at a readout: a thread takes every so many-th stream, frame after frame."""
    lane = cuda.grid(1)
    if lane < count:
        for k in range(lane, streams, count):
            for at in range(starts[k], starts[k + 1]):
                r = order[at]
                inputs, met = counts[r, INPUTS], counts[r, TARGETS]
                chain.score_frame(lanes, lane, frames[r], where[r], inputs, targets, met, losses[r])


@device_kernel
def gather(tape, slots, frames, at, first, width, out):
    """Rows first, first + 1, ... (width,) of a part at place `at` of the tapes of windows, one window after another."""
    j, r = cuda.grid(2)
    if j < width:
        out[r, j] = tape[slots[r // frames], at + (first + r % frames) * width + j]


@device_kernel
def gather_shares(tape, slots, frames, at, width, shares, out):
    """The same of gradients, each times the share of its window."""
    j, r = cuda.grid(2)
    if j < width:
        out[r, j] = tape[slots[r // frames], at + r % frames * width + j] * shares[r // frames]


@device_kernel
def add_tokens(tokens, slots, frames, dz, dW):
    """dW (I, G) += the rows of dz (n, G) whose input was that token, in order: a thread for each column of a token."""
    j, token = cuda.grid(2)
    if j < dW.shape[1]:
        total = dW[token, j]
        for r in range(dz.shape[0]):
            if tokens[slots[r // frames], r % frames] == token:
                total += dz[r, j]
        dW[token, j] = total


@device_kernel
def measure(table, group, windows, said):
    """How an update is to be made, said (2,): its rate and the scale of its gradient. One block, a thread a lane."""
    lanes = cuda.shared.array(ALL_LANES, float32)
    lane, s = cuda.threadIdx.x, stage_at(table, 0)
    g = s.grads[group]
    N, total = g.shape[0], ZERO
    whole, vectors = N - N % ALL_LANES, N - N % LANES
    for n in range(lane, whole, ALL_LANES):
        total = fma(g[n], g[n], total)
    if lane < LANES:
        for n in range(whole + lane, vectors, LANES):
            total = fma(g[n], g[n], total)
    lanes[lane] = total
    cuda.syncthreads()
    if lane == 0:
        square = folded(lanes)
        for n in range(vectors, N):
            square = fma(g[n], g[n], square)
        length = updates.root(float64(square), g)
        said[0], said[1] = updates.begin(s.hyper, s.counters, length, windows)


@device_kernel
def update(table, group, said):
    """The update, or that it is left out: a thread for each parameter."""
    moments = cuda.local.array((MOST_MOMENTS, 1), float32)
    j, s = cuda.grid(1), stage_at(table, 0)
    if j < s.params.shape[0]:
        g, kept, rate = s.grads[group, j : j + 1], s.moments.shape[0], said[0]
        if rate < 0.0:
            g[0] = ZERO
            return
        for k in range(kept):
            moments[k, 0] = s.moments[k, j]
        p, done = s.params[j : j + 1], s.counters[UPDATES]
        updates.step(s.config[OPTIMIZER], p, g, moments, s.hyper, float32(said[1]), rate, done)
        for k in range(kept):
            s.moments[k, j] = moments[k, 0]


@device_kernel
def copy(source, out):
    """out (N,) = source (N,)."""
    j = cuda.grid(1)
    if j < out.shape[0]:
        out[j] = source[j]


@device_kernel
def clear_count(count):
    """count (1,) = 0."""
    count[0] = 0


@device_kernel
def clear(out):
    """out (n, N) = 0."""
    j, r = cuda.grid(2)
    if j < out.shape[1]:
        out[r, j] = ZERO
