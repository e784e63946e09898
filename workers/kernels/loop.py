"""The hot loop of a worker: it receives, computes and sends without any Python.

It hosts consecutive stages. Frames come in and go out, gradients come back and go up. It returns to Python when a
message asks for it, and several times a second by the clock, whatever comes or does not.
"""

from typing import NamedTuple

import numpy as np
from numba import typeof, types

from streamrnn.kernels import chain
from streamrnn.kernels.buffers import OUTPUTS, Sizes, stage_at
from streamrnn.kernels.columns import CLOSED, CUT, LEARNED
from streamrnn.kernels.columns import FRAMES as WINDOW_FRAMES
from streamrnn.kernels.frames import COLUMNS, ECHO, EMIT, FLAGS, INPUT, SCORED, TOKEN
from streamrnn.kernels.instructions import matrix
from streamrnn.kernels.jit import inlined, kernel
from streamrnn.kernels.linear import copy, copy_rows
from streamrnn.kernels.messages import (
    BARRIER,
    DOUBLE,
    EVICT,
    FLOAT,
    FRAMES,
    GRADIENT,
    H_BYTES,
    H_EPOCH,
    H_EXTRA,
    H_FRAMES,
    H_KIND,
    H_MAGIC,
    H_NUMBER,
    H_VECTORS,
    H_WIDTH,
    HEADER,
    MAGIC,
    OUTPUT,
    RATE,
    RESTORE,
)
from streamrnn.kernels.optimizers import RATE as HYPER_RATE
from streamrnn.kernels.schedule import close, new_schedule
from streamrnn.workers.kernels.native import DONT_WAIT, MONOTONIC, POLL_IN, clock_gettime, zmq_poll, zmq_recv, zmq_send

# positions in Links.sockets; int64, because Numba compiles a function for each int that it is called with
FRAMES_IN, GRADIENTS_IN, CONTROL, FRAMES_OUT, GRADIENTS_OUT, ECHOES_OUT = np.arange(6)
NO_STREAM = np.int64(-1)
# positions in Links.state
EPOCH, START, USED_INPUTS, USED_TARGETS, HAS_FRAMES, HAS_BARRIER, DONE_FRAMES, BAD, TARGET_WIDTH = range(9)
READY, GIVEN, EXTRA, FLUSH_AT, MORE_COMES, OUT_KIND, OUT_BYTES, LOSSES, WAITED = range(9, 18)
STATE = 18
# why `serve` returns
PAUSE, AT_BARRIER, AT_STREAM = range(3)

# H_NUMBER of frames: MORE if more of the gate's block come, and CUTS times one more than the stream whose window the
# next frame closes, if it does: who comes after must close it too, for the frame may wait for what is learned from it
MORE, CUTS = 1, 2

LOOK_EVERY = 180_000_000  # nanoseconds between looks of Python at orders and the clock: of all workers at once
MILLISECOND = 1_000_000


class Links(NamedTuple):
    """A worker's sockets and the messages in hand."""

    sockets: np.ndarray  # (6,) uint64: libzmq handles, 0 for none
    polls: np.ndarray  # (3, 2) int64: zmq_pollitem_t of the sockets that are read, in that order
    state: np.ndarray  # (STATE,) int64
    incoming: np.ndarray  # int64: the message whose frames are being worked through
    gradient: np.ndarray  # int64: a gradient, on its way in or out
    outgoing: np.ndarray  # int64: a message on its way out
    rows: np.ndarray  # (block, 5) int64: READY frames that are done and have not been sent,
    vectors: np.ndarray  # (block, floats): GIVEN outputs of theirs, see `chain.outputs`,
    extra: np.ndarray  # float64: and EXTRA numbers, their targets or what they scored
    losses: np.ndarray  # (block L,) float64: of the newest segment, LOSSES numbers a frame: losses, targets
    clock: np.ndarray  # (2,) int64: a timespec


@kernel
def receive(links, socket, message):
    """Bytes received into `message`, -1 if there was nothing; what does not fit is counted as bad and passed over."""
    while True:
        size = zmq_recv(links.sockets[socket], message.ctypes.data, message.nbytes, DONT_WAIT)
        if size < 0:
            return -1
        if fits(message, size) and message[H_EPOCH] == links.state[EPOCH]:
            return size
        links.state[BAD] += 1


@inlined
def fits(message, size):
    """Whether the counts in the header tell that size."""
    if size > message.nbytes or size < 8 * HEADER or message[H_MAGIC] != MAGIC:
        return False
    frames, vectors, width, extra = message[H_FRAMES], message[H_VECTORS], message[H_WIDTH], message[H_EXTRA]
    if min(frames, vectors, width, extra) < 0 or max(frames, vectors, width, extra) > message.nbytes:
        return False
    return (message[H_BYTES] == FLOAT or message[H_BYTES] == DOUBLE) and size_of(message) == size


@inlined
def size_of(message):
    """Bytes that the header tells."""
    numbers = HEADER + COLUMNS * message[H_FRAMES] + message[H_EXTRA]
    return 8 * numbers + message[H_BYTES] * message[H_VECTORS] * message[H_WIDTH]


@kernel
def send(links, socket, message):
    """Send a message, the size its header tells. It never waits: what is queued is bounded by the gate's credit."""
    while zmq_send(links.sockets[socket], message.ctypes.data, size_of(message), 0) < 0:
        links.state[BAD] += 1


@inlined
def start_message(message, kind, epoch, number, frames, vectors, width, size, extra):
    """Write a header; size: bytes of a number in its vectors."""
    message[H_MAGIC] = MAGIC
    message[H_KIND] = kind
    message[H_EPOCH] = epoch
    message[H_NUMBER] = number
    message[H_FRAMES] = frames
    message[H_VECTORS] = vectors
    message[H_WIDTH] = width
    message[H_BYTES] = size
    message[H_EXTRA] = extra


@inlined
def parts(message):
    """frames (n, 5), extra (k,) and vectors (m, floats) of a message, as views."""
    frames, extra = message[H_FRAMES], message[H_EXTRA]
    at = HEADER + COLUMNS * frames
    return (
        matrix(message, HEADER, frames, COLUMNS),
        message[at : at + extra].view(np.float64),
        matrix(message[at + extra :].view(np.float32), 0, message[H_VECTORS], message[H_WIDTH] * message[H_BYTES] // 4),
    )


@inlined
def doubles(message):
    """Vectors (m, width) of a message that are float64, no rows if they are not."""
    at = HEADER + COLUMNS * message[H_FRAMES] + message[H_EXTRA]
    rows = message[H_VECTORS] if message[H_BYTES] == DOUBLE else 0
    return matrix(message[at:].view(np.float64), 0, rows, message[H_WIDTH])


@inlined
def now(links):
    """Nanoseconds of a clock that only goes forward."""
    clock_gettime(MONOTONIC, links.clock.ctypes.data)
    return links.clock[0] * 1_000_000_000 + links.clock[1]


@kernel
def wait(links, first, until):
    """Wait for the sockets that are read, from that one on; true if Python should have a look: order, time, signal."""
    begun = now(links)
    left = max(until - begun + MILLISECOND - 1, 0) // MILLISECOND
    ready = zmq_poll(links.polls[first:].ctypes.data, links.polls.shape[0] - first, left)
    links.state[WAITED] += now(links) - begun
    return ready <= 0 or links.polls[CONTROL, 1] >> 48 & POLL_IN != 0


@inlined
def take_gradients(stages, t, links):
    """Learn from every window whose gradient has come, and pass the gradient of its inputs on."""
    while t.counters[LEARNED] < t.counters[CLOSED]:
        if receive(links, GRADIENTS_IN, links.gradient) < 0:
            return
        message = links.gradient
        window = t.queue[t.counters[LEARNED] % t.queue.shape[0]]
        last = stage_at(stages, len(stages) - 1)
        _, _, dY = parts(message)
        if (
            message[H_KIND] == GRADIENT
            and message[H_NUMBER] == t.counters[LEARNED]
            and dY.shape[0] == window[WINDOW_FRAMES]
            and dY.shape[1] == last.config[OUTPUTS]
        ):
            learn(stages, t, links, dY)
        else:
            links.state[BAD] += 1


@kernel
def learn(stages, t, links, dY):
    """Take the oldest closed window back, and send the gradient of its inputs up if there is somebody."""
    number = t.counters[LEARNED]
    frames = chain.learn(stages, t, dY)
    send_gradient(links, number, stage_at(stages, 0).dx[:frames])


@inlined
def send_gradient(links, number, dx):
    """Send the gradient dx (frames, I) of the inputs of window `number` up, if there is somebody."""
    if links.sockets[GRADIENTS_OUT] != 0:
        message = links.gradient
        start_message(message, GRADIENT, links.state[EPOCH], number, 0, dx.shape[0], dx.shape[1], FLOAT, 0)
        _, _, vectors = parts(message)
        copy_rows(dx, vectors)
        send(links, GRADIENTS_OUT, message)


@inlined
def work(stages, t, links):
    """Take the next segment of the frames in hand forward and send its outputs."""
    state = links.state
    frames, targets, X = parts(links.incoming)
    start, used = state[START], state[USED_INPUTS]
    end, inputs = chain.advance(stages, t, frames, start, X[used:], doubles(links.incoming)[used:])
    segment = frames[start:end]
    cut, scored = begin_segment(t, links, segment, frames.shape[0])
    width = state[TARGET_WIDTH]
    targets = targets[state[USED_TARGETS] * width : (state[USED_TARGETS] + scored) * width]
    output = chain.outputs(stages)[:inputs]
    if chain.ends_in_readout(stages):
        losses = matrix(links.losses, 0, segment.shape[0], state[LOSSES])
        chain.score(stages, t, segment, matrix(targets, 0, scored if width else 0, width), losses)
        say(links, segment, output, targets)
        cut = -1
    else:
        keep(links, segment, output, INPUT, targets)
    end_segment(links, segment, frames.shape[0], inputs, scored, cut)


@inlined
def begin_segment(t, links, segment, count):
    """Before the outputs of a segment, of `count` frames in hand, are kept: have room for them.

    Returns the stream whose window the next frame closes, -1 for none, and how many frames have a target.
    """
    state, cut = links.state, t.counters[CUT]
    end = state[START] + segment.shape[0]
    if end == count and links.incoming[H_NUMBER] > MORE:
        cut = links.incoming[H_NUMBER] // CUTS - 1
        close(t, cut)
    scored = 0
    for k in range(segment.shape[0]):
        scored += 1 if segment[k, FLAGS] & SCORED else 0
    if state[READY] + segment.shape[0] > links.rows.shape[0]:
        flush(links, NO_STREAM)
    state[MORE_COMES] = 1 if end < count or links.incoming[H_NUMBER] & MORE else 0
    return cut, scored


@inlined
def say(links, segment, output, targets):
    """Keep what a readout says of a segment, its losses and targets (scored width,), and send the echoes."""
    each = links.state[LOSSES]
    losses = matrix(links.losses, 0, segment.shape[0], each)
    keep_targets(segment, targets, losses[:, each - links.state[TARGET_WIDTH] :])
    keep(links, segment, output, EMIT, links.losses[: segment.shape[0] * each])
    echo(links, segment, output)


@inlined
def end_segment(links, segment, count, inputs, scored, cut):
    """Behind a segment with so many inputs and targets, of `count` frames in hand: send what is due, and go on."""
    state = links.state
    if cut >= 0 or state[READY] >= state[FLUSH_AT]:
        flush(links, cut)
    state[START] += segment.shape[0]
    state[USED_INPUTS] += inputs
    state[USED_TARGETS] += scored
    state[DONE_FRAMES] += segment.shape[0]
    state[HAS_FRAMES] = 1 if state[START] < count else 0


@inlined
def keep_targets(segment, targets, kept):
    """Copy the targets (scored width,) of frames that have one into their rows of `kept` (frames, width)."""
    met, width = 0, kept.shape[1]
    for k in range(segment.shape[0]):
        if segment[k, FLAGS] & SCORED:
            copy(targets[met : met + width], kept[k])
            met += width


@inlined
def keep(links, segment, output, flag, extra):
    """Keep a segment, the outputs of its frames that have the flag, and some numbers, until they are sent."""
    state = links.state
    copy_rows(segment, links.rows[state[READY] : state[READY] + segment.shape[0]])
    state[READY] += segment.shape[0]
    state[GIVEN] += give_outputs(segment, output, flag, links.vectors[state[GIVEN] :])
    for k in range(extra.shape[0]):
        links.extra[state[EXTRA] + k] = extra[k]
    state[EXTRA] += extra.shape[0]


@kernel
def flush(links, cut):
    """Send what has been kept in one message, and `cut`, the stream whose window the next frame closes, -1 for none."""
    state, message = links.state, links.outgoing
    if state[READY] == 0 and cut < 0:
        return
    number = state[MORE_COMES] * MORE + CUTS * (cut + 1)
    size = state[OUT_BYTES]
    width = links.vectors.shape[1] * FLOAT // size
    start_message(message, state[OUT_KIND], state[EPOCH], number, state[READY], state[GIVEN], width, size, state[EXTRA])
    rows, extra, vectors = parts(message)
    copy_rows(links.rows, rows)
    rows[:, TOKEN] = -1  # from here on the inputs are vectors
    copy_rows(links.vectors, vectors)
    copy(links.extra, extra)
    send(links, FRAMES_OUT, message)
    state[READY] = 0
    state[GIVEN] = 0
    state[EXTRA] = 0


@inlined
def echo(links, segment, output):
    """Send the outputs that were asked for back to the gate."""
    message, count = links.outgoing, 0
    for k in range(segment.shape[0]):
        count += 1 if segment[k, FLAGS] & INPUT and segment[k, FLAGS] & ECHO else 0
    if count:
        size = links.state[OUT_BYTES]
        start_message(message, OUTPUT, links.state[EPOCH], 0, count, count, output.shape[1] * FLOAT // size, size, 0)
        rows, _, vectors = parts(message)
        give_outputs(segment, output, ECHO, vectors)
        row = 0
        for k in range(segment.shape[0]):
            if segment[k, FLAGS] & INPUT and segment[k, FLAGS] & ECHO:
                copy(segment[k], rows[row])
                row += 1
        send(links, ECHOES_OUT, message)


@inlined
def give_outputs(segment, output, flag, vectors):
    """Copy the outputs of the frames that have the flag; how many they are."""
    row, given = 0, 0
    for k in range(segment.shape[0]):
        if segment[k, FLAGS] & INPUT:
            if segment[k, FLAGS] & flag:
                copy(output[row], vectors[given])
                given += 1
            row += 1
    return given


@inlined
def accept(stages, links):
    """Take the message that has just come: frames to work through, a barrier to stop at, or one to pass on at once.

    True if that takes a stream out or brings one back.
    """
    state, kind = links.state, links.incoming[H_KIND]
    if kind == FRAMES:
        state[START] = 0
        state[USED_INPUTS] = 0
        state[USED_TARGETS] = 0
        state[HAS_FRAMES] = 1 if links.incoming[H_FRAMES] <= links.rows.shape[0] else 0
        state[BAD] += 1 - state[HAS_FRAMES]
        if state[TARGET_WIDTH] > 0:
            frames, targets, _ = parts(links.incoming)
            width = state[TARGET_WIDTH]
            chain.mark_gaps(frames, matrix(targets, 0, targets.shape[0] // width, width))
    else:
        if kind == RATE:
            for i in range(len(stages)):
                stage_at(stages, i).hyper[HYPER_RATE] = links.incoming[H_NUMBER : H_NUMBER + 1].view(np.float64)[0]
        flush(links, NO_STREAM)
        send(links, FRAMES_OUT, links.incoming)
        state[HAS_BARRIER] = 1 if kind == BARRIER else 0
    return kind in (EVICT, RESTORE)


@kernel
def serve(stages, t, links):
    """Work until Python should have a look; returns PAUSE, AT_BARRIER with everything before it learned, or AT_STREAM.

    What has been computed is sent once there is nothing to receive, or enough of it: frames that come one by one
    faster than they can be sent travel together.
    """
    state, counters = links.state, t.counters
    nothing = stage_at(stages, 0).dx[:0]
    readout = chain.ends_in_readout(stages)
    until = (now(links) // LOOK_EVERY + 1) * LOOK_EVERY
    while now(links) < until:
        if readout:
            while counters[LEARNED] < counters[CLOSED]:
                learn(stages, t, links, nothing)
        else:
            take_gradients(stages, t, links)
        if not chain.settle(stages, t) or (state[HAS_BARRIER] and counters[LEARNED] < counters[CLOSED]):
            flush(links, NO_STREAM)
            if wait(links, GRADIENTS_IN, until):
                return PAUSE
        elif state[HAS_FRAMES]:
            work(stages, t, links)
        elif state[HAS_BARRIER]:
            state[HAS_BARRIER] = 0
            return AT_BARRIER
        elif receive(links, FRAMES_IN, links.incoming) >= 0:
            if accept(stages, links):
                return AT_STREAM
        else:
            if not (readout and state[MORE_COMES]):
                flush(links, NO_STREAM)
            if wait(links, FRAMES_IN, until):
                break
    flush(links, NO_STREAM)
    return PAUSE


EXAMPLE = Links(
    sockets=np.zeros(6, np.uint64),
    polls=np.zeros((3, 2), np.int64),
    state=np.zeros(STATE, np.int64),
    incoming=np.zeros(0, np.int64),
    gradient=np.zeros(0, np.int64),
    outgoing=np.zeros(0, np.int64),
    rows=np.zeros((0, COLUMNS), np.int64),
    vectors=np.zeros((0, 0), np.float32),
    extra=np.zeros(0),
    losses=np.zeros(0),
    clock=np.zeros(2, np.int64),
)  # its type is every worker's


def warm_up() -> None:
    """Have `serve` in memory, from disk if it is there."""
    serve.compile((types.int64[:, ::1], typeof(new_schedule(Sizes(), 1, 0)), typeof(EXAMPLE)))
