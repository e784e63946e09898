"""The process of sinks and receivers: each reads the daemon's history in a thread of its own, and writes what is there.

It is a client of the daemon and no part of its pipeline, which never waits for it. A sink that is down is tried again,
and then goes on behind the last record that it has written: what it has not, the history has, as far as that reaches.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from hashlib import sha256
from pathlib import Path
from queue import Queue
from typing import Any

import msgspec
import zmq

from streamrnn.alarms import Surroundings, receiver_of
from streamrnn.alarms.watch import Observations
from streamrnn.client.connection import open_dealer
from streamrnn.client.cursor import Cursor, Part
from streamrnn.client.output import Output
from streamrnn.model.tables import AnyReadout
from streamrnn.protocol.addresses import as_seen_with
from streamrnn.protocol.keys import load
from streamrnn.sinks import About, Destination, Sink, table_of
from streamrnn.sinks.records import Records
from streamrnn.storage import files, private
from streamrnn.workers.worker import Worker

NICE = 19  # of sinks: where there are not enough cores, the pipeline goes first; an alarm does not wait for that
PAUSE = 0.02  # seconds between two questions: what comes meanwhile comes together
WAIT = 0.25  # seconds for outputs that are still to come
ANSWER_TIMEOUT = 5.0  # seconds
SAFE_EVERY = 1.0  # seconds after which what was written is made safe
SHORTEST, LONGEST = 0.5, 30.0  # seconds before a sink that is down is tried again
FINISH = 5.0  # seconds that the rest may take in the end


class Position(msgspec.Struct):
    """How far a sink is: read from `place` on, and everything up to `seq` is written."""

    run: str
    place: int
    seq: int


class Feed:
    """Feeds a sink, or a receiver, from the daemon's history.

    `open()` begins to write, `record(output, run)` is what is written of an output, `tell(event, text)` is for the log.
    """

    def __init__(
        self,
        table: Destination,
        open: Callable[[], Sink],
        record: Callable[[Output, str], Any],
        nice: int,
        folder: Path,
        connect: Callable[[], Cursor],
        tell: Callable[[str, str], None],
    ) -> None:
        self._table, self._open, self._record, self._nice = table, open, record, nice
        self._connect, self._tell = connect, tell
        self._path = folder / f"{sha256(table.origin.encode()).hexdigest()[:16]}.json"
        self.written = self.missed = 0  # outputs, of a receiver alarms and outputs
        self.waiting = 0  # alarms
        self.trouble = ""
        self.safe = -1  # the place up to which all is written, whatever happens
        self.finished = False  # there is no more, or no time for it
        self._wait = SHORTEST
        self._deadline = float("inf")
        self._finishing, self._stopped = threading.Event(), threading.Event()

    def run(self) -> None:
        """Until it is finished, or stopped."""
        os.nice(self._nice)  # of this thread
        while not (self.finished or self._stopped.is_set()):
            try:
                self._feed()
            except Exception as error:  # not only SinkError: what goes wrong with one output stops no other sink
                self._see(str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}")
            self.finished |= self._finishing.is_set()
            self._stopped.wait(0.0 if self.finished else self._wait)
            self._wait = min(2 * self._wait, LONGEST)
        self.finished = True

    def finish(self) -> None:
        """Write what there is, and end."""
        self._deadline = time.monotonic() + FINISH
        self._finishing.set()

    def stop(self) -> None:
        """End now."""
        self._stopped.set()

    def status(self) -> dict[str, Any]:
        """How it is, in plain values."""
        about = {"kind": self._table.kind, "line": self._table.line}
        counts = {"written": self.written, "waiting": self.waiting, "missed": self.missed}
        return {**about, **counts, "trouble": self.trouble}

    def _feed(self) -> None:
        """Go on behind the last record, for as long as nothing goes wrong. Raises SinkError."""
        with closing(self._open()) as sink, closing(self._connect()) as cursor:
            if not (beginning := cursor.beginning(ANSWER_TIMEOUT)):
                return
            run, begins = beginning
            position = self._position(run)
            self.safe = position.place if position else self.safe
            last = sink.last(run)
            if position:
                cursor.go_to(position.place)
            else:
                cursor.go_to(begins if last is None else 2 * last + 1)
            self.safe = cursor.safe
            self._follow(cursor, sink, run, max(position.seq if position else -1, -1 if last is None else last))

    def _follow(self, cursor: Cursor, sink: Sink, run: str, seq: int) -> None:
        """Write what comes behind that SEQ."""
        due, unsafe = time.monotonic() + SAFE_EVERY, True
        while not self._stopped.is_set():
            part = cursor.read(WAIT, wait=not self._finishing.is_set())
            if part and part.run != run:
                return
            if part and (part.outputs or part.missed):
                seq = self._write(sink, part, seq)
                unsafe = True
            else:
                self.written += sink.write([])
            self.waiting = sink.waiting
            unsafe |= sink.trouble != self.trouble
            late = time.monotonic() > self._deadline
            ends = self._finishing.is_set() and (late or (part is not None and not part.outputs))
            if unsafe and (ends or time.monotonic() >= due):
                if not self._flush(sink):
                    return
                self._keep(Position(run, cursor.safe, seq))
                due, unsafe = time.monotonic() + SAFE_EVERY, False
            if ends:
                return
            if sink.trouble:
                self._see(sink.trouble)
            self._stopped.wait(PAUSE)

    def _write(self, sink: Sink, part: Part, seq: int) -> int:
        """The SEQ up to which everything is written then."""
        if missed := range(max(part.missed.start, seq + 1), part.missed.stop):
            self.missed += len(missed)
            text = f"frames {missed[0]:,} to {missed[-1]:,} were gone from the history before they could be written"
            self._tell("sink_missed", f"{self._table.kind} {self._table.line}: {text}; outputs.history can be larger")
        wanted = [output for output in part.outputs if output.seq > seq and self._table.wants(output.stream)]
        self.written += sink.write([self._record(output, part.run) for output in wanted])
        return max([seq, *(output.seq for output in part.outputs[-1:])])

    def _flush(self, sink: Sink) -> bool:
        """Make safe what was written, however long that takes; false where there is no time for it."""
        while not sink.flush(SAFE_EVERY):
            self._see(sink.trouble)
            if self._stopped.is_set() or time.monotonic() > self._deadline:
                return False
        self._see(sink.trouble)
        self._wait = SHORTEST
        return True

    def _see(self, trouble: str) -> None:
        if trouble != self.trouble:
            text = trouble or "is written to again"
            self._tell("sink_trouble" if trouble else "sink_back", f"{self._table.kind} {self._table.line}: {text}")
        self.trouble = trouble

    def _position(self, run: str) -> Position | None:
        try:
            position = msgspec.json.decode(self._path.read_bytes(), type=Position)
        except (FileNotFoundError, *files.NOT_JSON):
            return None
        return position if position.run == run else None

    def _keep(self, position: Position) -> None:
        writing = self._path.with_suffix(files.WRITING)
        files.write_file(writing, msgspec.json.encode(position))
        os.replace(writing, self._path)
        self.safe = position.place


class Sinks:
    """The process: its feeds, what they tell, and its orders."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.order = worker, worker.first_order()
        self.events: Queue[tuple[str, str]] = Queue()
        self.context = zmq.Context()
        self.key = load(self.order["key"]) if self.order["key"] else None
        folder = Path(self.order["positions"])
        private.make_folder(folder)
        self.feeds = [*self.sink_feeds(folder), *self.receiver_feeds(folder)]

    def sink_feeds(self, folder: Path) -> Iterator[Feed]:
        """Those of [[sinks]]; folder: of positions."""
        readout = msgspec.convert(self.order["readout"], AnyReadout)
        records = Records(readout, self.order["channels"], self.order["units"])
        about = About(self.order["daemon"], records)
        for table in map(table_of, self.order["sinks"]):
            yield Feed(table, partial(table.open, about), records.of, NICE, folder, self.connect, self.tell)

    def receiver_feeds(self, folder: Path) -> Iterator[Feed]:
        """Those of [[alarms]]; folder: of positions, and of outboxes."""
        readout = msgspec.convert(self.order["readout"], AnyReadout)
        observations = Observations(readout, self.order["channels"])
        about = Surroundings(self.order["daemon"], folder / "outboxes", self.tell_and_wait)
        for table in map(receiver_of, self.order["alarms"]):
            yield Feed(table, partial(table.open, about), observations.of, 0, folder, self.connect, self.tell)

    def run(self) -> None:
        """Until told to stop."""
        threads = [threading.Thread(target=feed.run, name=feed.status()["line"], daemon=True) for feed in self.feeds]
        for thread in threads:
            thread.start()
        poller = zmq.Poller()
        poller.register(self.worker.control, zmq.POLLIN)
        self.worker.begin()
        while (kind := self.worker.order()["kind"]) != "stop":
            if kind == "finish":
                for feed in self.feeds:
                    feed.finish()
            self.worker.poll(poller)
            while not self.events.empty():
                event, text = self.events.get()
                self.worker.report("warning", event=event, text=text)
                self.events.task_done()
            self.worker.beat(self.facts)
        for feed in self.feeds:
            feed.stop()
        for thread in threads:
            thread.join(SAFE_EVERY)

    def connect(self) -> Cursor:
        """A line to the daemon's history."""
        control = as_seen_with(self.order["control"], self.order["control"])
        return Cursor(open_dealer(self.context, control, self.key, 0.0))

    def tell(self, event: str, text: str) -> None:
        """Have the log say so; called by the threads."""
        self.events.put((event, text))

    def tell_and_wait(self, event: str, text: str) -> None:
        """The same; it is on its way then."""
        self.tell(event, text)
        self.events.join()

    def facts(self) -> dict[str, Any]:
        """How things are, for the supervisor."""
        return {
            "sinks": [feed.status() for feed in self.feeds],
            "safe": min(feed.safe for feed in self.feeds),
            "finished": all(feed.finished for feed in self.feeds),
        }


def main(worker: Worker) -> None:
    """Run until told to stop."""
    Sinks(worker).run()
