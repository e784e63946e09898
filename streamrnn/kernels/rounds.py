"""In what order a device takes the frames of a segment: those of one stream one after another, others at once.

A **round** has at most one frame of each stream. Compiled for the CPU, which does it while it plans a segment anyway.
"""

from streamrnn.kernels.buffers import PLAN_ROW, PLAN_SLIDE, PLAN_SLOT, PLAN_STREAM
from streamrnn.kernels.frames import FLAGS, INPUT, SCORED
from streamrnn.kernels.jit import kernel

# columns of links: the row of a row's stream before it, NONE if there is none; whether there is none behind it; whether
# its place in the tape is its own to the end: a window that ends without a target leaves its slot to another
BEFORE, LAST, KEPT = range(3)
LINKS = 3
INPUTS, TARGETS = range(2)  # columns of counts: inputs and targets among the frames before a frame
NONE = -1


@kernel
def group(streams, newest, order, starts):
    """Numbers of rows by stream: of the k-th stream they are order[starts[k] : starts[k + 1]]. Returns their number.

    streams (n,): of each row; newest (streams,): NONE, before and after.
    """
    count = 0
    for r in range(streams.shape[0]):
        if newest[streams[r]] == NONE:
            newest[streams[r]] = count
            starts[count + 1] = 0
            count += 1
        starts[newest[streams[r]] + 1] += 1
    starts[0] = 0
    for k in range(count):
        starts[k + 1] += starts[k]
    for r in range(streams.shape[0] - 1, -1, -1):
        k = newest[streams[r]]
        starts[k + 1] -= 1
        order[starts[k + 1]] = r
    for r in range(streams.shape[0]):
        newest[streams[r]] = NONE
    for k in range(count):
        starts[k] = starts[k + 1]
    starts[count] = streams.shape[0]
    return count


@kernel
def plan_rounds(plan, start, newest, writers, links, number, rows, starts):
    """Rounds of plan[start:], up to a frame whose window slides behind frames that are not in it yet, or the end.

    Round k has the rows rows[starts[k] : starts[k + 1]]. Returns (where it ends, how many rounds). newest (streams,):
    NONE, before and after; writers (slots, W), number (block,): spare room.
    """
    end, count = plan.shape[0], 0
    for r in range(start, plan.shape[0]):
        before = newest[plan[r, PLAN_STREAM]]
        if before != NONE and plan[r, PLAN_SLIDE] > 0:
            end = r
            break
        links[r, BEFORE], links[r, LAST] = before, 1
        number[r] = 0
        if before != NONE:
            links[before, LAST] = 0
            number[r] = number[before] + 1
        newest[plan[r, PLAN_STREAM]] = r
        writers[plan[r, PLAN_SLOT], plan[r, PLAN_ROW]] = r
        count = max(count, number[r] + 1)
    starts[: count + 1] = 0
    for r in range(start, end):
        newest[plan[r, PLAN_STREAM]] = NONE
        links[r, KEPT] = writers[plan[r, PLAN_SLOT], plan[r, PLAN_ROW]] == r
        starts[number[r] + 1] += 1
    starts[0] = start
    for k in range(count):
        starts[k + 1] += starts[k]
    for r in range(end - 1, start - 1, -1):
        starts[number[r] + 1] -= 1
        rows[starts[number[r] + 1]] = r
    for k in range(count):
        starts[k] = starts[k + 1]
    starts[count] = end
    return end, count


@kernel
def count_before(frames, counts):
    """What is among the frames before each: counts (n, 2)."""
    inputs, targets = 0, 0
    for k in range(frames.shape[0]):
        counts[k, INPUTS], counts[k, TARGETS] = inputs, targets
        inputs += 1 if frames[k, FLAGS] & INPUT else 0
        targets += 1 if frames[k, FLAGS] & SCORED else 0
