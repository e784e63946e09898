"""Truncated BPTT over many streams, as a schedule that depends on the order of the frames and on nothing else.

Each stream has an open **window**, the tape of its last frames. A window **closes**
    - right after the target of its last frame, when it is full,
    - just before a frame of its stream that finds it full, or that begins a new sequence,
    - right after a frame that ends the sequence.
A target of which all is missing is none.
A full window without a target **slides** instead: its older half is dropped, so that a target that comes late reaches
back over what is left. A window that ends without a target is dropped. The others are numbered as they close,
`accumulate` of them make a **group**, and when group g is complete the update of group g - gradient_delay is due: at
that boundary, before any later frame. A window's way back uses the parameters in force when it closed. Every worker
keeps this schedule for itself from the frames that pass; that is why they agree without asking each other.
"""

from typing import NamedTuple

import numpy as np

from streamrnn.kernels.buffers import (
    PLAN_BEGIN,
    PLAN_COLUMNS,
    PLAN_ROW,
    PLAN_SLIDE,
    PLAN_SLOT,
    PLAN_STREAM,
    PLAN_TIME,
    PLAN_TOKEN,
    Sizes,
)
from streamrnn.kernels.columns import (
    ACCUMULATE,
    APPLIED,
    CLOSED,
    CUT,
    DUE,
    FRAMES,
    FREE,
    NO_TIME,
    SLOT,
    TARGETS,
    VERSION,
    WINDOW,
)
from streamrnn.kernels.frames import BEGIN, END, FLAGS, GAP, INPUT, NEW, SCORED, STREAM, TIME, TIMED, TOKEN
from streamrnn.kernels.jit import kernel
from streamrnn.kernels.linear import copy


class Schedule(NamedTuple):
    """All int64. `plan` and `where` describe the frames of the newest segment."""

    config: np.ndarray  # (3,)
    streams: np.ndarray  # (streams, 3): the open window of each stream
    queue: np.ndarray  # (closed windows at most, 4): a ring, by number
    free: np.ndarray  # (slots,): a stack of unused tape slots
    counters: np.ndarray  # windows CLOSED and LEARNED from, updates APPLIED, FREE slots, whether an update is DUE,
    # CUT: the stream whose window was closed by the frame behind the newest segment, -1 if none was
    plan: np.ndarray  # (block, PLAN_COLUMNS): one row a frame with an input
    where: np.ndarray  # (block, 2): slot and row of the step that a frame's target belongs to, -1 for none


def most_closed(accumulate: int, delay: int) -> int:
    """The most windows that can be closed and not yet learned from."""
    return accumulate * (delay + 1)


def new_schedule(sizes: Sizes, accumulate: int, delay: int) -> Schedule:
    """An empty schedule for that many streams, tape slots and frames a block."""
    counters = np.zeros(6, np.int64)
    counters[FREE], counters[CUT] = sizes.slots, -1
    streams = np.zeros((sizes.streams, 3), np.int64)
    streams[:, SLOT] = -1
    return Schedule(
        config=np.array([sizes.window, accumulate, delay]),
        streams=streams,
        queue=np.zeros((most_closed(accumulate, delay), 4), np.int64),
        free=np.arange(sizes.slots - 1, -1, -1),
        counters=counters,
        plan=np.zeros((sizes.block, PLAN_COLUMNS), np.int64),
        where=np.zeros((sizes.block, 2), np.int64),
    )


@kernel
def release(t, slot):
    """Give a tape slot back."""
    t.free[t.counters[FREE]] = slot
    t.counters[FREE] += 1


@kernel
def close(t, stream):
    """Close the open window of a stream, if it has one; true if that makes an update due."""
    window, counters = t.streams[stream], t.counters
    if window[SLOT] < 0:
        return False
    slot, targets = window[SLOT], window[TARGETS]
    if targets > 0:
        entry = t.queue[counters[CLOSED] % t.queue.shape[0]]
        copy(window, entry[:VERSION])
        entry[VERSION] = counters[APPLIED]
        counters[CLOSED] += 1
        if counters[CLOSED] % t.config[ACCUMULATE] == 0:
            counters[DUE] = 1
    else:
        release(t, slot)
    window[FRAMES] = 0
    window[TARGETS] = 0
    window[SLOT] = -1
    return counters[DUE] == 1


@kernel
def scan(t, frames, start):
    """Plan frames[start:], up to where an update is due or the end. Returns (end, frames with an input)."""
    inputs = 0
    t.counters[CUT] = -1
    for k in range(start, frames.shape[0]):
        flags, stream = frames[k, FLAGS], frames[k, STREAM]
        window, scored = t.streams[stream], flags & (SCORED | GAP) == SCORED
        full, slide = window[FRAMES] == t.config[WINDOW], 0
        if flags & INPUT and full and window[TARGETS] == 0 and not flags & BEGIN:
            slide = (t.config[WINDOW] + 1) // 2
            window[FRAMES] -= slide
        elif ((flags & INPUT and full) or flags & BEGIN) and close(t, stream):
            t.counters[CUT] = stream
            return k, inputs
        if flags & INPUT:
            if window[SLOT] < 0:
                t.counters[FREE] -= 1
                window[SLOT] = t.free[t.counters[FREE]]
            row = t.plan[inputs]
            row[PLAN_STREAM], row[PLAN_SLOT], row[PLAN_ROW] = stream, window[SLOT], window[FRAMES]
            row[PLAN_TIME] = frames[k, TIME] if flags & TIMED else NO_TIME
            row[PLAN_TOKEN], row[PLAN_BEGIN], row[PLAN_SLIDE] = frames[k, TOKEN], flags & (BEGIN | NEW), slide
            window[FRAMES] += 1
            inputs += 1
        t.where[k - start] = -1
        if scored and window[SLOT] >= 0:
            t.where[k - start, 0], t.where[k - start, 1] = window[SLOT], window[FRAMES] - 1
            window[TARGETS] += 1
        full = window[FRAMES] == t.config[WINDOW]
        if ((scored and full) or flags & END) and close(t, stream):
            return k + 1, inputs
    return frames.shape[0], inputs
