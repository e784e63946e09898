"""A frame: one time step of one stream, as a row of int64 columns; its vectors travel beside the rows.

    SEQ     number of the frame in the order in which the gate accepted it
    STREAM  number of the stream
    FLAGS   what to do with it, see below
    TOKEN   the input where it is a token
    TARGET  the target where it is a token
    TIME    when it was measured, nanoseconds since 1970 in UTC, where it is known (TIMED)

A frame with INPUT advances its stream; a frame with SCORED brings the target of the newest step of its stream, which
is this frame's own when it has both. So a self-supervised frame x travels as a pair with one SEQ: a SCORED one (x is
what the step before should have said), then an INPUT.

The five ways of processing a sequence are five patterns of these flags, see `streamrnn.model.verbs`.
"""

import numpy as np

SEQ, STREAM, FLAGS, TOKEN, TARGET, TIME = range(6)
COLUMNS = 6

BEGIN = 1  # forget: the state is zeroed before this frame
INPUT = 2  # an input comes with the frame: step
SCORED = 4  # a target comes with the frame: score it, learn from it
EMIT = 8  # publish the output of this frame
END = 16  # the sequence ends here
NEW = 32  # the number was another stream's before: its statistics are forgotten too
FEEDBACK = 128  # the input is the target of the frame before if it had one, else what the network said of it
DISMISS = 512  # an alarm of the stream was none; TARGET: whose, see `kernels.anomaly.alarm`; nothing else comes with it
GAP = 2048  # all of the target is missing: the row stands in its order, and nothing is scored or learned
ECHO = 256  # send the output of this frame back to where it came from
TIMED = 1024  # its time comes with the frame
LEARN = 64  # from a client of a self-supervised network: this input is also the target of the frame before


def places(frames: np.ndarray) -> np.ndarray:
    """Where rows stand in the order of all: a frame's target, where it has a row of its own, before its input."""
    found: np.ndarray = 2 * frames[:, SEQ] + (frames[:, FLAGS] & INPUT > 0)
    return found
