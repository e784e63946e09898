"""The gate: where frames enter. It checks each once, numbers it, writes it down, and sends it down the pipeline.

Its sender is told when it is on the disk. After a failure what was written down behind the checkpoint goes down again.

What comes while there is no room is left in the socket, whose sender must wait once that is full ("block"); or it is
refused ("reject"); or it waits here, as many frames as may be in flight, and the oldest are refused for the newer ones
("drop-oldest").
"""

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from streamrnn.kernels.messages import CREDIT, EVICT, OUTPUT, RATE
from streamrnn.protocol.wire import Message, pack, unpack
from streamrnn.workers.admission.checkpoint_part import CheckpointPart, kept
from streamrnn.workers.admission.clients import Clients
from streamrnn.workers.admission.connections import Connections, open_frontend
from streamrnn.workers.admission.eviction import Eviction
from streamrnn.workers.admission.held_answers import HeldAnswers
from streamrnn.workers.admission.intake import Intake
from streamrnn.workers.admission.journal import Journal, JournalFull, NoJournal
from streamrnn.workers.admission.outbox import Outbox
from streamrnn.workers.admission.pending import PendingRequests
from streamrnn.workers.admission.replay import frames_behind, replayed
from streamrnn.workers.admission.sources import Sources
from streamrnn.workers.kernels.admission import warm_up
from streamrnn.workers.worker import Failure, Worker, has_come

REPLAYED = object()
FULL_INTERVAL = 0.5  # seconds between looks at the room for the journal


class Gate:
    """The gate's process: its loop, the credit it has, its orders, and how it stands."""

    pending: PendingRequests

    def __init__(self, worker: Worker) -> None:
        warm_up()
        self.worker = worker
        self.order = worker.first_order()
        self.order["kept"], outputs = kept(self.order["resume"])
        self.intake = Intake(self.order)
        self.sent = self.credited = 0  # rows
        self.left = limit(self.order["left"])
        self.rate: float = self.order["rate"]  # of learning, in force for what goes down now,
        self.wanted = self.rate  # and for what comes behind the journal
        self.open = False  # frames are let in
        self.journal = open_journal(self.order)
        self.replaying: Iterator[None] | None = None
        self.begun = self.until = self.intake.seq  # frames before those that go down again, and with them
        self.orders: deque[dict[str, Any]] = deque()
        self.looked_for_room = 0.0
        self.frontend = open_frontend(worker, self.order)
        self.messages = worker.socket(zmq.PULL, bind=self.order["to_gate"])
        self.down = worker.socket(zmq.PUSH, connect=self.order["frames_out"])
        self.outbox = Outbox(self.order, self.intake, self.journal, self.send)
        self.connections = Connections(self.frontend)
        self.answers = HeldAnswers(self.order, self.journal, self.outbox.last_record, self.connections.reply)
        self.eviction = Eviction(
            self.order,
            self.intake,
            self.outbox.next_record,
            self.outbox.write,
            self.connections.is_there,
            lambda name: name in self.pending.queues,
            lambda number: self.pending.be_done(number),
            lambda event, text: worker.report("warning", event=event, text=text),
        )
        self.pending = self.outbox.pending = PendingRequests(
            self.intake,
            self.eviction,
            self.outbox.next_record,
            self.space,
            self.took,
            self.outbox.flush,
            self.outbox.write,
            self.connections.reply,
            self.answers.accept,
        )
        self.sources = self.outbox.sources = Sources(worker, self.order, self.intake, self.outbox, self.eviction, self)
        if outputs:
            self.pending.restore(outputs["rows"], outputs["vectors"])
        self.clients = Clients(
            self.order, self.connections, self.answers, self.pending, self.eviction, self.outbox, self
        )
        self.checkpoint = CheckpointPart(
            worker, self.order, self.intake, self.journal, self.sources, self.eviction, self.pending, self.send
        )

    def run(self) -> None:
        """Until told to stop."""
        self.worker.begin()
        while True:
            self.wait()
            self.take_messages()
            self.look_for_room()
            self.frontend.look()
            if self.replaying:
                self.replay()
            elif self.open:
                self.pending.advance()
                self.clients.take_all()
                self.sources.take()
                self.outbox.flush()
            self.checkpoint.save()
            self.answers.send()
            self.clients.look()
            order = self.worker.order()
            if order["kind"] == "stop":
                break
            if order["kind"]:
                self.orders.append(order)
            if self.orders and not self.outbox.waiting and not self.replaying:
                self.obey(self.orders.popleft())
            self.worker.beat(self.facts)
        self.journal.close()
        self.eviction.disk.close()

    def wait(self) -> None:
        """Until there is something to do."""
        poller = zmq.Poller()
        poller.register(self.messages, zmq.POLLIN)
        poller.register(self.worker.control, zmq.POLLIN)
        poller.register(self.journal.woken, zmq.POLLIN)
        patience = 0.0 if self.replaying and self.may_replay() else math.inf
        if self.listens():
            poller.register(self.frontend.socket, zmq.POLLIN)
        patience = min(patience, self.sources.register(poller))
        if self.journal.woken in self.worker.poll(poller, patience, idle=self.has_room()):
            self.journal.heard()

    def take_messages(self) -> None:
        """Note what has gone through the pipeline, and hear the outputs that come back."""
        while has_come(self.messages):
            message = unpack(self.messages.recv(zmq.DONTWAIT))
            if message.epoch == self.order["epoch"]:
                if message.kind == CREDIT:
                    self.credited = message.number
                elif message.kind == OUTPUT:
                    self.pending.hear(message)
                elif message.kind == EVICT:
                    self.eviction.hear(message)

    def look_for_room(self) -> None:
        """See now and then whether there is room for more, and write down what waited for it."""
        if time.monotonic() - self.looked_for_room < FULL_INTERVAL:
            return
        self.looked_for_room = time.monotonic()
        self.outbox.empty()
        self.eviction.tidy()
        self.outbox.look_for_room()

    def send(self, data: bytes, rows: int = 0) -> None:
        """Send a message with so many rows of frames down the pipeline."""
        self.sent += rows
        self.down.send(data)

    def has_room(self) -> bool:
        """Whether there is room for a whole block between here and the publisher."""
        return bool(self.order["in_flight"] - (self.sent - self.credited) >= self.order["block"])

    def may_take(self) -> bool:
        """Whether a whole block may be let in."""
        return self.open and not self.outbox.full and self.has_room()

    def listens(self) -> bool:
        """Whether clients are heard: to let their frames in, or to say at once why not."""
        answers = self.outbox.full or self.order["overload"] != "block"
        return bool(self.open and (answers or (self.may_take() and self.left > 0)))

    def space(self, counted: bool = True) -> int:
        """Frames that may be let in now, those that --max-frames counts or not; each may become two rows."""
        if self.order["block"] - self.intake.count < 2:
            self.outbox.flush()
        if not self.may_take():
            return 0
        return int(min((self.order["block"] - self.intake.count) // 2, self.left if counted else math.inf))

    def took(self, frames: int) -> None:
        """Count frames that have been let in."""
        self.left -= frames

    def obey(self, order: dict[str, Any]) -> None:
        """Do what the supervisor says."""
        if order["kind"] == "open":
            start = self.order["journal_start"]
            self.begun = self.intake.seq
            self.until = self.begun + frames_behind(self.journal, start)
            self.replaying = replayed(self, start)
            self.wanted = order["rate"]
        elif order["kind"] == "checkpoint":
            self.barrier(order)
        elif order["kind"] == "cut":
            with suppress(JournalFull):  # a later one makes up for it
                self.journal.cut(order["number"])
            self.eviction.prune(Path(self.order["checkpoints"]))
        elif order["kind"] == "rate":
            self.set_rate(order["rate"])

    def barrier(self, order: dict[str, Any]) -> None:
        """Send a barrier down behind everything, and say how the gate stands; let no more in if it is the last."""
        if order["last"]:
            self.open = False
        answered = not order["last"] or self.pending.stop("the daemon is stopping")
        self.outbox.flush()
        if self.outbox.waiting or not answered:  # what is in waits for room on the disk or outputs, the barrier behind
            self.orders.appendleft(order)
            return
        self.checkpoint.begin(order["number"], finite(self.left), self.rate)

    def set_rate(self, rate: float) -> None:
        """Let a learning rate hold for every update behind the frames that are in."""
        if rate != self.rate:
            self.rate = rate
            self.outbox.write(pack(Message(RATE, self.order["epoch"], int(np.float64(rate).view(np.int64)))))

    def replay(self) -> None:
        """Send down again what was sent behind the checkpoint, as far as there is room; then let new frames in."""
        assert self.replaying
        while self.may_replay():
            if next(self.replaying, REPLAYED) is REPLAYED:
                self.go_on()
                return

    def may_replay(self) -> bool:
        """Whether the next record can go down: there is room, and a stream that comes back has arrived on the disk."""
        return self.has_room() and not self.eviction.leaving

    def go_on(self) -> None:
        """Let new frames in."""
        self.replaying, self.open = None, True
        self.set_rate(self.wanted)
        self.pending.find_own()
        if self.order["max_frames"] is not None:
            self.left = limit(self.order["max_frames"] or None)
            self.outbox.write(b"", {"left": finite(self.left)})
        self.sources.go_on()
        self.worker.report("open", **self.facts())

    def remember(self, number: int, note: dict[str, Any]) -> None:
        """Take what a record of the journal says of the gate."""
        if "closed" in note:
            self.pending.forget(note["closed"], number)
        if "left" in note:
            self.left = limit(note["left"])

    def facts(self) -> dict[str, Any]:
        """How things are, for the supervisor."""
        return {
            "accepted": self.intake.seq,
            "rows": self.sent,
            "replayed": self.intake.seq - self.begun,
            "to_replay": self.until - self.intake.seq,
            "refused": self.pending.refused,
            "rejected": self.frontend.rejected,
            "streams": len(self.intake.names),
            "streams_on_disk": self.eviction.on_disk,
            "streams_refused": self.eviction.refused,
            "full": self.outbox.full,
            "rate": self.rate,
            **self.sources.facts(),
            "journal_begins": self.journal.begins,
            "journal_bytes": self.journal.size(),
            "journal_last": self.journal.last,
            "journal_durable": self.journal.durable,
        }


def open_journal(order: dict[str, Any]) -> Journal | NoJournal:
    """The journal of the run. Raises Failure where it does not reach back to the checkpoint that is gone on from."""
    start = order["journal_start"]
    opened = Journal if order["journal_enabled"] else NoJournal
    journal = opened(Path(order["journal"]), order["run"], start + 1)
    if start + 1 < journal.begins:
        raise Failure(f"{journal.path} begins behind the last good checkpoint: what was between is lost")
    return journal


def limit(left: int | None) -> float:
    """How many frames may be let in, from JSON, which has no infinity."""
    return math.inf if left is None else left


def finite(left: float) -> int | None:
    """The other way round."""
    return None if left == math.inf else int(left)


def main(worker: Worker) -> None:
    """Run until told to stop."""
    Gate(worker).run()
