"""Consecutive stages at work together: the whole of a network, or the part of it that one worker hosts.

A **segment** is a run of frames inside which no parameter changes. `advance` takes a segment forward; `learn` takes
one closed window back; `settle` applies the update that is due, once everything it needs is there.
"""

from math import isnan
from typing import NamedTuple

import numpy as np
from numba import types

from streamrnn.kernels import stage
from streamrnn.kernels.buffers import KIND, PLAN_TOKEN, READOUT, Sizes, stage_at
from streamrnn.kernels.columns import ACCUMULATE, APPLIED, CLOSED, DELAY, DUE, FRAMES, LEARNED, SLOT, TARGETS, VERSION
from streamrnn.kernels.frames import (
    BEGIN,
    COLUMNS,
    DISMISS,
    FLAGS,
    GAP,
    INPUT,
    NEW,
    SCORED,
    STREAM,
    TARGET,
    TIME,
    TIMED,
    TOKEN,
)
from streamrnn.kernels.instructions import matrix
from streamrnn.kernels.jit import inlined, kernel, linked
from streamrnn.kernels.linear import copy, copy_rows
from streamrnn.kernels.optimizers.update import update as update_stage
from streamrnn.kernels.records import records_of
from streamrnn.kernels.schedule import Schedule, new_schedule, release, scan

_n, _rows, _vectors = types.int64, types.int64[:, ::1], types.float32[:, ::1]
enter = linked(stage.enter, types.none, _rows, _rows, types.float64[:, ::1])
forward = linked(stage.forward, types.none, _rows, _n, _rows, _vectors)
backward = linked(stage.backward, types.none, _rows, _n, _n, _n, _n, _n, _n, _vectors)
present = linked(stage.present, types.none, _rows, _n, _n, _n, _n)
score_one = linked(stage.score, types.none, _rows, _n, _n, _n, _n, _n, types.float64[::1], types.float64[::1])
dismiss = linked(stage.dismiss, types.none, _rows, _n, _n, _n)
update = linked(update_stage, types.none, _rows, _n, _n, _n)


@inlined
def ends_in_readout(stages):
    return stage_at(stages, len(stages) - 1).config[KIND] >= READOUT


@inlined
def outputs(stages):
    """The last stage's outputs as floats: those of `output`, or pairs of them that are float64, of `presented`."""
    s = stage_at(stages, len(stages) - 1)
    rows, width = s.output.shape
    return matrix(s.presented.view(np.float32), 0, rows, 2 * width) if s.presented.shape[0] > 0 else s.output


@inlined
def advance(stages, t, frames, start, X, vectors):
    """Take the segment that begins at frames[start] forward.

    Its inputs are tokens, or X (frames, I), from the stage before, or vectors (frames, I) float64, from outside; the
    others have no rows. Returns (end of the segment, frames with an input); their outputs are in `output`.
    """
    end, inputs = scan(t, frames, start)
    plan = t.plan[:inputs]
    x = X[:inputs]
    if vectors.shape[0] > 0:
        enter(stages, plan, vectors)
        x = stage_at(stages, 0).input[:inputs]
    for i in range(len(stages)):
        forward(stages, i, plan, x)
        x = stage_at(stages, i).output[:inputs]
        plan[:, PLAN_TOKEN] = -1
    return end, inputs


@kernel
def mark_gaps(frames, targets):
    """Mark the frames of whose target, in the next row of targets (n, size), all is missing."""
    met = 0
    for k in range(frames.shape[0]):
        if frames[k, FLAGS] & SCORED and met < targets.shape[0]:
            if all_missing(targets[met]):
                frames[k, FLAGS] |= GAP
            met += 1


@inlined
def all_missing(target):
    """Whether all of a target (size,) is NaN."""
    there = 0
    for value in target:
        there += not isnan(value)
    return there == 0


@inlined
def score(stages, t, frames, targets, losses):
    """Score the targets of a segment in order, and bring the readout's outputs to the units of their streams.

    targets (n, size) float64 holds the vectors of the frames with a target, no rows where targets are tokens; losses
    (frames, L) become NaN where nothing was scored. Returns the number of targets met.
    """
    inputs, met = 0, 0
    for k in range(frames.shape[0]):
        score_frame(stages, len(stages) - 1, frames[k], t.where[k], inputs, targets, met, losses[k])
        inputs += 1 if frames[k, FLAGS] & INPUT else 0
        met += 1 if frames[k, FLAGS] & SCORED else 0
    return met


@inlined
def score_frame(stages, i, frame, where, row, targets, met, losses):
    """One frame of a segment at readout i: its output lies in that row, its target, if it is a vector, in targets[met].

    where (2,): slot and row of the step that the target belongs to.
    """
    flags, stream, readout = frame[FLAGS], frame[STREAM], stage_at(stages, i)
    losses[:] = np.nan
    if flags & INPUT:
        if flags & NEW:
            readout.stats[stream] = 0
            readout.experts[stream] = 0
        if readout.presented.shape[0] > 0:
            present(stages, i, stream, row, flags & (BEGIN | NEW))
    if flags & DISMISS and readout.settings.shape[0] > 0:
        dismiss(stages, i, stream, frame[TARGET])
    if flags & SCORED and where[0] >= 0:
        target = targets[met] if targets.shape[0] > 0 else readout.scales[0, :0]
        score_one(stages, i, stream, where[0], where[1], frame[TARGET], target, losses)


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
def run(stages, t, frames, vectors, targets, losses, Y):
    """Take frames through a whole network, learning on the way: outputs into Y, losses of targets into losses."""
    start, inputs, met = 0, 0, 0
    mark_gaps(frames, targets)
    nothing = stage_at(stages, 0).dx[:0]
    while start < frames.shape[0]:
        end, count = advance(stages, t, frames, start, nothing, vectors[inputs:])
        met += score(stages, t, frames[start:end], targets[met:], losses[start:end])
        copy_rows(outputs(stages)[:count], Y[inputs : inputs + count])
        inputs += count
        while t.counters[LEARNED] < t.counters[CLOSED]:
            learn(stages, t, nothing)
        settle(stages, t)
        start = end


class FrameBuffers(NamedTuple):
    """Where a few frames lie on their way into a whole network, and what comes out."""

    schedule: Schedule
    frames: np.ndarray  # (n, COLUMNS) int64
    x: np.ndarray  # (1, I) float64
    target: np.ndarray  # (1, size) float64
    losses: np.ndarray  # (n, L) float64
    y: np.ndarray  # (n, K), or (n, 2 K) where pairs are float64, see `outputs`


EXAMPLE_BUFFERS = FrameBuffers(
    new_schedule(Sizes(), 1, 0),
    frames=np.zeros((2, COLUMNS), np.int64),
    x=np.zeros((1, 1)),
    target=np.zeros((1, 1)),
    losses=np.zeros((2, 1)),
    y=np.zeros((2, 1), np.float32),
)
table_of_frame_buffers, frame_buffers_at = records_of(EXAMPLE_BUFFERS)


@inlined
def put_frame(frames, stream, flags, token, answer, time):
    """Write a frame into the second row, and one that has only its target into the first."""
    for frame in frames:
        frame[STREAM], frame[FLAGS], frame[TOKEN], frame[TARGET], frame[TIME] = stream, flags, token, answer, time
    frames[0, FLAGS] = SCORED


@kernel
def step(stages, buffers, stream, flags, token, before, answer, time):
    """One frame of a stream, and a target of it or of the one before; token, answer: -1 where they are vectors.

    time: of the frame, where flags have TIMED.
    """
    buffer = frame_buffers_at(buffers, 0)
    scored = before or flags & SCORED
    X, targets = buffer.x[: 1 if token < 0 else 0], buffer.target[: 1 if scored and answer < 0 else 0]
    frames = buffer.frames[:2]
    put_frame(frames, stream, flags, token, answer, time)
    run(stages, buffer.schedule, frames[0 if before else 1 :], X, targets, buffer.losses, buffer.y)


@inlined
def put_frames(frames, start, end, stream, flags, last, tokens, answers, times):
    """Write the frames start to end of a stream, one row each, or two where that is not the row of its target.

    last: flags that the last one has besides.
    """
    rows = frames.shape[0] // (end - start)
    for k in range(start, end):
        target, own = frames[rows * (k - start)], frames[rows * (k - start) + rows - 1]
        target[STREAM], target[FLAGS], target[TOKEN], target[TARGET] = stream, SCORED, -1, answers[k]
        own[STREAM], own[TOKEN], own[TARGET] = stream, tokens[k], answers[k]
        own[FLAGS] = flags | last if k == end - 1 else flags
        if times.shape[0] > 0:
            own[TIME] = times[k]
            own[FLAGS] |= TIMED


@kernel
def run_series(stages, buffers, stream, flags, last, follows, tokens, answers, X, targets, times, losses, Y):
    """Frames of one stream, one after another, in blocks; `last` are flags that the last one has besides.

    tokens (n,), -1 where X (n, I) holds vectors; answers (n,) or targets (n, size), of each frame, or where `follows`
    of the one before it; times (n,), or (0,) where they are not known; losses (n, L) of what each scored. X and targets
    are float64.
    """
    buffer, count = frame_buffers_at(buffers, 0), Y.shape[0]
    rows = 2 if follows else 1
    block = buffer.frames.shape[0] // rows
    for start in range(0, count, block):
        end = min(start + block, count)
        frames = buffer.frames[: rows * (end - start)]
        put_frames(frames, start, end, stream, flags, last if end == count else 0, tokens, answers, times)
        run(stages, buffer.schedule, frames, X[start:end], targets[start:end], buffer.losses, Y[start:end])
        for k in range(start, end):
            copy(buffer.losses[rows * (k - start)], losses[k])
