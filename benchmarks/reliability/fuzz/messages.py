"""Good messages, to be made bad."""

from typing import Any

import numpy as np

from streamrnn.kernels.frames import COLUMNS, EMIT, FLAGS, INPUT, SEQ, STREAM, TARGET, TOKEN
from streamrnn.kernels.messages import FRAMES, NAME, OUTPUT
from streamrnn.protocol.wire import Message, as_text, pack

EPOCH, BLOCK = 9, 16


def rows(flags: list[int], **columns: Any) -> np.ndarray:
    """Frames with those flags."""
    frames = np.zeros((len(flags), COLUMNS), np.int64)
    frames[:, FLAGS] = flags
    for name, values in columns.items():
        frames[:, {"seq": SEQ, "stream": STREAM, "token": TOKEN, "target": TARGET}[name]] = values
    return frames


def letters() -> list[bytes]:
    """A message of each kind and of several sizes."""
    rng = np.random.default_rng(0)
    found = [pack(Message(kind, EPOCH, kind)) for kind in range(18)]
    for count in (1, 2, 5, BLOCK):
        frames = rows([INPUT | EMIT] * count, seq=np.arange(count), token=rng.integers(0, 5, count))
        values = rng.standard_normal((count, 3)).astype(rng.choice(["<f4", "<f8"]))
        found.append(pack(Message(FRAMES, EPOCH, 1, frames, values, values[:, 0].copy())))
        found.append(pack(Message(OUTPUT, EPOCH, 0, frames, values, values[:, 1].copy())))
    return [*found, pack(Message(NAME, EPOCH, 1, extra=as_text("a name")))]
