"""A client's requests to the gate: sent, acknowledged, and sent again where no acknowledgement comes.

The gate recognises a request that it has taken by its number, so that none counts twice.
"""

import time
from contextlib import suppress
from math import ceil, inf
from typing import NamedTuple

import numpy as np
import zmq

from streamrnn.client.connection import RETRY
from streamrnn.client.errors import DaemonGone, FrameRefused
from streamrnn.kernels.frames import COLUMNS, ECHO, FLAGS, SEQ, STREAM
from streamrnn.kernels.messages import ACCEPTED, ALIVE, CLOSE, GREETING, HURRY, REFUSED, RESEND, RESULT
from streamrnn.protocol.wire import Message, WireError, pack, text_of, unpack

MOST_PENDING = 4000  # requests without an answer; the gate keeps twice that for a client
GREET_AFTER = 64  # answers: the gate may forget what they were to
HURRY_AFTER = 0.2  # seconds without an answer, after which the gate is told that one is waited for
CLOSING = 200  # milliseconds that a client's last messages may take


class Request(NamedTuple):
    """What is sent to the gate."""

    stream: str
    message: Message
    options: tuple[bytes, ...]
    before: int  # frames posted before it

    def parts(self, epoch: int) -> list[bytes]:
        """The parts of its message, for the gate of that epoch."""
        return [self.stream.encode(), pack(self.message._replace(epoch=epoch)), *self.options]


class Acknowledgement(NamedTuple):
    """What the gate says of a request that it has taken."""

    first: int  # SEQ of its first frame
    outputs: int  # how many were asked for, and sent before this


class Requests:
    """Sends requests on a socket to the gate, and keeps each until it is answered. Timeouts are in seconds."""

    def __init__(self, socket: zmq.Socket, daemon: str, epoch: int) -> None:
        """daemon: its name, for errors; epoch: that of its workers."""
        self._socket, self._daemon, self._epoch = socket, daemon, epoch
        self._number = 0
        self._posted = 0  # frames
        self.accepted = 0  # of them, those that the gate has taken
        self._pending: dict[int, Request] = {}  # by number, in order
        self._answered = 0  # since the last greeting
        self._results: dict[int, list[Message]] = {}  # request -> the outputs it asked for, for those waited for
        self._acknowledged: dict[int, Acknowledgement | None] = {}  # request -> its answer, for those waited for
        self._greet()

    def post(self, stream: str, message: Message, timeout: float, *options: bytes) -> int:
        """Send a request under the next number, which is returned, and keep it. Raises DaemonGone."""
        if self._answered >= GREET_AFTER:
            self._greet()
        number = self._number + 1
        request = Request(stream, message._replace(number=number), options, self._posted)
        self._number, self._pending[number] = number, request  # before it is sent: Ctrl-C may come right behind that
        try:
            self._socket.send_multipart(request.parts(self._epoch))
        except zmq.Again:
            self._number = number - 1
            del self._pending[number]
            raise DaemonGone(f'the daemon "{self._daemon}" takes no frames: waited {timeout} s') from None
        self._posted += len(message.frames)
        return number

    def keep_up(self, timeout: float) -> None:
        """Take the answers that have come, and wait for some where many have not. Raises FrameRefused, DaemonGone."""
        while len(self._pending) > MOST_PENDING:
            self._receive(timeout)
        while self._pending and self._socket.poll(0):
            self._take_answer()

    def flush(self, timeout: float) -> None:
        """Wait until every request has been acknowledged. Raises FrameRefused, DaemonGone."""
        self._hurry(self._number)
        while self._pending:
            self._receive(timeout)

    def wait_for(self, number: int, timeout: float) -> tuple[Acknowledgement, list[Message]]:
        """The acknowledgement of the request just posted, and the outputs it asked for, as far as they have come.

        Raises FrameRefused, of an earlier request too, and DaemonGone.
        """
        self._acknowledged[number], self._results[number] = None, []
        try:
            flags = self._pending[number].message.frames[:, FLAGS]
            if not (flags & ECHO).any():  # where outputs are asked for, the gate knows it
                self._hurry(number)
            while not (acknowledgement := self._acknowledged[number]):
                self._receive(timeout)
            return acknowledgement, self._results[number]
        finally:
            del self._acknowledged[number], self._results[number]

    def close(self, own_stream: bool) -> None:
        """Tell the gate that this client goes, and give back the stream of its own if it has used one."""
        if self._socket.closed:
            return
        if not self._pending:  # nobody need wait for the rest to arrive
            self._socket.setsockopt(zmq.LINGER, CLOSING)
        with suppress(zmq.Again):
            if own_stream:
                self._notify(Message(CLOSE))
            self._notify(Message(GREETING, self._epoch))

    def _greet(self) -> None:
        """Tell the gate which requests are pending."""
        rows = np.zeros((len(self._pending), COLUMNS), np.int64)
        rows[:, SEQ] = list(self._pending)
        self._answered = 0
        with suppress(zmq.Again):  # it will ask
            self._notify(Message(GREETING, self._epoch, self._number + 1, rows))

    def _hurry(self, number: int) -> None:
        """Tell the gate that the answer to that request is waited for."""
        if number in self._pending:
            with suppress(zmq.Again):
                self._notify(Message(HURRY, self._epoch, number))

    def _notify(self, message: Message) -> None:
        """Send what needs no answer. Raises zmq.Again if there is no room for it."""
        self._socket.send_multipart([b"", pack(message)], zmq.DONTWAIT)

    def _send_again(self) -> None:
        """All that is pending."""
        self._greet()
        with suppress(zmq.Again):
            for request in self._pending.values():
                self._socket.send_multipart(request.parts(self._epoch), zmq.DONTWAIT)

    def _receive(self, timeout: float) -> None:
        """Take one answer of the gate, sending again now and then. Raises FrameRefused, DaemonGone."""
        now, patience = time.monotonic(), RETRY
        deadline, again, hurry = now + timeout, now + patience, now + HURRY_AFTER
        while now < deadline:
            if now >= hurry:
                self._hurry(next(iter(self._pending), 0))
                hurry = inf
            if now >= again:
                self._send_again()
                hurry = now + HURRY_AFTER
                patience *= 2  # a daemon that has much to do is not given more
                again = now + patience
            come = self._socket.poll(ceil(1000 * (min(deadline, again, hurry) - now)))
            if come and self._take_answer() not in (ALIVE, RESEND):  # which say nothing of what is waited for
                return
            now = time.monotonic()
        raise DaemonGone(f'the daemon "{self._daemon}" has not answered for {timeout} s')

    def _take_answer(self) -> int:
        """Take the message that is there; its kind. Raises FrameRefused, DaemonGone."""
        try:
            message = unpack(self._socket.recv())
        except WireError as error:
            raise DaemonGone(f"what answers at the gate is no streamrnn daemon of this version: {error}") from error
        if message.kind == RESULT:
            self._take_result(message)
        elif message.kind == RESEND:
            self._epoch = message.epoch
            self._send_again()
        elif not message.number:
            self._settle(message)
        elif request := self._pending.pop(message.number, None):  # else answered already
            self._settle(message, request)
        return message.kind

    def _take_result(self, message: Message) -> None:
        """Keep outputs that a request asked for, if it is waited for."""
        results = self._results.get(message.number)
        if results is None:
            return
        if results and results[0].epoch != message.epoch:  # after a failure a gate gives all of them again
            results.clear()
        results.append(message)

    def _settle(self, message: Message, request: Request | None = None) -> None:
        """Take what the gate says of a request. Raises FrameRefused."""
        self._answered += 1
        if message.kind == REFUSED:
            error = FrameRefused(text_of(message))
            error.before = request.before if request else self._posted
            raise error
        if message.kind == ACCEPTED and request:
            self.accepted += len(request.message.frames)
        if message.kind == ACCEPTED and message.number in self._acknowledged:
            self._acknowledged[message.number] = Acknowledgement(*message.frames[0, [SEQ, STREAM]].tolist())
