"""Frames as clients send them, checked and laid out as rows."""

import numpy as np

from streamrnn.kernels.frames import (
    BEGIN,
    COLUMNS,
    DISMISS,
    ECHO,
    EMIT,
    END,
    FEEDBACK,
    FLAGS,
    INPUT,
    LEARN,
    NEW,
    SCORED,
    SEQ,
    STREAM,
    TARGET,
    TIME,
    TIMED,
    TOKEN,
)
from streamrnn.kernels.jit import kernel

KNOWN = BEGIN | INPUT | SCORED | EMIT | END | LEARN | FEEDBACK | ECHO | DISMISS | TIMED


@kernel
def check_frames(frames, waiting, predict_next, classes, target_classes, dismissals):
    """The number of the first fault of a client's frames, 0 for none; how many bring an input, how many a target.

    `waiting`: the stream's newest frame may still get its target; `classes` are 0 where numbers are vectors; a frame
    with DISMISS says a number below `dismissals`.
    """
    given, scored = 0, 0
    for k in range(frames.shape[0]):
        flags, token, target = frames[k, FLAGS], frames[k, TOKEN], frames[k, TARGET]
        if flags & ~KNOWN:
            return 2, 0, 0
        if flags & DISMISS:
            if flags != DISMISS or not 0 <= target < dismissals:
                return 9, 0, 0
            continue
        if not flags & (INPUT | SCORED) or (flags & (BEGIN | FEEDBACK | ECHO) and not flags & INPUT):
            return 3, 0, 0
        if not (flags & INPUT or waiting):
            return 4, 0, 0
        if flags & SCORED and predict_next:
            return 5, 0, 0
        if flags & FEEDBACK and flags & LEARN and predict_next:
            return 6, 0, 0
        if flags & INPUT and not flags & FEEDBACK:
            given += 1
            if classes and not 0 <= token < classes:
                return 7, 0, 0
        if flags & SCORED:
            scored += 1
            if target_classes and not 0 <= target < target_classes:
                return 8, 0, 0
        waiting = not flags & (SCORED | END)
    return 0 if frames.shape[0] else 1, given, scored


@kernel
def lay_out(frames, rows, seq, stream, begun, stale, predict_next):
    """Write frames of one stream as rows (two for one whose input is a target too), the first with number `seq`.

    `begun`: a sequence is under way; `stale`: the number was another stream's before. Returns how many rows, whether a
    sequence is under way, whether the last frame may still get its target, and `stale` anew.
    """
    count, waiting = 0, False
    for k in range(frames.shape[0]):
        flags = frames[k, FLAGS]
        begins = flags & INPUT and (flags & BEGIN or not begun)
        if flags & INPUT and flags & LEARN and predict_next and not begins:
            row = rows[count]
            row[SEQ], row[STREAM], row[FLAGS], row[TOKEN], row[TARGET] = seq + k, stream, SCORED, -1, frames[k, TOKEN]
            count += 1
        row = rows[count]
        row[SEQ], row[STREAM], row[FLAGS], row[TOKEN] = seq + k, stream, flags & ~LEARN, frames[k, TOKEN]
        row[TARGET] = frames[k, TARGET] if flags & (SCORED | DISMISS) else 0
        row[TIME] = frames[k, TIME] if flags & TIMED else 0
        if begins:
            row[FLAGS] |= BEGIN | NEW if stale else BEGIN
            stale = False
        count += 1
        begun = (begun or flags & INPUT != 0) and not flags & END
        if not flags & DISMISS:
            waiting = not flags & (SCORED | END)
    return count, begun, waiting, stale


def warm_up() -> None:
    """Compile these kernels, or load them from disk."""
    frames = np.zeros((0, COLUMNS), np.int64)
    check_frames(frames, False, False, 0, 0, 0)
    lay_out(frames, frames, 0, 0, False, False, False)
