"""The wire format: every message between processes is a fixed, versioned header and three blocks of numbers.

    header   8 int64: magic and version, kind, epoch, number, frames, vectors, width of a vector, extra floats
    frames   (frames, 5) int64, see `streamrnn.frames`
    vectors  (vectors, width) float32: inputs, outputs or gradients
    extra    float32: targets of the frames that have one, or the losses of outputs

A client numbers its requests from 1, and greets the gate before the first (GREETING). `epoch` counts the starts of a
run's workers: what was meant for those before is passed over. A client that says 0 there need not greet, but what it
sends again is taken again.

All little-endian. `number` is what the kind says: a window, a client's request, a barrier. Nothing is ever unpickled.
"""

import sys
from typing import NamedTuple

import msgspec
import numpy as np

from streamrnn.frames import COLUMNS

MAGIC = int.from_bytes(b"srnn\x01\x00\x00\x00", "little")
HEADER = 8
# positions in the header
H_MAGIC, H_KIND, H_EPOCH, H_NUMBER, H_FRAMES, H_VECTORS, H_WIDTH, H_EXTRA = range(HEADER)
# kinds
FRAMES = 1  # frames on their way down, `number`: see streamrnn.workers.loop; or from a client
GRADIENT = 2  # of the inputs of window `number`, on its way up
OUTPUT = 3  # what the readout said
BARRIER = 4  # checkpoint `number`; frames[0]: the frames accepted before it and the streams in use
NAME = 5  # the name of stream `number`, a text
CREDIT = 6  # `number` frames have gone through, all told
ACCEPTED = 7  # a client's request `number`; frames[0]: the SEQ of its first frame
REFUSED = 8  # a client's request `number`, and why, a text
CLOSE = 9  # a client is done with a stream
RESULT = 10  # outputs of frames with ECHO of a client's request `number`; TOKEN, extra: the class, the values drawn
ALIVE = 11  # to a client: to see whether it is there; to a subscriber: `number`: the place of the last row before it
RESEND = 12  # to a client: greet this gate, whose epoch it is, and send again what has not been answered
RATE = 14  # the learning rate of every update from here on; `number`: the bits of a float64
GREETING = 13  # of a client: frames[:, SEQ]: its requests that have not been answered, `number`: its next; 0: it goes

if sys.byteorder != "little":
    raise ImportError("streamrnn's wire format needs a little-endian machine")

LONGEST_TEXT = 512  # bytes
PREVIEW = "preview"  # the stream of the live view's samples; its frames are not counted

NO_FRAMES = np.zeros((0, COLUMNS), np.int64)
NO_VECTORS = np.zeros((0, 0), np.float32)
NOTHING = np.zeros(0, np.float32)


class WireError(ValueError):
    """Bytes that are no message of this format and version."""


NOT_JSON = msgspec.MsgspecError, UnicodeDecodeError, RecursionError  # what `msgspec.json.decode` raises


class Message(NamedTuple):
    kind: int
    epoch: int = 0
    number: int = 0
    frames: np.ndarray = NO_FRAMES
    vectors: np.ndarray = NO_VECTORS
    extra: np.ndarray = NOTHING


def size_in_bytes(frames: int, vectors: int, width: int, extra: int) -> int:
    """Of a message with those counts."""
    return 8 * (HEADER + COLUMNS * frames) + 4 * (vectors * width + extra)


def pack(message: Message) -> bytes:
    """The bytes of a message."""
    vectors, width = message.vectors.shape
    header = np.array(
        [
            MAGIC,
            message.kind,
            message.epoch,
            message.number,
            len(message.frames),
            vectors,
            width,
            len(message.extra),
        ],
        np.int64,
    )
    return b"".join((header.tobytes(), message.frames.tobytes(), message.vectors.tobytes(), message.extra.tobytes()))


def unpack(data: bytes | memoryview) -> Message:
    """The message in these bytes; its arrays are read-only views of them. Raises WireError if they hold none."""
    if len(data) < 8 * HEADER:
        raise WireError(f"a message of {len(data)} bytes is shorter than its header")
    magic, kind, epoch, number, frames, vectors, width, extra = (int(v) for v in np.frombuffer(data, np.int64, HEADER))
    if magic != MAGIC:
        raise WireError("not a streamrnn message, or of another version")
    counts = frames, vectors, width, extra
    if not 0 <= min(counts) <= max(counts) < 2**31 or size_in_bytes(*counts) != len(data):
        raise WireError(f"a message of {len(data)} bytes does not have the size its header tells")
    at = 8 * HEADER
    rows = np.frombuffer(data, np.int64, frames * COLUMNS, at).reshape(frames, COLUMNS)
    at += rows.nbytes
    values = np.frombuffer(data, np.float32, vectors * width + extra, at)
    return Message(
        kind, epoch, number, rows, values[: vectors * width].reshape(vectors, width), values[vectors * width :]
    )


def as_text(text: str) -> np.ndarray:
    """A text as the `extra` of a message, cut to LONGEST_TEXT bytes."""
    data = text.encode()[:LONGEST_TEXT].decode(errors="ignore").encode()
    return np.frombuffer(data + bytes(-len(data) % 4), np.float32)


def text_of(message: Message) -> str:
    """The text that a message carries."""
    return message.extra.tobytes().rstrip(b"\0").decode(errors="replace")
