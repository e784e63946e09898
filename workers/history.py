"""The newest outputs, as the publisher keeps them for whoever asks: one who has missed something, or a sink.

What sinks have not written yet is in each checkpoint, as tensors.
"""

from collections import deque
from itertools import accumulate
from typing import NamedTuple

import msgspec
import numpy as np

from streamrnn.kernels.frames import STREAM, places
from streamrnn.protocol.wire import Message, emits, pack, unpack

ANSWER = 1 << 20  # bytes in one answer, about
NONE = -1  # instead of a place


class Entry(NamedTuple):
    """A message of outputs."""

    first: int  # the places of its rows
    last: int
    data: bytes
    names: dict[int, str]  # what its streams were called, by their numbers


class Kept(msgspec.Struct):
    """What a checkpoint says of the outputs in it."""

    run: str
    gone: int  # the place of the last row before them
    names: list[dict[int, str]]


class History:
    """The newest outputs, as the readout sent them, at most so many bytes."""

    def __init__(self, most: int) -> None:
        self.most, self.nbytes = most, 0
        self.gone = NONE  # the place of the last row before those that it holds
        self._messages: deque[Entry] = deque()

    def add(self, message: Message, data: bytes, names: dict[int, str]) -> None:
        """Keep a message, and let the oldest go."""
        first, last = places(message.frames[[0, -1]]).tolist()
        self._messages.append(Entry(first, last, data, names))
        self.nbytes += len(data)
        while self.nbytes > self.most:
            oldest = self._messages.popleft()
            self.gone = oldest.last
            self.nbytes -= len(oldest.data)

    def behind(self, after: int, size: int | None = None) -> list[Entry]:
        """The messages of all streams with rows behind that place; the first `size` bytes or a few more."""
        found: list[Entry] = []
        for entry in reversed(self._messages):  # who asks is mostly near the end
            if entry.last <= after:
                break
            found.append(entry)
        found.reverse()
        if size is None:
            return found
        sizes = accumulate(len(entry.data) for entry in found)
        return found[: sum(1 for total in sizes if total <= size) + 1]

    def part(self, stream: int, after: int, before: int) -> tuple[list[bytes], int]:
        """Messages of a stream's rows between those places, ANSWER bytes or a few more, and up to where they go."""
        found: list[bytes] = []
        size = 0
        for first, last, data, _ in self._messages:
            if first >= before or size > ANSWER:
                return found, min(first, before) - 1
            if last > after:
                message = unpack(data)
                place = places(message.frames)
                own = (message.frames[:, STREAM] == stream) & (place > after) & (place < before)
                if own.any():
                    found.append(pack(rows_of(message, own)))
                    size += len(found[-1])
        return found, before - 1

    def packed(self, run: str, after: int) -> dict[str, np.ndarray]:
        """What it has of that run behind a place, as tensors."""
        entries = self.behind(after)
        about = Kept(run, max(after, self.gone), [entry.names for entry in entries])
        return {
            "kept": np.frombuffer(b"".join(entry.data for entry in entries), np.uint8),
            "kept_sizes": np.array([len(entry.data) for entry in entries], np.int64),
            "kept_about": np.frombuffer(msgspec.json.encode(about), np.uint8),
        }

    def restore(self, tensors: dict[str, np.ndarray], run: str, epoch: int) -> None:
        """Have again what such tensors hold of that run, if there are any; the messages become ones of that epoch."""
        if "kept" not in tensors:
            return
        about = msgspec.json.decode(tensors["kept_about"].tobytes(), type=Kept)
        if about.run != run:
            return
        self.gone = about.gone
        data, ends = tensors["kept"].tobytes(), np.cumsum(tensors["kept_sizes"]).tolist()
        for start, end, names in zip([0, *ends], ends, about.names, strict=False):
            message = unpack(data[start:end])._replace(epoch=epoch)
            self.add(message, pack(message), names)


def rows_of(message: Message, own: np.ndarray) -> Message:
    """The message of those rows alone."""
    vectors = message.vectors[own[emits(message)]]
    losses = message.extra.reshape(len(message.frames), -1)[own].reshape(-1)
    return message._replace(frames=message.frames[own], vectors=vectors, extra=losses)
