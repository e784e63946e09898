"""The daemon's own sources: where each is, and what of it the journal says comes next.

Frames of a source that can be read again are not written down. The journal names them beforehand, by their place and
checksum, and only those are let in; one source at a time has frames named so. Frames of any other go into the journal,
and the place behind them into the same record.
"""

import math
import time
from collections import deque
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import zmq

from streamrnn.sources import (
    Frames,
    LastingError,
    Position,
    Rereadable,
    Source,
    SourceError,
    SourceTable,
    joined,
    table_of,
)
from streamrnn.workers.admission.eviction import Eviction
from streamrnn.workers.admission.intake import DAEMONS, Intake, Refused, check_name
from streamrnn.workers.admission.journal_entries import Ahead
from streamrnn.workers.admission.outbox import Outbox
from streamrnn.workers.admission.replay import checksum
from streamrnn.workers.admission.room import Room
from streamrnn.workers.admission.screening import Screening
from streamrnn.workers.worker import Failure, Worker

PATIENCE = 1.0, 60.0  # seconds until a source that cannot be read is tried again, at first and at most


class OpenSource:
    """A source of the config: opened, or to be opened."""

    def __init__(self, table: SourceTable, stream: str) -> None:
        self.table, self.stream = table, stream
        self.source: Source | None = None
        self.rereadable: Rereadable | None = None
        self.begun = False
        self.written: Position = None  # the place that the journal has
        self.held: Frames | None = None  # read, and not let in: a stream of theirs must wait
        self.trouble = ""  # why it could not be opened or read
        self.said = "", "", ""  # in the log: of trouble, of what is lost, and that messages are refused
        self.broken = False  # that will not change
        self.patience, self.again = PATIENCE[0], 0.0

    def open(self) -> None:
        """Raises SourceError."""
        self.source = self.table.open()
        self.rereadable = self.source if isinstance(self.source, Rereadable) else None

    def begin(self, position: Position) -> None:
        """Begin to read there, if that has not been done. Raises SourceError."""
        if not self.source:
            self.open()
        if self.source and not self.begun:
            self.source.go_to(position)
            self.begun = True

    @property
    def ended(self) -> bool:
        return self.broken or (self.source is not None and self.source.ended and not self.held)

    def fail(self, error: SourceError) -> None:
        """It is tried again after a while, each time later."""
        self.trouble, self.broken = str(error), isinstance(error, LastingError)
        self.again = time.monotonic() + self.patience
        self.patience = min(2 * self.patience, PATIENCE[1])

    def delay(self) -> float:
        """Seconds until it is worth a look."""
        if self.ended:
            return math.inf
        if self.trouble:
            return max(0.0, self.again - time.monotonic())
        if self.held:
            return 0.0
        return self.source.delay() if self.source else math.inf

    def facts(self) -> dict[str, Any]:
        """For the supervisor."""
        source = self.source or Source()
        facts = {"line": self.table.line, "stream": self.stream, "ended": self.ended}
        facts["trouble"] = self.trouble or source.trouble
        return facts | {"lost": source.lost, "refused": source.refused, "refusal": source.refusal}

    def news(self) -> str:
        """What has become worse since the last call, a line; "" if nothing has."""
        source = self.source or Source()
        now = self.trouble or source.trouble, source.lost, source.refusal and "refused"
        if now == self.said:
            return ""
        said = {now[0]: now[0], now[1]: now[1], now[2]: f"{self.table.line}: a message is refused: {source.refusal}"}
        worse = [said[each] for each, before in zip(now, self.said, strict=True) if each and each != before]
        self.said = now
        return "; ".join(worse)


class Sources:
    """All of them, polled in turn."""

    def __init__(
        self,
        worker: Worker,
        order: dict[str, Any],
        intake: Intake,
        outbox: Outbox,
        eviction: Eviction,
        room: Room,
    ) -> None:
        self.worker, self.intake, self.outbox, self.eviction, self.room = worker, intake, outbox, eviction, room
        self.positions = kept_positions(order)  # by what they are of, those of before too
        self.screening = Screening(order, intake)
        past = [order["backfill"]] if order["backfill"] else []
        self.all = [OpenSource(table_of(plain), stream) for plain, stream in (*past, *order["sources"])]
        self.past = self.all[0] if past else None  # before which the others do not begin
        for source in self.all:
            try:
                source.open()
            except SourceError as error:
                if len(self.all) == 1:
                    raise
                self._warn(source, error)
        self.by_origin = {source.table.origin: source for source in self.all}
        self.leading: OpenSource | None = None  # the one whose frames the journal says come next,
        self.ahead = self.at = 0  # how many do, and how many of those have come
        self.promised: deque[tuple[int, Source, Position]] = deque()  # in which record a place is
        self.refusal = ""  # why the newest stream was refused
        self.moved = False  # the journal does not know where one is
        self.ended = False  # all are, and the supervisor knows

    def _warn(self, source: OpenSource, error: SourceError) -> None:
        source.fail(error)
        self._tell(source)

    def _tell(self, source: OpenSource) -> None:
        """Have the log say what has become worse with a source."""
        if text := source.news():
            self.worker.report("warning", event="source_trouble", text=text)

    def go_on(self) -> None:
        """All that the journal knows has been let in."""
        for source in self._current():
            try:
                self._begin(source)
            except SourceError as error:
                self._warn(source, error)
            if source is not self.past and source.ended and source.table.origin in self.positions:
                text = f"{source.table.origin} has been read to its end before; to read it again, begin with --new"
                self.worker.report("warning", event="source_ended", text=text)

    def _begin(self, source: OpenSource) -> None:
        source.begin(self.positions.get(source.table.origin))

    def register(self, poller: zmq.Poller) -> float:
        """Have a poller wait for frames that are due; in how many seconds they are, where that is known."""
        if not self.room.may_take() or self.room.left <= 0:
            return math.inf
        soonest = math.inf
        for source in self._current():
            delay = source.delay()
            soonest = min(soonest, delay)
            descriptor = source.source.fileno() if source.source and not source.ended else None
            if delay == math.inf and descriptor is not None:
                poller.register(descriptor, zmq.POLLIN)
        return soonest

    def take(self) -> None:
        """Let in what the sources have, as far as there is room; say so when no more is to come."""
        self._keep_promises()
        if self.ended:
            return
        for source in self._current():
            if self.room.left > 0 and not source.delay():
                self._look(source)
            self._tell(source)
        lasting = [source for source in self.all if source is not self.past]
        if self.room.left <= 0 or (lasting and all(source.ended for source in lasting)):
            self.ended = True
            self.outbox.flush()
            self.worker.report("ended")

    def _current(self) -> list[OpenSource]:
        """Those that are read now: the past alone, as long as it has more."""
        return [self.past] if self.past and not self.past.ended else self.all

    def _look(self, source: OpenSource) -> None:
        try:
            self._begin(source)
            self._read(source)
        except SourceError as error:
            self._warn(source, error)
        else:
            source.trouble, source.patience = "", PATIENCE[0]

    def _read(self, source: OpenSource) -> None:
        if source.rereadable:
            self._read_named(source, source.rereadable)
            return
        assert source.source
        while most := self.room.space():
            frames = source.held or source.source.read(1 if source.table.keyed else most)
            source.held = None
            for name, start, end in runs(frames, source.stream):
                if not self._open(name):  # one frame, which goes into one record with the place behind it
                    source.held = frames
                    return
                self._add(name, frames.part(start, end))
            self._move(source, source.source.position)
            if not len(frames) or not source.table.keyed:
                return

    def _move(self, source: OpenSource, position: Position) -> None:
        """Note a place that is to go into the journal, also where none of the frames before it was let in."""
        if position != source.written:
            self.positions[source.table.origin], self.moved = position, True

    def _read_named(self, source: OpenSource, rereadable: Rereadable) -> None:
        """Let in frames that the journal does not hold: it knows which come next."""
        most = min(self.room.space(), self._look_ahead(source, rereadable))
        frames = rereadable.peek(most).part(0, rereadable.due(most))
        for name, start, end in runs(frames, source.stream):
            if not self._open(name):
                break
            self._add(name, frames.part(start, end), named=True)
            rereadable.take(end - start)
            self.at += end - start
        self.positions[source.table.origin] = rereadable.position
        self.outbox.flush()

    def _look_ahead(self, source: OpenSource, rereadable: Rereadable) -> int:
        """See that the journal knows which frames of a source come next; how many it knows of."""
        if self.outbox.unwritten:
            self.outbox.flush()
        if self.leading is source and self.at < self.ahead:
            return self.ahead - self.at
        if not self.room.may_take():
            return 0
        self._open(source.stream)
        frames = rereadable.peek(int(min(rereadable.at_once, self.room.left)))
        if not len(frames):
            return 0
        entry = Ahead(self.at, source.table.origin, rereadable.position, len(frames), checksum(frames))
        self.outbox.put(entry, soon=False)
        self.leading, self.ahead, self.at = source, len(frames), 0
        return self.ahead

    def _open(self, name: str) -> bool:
        """See that a stream is open, or refused; False while others make room for it."""
        if name in self.intake.names:
            self.eviction.touch(self.intake.names[name])
            return True
        try:
            check_name(name)
            if name not in DAEMONS and not self.eviction.admit(name):
                return False
            number, naming = self.intake.stream(name)
        except Refused as error:
            if self.refusal != str(error):
                self.refusal = str(error)
                self.worker.report("warning", event="stream_refused", text=f"frames of {name}: {error}")
            return True
        if naming:
            self.outbox.write(naming)
            self.eviction.opened(number)
        return True

    def _add(self, name: str, frames: Frames, named: bool = False) -> None:
        """Let in frames of one stream; none where that was refused. named: the journal has named them."""
        number = self.intake.names.get(name)
        if number is None:
            self.screening.unopened += len(frames)
        elif len(kept := self.screening.screen(number, frames)):
            self.intake.add_from_source(number, kept, named)
            self.room.took(len(kept))

    def read_again(self, entry: Ahead) -> None:
        """What an entry says comes next. Raises Failure where the source is not there or has something else."""
        source = self.by_origin.get(entry.source)
        if not source or not source.rereadable:
            raise Failure(
                f"what was read from {entry.source} must be read again, and the config has no such source that can be "
                "opened: put it back"
            )
        rereadable = source.rereadable
        rereadable.go_to(entry.position)
        if checksum(taken(rereadable, entry.count)) != entry.checksum:
            raise Failure(
                f"{rereadable.where(entry.position, entry.count)} are not what was read there before, and must be "
                "taken again: put the file back as it was, go back with `streamrnn checkpoints rollback`, or begin anew"
            )
        rereadable.go_to(entry.position)
        self.leading, self.ahead, self.at = source, entry.count, 0

    def count_open(self) -> int:
        """How many of the frames that are named may have been let in when nothing was written down behind them.

        All up to the first whose stream would have to be opened; one that would be refused in any case is passed over.
        """
        if not self.leading or not self.leading.rereadable:
            return 0
        rereadable = self.leading.rereadable
        position, count = rereadable.position, 0
        for name, _, end in runs(taken(rereadable, self.ahead - self.at), self.leading.stream):
            if name not in self.intake.names and (self.eviction.evicts or not self.intake.full(name)):
                break
            count = end
        rereadable.go_to(position)
        return count

    def replay(self, count: int) -> None:
        """Let in again the next frames that the journal has named, so many of them."""
        assert self.leading
        assert self.leading.rereadable
        frames = taken(self.leading.rereadable, count)
        for name, start, end in runs(frames, self.leading.stream):
            self._add(name, frames.part(start, end), named=True)
        self.at += len(frames)
        self.positions[self.leading.table.origin] = self.leading.rereadable.position

    def lead_no_more(self) -> None:
        """What the journal has named and has not come is named anew: a checkpoint is begun behind it."""
        self.leading, self.ahead, self.at = None, 0, 0

    def notes(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"sources": self.positions, "screening": self.screening.counts()}

    def take_places(self, record: int) -> dict[str, Position]:
        """For that record: where those sources are whose frames it holds."""
        places, self.moved = {}, False
        for source in self.all:
            position = self.positions.get(source.table.origin)
            if source.source and not source.rereadable and position is not source.written:
                source.written = places[source.table.origin] = position
                self.promised.append((record, source.source, position))
        return places

    def _keep_promises(self) -> None:
        """Tell sources what is on the disk."""
        while self.promised and self.promised[0][0] <= self.outbox.journal.durable:
            _, source, position = self.promised.popleft()
            source.durable(position)
        if any(source.acknowledges for _, source, _ in self.promised):
            self.outbox.journal.hurry()

    def facts(self) -> dict[str, Any]:
        """For the supervisor."""
        return {"sources": [source.facts() for source in self.all], "passed_over": self.screening.counts()}


def taken(rereadable: Rereadable, count: int) -> Frames:
    """The next frames of a source, so many of them; fewer where it has no more."""
    parts = [rereadable.peek(count)]
    while len(parts[-1]):
        rereadable.take(len(parts[-1]))
        count -= len(parts[-1])
        parts.append(rereadable.peek(count))
    return joined(parts)


def kept_positions(order: dict[str, Any]) -> dict[str, Position]:
    """The positions in the checkpoint that is gone on from."""
    kept = order["kept"]
    if "source" in kept:  # before 0.3 there was one source
        return {kept["source"]: order["position"]}
    return dict(kept.get("sources", {}))


def runs(frames: Frames, own: str) -> Iterator[tuple[str, int, int]]:
    """The streams of frames in their order: name, first frame, and the one behind the last; without keys, `own`."""
    if frames.keys is None:
        if len(frames):
            yield own, 0, len(frames)
        return
    start = 0
    for name, group in groupby(frames.keys):
        end = start + sum(1 for _ in group)
        yield name, start, end
        start = end
