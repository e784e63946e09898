"""A client's requests to the gate: sent, acknowledged, and sent again where no acknowledgement comes.

The gate recognises a request that it has taken by its number, so that none counts twice.
"""

from math import inf
from typing import NamedTuple

import numpy as np

from streamrnn.client.connection import RETRY
from streamrnn.client.errors import DaemonGone, FrameRefused
from streamrnn.client.lines import Line
from streamrnn.kernels.frames import COLUMNS, ECHO, FLAGS, SEQ, STREAM
from streamrnn.kernels.messages import ACCEPTED, ALIVE, CLOSE, GREETING, HURRY, REFUSED, RESEND, RESULT
from streamrnn.protocol.wire import Message, WireError, pack, text_of, unpack

MOST_PENDING = 4000  # requests without an answer; the gate keeps twice that for a client
GREET_AFTER = 64  # answers: the gate may forget what they were to
HURRY_AFTER = 0.2  # seconds without an answer, after which the gate is told that one is waited for


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
    """Sends requests on a line to the gate, and keeps each until it is answered. Timeouts are in seconds."""

    def __init__(self, line: Line, daemon: str, epoch: int) -> None:
        """daemon: its name, for errors; epoch: that of its workers."""
        self._line, self._daemon, self._epoch = line, daemon, epoch
        self._number = 0
        self._posted = 0  # frames
        self.accepted = 0  # of them, those that the gate has taken
        self._pending: dict[int, Request] = {}  # by number, in order
        self._answered = 0  # since the last greeting
        self._results: dict[int, list[Message]] = {}  # request -> the outputs it asked for, for those waited for
        self._answers: dict[int, Acknowledgement | FrameRefused | None] = {}  # to requests, for those waited for
        self._greet()

    async def post(self, stream: str, message: Message, timeout: float, *options: bytes) -> int:
        """Send a request under the next number, which is returned, and keep it. Raises DaemonGone."""
        if self._answered >= GREET_AFTER:
            self._greet()
        deadline = self._line.now() + timeout
        while not self._sent(Request(stream, message._replace(number=self._number + 1), options, self._posted)):
            if not await self._line.room(deadline - self._line.now()):
                raise DaemonGone(f'the daemon "{self._daemon}" takes no frames: waited {timeout} s')
        return self._number

    async def keep_up(self, timeout: float) -> None:
        """Take the answers that have come, and wait for some where many have not. Raises FrameRefused, DaemonGone."""
        while len(self._pending) > MOST_PENDING:
            await self._receive(timeout)
        while self._pending and (parts := self._line.take()):
            self._take_answer(parts)

    async def flush(self, timeout: float) -> None:
        """Wait until every request has been acknowledged. Raises FrameRefused, DaemonGone."""
        self.hurry(self._number)
        while self._pending:
            await self._receive(timeout)

    async def wait_for(self, number: int, timeout: float) -> tuple[Acknowledgement, list[Message]]:
        """The acknowledgement of the request just posted, and the outputs it asked for, as far as they have come.

        Raises FrameRefused, of an earlier request too, and DaemonGone.
        """
        self.expect(number)
        self._results[number] = []
        try:
            return await self.answer(number, timeout), self._results[number]
        finally:
            self.expect_no_more(number)
            del self._results[number]

    def expect(self, number: int) -> None:
        """Keep the answer to a request just posted until `expect_no_more`, also if it is a refusal."""
        self._answers[number] = None

    def is_answered(self, number: int) -> bool:
        """Whether the answer to a request that is expected has been taken."""
        return self._answers[number] is not None

    async def answer(self, number: int, timeout: float) -> Acknowledgement:
        """That to a request that is expected. Raises FrameRefused, of one that is not expected too, DaemonGone."""
        if number in self._pending and not (self._pending[number].message.frames[:, FLAGS] & ECHO).any():
            self.hurry(number)  # where outputs are asked for, the gate knows it
        while not (answer := self._answers[number]):
            await self._receive(timeout)
        if isinstance(answer, FrameRefused):
            raise answer
        return answer

    def expect_no_more(self, number: int) -> None:
        """What is still to come to that request is as to others."""
        del self._answers[number]

    def close(self, own_stream: bool) -> None:
        """Tell the gate that this client goes, and give back the stream of its own if it has used one."""
        if not self._pending:  # nobody need wait for the rest to arrive
            self._line.hasten()
        if own_stream:
            self._notify(Message(CLOSE))
        self._notify(Message(GREETING, self._epoch))

    def _sent(self, request: Request) -> bool:
        """Send a request that is new, and keep it; false if there is no room for it."""
        number = request.message.number
        self._number, self._pending[number] = number, request  # before it is sent: Ctrl-C may come right behind that
        if not self._line.send(request.parts(self._epoch)):
            self._number = number - 1
            del self._pending[number]
            return False
        self._posted += len(request.message.frames)
        return True

    def _greet(self) -> None:
        """Tell the gate which requests are pending."""
        rows = np.zeros((len(self._pending), COLUMNS), np.int64)
        rows[:, SEQ] = list(self._pending)
        self._answered = 0
        self._notify(Message(GREETING, self._epoch, self._number + 1, rows))  # without room for it, it will ask

    def hurry(self, number: int) -> None:
        """Tell the gate that the answer to that request is waited for."""
        if number in self._pending:
            self._notify(Message(HURRY, self._epoch, number))

    def _notify(self, message: Message) -> None:
        """Send what needs no answer, if there is room for it."""
        self._line.send([b"", pack(message)])

    def _send_again(self) -> None:
        """All that is pending."""
        self._greet()
        for request in self._pending.values():
            if not self._line.send(request.parts(self._epoch)):
                break

    async def _receive(self, timeout: float) -> None:
        """Take one answer of the gate, sending again now and then. Raises FrameRefused, DaemonGone."""
        now, patience = self._line.now(), RETRY
        deadline, again, hurry = now + timeout, now + patience, now + HURRY_AFTER
        while now < deadline:
            if now >= hurry:
                self.hurry(next(iter(self._pending), 0))
                hurry = inf
            if now >= again:
                self._send_again()
                hurry = now + HURRY_AFTER
                patience *= 2  # a daemon that has much to do is not given more
                again = now + patience
            parts = await self._line.receive(min(deadline, again, hurry) - now)
            if parts and self._take_answer(parts) not in (ALIVE, RESEND):  # which say nothing of what is waited for
                return
            now = self._line.now()
        raise DaemonGone(f'the daemon "{self._daemon}" has not answered for {timeout} s')

    def _take_answer(self, parts: list[bytes]) -> int:
        """Take a message of the gate; its kind. Raises FrameRefused, DaemonGone."""
        try:
            message = unpack(parts[-1])
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
            if message.number not in self._answers:
                raise error
            self._answers[message.number] = error
        if message.kind == ACCEPTED and request:
            self.accepted += len(request.message.frames)
        if message.kind == ACCEPTED and message.number in self._answers:
            self._answers[message.number] = Acknowledgement(*message.frames[0, [SEQ, STREAM]].tolist())
