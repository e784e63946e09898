"""A sequence as requests: as few as the daemon's largest message allows, and what comes back of them."""

import secrets
from collections.abc import Iterator

import msgspec
import numpy as np

from streamrnn.client.frame import most_frames
from streamrnn.kernels.frames import ECHO, FEEDBACK, FLAGS, INPUT, SCORED, TOKEN
from streamrnn.kernels.messages import FRAMES
from streamrnn.model.feedback import Drawing, Shape, Value
from streamrnn.protocol.wire import NO_VECTORS, Message


def requests_of(
    frames: np.ndarray, X: np.ndarray, targets: np.ndarray, drawing: Drawing, largest: int
) -> Iterator[tuple[Message, bytes]]:
    """Messages of at most `largest` bytes that make up a sequence, and the options of each.

    frames: (n, COLUMNS), which get the flags that the parts need; X: inputs (n, I), (n, 0) where they are tokens;
    targets: (n, K), (n, 0) where they are classes.
    """
    most = most_frames(largest, X.shape[1] + targets.shape[1])
    if drawing.seed is None:  # after a failure the daemon must draw the same again
        drawing = msgspec.structs.replace(drawing, seed=secrets.randbits(32))
    for start in range(0, len(frames), most):
        part, is_last = slice(start, start + most), start + most >= len(frames)
        if start and drawing.own:  # what the part before has drawn with goes on, from its last output
            drawing = msgspec.structs.replace(drawing, seed=None)
        if drawing.own and not is_last:
            frames[start + most - 1, FLAGS] |= ECHO
        flags = frames[part, FLAGS]
        vectors = X[part][flags & (INPUT | FEEDBACK) == INPUT] if X.shape[1] else NO_VECTORS
        extra = targets[part][flags & SCORED > 0].reshape(-1)
        options = drawing if is_last else msgspec.structs.replace(drawing, max_length=0)
        message = Message(FRAMES, frames=frames[part], vectors=vectors, extra=extra)
        yield message, msgspec.json.encode(options)


def outputs_in(results: list[Message]) -> np.ndarray:
    """The outputs (m, outputs) that a sequence's requests asked for."""
    return np.concatenate([message.vectors for message in results]) if results else NO_VECTORS


def written_in(results: list[Message], shape: Shape, until: int | None) -> list[Value]:
    """What was drawn: classes without the stop symbol `until`, or values (K,)."""
    if not shape.classes:
        return [values.copy() for message in results for values in message.extra.reshape(-1, shape.outputs)]
    classes = [int(token) for message in results for token in message.frames[:, TOKEN] if token >= 0]
    return list(classes[:-1] if classes and classes[-1] == until else classes)
