"""Frames as a client gives them, as messages to the gate."""

from typing import Any

import numpy as np

from streamrnn.kernels.frames import (
    COLUMNS,
    DISMISS,
    EMIT,
    FEEDBACK,
    FLAGS,
    INPUT,
    LEARN,
    SCORED,
    TARGET,
    TIME,
    TIMED,
    TOKEN,
)
from streamrnn.kernels.messages import FRAMES
from streamrnn.model.feedback import Shape
from streamrnn.model.inputs import TOKENS, as_array, as_token, as_tokens, as_vector, vectors_at_once
from streamrnn.protocol.wire import NO_VECTORS, NOTHING, Message

BLOCK = 256  # frames of a message: many, and few enough to be taken soon
ROOM = 4096  # bytes of a message that are not frames


def check_name(stream: str) -> None:
    """Raises ValueError where frames of a stream cannot go under that name."""
    if not isinstance(stream, str) or not stream:
        raise ValueError(f"a stream's name is a str of at least one letter, not {stream!r}")


def frame_message(shape: Shape, x: Any, target: Any, learn: bool, flags: int, time: int | None = None) -> Message:
    """One frame with these flags: x an int token or a vector (I,), or None for what is fed back; target a class or
    values (K,), or None.

    learn: x, if there is one, is the target of the frame before. time: nanoseconds since 1970.
    Raises ValueError if x or target do not fit.
    """
    frames = np.zeros((1, COLUMNS), np.int64)
    frames[:, FLAGS] = INPUT | EMIT | flags
    vectors, extra = NO_VECTORS, NOTHING
    if x is None:
        frames[:, FLAGS] |= FEEDBACK
    else:
        vectors = _put(x, frames[:, TOKEN], shape.tokens, shape.inputs, shape)
        frames[:, FLAGS] |= LEARN if learn else 0
    if time is not None:
        frames[:, FLAGS] |= TIMED
        frames[:, TIME] = time
    if target is not None:
        extra = _put(target, frames[:, TARGET], shape.classes, shape.outputs, shape).reshape(-1)
        frames[:, FLAGS] |= SCORED
    return Message(FRAMES, frames=frames, vectors=vectors, extra=extra)


def dismissal_message(said: list[int]) -> Message:
    """Frames that dismiss an alarm, see `Alarm.dismissals`."""
    frames = np.zeros((len(said), COLUMNS), np.int64)
    frames[:, FLAGS], frames[:, TARGET] = DISMISS, said
    return Message(FRAMES, frames=frames)


def block_messages(
    shape: Shape, X: Any, targets: Any, learn: bool, largest: int, times: np.ndarray | None = None
) -> list[Message]:
    """Many frames, see `frame_message`, as messages of at most BLOCK frames and `largest` bytes: X ints or bytes (n,),
    or vectors (n, I); targets classes (n,) or values (n, K), or None for none. Raises ValueError if any does not fit.
    """
    frames = np.zeros((len(X), COLUMNS), np.int64)
    frames[:, FLAGS] = INPUT | EMIT | (LEARN if learn else 0)
    vectors, values = (np.zeros((len(X), 0)) for _ in range(2))
    if times is not None:
        frames[:, FLAGS] |= TIMED
        frames[:, TIME] = times
    if shape.tokens:
        frames[:, TOKEN] = as_tokens(X, shape.inputs)
    else:
        vectors = as_vectors(X, shape.inputs, shape)
    if targets is not None:
        if len(targets) != len(X):
            raise ValueError(f"{len(X)} frames need as many targets, not {len(targets)}")
        frames[:, FLAGS] |= SCORED
        if shape.classes:
            frames[:, TARGET] = as_tokens(targets, shape.outputs)
        else:
            values = as_vectors(targets, shape.outputs, shape)
    most = min(BLOCK, most_frames(largest, vectors.shape[1] + values.shape[1]))
    parts = [slice(start, start + most) for start in range(0, len(X), most)]
    return [
        Message(
            FRAMES,
            frames=frames[part],
            vectors=NO_VECTORS if shape.tokens else vectors[part],
            extra=values[part].reshape(-1),
        )
        for part in parts
    ]


def most_frames(largest: int, numbers: int) -> int:
    """How many frames with so many float64 numbers each go into a message of at most `largest` bytes."""
    return max(1, (largest - ROOM) // (8 * (COLUMNS + numbers)))


def as_vectors(rows: Any, size: int, shape: Shape) -> np.ndarray:
    """Vectors as an array (n, size) of float64. Raises ValueError as `as_vector` does for the first that is none."""
    array = as_array(rows, "vectors of numbers", shape.missing)
    if (whole := vectors_at_once(array, size, shape.most, shape.missing)) is not None:
        return whole
    return np.array([as_vector(row, size, shape.most, shape.missing) for row in rows]).reshape(-1, size)


def _put(value: Any, column: np.ndarray, is_token: bool, size: int, shape: Shape) -> np.ndarray:
    """Put a token into its column (1,), or return a vector as an array (1, size). Raises ValueError if neither fits."""
    if not is_token:
        return as_vector(value, size, shape.most, shape.missing)[np.newaxis]
    column[0] = as_token(value, size, TOKENS)
    return NO_VECTORS
