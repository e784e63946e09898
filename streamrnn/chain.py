"""Consecutive stages at work together: the whole of a network, or the part of it that one worker hosts.

A **segment** is a run of frames inside which no parameter changes. `advance` takes a segment forward; `learn` takes
one closed window back; `settle` applies the update that is due, once everything it needs is there.
"""

from typing import NamedTuple

import numpy as np
from numba import types

from streamrnn import optimizers, stage
from streamrnn.buffers import KIND, PLAN_TOKEN, SOFTMAX, Sizes, stage_at
from streamrnn.frames import COLUMNS, FLAGS, INPUT, NEW, SCORED, STREAM, TARGET, TOKEN
from streamrnn.jit import inlined, kernel, linked
from streamrnn.linear import copy, copy_rows
from streamrnn.records import records_of
from streamrnn.schedule import (
    ACCUMULATE,
    APPLIED,
    CLOSED,
    DELAY,
    DUE,
    FRAMES,
    LEARNED,
    SLOT,
    TARGETS,
    VERSION,
    Schedule,
    new_schedule,
    release,
    scan,
)

_n, _rows, _vectors = types.int64, types.int64[:, ::1], types.float32[:, ::1]
forward = linked(stage.forward, types.none, _rows, _n, _rows, _vectors)
backward = linked(stage.backward, types.none, _rows, _n, _n, _n, _n, _n, _n, _vectors)
present = linked(stage.present, types.none, _rows, _n, _n, types.float32[::1])
score_one = linked(stage.score, types.float64, _rows, _n, _n, _n, _n, _n, types.float32[::1])
update = linked(optimizers.update, types.none, _rows, _n, _n, _n)


@inlined
def ends_in_readout(stages):
    return stage_at(stages, len(stages) - 1).config[KIND] >= SOFTMAX


@inlined
def advance(stages, t, frames, start, X):
    """Take the segment that begins at frames[start] forward; X (frames, I) holds its inputs unless they are tokens.

    Returns (end of the segment, frames with an input); their outputs are in the last stage's `output`.
    """
    end, inputs = scan(t, frames, start)
    plan = t.plan[:inputs]
    x = X[:inputs]
    for i in range(len(stages)):
        forward(stages, i, plan, x)
        x = stage_at(stages, i).output[:inputs]
        plan[:, PLAN_TOKEN] = -1
    return end, inputs


@inlined
def score(stages, t, frames, targets, losses):
    """Score the targets of a segment in order, and bring the readout's outputs to the units of their streams.

    targets (n, size) holds the vectors of the frames with a target, no rows where targets are tokens; losses (frames,)
    becomes NaN where nothing was scored. Returns the number of targets met.
    """
    inputs, met, last = 0, 0, len(stages) - 1
    readout = stage_at(stages, last)
    for k in range(frames.shape[0]):
        flags, stream = frames[k, FLAGS], frames[k, STREAM]
        losses[k] = np.nan
        if flags & INPUT:
            if flags & NEW:
                readout.stats[stream] = 0
            present(stages, last, stream, readout.output[inputs])
            inputs += 1
        if flags & SCORED:
            slot, row = t.where[k, 0], t.where[k, 1]
            if slot >= 0:
                target = targets[met] if targets.shape[0] > 0 else readout.dy[0, :0]
                losses[k] = score_one(stages, last, stream, slot, row, frames[k, TARGET], target)
            met += 1
    return met


@kernel
def learn(stages, t, dY):
    """Take the oldest closed window back; dY (frames, O) enters at the last stage unless that is a readout.

    Returns its number of frames; the gradient of its inputs is in the first stage's `dx`.
    """
    number = t.counters[LEARNED]
    window = t.queue[number % t.queue.shape[0]]
    frames = window[FRAMES]
    group = (number // t.config[ACCUMULATE]) % (t.config[DELAY] + 1)
    for i in range(len(stages) - 1, -1, -1):
        s = stage_at(stages, i)
        version = -1 if window[VERSION] == t.counters[APPLIED] else window[VERSION] % s.versions.shape[0]
        backward(stages, i, window[SLOT], frames, window[TARGETS], version, group, dY)
        dY = s.dx[:frames]
    release(t, window[SLOT])
    t.counters[LEARNED] += 1
    return frames


@inlined
def settle(stages, t):
    """Apply the update that is due, if any; false while a window that it needs has not been learned from."""
    if t.counters[DUE] == 0:
        return True
    accumulate, delay = t.config[ACCUMULATE], t.config[DELAY]
    group = t.counters[CLOSED] // accumulate - 1 - delay
    if group >= 0:
        if t.counters[LEARNED] < (group + 1) * accumulate:
            return False
        for i in range(len(stages)):
            s = stage_at(stages, i)
            if t.counters[LEARNED] < t.counters[CLOSED]:
                copy(s.params, s.versions[t.counters[APPLIED] % s.versions.shape[0]])
            update(stages, i, group % (delay + 1), accumulate)
        t.counters[APPLIED] += 1
    t.counters[DUE] = 0
    return True


@kernel
def run(stages, t, frames, X, targets, losses, Y):
    """Take frames through a whole network, learning on the way: outputs into Y, losses of targets into losses."""
    start, inputs, met = 0, 0, 0
    nothing = X[:0]
    output = stage_at(stages, len(stages) - 1).output
    while start < frames.shape[0]:
        end, count = advance(stages, t, frames, start, X[inputs:])
        met += score(stages, t, frames[start:end], targets[met:], losses[start:end])
        copy_rows(output[:count], Y[inputs : inputs + count])
        inputs += count
        while t.counters[LEARNED] < t.counters[CLOSED]:
            learn(stages, t, nothing)
        settle(stages, t)
        start = end


class Desk(NamedTuple):
    """Where a few frames lie on their way into a whole network, and what comes out."""

    schedule: Schedule
    frames: np.ndarray  # (n, COLUMNS) int64
    x: np.ndarray  # (1, I) float32
    target: np.ndarray  # (1, size) float32
    losses: np.ndarray  # (n,) float64
    y: np.ndarray  # (n, K) float32


EXAMPLE_DESK = Desk(
    new_schedule(Sizes(), 1, 0),
    frames=np.zeros((2, COLUMNS), np.int64),
    x=np.zeros((1, 1), np.float32),
    target=np.zeros((1, 1), np.float32),
    losses=np.zeros(2),
    y=np.zeros((2, 1), np.float32),
)
table_of_desk, desk_at = records_of(EXAMPLE_DESK)


@kernel
def step(stages, desks, stream, flags, token, before, answer):
    """One frame of a stream, and a target of it or of the one before; token, answer: -1 where they are vectors."""
    desk = desk_at(desks, 0)
    scored = before or flags & SCORED
    X, targets = desk.x[: 1 if token < 0 else 0], desk.target[: 1 if scored and answer < 0 else 0]
    frames = desk.frames[:2]
    for frame in frames:
        frame[STREAM], frame[FLAGS], frame[TOKEN], frame[TARGET] = stream, flags, token, answer
    frames[0, FLAGS] = SCORED
    run(stages, desk.schedule, frames[0 if before else 1 :], X, targets, desk.losses, desk.y)
