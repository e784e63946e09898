"""The gate: where frames enter. It checks each once, numbers it, tells its sender, and sends it down the pipeline.

What a client sends is one message of frames of one stream, the stream's name before it; the answer is ACCEPTED with
the first frame's number, or REFUSED with the reason, and then nothing has changed.
"""

import math
from typing import Any

import msgspec
import numpy as np
import zmq

from streamrnn.config import Source
from streamrnn.frames import COLUMNS, SEQ, STREAM
from streamrnn.sources import open_source
from streamrnn.wire import (
    ACCEPTED,
    BARRIER,
    CLOSE,
    CREDIT,
    PREVIEW,
    REFUSED,
    Message,
    WireError,
    as_text,
    pack,
    unpack,
)
from streamrnn.workers.intake import Intake, Refused
from streamrnn.workers.member import Member

OWN_STREAM = "source"  # the name of the daemon's own stream
LARGEST_MESSAGE = 1 << 20  # bytes of a client's message; a larger one is refused
MOST_ANSWERS = 10_000  # that a client has not read; it loses those beyond
LARGEST_READ = 1 << 26  # bytes; whoever sends more is cut off by the socket


class Gate:
    """The gate's process: its sockets, the credit it has, the daemon's own source, and its orders."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.order = member.first_order()
        self.intake = Intake(self.order)
        self.source = open_source(msgspec.convert(self.order["source"], Source))
        self.position = self.order["position"]  # frames taken from the source, ever
        if self.source and self.position:
            self.source.skip(self.position)
        self.sent = self.credited = self.refused = 0
        self.left = self.order["max_frames"] or math.inf
        self.open = False  # frames are let in
        self.ended = False
        limits = {zmq.MAXMSGSIZE: LARGEST_READ, zmq.SNDHWM: MOST_ANSWERS}
        self.clients = member.public_socket(zmq.ROUTER, self.order["gate"], limits)
        self.credit = member.socket(zmq.PULL, bind=self.order["credit"])
        self.down = member.socket(zmq.PUSH, connect=self.order["frames_out"])

    def run(self) -> None:
        """Until told to stop."""
        self.member.report("ready")
        while True:
            self.wait()
            self.take_credit()
            if self.may_take():
                self.take_clients()
                self.take_source()
                self.flush()
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
        return {"accepted": self.intake.seq, "refused": self.refused, "streams": len(self.intake.names)}

    def room(self) -> int:
        """Rows that may still go down before some have gone through."""
        return self.order["in_flight"] - (self.sent - self.credited)

    def may_take(self) -> bool:
        """Whether there is room for a whole block."""
        return self.open and self.left > 0 and self.room() >= self.order["block"]

    def wait(self) -> None:
        """Until there is something to do."""
        poller = zmq.Poller()
        poller.register(self.credit, zmq.POLLIN)
        poller.register(self.member.control, zmq.POLLIN)
        patience = 0.2
        if self.may_take():
            poller.register(self.clients, zmq.POLLIN)
            if self.source and not self.source.ended:
                delay = self.source.delay()
                patience = min(patience, delay)
                descriptor = self.source.fileno()
                if delay == math.inf and descriptor is not None:
                    poller.register(descriptor, zmq.POLLIN)
        poller.poll(math.ceil(patience * 1000))

    def take_credit(self) -> None:
        """Note what has gone through."""
        while True:
            try:
                message = unpack(self.credit.recv(zmq.DONTWAIT))
            except zmq.Again:
                return
            if message.kind == CREDIT and message.epoch == self.order["epoch"]:
                self.credited = message.number

    def take_clients(self) -> None:
        """Let in what clients have sent, as far as there is room, and answer them."""
        while self.may_take():
            try:
                identity, *parts = self.clients.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            self.clients.send_multipart([identity, self.answer(parts)])

    def answer(self, parts: list[bytes]) -> bytes:
        """Let one message in or refuse it; the answer to its sender."""
        number = 0
        try:
            if len(parts) != 2:
                raise Refused(f"a message to the gate has two parts, a stream's name and frames, not {len(parts)}")
            if len(parts[1]) > LARGEST_MESSAGE:
                raise Refused(f"a message of {len(parts[1])} bytes is over the limit of {LARGEST_MESSAGE}")
            message = unpack(parts[1])
            number = message.number
            name = parts[0].decode()
            if message.kind == CLOSE:
                self.flush()  # before the number can be given another name
                self.intake.close(name)
                return pack(Message(ACCEPTED, 0, number, frame_with(self.intake.seq)))
            if len(message.frames) > self.left and name != PREVIEW:
                raise Refused("the daemon has taken all the frames that --max-frames allows")
            if self.intake.count + 2 * len(message.frames) > self.order["block"]:
                self.flush()
            first, naming = self.intake.add_message(name, message)
        except (Refused, WireError, UnicodeDecodeError) as error:
            self.refused += 1
            return pack(Message(REFUSED, 0, number, extra=as_text(str(error))))
        if naming:
            self.down.send(naming)
        if name != PREVIEW:
            self.left -= len(message.frames)
        return pack(Message(ACCEPTED, 0, number, frame_with(first)))

    def take_source(self) -> None:
        """Let in what the daemon's own source has, as far as there is room; say so when no more is to come."""
        if self.ended:
            return
        if self.source and not self.source.ended and self.left > 0:
            frames = self.source.read(int(min((self.order["block"] - self.intake.count) // 2, self.left)))
            if len(frames):
                number, naming = self.intake.stream(OWN_STREAM)
                if naming:
                    self.down.send(naming)
                (self.intake.add_tokens if frames.ndim == 1 else self.intake.add_vectors)(number, frames)
                self.position += len(frames)
                self.left -= len(frames)
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
        self.flush()
        self.open = False
        intake = self.intake
        self.down.send(pack(Message(BARRIER, self.order["epoch"], number, frame_with(intake.seq, intake.used))))
        self.member.report("saved", number=number, **intake.facts(), position=self.position)


def frame_with(seq: int, stream: int = 0) -> np.ndarray:
    """One row that carries these numbers."""
    row = np.zeros((1, COLUMNS), np.int64)
    row[0, SEQ], row[0, STREAM] = seq, stream
    return row


def main(member: Member) -> None:
    """Run until told to stop."""
    Gate(member).run()
