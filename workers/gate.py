"""The gate: where frames enter. It checks each once, numbers it, tells its sender, and sends it down the pipeline.

What a client sends is one message of frames of one stream, the stream's name before it, and behind it, in JSON, how
outputs are fed back, if they are (`streamrnn.feedback.Drawing`). The answers are RESULT with outputs that were asked
for, and in the end ACCEPTED with the first frame's number, or REFUSED with the reason.
"""

import math
import time
from contextlib import suppress
from typing import Any

import msgspec
import zmq

from streamrnn.config import Source
from streamrnn.feedback import Drawing
from streamrnn.sources import open_source
from streamrnn.wire import ALIVE, BARRIER, CREDIT, OUTPUT, PREVIEW, Message, WireError, pack, unpack
from streamrnn.workers.intake import Intake, Refused, warm_up
from streamrnn.workers.lines import Lines, frame_with
from streamrnn.workers.member import Member

OWN_STREAM = "source"  # the name of the daemon's own stream
LARGEST_MESSAGE = 1 << 20  # bytes of a client's message; a larger one is refused
MOST_ANSWERS = 10_000  # that a client has not read; it loses those beyond
LOOK_INTERVAL = 1.0  # seconds between looks at the clients that have a stream of their own
LARGEST_READ = 1 << 26  # bytes; whoever sends more is cut off by the socket


class Gate:
    """The gate's process: its sockets, the credit it has, the daemon's own source, and its orders."""

    def __init__(self, member: Member) -> None:
        warm_up()
        self.member = member
        self.order = member.first_order()
        self.intake = Intake(self.order)
        self.source = open_source(msgspec.convert(self.order["source"], Source))
        self.position = self.order["position"]  # frames taken from the source, ever
        if self.source and self.position:
            self.source.skip(self.position)
        self.sent = self.credited = 0
        self.left = self.order["max_frames"] or math.inf
        self.open = False  # frames are let in
        self.ended = False
        limits = {
            zmq.MAXMSGSIZE: LARGEST_READ,
            zmq.SNDHWM: MOST_ANSWERS,
            zmq.ROUTER_MANDATORY: 1,
            zmq.HEARTBEAT_IVL: 5000,
            zmq.HEARTBEAT_TIMEOUT: 15000,
        }
        self.clients = member.public_socket(zmq.ROUTER, self.order["gate"], limits)
        self.messages = member.socket(zmq.PULL, bind=self.order["to_gate"])
        self.down = member.socket(zmq.PUSH, connect=self.order["frames_out"])
        self.lines = Lines(self.intake, self.space, self.took, self.flush, self.down.send, self.reply)
        self.gone: set[bytes] = set()  # clients that could not be reached
        self.looked = 0.0

    def run(self) -> None:
        """Until told to stop."""
        self.member.report("ready")
        while True:
            self.wait()
            self.take_messages()
            if self.open:
                self.lines.advance()
                self.take_clients()
                self.take_source()
                self.flush()
                self.look_for_clients()
            order = self.member.order()
            if order["kind"] == "open":
                self.open = True
            elif order["kind"] == "checkpoint":
                self.barrier(order["number"])
            elif order["kind"] == "stop":
                return
            self.member.beat(self.facts)

    def facts(self) -> dict[str, Any]:
        """How things are, for the supervisor."""
        return {"accepted": self.intake.seq, "refused": self.lines.refused, "streams": len(self.intake.names)}

    def may_take(self) -> bool:
        """Whether there is room for a whole block between here and the publisher."""
        return self.open and self.order["in_flight"] - (self.sent - self.credited) >= self.order["block"]

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
        patience = 0.2
        if self.may_take() and self.left > 0:
            poller.register(self.clients, zmq.POLLIN)
            if self.source and not self.source.ended:
                delay = self.source.delay()
                patience = min(patience, delay)
                descriptor = self.source.fileno()
                if delay == math.inf and descriptor is not None:
                    poller.register(descriptor, zmq.POLLIN)
        poller.poll(math.ceil(patience * 1000))

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
        while self.may_take() and self.left > 0:
            try:
                sender, *parts = self.clients.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            self.take(sender, parts)

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
            name = parts[0].decode()
            drawing = drawing_of(parts[2]) if len(parts) == 3 else Drawing()
            if len(message.frames) > self.left and name != PREVIEW:
                raise Refused("the daemon has taken all the frames that --max-frames allows")
            self.lines.add(sender, name, message, drawing)
        except (Refused, WireError, UnicodeDecodeError) as error:
            self.lines.refuse(sender, number, str(error))

    def reply(self, to: bytes, message: Message) -> None:
        """Answer a client, if it is still there and reads its answers."""
        with suppress(zmq.Again):
            try:
                self.clients.send_multipart([to, pack(message)], zmq.DONTWAIT)
            except zmq.ZMQError as error:
                if error.errno != zmq.EHOSTUNREACH:
                    raise
                self.gone.add(to)

    def look_for_clients(self) -> None:
        """See that the clients that have a stream of their own are still there."""
        if time.monotonic() - self.looked >= LOOK_INTERVAL:
            self.looked = time.monotonic()
            for sender in self.lines.own:
                self.reply(sender, Message(ALIVE))
        while self.gone:
            self.lines.lose(self.gone.pop())

    def take_source(self) -> None:
        """Let in what the daemon's own source has, as far as there is room; say so when no more is to come."""
        if self.ended:
            return
        if self.source and not self.source.ended and self.left > 0:
            frames = self.source.read(self.space())
            if len(frames):
                number, naming = self.intake.stream(OWN_STREAM)
                if naming:
                    self.down.send(naming)
                (self.intake.add_tokens if frames.ndim == 1 else self.intake.add_vectors)(number, frames)
                self.position += len(frames)
                self.took(len(frames))
        if (self.source and self.source.ended) or self.left <= 0:
            self.ended = True
            self.flush()
            self.member.report("ended")

    def flush(self) -> None:
        """Send what has been let in down the pipeline."""
        if self.intake.count:
            self.sent += self.intake.count
            self.down.send(self.intake.block())

    def barrier(self, number: int) -> None:
        """Let nothing more in, send a barrier down behind everything, and tell the supervisor how the gate stands."""
        self.lines.stop("the daemon is stopping")
        self.flush()
        self.open = False
        intake = self.intake
        self.down.send(pack(Message(BARRIER, self.order["epoch"], number, frame_with(intake.seq, intake.used))))
        self.member.report("saved", number=number, **intake.facts(), position=self.position)


def drawing_of(options: bytes) -> Drawing:
    """What the last part of a client's message says. Raises Refused."""
    try:
        return msgspec.json.decode(options, type=Drawing)
    except msgspec.DecodeError as error:
        raise Refused(f"options: {error}") from None


def main(member: Member) -> None:
    """Run until told to stop."""
    Gate(member).run()
