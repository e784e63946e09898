"""A stage at work: frames forward, a window back, an update. Everything a layer or readout does, in compiled code.

The tape of a window is one row of `Stage.tape`, seen as matrices whose rows are frames:
    layer    X (W, I) inputs; H (W + 1, H) hidden states, row t before frame t; A (W, a H) what the cell keeps
    readout  X (W, I) inputs; Y (W, O) outputs; D (W, O) loss gradients, zero where a frame has no target
             with experts: X (W, I) gradients with respect to the inputs, zero where a frame has no target
"""

from math import inf, isnan, nan

from numba import float32, none

from streamrnn.kernels import entrance, linear, standardize
from streamrnn.kernels.buffers import (
    HIDDEN,
    INPUTS,
    KIND,
    MASK,
    NEEDS_DX,
    OUTPUTS,
    OWN,
    OWN_OUTPUT,
    PLAN_BEGIN,
    PLAN_ROW,
    PLAN_SLIDE,
    PLAN_SLOT,
    PLAN_STREAM,
    PLAN_TIME,
    PLAN_TOKEN,
    PREACTIVATIONS,
    READOUT,
    SEPARATE,
    SIZE,
    STANDARDIZE,
    WINDOW,
    stage_at,
)
from streamrnn.kernels.cells import dispatch as cells
from streamrnn.kernels.frames import NEW
from streamrnn.kernels.instructions import matrix
from streamrnn.kernels.jit import inlined, kernel, linked
from streamrnn.kernels.linear import add, add_rows, copy
from streamrnn.kernels.optimizers import RATE
from streamrnn.kernels.readouts import CHANNELS
from streamrnn.kernels.readouts import dispatch as readouts

MOST, NO_LIMIT = float32(standardize.LIMIT), float32(inf)

matrices = [float32[:, ::1]] * 3
add_product = linked(linear.add_product, none, *matrices)
add_outer_products = linked(linear.add_outer_products, none, *matrices)
add_transposed = linked(linear.add_transposed, none, *matrices)


@inlined
def cell_views(config, flat):
    """W_xh (I, G), W_hh (H, G), b_h (G,), the cell's own (k H,), W_hy (H, O), b_y (O,) as views of flat parameters."""
    I, H, O, G = config[INPUTS], config[HIDDEN], config[OUTPUTS], config[PREACTIVATIONS]
    own = O if config[OWN_OUTPUT] else 0
    a = I * G
    b = a + H * G
    c = b + G
    d = c + config[OWN]
    e = d + H * own
    return matrix(flat, 0, I, G), matrix(flat, a, H, G), flat[b:c], flat[c:d], matrix(flat, d, H, own), flat[e:]


@inlined
def cell_tape(config, row):
    """X, H and A of one window's tape."""
    W, I, H = config[WINDOW], config[INPUTS], config[HIDDEN]
    a, b = W * I, W * I + (W + 1) * H
    return matrix(row, 0, W, I), matrix(row, a, W + 1, H), matrix(row, b, W, (row.shape[0] - b) // W)


@kernel
def slide(config, row, tokens, count):
    """Drop the oldest `count` frames of a layer's tape. (A readout need not: frames without a target weigh nothing.)"""
    for part in cell_tape(config, row):
        for t in range(count, part.shape[0]):
            copy(part[t], part[t - count])
    for t in range(count, tokens.shape[0]):
        tokens[t - count] = tokens[t]


@inlined
def readout_views(config, flat):
    """W_hy (I, O) and b_y (O,) as views of flat parameters."""
    I, O = config[INPUTS], config[OUTPUTS]
    return matrix(flat, 0, I, O), flat[I * O :]


@inlined
def readout_tape(config, row):
    """X, Y and D of one window's tape."""
    W, I, O = config[WINDOW], config[INPUTS], config[OUTPUTS]
    return matrix(row, 0, W, I), matrix(row, W * I, W, O), matrix(row, W * (I + O), W, O)


@inlined
def has_experts(s):
    """Whether a readout makes its forecasts with experts, and has no parameters."""
    return s.settings.shape[0] > 0


@kernel
def enter(stages, plan, vectors):
    """Fill the first stage's `input` with what it sees of vectors (frames, n) float64 from outside."""
    s = stage_at(stages, 0)
    for r in range(plan.shape[0]):
        enter_one(s, plan[r], vectors[r], s.input[r])


@inlined
def enter_one(s, planned, vector, row):
    """The vector of one planned frame, into a row of the first stage's `input`."""
    if s.config[STANDARDIZE]:
        stats, steps = s.stats[planned[PLAN_STREAM]], s.experts[planned[PLAN_STREAM]]
        if planned[PLAN_BEGIN] & NEW:
            stats[:] = 0
            steps[:] = 0
        entrance.enter(stats, vector, s.config[MASK], row)
        if s.settings.shape[0] > 0:
            entrance.tell_time(steps, planned[PLAN_TIME], s.settings, row)
    else:
        copy(vector, row)


@kernel
def forward(stages, i, plan, X):
    """Advance stage i by the planned frames, inputs X (frames, I), no rows where they are tokens; fills `output`."""
    s = stage_at(stages, i)
    if s.config[KIND] >= READOUT:
        readout_forward(s, plan, X)
    else:
        cell_forward(s, plan, X)


@inlined
def cell_forward(s, plan, X):
    """Some frames at a time, so that what is in between stays in the cache."""
    frames, most = plan.shape[0], s.z.shape[0]
    for start in range(0, frames, most):
        end = min(start + most, frames)
        take_inputs(s, plan[start:end], X[start:end])
        first = start
        while first < end:
            last = first + distinct(plan[first:end])
            step_streams(s, plan[first:last], X[first:last], s.z[first - start : last - start], s.output[first:last])
            first = last


@inlined
def take_inputs(s, plan, X):
    """What the inputs add to the pre-activations of each planned frame, into `z`."""
    W_xh, _, b_h, _, _, _ = cell_views(s.config, s.params)
    Z = s.z[: plan.shape[0]]
    for r in range(plan.shape[0]):
        copy(b_h, Z[r])
        token = plan[r, PLAN_TOKEN]
        if token >= 0:
            add(W_xh[token], Z[r])
    add_product(X, W_xh, Z[: X.shape[0]])


@inlined
def distinct(plan):
    """How many of the first frames are each of another stream."""
    for r in range(1, plan.shape[0]):
        for earlier in range(r):
            if plan[earlier, PLAN_STREAM] == plan[r, PLAN_STREAM]:
                return r
    return plan.shape[0]


@inlined
def step_streams(s, plan, X, Z, output):
    """One step of each of several streams, with Z (frames, G) from the inputs."""
    kind, H, frames = s.config[KIND], s.config[HIDDEN], plan.shape[0]
    _, W_hh, _, p, W_hy, b_y = cell_views(s.config, s.params)
    before, U = s.h[:frames], s.u[:frames]
    for r in range(frames):
        slot, row = plan[r, PLAN_SLOT], plan[r, PLAN_ROW]
        if plan[r, PLAN_SLIDE] > 0:
            slide(s.config, s.tape[slot], s.tokens[slot], plan[r, PLAN_SLIDE])
        tape_X, tape_H, _ = cell_tape(s.config, s.tape[slot])
        state = s.state[plan[r, PLAN_STREAM]]
        if plan[r, PLAN_BEGIN]:
            state[:] = 0
        copy(state[:H], before[r])
        if row == 0:
            copy(before[r], tape_H[0])
        s.tokens[slot, row] = plan[r, PLAN_TOKEN]
        if X.shape[0] > 0:
            copy(X[r], tape_X[row])
        else:
            tape_X[row] = 0
        U[r] = 0
    add_product(before, W_hh, U)
    for r in range(frames):
        row, state = plan[r, PLAN_ROW], s.state[plan[r, PLAN_STREAM]]
        _, tape_H, tape_A = cell_tape(s.config, s.tape[plan[r, PLAN_SLOT]])
        cells.step(kind, Z[r], U[r], p, state, tape_A[row])
        copy(state[:H], tape_H[row + 1])
    for r in range(frames):
        h = s.state[plan[r, PLAN_STREAM], :H]
        if s.config[OWN_OUTPUT]:
            copy(b_y, output[r])
            copy(h, before[r])
        else:
            copy(h, output[r])
    if s.config[OWN_OUTPUT]:
        add_product(before, W_hy, output)


@inlined
def readout_forward(s, plan, X):
    """Outputs in the units of the network; `present` gives them in the units of the stream.

    Experts learn between one frame and the next: they predict when it is their frame's turn, in `present`.
    """
    if has_experts(s):
        for r in range(plan.shape[0]):
            copy(X[r], s.input[r])
            tape_X, _, _ = readout_tape(s.config, s.tape[plan[r, PLAN_SLOT]])
            tape_X[plan[r, PLAN_ROW]] = 0
        return
    W_hy, b_y = readout_views(s.config, s.params)
    frames = plan.shape[0]
    output = s.output[:frames]
    for r in range(frames):
        copy(b_y, output[r])
    add_product(X, W_hy, output)
    for r in range(frames):
        row = plan[r, PLAN_ROW]
        tape_X, tape_Y, tape_D = readout_tape(s.config, s.tape[plan[r, PLAN_SLOT]])
        readouts.activate(s.config[KIND], output[r])
        copy(X[r], tape_X[row])
        copy(output[r], tape_Y[row])
        tape_D[row] = 0


@kernel
def present(stages, i, stream, row, begin):
    """Bring an output of the readout to the units of the stream: a row of `output`, into `presented`.

    begin: a sequence of the stream begins.
    """
    s = stage_at(stages, i)
    y = s.output[row]
    presented = s.presented[row * y.shape[0] : (row + 1) * y.shape[0]]
    if has_experts(s):
        memory, stats = s.experts[stream], s.stats[stream]
        readouts.predict(s.config[KIND], s.settings, memory, stats, s.input[row], begin, s.work, presented)
    elif s.config[STANDARDIZE]:
        standardize.backward(s.stats[stream], s.config[SIZE], y, presented)
    else:
        copy(y, presented)


@kernel
def score(stages, i, stream, slot, row, token, target, losses):
    """Losses of the output in that row of the tape, prequential; notes its gradient. target (size,) float64."""
    s = stage_at(stages, i)
    tape_X, tape_Y, tape_D = readout_tape(s.config, s.tape[slot])
    size, kind, standardized, stats = target.shape[0], s.config[KIND], s.config[STANDARDIZE], s.stats[stream]
    expected, scales, floors = s.dy[0, :size], s.scales[0, :size], s.scales[1, :size]
    if standardized:
        standardize.target(stats, target, expected, scales, floors)
    else:
        copy(target, expected)
    if has_experts(s):
        memory, learning = s.experts[stream], s.hyper[RATE] > 0.0
        d = tape_X[row]
        readouts.learn(kind, s.settings, memory, stats, target, scales, floors, learning, s.work, d, losses)
    else:
        most = MOST if standardized else NO_LIMIT
        readouts.score(kind, tape_Y[row], token, expected, scales, floors, most, tape_D[row], losses)
    if standardized:
        standardize.observe(stats, target)
    leave_out(target, losses)


@inlined
def leave_out(target, losses):
    """What is missing in a target (size,) has cost nothing, and its loss is NaN."""
    for j in range(target.shape[0]):
        if isnan(target[j]):
            losses[CHANNELS + j] = nan


@kernel
def dismiss(stages, i, stream, what):
    """Take a client's word that an alarm of the stream was none."""
    s = stage_at(stages, i)
    readouts.dismiss(s.config[KIND], s.settings, s.experts[stream], s.stats[stream], what)


@kernel
def backward(stages, i, slot, frames, targets, version, group, dY):
    """Take the gradient dY (frames, O) of a window's outputs back through stage i.

    Adds to gradient buffer `group`, fills `dx`. `version` names older parameters, -1 those in force. A readout makes
    its own dY from what `score` noted, divided by the number of targets.
    """
    s = stage_at(stages, i)
    params = s.versions[version] if version >= 0 else s.params
    if s.config[KIND] >= READOUT:
        readout_backward(s, slot, frames, targets, params, s.grads[group])
    else:
        cell_backward(s, slot, frames, params, s.grads[group], dY)


@inlined
def cell_backward(s, slot, frames, params, grads, dY):
    kind = s.config[KIND]
    W_xh, W_hh, _, p, W_hy, _ = cell_views(s.config, params)
    dW_xh, dW_hh, db_h, dp, dW_hy, db_y = cell_views(s.config, grads)
    X, H, A = cell_tape(s.config, s.tape[slot])
    dz = s.dz[:frames]
    du = s.du[:frames] if s.config[SEPARATE] else dz
    if s.config[OWN_OUTPUT]:
        add_outer_products(H[1 : frames + 1], dY, dW_hy)
        add_rows(dY, db_y)
        dH = s.dy[:frames]
        dH[:] = 0
        add_transposed(dY, W_hy, dH)
    else:
        dH = dY
    dh, dc = s.carry[0], s.carry[1]
    s.carry[:] = 0
    for t in range(frames - 1, -1, -1):
        for j in range(dh.shape[0]):
            dh[j] += dH[t, j]
        cells.gradient(kind, A[t], H[t], p, dh, dc, dz[t], du[t])
        if t > 0:
            add_transposed(du[t : t + 1], W_hh, s.carry[:1])
    add_outer_products(H[:frames], du, dW_hh)
    add_rows(dz, db_h)
    if s.config[OWN]:
        cells.own_gradient(kind, A[:frames], dz, du, dp)
    vectors = False
    for t in range(frames):
        token = s.tokens[slot, t]
        if token < 0:
            vectors = True
        else:
            add(dz[t], dW_xh[token])
    if vectors:
        add_outer_products(X[:frames], dz, dW_xh)
        if s.config[NEEDS_DX]:
            s.dx[:frames] = 0
            add_transposed(dz, W_xh, s.dx[:frames])


@inlined
def readout_backward(s, slot, frames, targets, params, grads):
    share = float32(1.0 / targets)
    if has_experts(s):
        DX, _, _ = readout_tape(s.config, s.tape[slot])
        for t in range(frames):
            for j in range(s.dx.shape[1]):
                s.dx[t, j] = DX[t, j] * share
        return
    W_hy, _ = readout_views(s.config, params)
    dW_hy, db_y = readout_views(s.config, grads)
    X, _, D = readout_tape(s.config, s.tape[slot])
    D = D[:frames]
    for t in range(frames):
        for j in range(D.shape[1]):
            D[t, j] *= share
    add_outer_products(X[:frames], D, dW_hy)
    add_rows(D, db_y)
    s.dx[:frames] = 0
    add_transposed(D, W_hy, s.dx[:frames])
