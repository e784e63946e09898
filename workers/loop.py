"""The hot loop of a worker: it receives, computes and sends without any Python.

It hosts consecutive stages. Frames come in and go out, gradients come back and go up. It returns to Python when a
message asks for it, when nothing came for a while, and after a number of messages.
"""

from typing import NamedTuple

import numpy as np

from streamrnn import chain
from streamrnn.buffers import INPUTS, OUTPUTS, stage_at
from streamrnn.frames import COLUMNS, ECHO, EMIT, FLAGS, INPUT, SCORED, TOKEN
from streamrnn.instructions import matrix
from streamrnn.jit import inlined, kernel
from streamrnn.linear import copy, copy_rows
from streamrnn.optimizers import RATE as HYPER_RATE
from streamrnn.schedule import CLOSED, CUT, LEARNED, close
from streamrnn.schedule import FRAMES as WINDOW_FRAMES
from streamrnn.wire import (
    BARRIER,
    FRAMES,
    GRADIENT,
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
)
from streamrnn.workers.native import DONT_WAIT, POLL_IN, zmq_poll, zmq_recv, zmq_send

# positions in Links.sockets
FRAMES_IN, GRADIENTS_IN, CONTROL, FRAMES_OUT, GRADIENTS_OUT, ECHOES_OUT = range(6)
# positions in Links.state
EPOCH, START, USED_INPUTS, USED_TARGETS, HAS_FRAMES, HAS_BARRIER, DONE_FRAMES, BAD, TARGET_WIDTH = range(9)
READY, GIVEN, EXTRA, FLUSH_AT, MORE_COMES, OUT_KIND, TURNS = range(9, 16)
# why `serve` returns
PAUSE, AT_BARRIER = range(2)

# H_NUMBER of frames: MORE if more of the gate's block come, and CUTS times one more than the stream whose window the
# next frame closes, if it does: who comes after must close it too, for the frame may wait for what is learned from it
MORE, CUTS = 1, 2

PATIENCE = 200  # milliseconds without a message before Python has a look


class Links(NamedTuple):
    """A worker's sockets and the messages in hand."""

    sockets: np.ndarray  # (6,) uint64: libzmq handles, 0 for none
    polls: np.ndarray  # (3, 2) int64: zmq_pollitem_t of the sockets that are read, in that order
    state: np.ndarray  # (16,) int64
    incoming: np.ndarray  # int64: the message whose frames are being worked through
    gradient: np.ndarray  # int64: a gradient, on its way in or out
    outgoing: np.ndarray  # int64: a message on its way out
    rows: np.ndarray  # (block, 5) int64: READY frames that are done and have not been sent,
    vectors: np.ndarray  # (block, O) float32: GIVEN outputs of theirs,
    extra: np.ndarray  # float32: and EXTRA numbers, their targets or what they scored
    losses: np.ndarray  # (block,) float64: what the newest segment scored


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
    return 8 * (HEADER + COLUMNS * frames) + 4 * (vectors * width + extra) == size


@kernel
def send(links, socket, message):
    """Send a message, the size its header tells. It never waits: what is queued is bounded by the gate's credit."""
    frames, vectors, width, extra = message[H_FRAMES], message[H_VECTORS], message[H_WIDTH], message[H_EXTRA]
    size = 8 * (HEADER + COLUMNS * frames) + 4 * (vectors * width + extra)
    while zmq_send(links.sockets[socket], message.ctypes.data, size, 0) < 0:
        links.state[BAD] += 1


@inlined
def start_message(message, kind, epoch, number, frames, vectors, width, extra):
    """Write a header."""
    message[H_MAGIC] = MAGIC
    message[H_KIND] = kind
    message[H_EPOCH] = epoch
    message[H_NUMBER] = number
    message[H_FRAMES] = frames
    message[H_VECTORS] = vectors
    message[H_WIDTH] = width
    message[H_EXTRA] = extra


@inlined
def parts(message):
    """frames (n, 5), vectors (m, width) and extra (k,) of a message, as views."""
    frames, vectors, width, extra = message[H_FRAMES], message[H_VECTORS], message[H_WIDTH], message[H_EXTRA]
    at = HEADER + COLUMNS * frames
    floats = message[at:].view(np.float32)
    return (
        matrix(message, HEADER, frames, COLUMNS),
        matrix(floats, 0, vectors, width),
        floats[vectors * width : vectors * width + extra],
    )


@kernel
def wait(links, first, count):
    """Wait for some of the sockets that are read; true if Python should have a look: control, time or a signal."""
    ready = zmq_poll(links.polls[first:].ctypes.data, count, PATIENCE)
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
        _, dY, _ = parts(message)
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
    if links.sockets[GRADIENTS_OUT] != 0:
        message, first = links.gradient, stage_at(stages, 0)
        start_message(message, GRADIENT, links.state[EPOCH], number, 0, frames, first.config[INPUTS], 0)
        _, vectors, _ = parts(message)
        copy_rows(first.dx, vectors)
        send(links, GRADIENTS_OUT, message)


@inlined
def work(stages, t, links):
    """Take the next segment of the frames in hand forward and send its outputs."""
    state = links.state
    frames, X, targets = parts(links.incoming)
    start = state[START]
    X = X[state[USED_INPUTS] :]
    end, inputs = chain.advance(stages, t, frames, start, X)
    segment, cut = frames[start:end], t.counters[CUT]
    if end == frames.shape[0] and links.incoming[H_NUMBER] > MORE:
        cut = links.incoming[H_NUMBER] // CUTS - 1
        close(t, cut)
    scored = 0
    for k in range(segment.shape[0]):
        scored += 1 if segment[k, FLAGS] & SCORED else 0
    width = state[TARGET_WIDTH]
    targets = targets[state[USED_TARGETS] * width : (state[USED_TARGETS] + scored) * width]
    output = stage_at(stages, len(stages) - 1).output[:inputs]
    if state[READY] + segment.shape[0] > links.rows.shape[0]:
        flush(links, -1)
    state[MORE_COMES] = 1 if end < frames.shape[0] or links.incoming[H_NUMBER] & MORE else 0
    if chain.ends_in_readout(stages):
        losses = links.losses[: segment.shape[0]]
        chain.score(stages, t, segment, matrix(targets, 0, scored if width else 0, width), losses)
        keep(links, segment, output, EMIT, losses)
        echo(links, segment, output)
        cut = -1
    else:
        keep(links, segment, output, INPUT, targets)
    if cut >= 0 or state[READY] >= state[FLUSH_AT]:
        flush(links, cut)
    state[START] = end
    state[USED_INPUTS] += inputs
    state[USED_TARGETS] += scored
    state[DONE_FRAMES] += end - start
    state[HAS_FRAMES] = 1 if end < frames.shape[0] else 0


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
    counts = state[READY], state[GIVEN], links.vectors.shape[1], state[EXTRA]
    start_message(message, state[OUT_KIND], state[EPOCH], number, *counts)
    rows, vectors, extra = parts(message)
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
        start_message(message, OUTPUT, links.state[EPOCH], 0, count, count, output.shape[1], 0)
        rows, vectors, _ = parts(message)
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
    """Take the message that has just come: frames to work through, a barrier to stop at, or one to pass on at once."""
    state, kind = links.state, links.incoming[H_KIND]
    if kind == FRAMES:
        state[START] = 0
        state[USED_INPUTS] = 0
        state[USED_TARGETS] = 0
        state[HAS_FRAMES] = 1 if links.incoming[H_FRAMES] <= links.losses.shape[0] else 0
        state[BAD] += 1 - state[HAS_FRAMES]
    else:
        if kind == RATE:
            for i in range(len(stages)):
                stage_at(stages, i).hyper[HYPER_RATE] = links.incoming[H_NUMBER : H_NUMBER + 1].view(np.float64)[0]
        flush(links, -1)
        send(links, FRAMES_OUT, links.incoming)
        state[HAS_BARRIER] = 1 if kind == BARRIER else 0


@kernel
def serve(stages, t, links):
    """Work until Python should have a look; returns PAUSE, or AT_BARRIER with everything before it learned.

    What has been computed is sent once there is nothing to receive, or enough of it: frames that come one by one
    faster than they can be sent travel together.
    """
    state, counters = links.state, t.counters
    nothing = stage_at(stages, 0).dx[:0]
    readout = chain.ends_in_readout(stages)
    for _ in range(state[TURNS]):
        if readout:
            while counters[LEARNED] < counters[CLOSED]:
                learn(stages, t, links, nothing)
        else:
            take_gradients(stages, t, links)
        if not chain.settle(stages, t) or (state[HAS_BARRIER] and counters[LEARNED] < counters[CLOSED]):
            flush(links, -1)
            if wait(links, GRADIENTS_IN, 2):
                return PAUSE
        elif state[HAS_FRAMES]:
            work(stages, t, links)
        elif state[HAS_BARRIER]:
            state[HAS_BARRIER] = 0
            return AT_BARRIER
        elif receive(links, FRAMES_IN, links.incoming) >= 0:
            accept(stages, links)
        else:
            if not (readout and state[MORE_COMES]):
                flush(links, -1)
            if wait(links, FRAMES_IN, 3):
                break
    flush(links, -1)
    return PAUSE
