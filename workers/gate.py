"""The gate: where frames enter. It checks each once, numbers it, writes it down, and sends it down the pipeline.

Its sender is told when it is on the disk. After a failure what was written down behind the checkpoint goes down again.

What a client sends is one message of frames of one stream, the stream's name before it, and behind it, in JSON, how
outputs are fed back, if they are (`streamrnn.feedback.Drawing`). The answers are RESULT with outputs that were asked
for, and in the end ACCEPTED with the first frame's number, or REFUSED with the reason.

What comes while there is no room is left in the socket, whose sender must wait once that is full ("block"); or it is
refused ("reject"); or it waits here, as many frames as may be in flight, and the oldest are refused for the newer ones
("drop-oldest").
"""

import math
import shutil
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import zmq

from streamrnn import checkpoint
from streamrnn.config import Source
from streamrnn.feedback import Drawing
from streamrnn.frames import SEQ
from streamrnn.sources import open_source
from streamrnn.wire import (
    ALIVE,
    BARRIER,
    CREDIT,
    GREETING,
    NOT_JSON,
    OUTPUT,
    PREVIEW,
    RATE,
    RESEND,
    Message,
    WireError,
    pack,
    unpack,
)
from streamrnn.workers.door import open_door
from streamrnn.workers.intake import Intake, Refused, warm_up
from streamrnn.workers.journal import Journal, JournalFull, NoJournal
from streamrnn.workers.lines import Echoes, Lines, frame_with
from streamrnn.workers.member import Failure, Member
from streamrnn.workers.requests import MOST_REQUESTS, Progress, Verdict

NOTES_FILE, OUTPUTS_FILE = "gate.json", "outputs.safetensors"  # of a checkpoint
OWN_STREAM = "source"  # the name of the daemon's own stream
LARGEST_MESSAGE = 1 << 20  # bytes of a client's message; a larger one is refused
MOST_ANSWERS = 10_000  # that a client has not read; it loses those beyond
LOOK_INTERVAL = 1.0  # seconds between looks at the clients that have a stream of their own
GONE_INTERVAL = 20.0  # seconds between looks at all clients
LARGEST_READ = 1 << 22  # bytes; whoever sends more is cut off by the socket
MOST_UNREAD = 100  # messages of a client that wait in the socket; it must wait with those beyond
MESSAGES = 256  # of clients at most, before the rest of the work goes on
RESERVE = 1 << 22  # bytes that must be free on the journal's disk
FULL_INTERVAL = 0.5  # seconds between looks at the room for the journal
RETURN_TIME = 1.0  # seconds in which clients whose line broke come back
ASK_INTERVAL = 0.2  # seconds until a client is asked once more to send again


class Gate:
    """The gate's process: its sockets, the credit it has, the daemon's own source, and its orders."""

    def __init__(self, member: Member) -> None:
        warm_up()
        self.member = member
        self.order = member.first_order()
        self.order["kept"], outputs = kept(self.order["resume"])
        self.intake = Intake(self.order)
        self.source = open_source(msgspec.convert(self.order["source"], Source))
        self.position = self.order["position"]  # frames taken from the source, ever
        self.sent = self.credited = 0
        self.left = limit(self.order["left"])
        self.rate: float = self.order["rate"]  # of learning, in force for what goes down now,
        self.wanted = self.rate  # and for what comes behind the journal
        self.open = False  # frames are let in
        self.ended = False
        start = self.order["journal_start"]
        journal = Journal if self.order["journal_enabled"] else NoJournal
        self.journal = journal(Path(self.order["journal"]), self.order["run"], start + 1)
        if start + 1 < self.journal.begins:
            raise Failure(f"{self.journal.path} begins behind the last good checkpoint: what was between is lost")
        self.replaying: Iterator[tuple[int, bytes, Any]] | None = None
        self.orders: deque[dict[str, Any]] = deque()
        self.outbox: deque[tuple[bytes, Any, int]] = deque()  # what could not be written down yet
        self.full = ""  # why not
        self.looked_for_room = 0.0
        self.held: deque[tuple[int, bytes, Message]] = deque()  # answers, and the record that must be on the disk first
        limits = {
            zmq.MAXMSGSIZE: LARGEST_READ,
            zmq.SNDHWM: MOST_ANSWERS,
            zmq.RCVHWM: MOST_UNREAD,
            zmq.ROUTER_MANDATORY: 1,
            zmq.ROUTER_HANDOVER: 1,  # a client that comes back keeps its name
            # not ZeroMQ's heartbeat: libzmq 4.3 aborts when one is due to a peer that has gone with its messages unread
            zmq.TCP_KEEPALIVE: 1,
            zmq.TCP_KEEPALIVE_IDLE: 10,
            zmq.TCP_KEEPALIVE_INTVL: 5,
            zmq.TCP_KEEPALIVE_CNT: 2,
        }
        self.door = open_door(member, zmq.ROUTER, self.order["gate"], limits, self.order["keys"])
        self.messages = member.socket(zmq.PULL, bind=self.order["to_gate"])
        self.down = member.socket(zmq.PUSH, connect=self.order["frames_out"])
        self.lines = Lines(self.intake, self.space, self.took, self.flush, self.write, self.reply, self.accept)
        if outputs:
            self.lines.restore(outputs["rows"], outputs["vectors"])
        self.saving: Snapshot | None = None
        self.away: dict[bytes, tuple[float, deque[Message]]] = {}  # clients that cannot be reached, since when, answers
        self.asked: dict[bytes, float] = {}  # clients that have been asked to greet and send again, and when
        self.looked = 0.0
        self.looked_for_gone = time.monotonic()

    def run(self) -> None:
        """Until told to stop."""
        self.member.report("ready")
        while True:
            self.wait()
            self.take_messages()
            self.look_for_room()
            self.door.look()
            if self.replaying:
                self.replay()
            elif self.open:
                self.lines.advance()
                self.take_clients()
                self.take_source()
                self.flush()
            self.save()
            self.answer()
            self.look_for_clients()
            order = self.member.order()
            if order["kind"] == "stop":
                break
            if order["kind"]:
                self.orders.append(order)
            if self.orders and not self.outbox and not self.replaying:
                self.obey(self.orders.popleft())
            self.member.beat(self.facts)
        self.journal.close()

    def obey(self, order: dict[str, Any]) -> None:
        """Do what the supervisor says."""
        if order["kind"] == "open":
            self.replaying = self.journal.after(self.order["journal_start"])
            self.wanted = order["rate"]
        elif order["kind"] == "checkpoint":
            self.barrier(order)
        elif order["kind"] == "cut":
            with suppress(JournalFull):  # a later one makes up for it
                self.journal.cut(order["number"])
        elif order["kind"] == "rate":
            self.set_rate(order["rate"])

    def set_rate(self, rate: float) -> None:
        """Let a learning rate hold for every update behind the frames that are in."""
        if rate != self.rate:
            self.rate = rate
            self.write(pack(Message(RATE, self.order["epoch"], int(np.float64(rate).view(np.int64)))))

    def replay(self) -> None:
        """Send down again what was sent behind the checkpoint, as far as there is room; then let new frames in."""
        assert self.replaying
        while self.has_room():
            record = next(self.replaying, None)
            if record is None:
                self.replaying, self.open = None, True
                self.set_rate(self.wanted)
                self.lines.find_own()
                if self.order["max_frames"] is not None:
                    self.left = limit(self.order["max_frames"] or None)
                    self._write(b"", self.note())
                if self.source and self.position:
                    self.source.skip(self.position)
                self.member.report("open")
                return
            _, data, note = record
            self.remember(note or {})  # what it says has ended asked for its outputs in records before
            if data:
                message = unpack(data)._replace(epoch=self.order["epoch"])
                if message.kind == RATE:
                    self.rate = float(np.int64(message.number).view(np.float64))
                else:
                    self.intake.replay(message)
                    self.lines.replay_frames(message.frames)
            if data:
                self.sent += len(message.frames)
                self.down.send(pack(message))

    def remember(self, note: dict[str, Any]) -> None:
        """Take what a record of the journal says of the gate."""
        if "closed" in note:
            self.lines.forget(note["closed"])
        if "position" in note:
            self.position, self.left = note["position"], limit(note["left"])
            self.lines.replay(note["news"])

    def facts(self) -> dict[str, Any]:
        """How things are, for the supervisor."""
        return {
            "accepted": self.intake.seq,
            "refused": self.lines.refused,
            "strangers": self.door.strangers,
            "streams": len(self.intake.names),
            "full": self.full,
            "rate": self.rate,
            "journal_begins": self.journal.begins,
            "journal_bytes": self.journal.size(),
            "journal_last": self.journal.last,
            "journal_durable": self.journal.durable,
        }

    def has_room(self) -> bool:
        """Whether there is room for a whole block between here and the publisher."""
        return bool(self.order["in_flight"] - (self.sent - self.credited) >= self.order["block"])

    def may_take(self) -> bool:
        """Whether a whole block may be let in."""
        return self.open and not self.full and self.has_room()

    def listens(self) -> bool:
        """Whether clients are heard: to let their frames in, or to say at once why not."""
        answers = self.full or self.order["overload"] != "block"
        return bool(self.open and (answers or (self.may_take() and self.left > 0)))

    def space(self, counted: bool = True) -> int:
        """Frames that may be let in now, those that --max-frames counts or not; each may become two rows."""
        if self.order["block"] - self.intake.count < 2:
            self.flush()
        if not self.may_take():
            return 0
        return int(min((self.order["block"] - self.intake.count) // 2, self.left if counted else math.inf))

    def took(self, frames: int) -> None:
        """Count frames that have been let in."""
        self.left -= frames

    def wait(self) -> None:
        """Until there is something to do."""
        poller = zmq.Poller()
        poller.register(self.messages, zmq.POLLIN)
        poller.register(self.member.control, zmq.POLLIN)
        poller.register(self.journal.woken, zmq.POLLIN)
        patience = 0.0 if self.replaying and self.has_room() else 0.2
        if self.listens():
            poller.register(self.door.socket, zmq.POLLIN)
        if self.source and not self.source.ended and self.may_take() and self.left > 0:
            delay = self.source.delay()
            patience = min(patience, delay)
            descriptor = self.source.fileno()
            if delay == math.inf and descriptor is not None:
                poller.register(descriptor, zmq.POLLIN)
        if dict(poller.poll(math.ceil(patience * 1000))).get(self.journal.woken):
            self.journal.heard()

    def take_messages(self) -> None:
        """Note what has gone through the pipeline, and hear the outputs that come back."""
        while True:
            try:
                message = unpack(self.messages.recv(zmq.DONTWAIT))
            except zmq.Again:
                return
            if message.epoch == self.order["epoch"]:
                if message.kind == CREDIT:
                    self.credited = message.number
                elif message.kind == OUTPUT:
                    self.lines.hear(message)

    def take_clients(self) -> None:
        """Let in what clients have sent, as far as there is room, and answer them."""
        for _ in range(MESSAGES):
            if not self.listens():
                break
            try:
                sender, *parts = self.door.socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            self.take(sender, parts)
        if self.order["overload"] == "drop-oldest":
            self.lines.drop_oldest(self.order["in_flight"])

    def take(self, sender: bytes, parts: list[bytes]) -> None:
        """One message of a client: a stream's name, frames, and perhaps how their outputs are fed back."""
        number = 0
        try:
            if len(parts) not in (2, 3):
                raise Refused(
                    f"a message to the gate has a stream's name, frames, and perhaps options, not {len(parts)} parts"
                )
            if sum(map(len, parts)) > LARGEST_MESSAGE:
                raise Refused(f"a message of {sum(map(len, parts))} bytes is over the limit of {LARGEST_MESSAGE}")
            message = unpack(parts[1])
            number = message.number
            verdict, progress = Verdict.TAKE, Progress()
            if message.epoch == self.order["epoch"]:
                if message.kind == GREETING:
                    return self.greet(sender, message)
                verdict, progress = self.lines.requests.look(sender, number)
            elif message.epoch:  # meant for a gate before this one: whether it took it, its sender will know
                verdict = Verdict.EARLY
            if verdict != Verdict.TAKE:
                return self.turn_away(sender, number, verdict, progress)
            if self.full:
                raise Refused(f"the daemon takes no frames now: {self.full}")
            name = parts[0].decode()
            drawing = drawing_of(parts[2]) if len(parts) == 3 else Drawing()
            if len(message.frames) > self.left and name != PREVIEW:
                raise Refused("the daemon has taken all the frames that --max-frames allows")
            if self.order["overload"] == "reject" and not self.may_take():
                raise Refused("the daemon has no room for more frames now: send them later, or fewer")
            self.lines.add(sender, name, message, drawing, progress)
        except (Refused, WireError, UnicodeDecodeError) as error:
            self.lines.refuse(sender, number, str(error))

    def greet(self, sender: bytes, message: Message) -> None:
        """A client says which of its requests have not been answered. Raises Refused."""
        unanswered = message.frames[:, SEQ].tolist()
        if message.number < 0 or any(b <= a for a, b in pairwise([0, *unanswered, max(message.number, 1)])):
            raise Refused("a greeting has rising numbers from 1, and the next one behind them")
        if len(unanswered) > MOST_REQUESTS:
            raise Refused(f"a greeting has {MOST_REQUESTS} numbers at most")
        self.lines.requests.greet(sender, unanswered, message.number)

    def turn_away(self, sender: bytes, number: int, verdict: Verdict, progress: Progress) -> None:
        """A request that is not to be taken now: it has been, or one before it was lost."""
        if verdict == Verdict.AGAIN:
            self.lines.again(sender, number, progress)
        elif verdict == Verdict.EARLY and time.monotonic() - self.asked.get(sender, -math.inf) >= ASK_INTERVAL:
            self.asked = {name: when for name, when in self.asked.items() if time.monotonic() - when < ASK_INTERVAL}
            self.asked[sender] = time.monotonic()
            self.reply(sender, Message(RESEND, self.order["epoch"]))

    def accept(self, to: bytes, message: Message) -> None:
        """Answer a client once everything up to now is on the disk, or written, as configured."""
        to_come = 1 if self.intake.count or self.lines.news else 0
        self.held.append((self.journal.last + len(self.outbox) + to_come, to, message))

    def answer(self) -> None:
        """Send the answers whose frames are safe."""
        safe = self.journal.durable if self.order["acknowledge"] == "on-disk" else self.journal.last
        while self.held and self.held[0][0] <= safe:
            _, to, message = self.held.popleft()
            self.reply(to, message)
        if self.held:
            self.journal.hurry()

    def reply(self, to: bytes, message: Message) -> None:
        """Answer a client; one whose line is broken may come back for it."""
        if to in self.away or not self.reach(to, message):
            _, answers = self.away.setdefault(to, (time.monotonic(), deque()))
            answers.append(message)

    def reach(self, to: bytes, message: Message) -> bool:
        """Whether a client is there; if it does not read its answers, it goes without."""
        try:
            self.door.socket.send_multipart([to, pack(message)], zmq.DONTWAIT)
        except zmq.Again:
            pass
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True

    def look_for_clients(self) -> None:
        """See that the clients that have a stream of their own are still there, and who has come back."""
        if time.monotonic() - self.looked >= LOOK_INTERVAL:
            self.looked = time.monotonic()
            for sender in self.lines.own:
                self.reply(sender, Message(ALIVE))
        if time.monotonic() - self.looked_for_gone >= GONE_INTERVAL:
            self.looked_for_gone = time.monotonic()
            self.lines.requests.forget_gone(lambda sender: self.reach(sender, Message(ALIVE)), time.monotonic())
        for sender, (since, answers) in list(self.away.items()):
            while answers and self.reach(sender, answers[0]):
                answers.popleft()
            if not answers:
                del self.away[sender]
            elif time.monotonic() - since > RETURN_TIME:
                del self.away[sender]
                self.lines.lose(sender)

    def take_source(self) -> None:
        """Let in what the daemon's own source has, as far as there is room; say so when no more is to come."""
        if self.ended:
            return
        if self.source and not self.source.ended and self.left > 0:
            frames = self.source.read(self.space())
            if len(frames):
                number, naming = self.intake.stream(OWN_STREAM)
                if naming:
                    self.write(naming)
                (self.intake.add_tokens if frames.ndim == 1 else self.intake.add_vectors)(number, frames)
                self.position += len(frames)
                self.took(len(frames))
        if (self.source and self.source.ended) or self.left <= 0:
            self.ended = True
            self.flush()
            self.member.report("ended")

    def flush(self) -> None:
        """Write down and send what has been let in, and what has become of requests."""
        if self.intake.count or self.lines.news:
            rows = self.intake.count
            self._write(self.intake.block() if rows else b"", self.note(), rows)

    def note(self) -> dict[str, Any]:
        """How the gate stands, for the journal."""
        return {"position": self.position, "left": finite(self.left), "news": self.lines.take_news()}

    def write(self, data: bytes, note: Any = None) -> None:
        """Write a message down and send it, behind everything let in so far."""
        self.flush()
        self._write(data, note)

    def _write(self, data: bytes, note: Any, rows: int = 0) -> None:
        """Until it has been written, nothing more is let in."""
        self.outbox.append((data, note, rows))
        if len(self.outbox) == 1:
            self.empty_outbox()

    def look_for_room(self) -> None:
        """See now and then whether there is room for more, and write down what waited for it."""
        if time.monotonic() - self.looked_for_room < FULL_INTERVAL:
            return
        self.looked_for_room = time.monotonic()
        self.empty_outbox()
        if not self.outbox:
            self.full = self.shortage()

    def shortage(self) -> str:
        """Why no more can be let in, "" if it can: better before a frame is in than when it cannot be written down."""
        if self.journal.size() > self.order["journal_bytes"]:
            return f"the journal holds {self.order['journal_bytes']:,} bytes, its most"
        if shutil.disk_usage(self.journal.path.parent).free < RESERVE:
            return f"the disk of {self.journal.path} has under {RESERVE:,} bytes left"
        return ""

    def empty_outbox(self) -> None:
        """Write down and send what waits, if there is room on the disk."""
        while self.outbox:
            data, note, rows = self.outbox[0]
            try:
                self.journal.append(data, note)
            except JournalFull as error:
                self.full = str(error)
                return
            self.outbox.popleft()
            if data:
                self.sent += rows
                self.down.send(data)

    def barrier(self, order: dict[str, Any]) -> None:
        """Send a barrier down behind everything, and say how the gate stands; let no more in if it is the last."""
        if order["last"]:
            self.open = False
        answered = not order["last"] or self.lines.stop("the daemon is stopping")
        self.flush()
        if self.outbox or not answered:  # what is in waits for room on the disk or its outputs, and the barrier behind
            self.orders.appendleft(order)
            return
        intake, number = self.intake, order["number"]
        self.journal.flush()  # no checkpoint is ahead of the journal, whenever the power goes
        self.down.send(pack(Message(BARRIER, self.order["epoch"], number, frame_with(intake.seq, intake.used))))
        facts = {"position": self.position, "left": finite(self.left), "journal": self.journal.last, "rate": self.rate}
        requests = self.lines.requests
        notes = {**intake.notes(), "requests": requests.facts(), "forgotten": requests.forgotten()}
        self.saving = Snapshot(number, intake.facts() | facts, msgspec.json.encode(notes), dict(self.lines.echoes))

    def save(self) -> None:
        """Write how the gate stood at the barrier, once it has heard all outputs of what was let in before."""
        if not self.saving:
            return
        number, facts, notes, echoes = self.saving
        outputs = self.lines.outputs_before(facts["frames"], echoes)
        if outputs is None:
            return
        self.saving = None
        folder = checkpoint.temporary_name(Path(self.order["checkpoints"]) / checkpoint.number_name(number))

        def write() -> dict[str, str]:
            hashes = {NOTES_FILE: checkpoint.write_bytes(folder / NOTES_FILE, notes)}
            if outputs:
                hashes[OUTPUTS_FILE] = checkpoint.write_tensors(folder / OUTPUTS_FILE, outputs)
            return hashes

        self.member.save(number, write, **facts)


class Snapshot(NamedTuple):
    """A checkpoint whose barrier has gone down: the gate as it was then."""

    number: int
    facts: dict[str, Any]
    notes: bytes
    echoes: dict[int, Echoes]  # of requests under way


def kept(resume: str | None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a gate wrote into the checkpoint that is gone on from, if one did. Raises CheckpointError."""
    notes: dict[str, Any] = {}
    outputs: dict[str, np.ndarray] = {}
    if resume:
        folder, manifest = Path(resume), checkpoint.read_manifest(Path(resume))
        if NOTES_FILE in manifest.sha256:
            notes = msgspec.json.decode(checkpoint.read_file(folder / NOTES_FILE, manifest))
        if OUTPUTS_FILE in manifest.sha256:
            outputs = checkpoint.read_tensors(folder / OUTPUTS_FILE, manifest)
    return notes, outputs


def limit(left: int | None) -> float:
    """How many frames may be let in, from JSON, which has no infinity."""
    return math.inf if left is None else left


def finite(left: float) -> int | None:
    """The other way round."""
    return None if left == math.inf else int(left)


def drawing_of(options: bytes) -> Drawing:
    """What the last part of a client's message says. Raises Refused."""
    try:
        return msgspec.json.decode(options, type=Drawing)
    except NOT_JSON as error:
        raise Refused(f"options: {error}") from None


def main(member: Member) -> None:
    """Run until told to stop."""
    Gate(member).run()
