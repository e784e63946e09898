"""The daemon's own source: how far it has been read, and what of it the journal says comes next.

Frames of a source that can be read again are not written down. The journal names them beforehand, by their position and
checksum, and only those are let in.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from streamrnn.sources import Rereadable, Source
from streamrnn.workers.admission.intake import OWN_STREAM, Intake
from streamrnn.workers.admission.journal_entries import Ahead
from streamrnn.workers.admission.outbox import Outbox
from streamrnn.workers.admission.replay import checksum
from streamrnn.workers.admission.room import Room
from streamrnn.workers.worker import Worker


class OwnSource:
    """`source` is None where frames come only from clients."""

    def __init__(
        self,
        worker: Worker,
        order: dict[str, Any],
        source: Source | None,
        intake: Intake,
        outbox: Outbox,
        room: Room,
    ) -> None:
        self.worker, self.source, self.intake, self.outbox, self.room = worker, source, intake, outbox, room
        self.rereadable = source if isinstance(source, Rereadable) else None
        self.origin = origin_of(order["source"])
        self.read_from: str = order["kept"].get("source", self.origin)  # what the position is one of
        self.position: int = order["position"]  # frames taken from the source, ever
        self.ahead = 0  # frames of the source that the journal says come next
        self.ended = False  # and the supervisor knows

    @property
    def at(self) -> int | None:
        """For an entry: the place in a source that can be read again."""
        return self.position if self.rereadable else None

    def go_on(self) -> None:
        """Pass over what has been taken before; another source than then is read from its beginning."""
        if self.read_from != self.origin:
            self.outbox.write(b"", {"source": self.origin})
            self.begin(self.origin)
        if self.source and self.position:
            self.source.skip(self.position)
            if self.source.ended:
                text = f"{self.origin} has been read to its end before; to read it once more, begin anew with --new"
                self.worker.report("warning", event="source_ended", text=text)

    def begin(self, origin: str) -> None:
        """From here on the position is one of that source."""
        self.read_from, self.position, self.ahead = origin, 0, 0

    def register(self, poller: zmq.Poller) -> float:
        """Have a poller wait for frames that are due; in how many seconds they are, where that is known."""
        if not self.source or self.source.ended or not self.room.may_take() or self.room.left <= 0:
            return math.inf
        delay = self.source.delay()
        descriptor = self.source.fileno()
        if delay == math.inf and descriptor is not None:
            poller.register(descriptor, zmq.POLLIN)
        return delay

    def take(self) -> None:
        """Let in what the source has, as far as there is room; say so when no more is to come."""
        if self.ended:
            return
        if self.source and not self.source.ended and self.room.left > 0 and not self.source.delay():
            self.read(self.source)
        if (self.source and self.source.ended) or self.room.left <= 0:
            self.ended = True
            self.outbox.flush()
            self.worker.report("ended")

    def read(self, source: Source) -> None:
        """Let in what is due, as far as there is room."""
        most = self.room.space()
        if self.rereadable:
            self.look_ahead(self.rereadable)
            most = min(most, self.ahead)
        frames = source.read(most)
        if len(frames):
            self.ahead = max(0, self.ahead - len(frames))
            self.let_in(frames)

    def look_ahead(self, source: Rereadable) -> None:
        """See that the journal knows which frames of a source that can be read again come next."""
        if self.outbox.unwritten:
            self.outbox.flush()
        if self.ahead or not self.room.may_take():
            return
        self.stream()
        frames = source.peek(self.position, int(min(source.at_once, self.room.left)))
        self.outbox.put(Ahead(self.position, len(frames), checksum(frames)), soon=False)
        self.ahead = len(frames)

    def stream(self) -> int:
        """The number of the daemon's own stream."""
        number, naming = self.intake.stream(OWN_STREAM)
        if naming:
            self.outbox.write(naming)
        return number

    def let_in(self, frames: np.ndarray) -> None:
        """Let in frames of the source: tokens (n,) or vectors (n, size)."""
        add = self.intake.add_tokens if frames.ndim == 1 else self.intake.add_vectors
        add(self.stream(), frames)
        self.position += len(frames)
        self.room.took(len(frames))


def origin_of(source: dict[str, Any]) -> str:
    """What a source reads, in words: where that is another, it is read from its beginning."""
    path = source.get("path")
    return str(Path(path).absolute()) if path not in (None, "-") else f"{source['kind']} {path or ''}".strip()
