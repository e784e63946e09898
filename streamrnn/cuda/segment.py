"""A segment of frames on its way to a device: its plan, in which order its frames can be taken, and their numbers.

Everything goes there through memory that is locked in its place, and that is there from the beginning.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from streamrnn.cuda.compiler import cuda
from streamrnn.kernels.buffers import PLAN_COLUMNS, PLAN_SLIDE, PLAN_STREAM
from streamrnn.kernels.frames import COLUMNS, STREAM
from streamrnn.kernels.rounds import LINKS, NONE, count_before, group, plan_rounds


class Mirror:
    """An array here, and its copy on the device."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, stream: Any) -> None:
        self.here, self.there = cuda.pinned_array(shape, dtype), cuda.device_array(shape, dtype)
        self.stream = stream

    def send(self, count: int) -> Any:
        """Its first rows; they may be written here again once the stream is through."""
        view = self.there[:count]
        if view.size:
            view.copy_to_device(self.here[:count], stream=self.stream)
        return view

    def give(self, rows: np.ndarray) -> Any:
        """These as its first rows."""
        self.here[: len(rows)] = rows
        return self.send(len(rows))

    def fetch(self, source: Any) -> np.ndarray:
        """The rows of an array of the device, here, once it is through with everything before."""
        count = source.shape[0]
        if source.size:
            source.copy_to_host(self.here[:count], stream=self.stream)
        self.stream.synchronize()
        view: np.ndarray = self.here[:count]
        return view


class Part(NamedTuple):
    """Frames of a segment in rounds; only before the first of them windows slide."""

    start: int
    end: int
    slides: bool
    rounds: list[int]  # where each begins among the rows, and where the last one ends
    alone: bool  # they are of one stream


class Segment:
    """The newest segment."""

    def __init__(self, streams: int, frames: int, slots: int, window: int, stream: Any) -> None:
        """streams, slots: places of them; frames: of a segment at most."""
        self.newest, self.number = np.full(streams, NONE), np.zeros(frames, np.int64)
        self.starts_here, self.writers = np.zeros(frames + 2, np.int64), np.zeros((slots, window), np.int64)
        self._plan = Mirror((frames, PLAN_COLUMNS), np.int64, stream)
        self._links, self._counts = Mirror((frames, LINKS), np.int64, stream), Mirror((frames, 2), np.int64, stream)
        self._rows, self._order = (Mirror((frames,), np.int64, stream) for _ in range(2))
        self._starts = Mirror((frames + 2,), np.int64, stream)
        self._frames, self._where = Mirror((frames, COLUMNS), np.int64, stream), Mirror((frames, 2), np.int64, stream)
        self.plan: Any = None
        self.links = self.rows = self.frames = self.where = self.counts = self.order = self.starts = self.plan
        self.streams = 0
        self.parts: list[Part] = []

    def take_plan(self, plan: np.ndarray) -> None:
        """The frames with an input."""
        self.parts = list(self._parts_of(plan))
        self.plan = self._plan.give(plan)
        self.links, self.rows = self._links.send(len(plan)), self._rows.send(len(plan))

    def _parts_of(self, plan: np.ndarray) -> Iterator[Part]:
        start = 0
        while start < len(plan):
            links, rows = self._links.here, self._rows.here
            room = links, self.number, rows, self.starts_here
            end, count = plan_rounds(plan, start, self.newest, self.writers, *room)
            slides = bool(plan[start:end, PLAN_SLIDE].any())
            yield Part(start, end, slides, self.starts_here[: count + 1].tolist(), count == end - start)
            start = end

    def by_stream(self, streams: np.ndarray) -> tuple[Any, Any, int]:
        """The rows of each stream one after another, where each stream's begin, and how many streams there are."""
        count = group(streams, self.newest, self._order.here, self._starts.here)
        return self._order.send(len(streams)), self._starts.send(count + 1), count

    def take_frames(self, frames: np.ndarray, where: np.ndarray) -> None:
        """All frames, and where the steps are that their targets belong to."""
        count_before(frames, self._counts.here)
        self.frames, self.where = self._frames.give(frames), self._where.give(where)
        self.counts = self._counts.send(len(frames))
        self.order, self.starts, self.streams = self.by_stream(np.ascontiguousarray(frames[:, STREAM]))


def streams_of(plan: np.ndarray) -> np.ndarray:
    """The stream of each planned frame."""
    return np.ascontiguousarray(plan[:, PLAN_STREAM])
