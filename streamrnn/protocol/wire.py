"""The wire format: every message between processes is a fixed, versioned header and three blocks of numbers.

    header   9 int64: magic and version, kind, epoch, number, frames, vectors, width of a vector, bytes of a number in
             it, extra numbers
    frames   (frames, 6) int64, see `streamrnn.kernels.frames`
    extra    float64: targets of the frames that have one, or the losses of all frames, see `streamrnn.kernels.readouts`
    vectors  (vectors, width): float64 where they have the units of a stream, inputs from outside and values that a
             network says; else float32: probabilities, hidden states, gradients

A client numbers its requests from 1, and greets the gate before the first (GREETING). `epoch` counts the starts of a
run's workers: what was meant for those before is passed over. A client that says 0 there need not greet, but what it
sends again is taken again.

All little-endian. `number` is what the kind says: a window, a client's request, a barrier. Nothing is ever unpickled.
"""

import sys
from typing import NamedTuple

import numpy as np

from streamrnn.kernels.frames import COLUMNS, EMIT, FLAGS, INPUT
from streamrnn.kernels.messages import DOUBLE, FLOAT, HEADER, MAGIC

if sys.byteorder != "little":
    raise ImportError("streamrnn's wire format needs a little-endian machine")

LARGEST_MESSAGE = 1 << 20  # bytes of a client's message; a larger one is refused
LONGEST_TEXT = 512  # bytes

NO_FRAMES = np.zeros((0, COLUMNS), np.int64)
NO_VECTORS = np.zeros((0, 0))
NOTHING = np.zeros(0)
TYPES: dict[int, str] = {FLOAT: "<f4", DOUBLE: "<f8"}


class WireError(ValueError):
    """Bytes that are no message of this format and version."""


class Message(NamedTuple):
    kind: int
    epoch: int = 0
    number: int = 0
    frames: np.ndarray = NO_FRAMES
    vectors: np.ndarray = NO_VECTORS
    extra: np.ndarray = NOTHING


def size_in_bytes(frames: int, vectors: int, width: int, size: int, extra: int) -> int:
    """Of a message with those counts; size: bytes of a number in its vectors."""
    return 8 * (HEADER + COLUMNS * frames + extra) + size * vectors * width


def pack(message: Message) -> bytes:
    """The bytes of a message."""
    vectors, width = message.vectors.shape
    extra = message.extra.astype(np.float64, copy=False)
    header = np.array(
        [
            MAGIC,
            message.kind,
            message.epoch,
            message.number,
            len(message.frames),
            vectors,
            width,
            message.vectors.itemsize,
            len(message.extra),
        ],
        np.int64,
    )
    return b"".join((header.tobytes(), message.frames.tobytes(), extra.tobytes(), message.vectors.tobytes()))


def unpack(data: bytes | memoryview) -> Message:
    """The message in these bytes; its arrays are read-only views of them. Raises WireError if they hold none."""
    if len(data) < 8 * HEADER:
        raise WireError(f"a message of {len(data)} bytes is shorter than its header")
    magic, kind, epoch, number, *counts = np.frombuffer(data, np.int64, HEADER).tolist()
    if magic != MAGIC:
        raise WireError("not a streamrnn message, or of another version")
    frames, vectors, width, size, count = counts
    if not 0 <= min(counts) <= max(counts) < 2**31 or size not in TYPES or size_in_bytes(*counts) != len(data):
        raise WireError(f"a message of {len(data)} bytes does not have the size its header tells")
    at = 8 * HEADER
    rows = np.frombuffer(data, np.int64, frames * COLUMNS, at).reshape(frames, COLUMNS)
    extra = np.frombuffer(data, np.float64, count, at + rows.nbytes)
    values = np.frombuffer(data, TYPES[size], vectors * width, at + rows.nbytes + extra.nbytes)
    return Message(kind, epoch, number, rows, values.reshape(vectors, width), extra)


def emits(message: Message) -> np.ndarray:
    """Which of its frames have an output."""
    emitted: np.ndarray = message.frames[:, FLAGS] & (INPUT | EMIT) == INPUT | EMIT
    return emitted


def as_text(text: str) -> np.ndarray:
    """A text as the `extra` of a message, cut to LONGEST_TEXT bytes."""
    data = text.encode()[:LONGEST_TEXT].decode(errors="ignore").encode()
    return np.frombuffer(data + bytes(-len(data) % 8))


def as_numbers(data: bytes) -> np.ndarray:
    """Bytes as the `extra` of a message: how many they are, and they themselves."""
    return np.frombuffer(len(data).to_bytes(8, "little") + data + bytes(-len(data) % 8))


def bytes_of(message: Message) -> bytes:
    """The bytes that became the extra of a message; none where that tells of more than there are."""
    data = message.extra.tobytes()
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


def text_of(message: Message) -> str:
    """The text that a message carries."""
    return message.extra.tobytes().rstrip(b"\0").decode(errors="replace")
