"""What clients have asked for and is not yet done: a line for each stream, so that no stream waits for another.

A client's message is let in when it is its turn. If it feeds outputs back, the next one of its stream waits until the
last of them has come; all others go on. A message without a stream's name is for its sender's own stream, which is gone
when the sender is.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from streamrnn.feedback import Drawing, Unrolling
from streamrnn.frames import COLUMNS, ECHO, FLAGS, SEQ, STREAM, TOKEN
from streamrnn.wire import ACCEPTED, CLOSE, NOTHING, PREVIEW, REFUSED, RESULT, Message, as_text
from streamrnn.workers.intake import OWN, Intake, Refused, check_name

MOST_WAITING = 1 << 26  # bytes of messages that wait for their turn; more are refused


class Request:
    """A client's message."""

    def __init__(self, sender: bytes, name: str, message: Message, drawing: Drawing) -> None:
        self.sender, self.name, self.message, self.drawing = sender, name, message, drawing
        self.unrolling: Unrolling | None = None  # once it is its turn
        self.stream = -1
        self.first = -1  # SEQ of its first frame
        self.taken = 0  # frames
        self.echoes: deque[int] = deque()  # SEQs of the frames whose output comes back

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (self.message.frames, self.message.vectors, self.message.extra))


class Lines:
    """All requests under way.

    space(counted)  frames that may be let in now
    flush()         send what has been let in down the pipeline
    send(data)      send a message down the pipeline
    reply(to, message)
    """

    def __init__(
        self,
        intake: Intake,
        space: Callable[[bool], int],
        took: Callable[[int], Any],
        flush: Callable[[], Any],
        send: Callable[[bytes], Any],
        reply: Callable[[bytes, Message], Any],
    ) -> None:
        self.intake, self.space, self.took = intake, space, took
        self.flush, self.send, self.reply = flush, send, reply
        self.lines: dict[str, deque[Request]] = {}
        self.listening: dict[int, Request] = {}  # stream -> whose outputs come back
        self.own: dict[bytes, str] = {}  # sender -> its own stream
        self.waiting = 0  # bytes
        self.refused = 0
        self._numbers = 0

    def add(self, sender: bytes, name: str, message: Message, drawing: Drawing) -> None:
        """A client's message; it is answered now or later. Raises Refused."""
        if name:
            check_name(name)
        else:
            name = self._own_stream(sender)
        request = Request(sender, name, message, drawing)
        if name in self.lines and self.waiting + request.nbytes > MOST_WAITING:
            raise Refused(f'too much waits for stream "{name}": wait for answers')
        self.waiting += request.nbytes
        self.lines.setdefault(name, deque()).append(request)
        if len(self.lines[name]) == 1:
            self._advance(name)

    def _own_stream(self, sender: bytes) -> str:
        if sender not in self.own:
            self._numbers += 1
            self.own[sender] = f"{OWN}{self._numbers}"
        return self.own[sender]

    def advance(self) -> None:
        """Let in what is due, as far as there is room, each time another stream first."""
        names = list(self.lines)
        for name in names:
            self._advance(name)
        if names and names[0] in self.lines:
            self.lines[names[0]] = self.lines.pop(names[0])

    def _advance(self, name: str) -> None:
        line = self.lines[name]
        while line and self._finish(line[0]):
            self.waiting -= line.popleft().nbytes
        if not line:
            del self.lines[name]

    def _finish(self, request: Request) -> bool:
        """Take a request as far as it goes now; true if that is its end."""
        try:
            if request.message.kind == CLOSE:
                self._close(request.name)
                request.first = self.intake.seq
            elif not self._let_in(request):
                return False
        except Refused as error:
            self.refuse(request.sender, request.message.number, str(error))
            return True
        self._answer(request, ACCEPTED)
        return True

    def _close(self, name: str) -> None:
        self.flush()  # before the number can be given another name
        if name in self.intake.names or not name.startswith(OWN):
            self.intake.close(name)

    def _let_in(self, request: Request) -> bool:
        """True if all of it has been let in, and every output that it asked for has come."""
        if request.unrolling is None:
            self._start(request)
        unrolling = request.unrolling
        assert unrolling
        while part := unrolling.due(self.space(request.name != PREVIEW)):
            frames = part[0]
            first = self.intake.add(request.stream, *part)
            request.first = first if request.first < 0 else request.first
            request.taken += len(frames)
            request.echoes.extend((first + np.flatnonzero(frames[:, FLAGS] & ECHO)).tolist())
            if request.name != PREVIEW:
                self.took(len(frames))
        if request.echoes:
            self.listening[request.stream] = request
        if unrolling.done:
            self.intake.keep(request.stream, unrolling.last)
        return unrolling.done

    def _start(self, request: Request) -> None:
        request.stream, naming, request.unrolling = self.intake.unroll(request.name, request.message, request.drawing)
        if naming:
            self.send(naming)

    def hear(self, message: Message) -> None:
        """Outputs that came back; those that nobody waits for any more are passed over."""
        for stream in dict.fromkeys(message.frames[:, STREAM].tolist()):
            request = self.listening.get(stream)
            if request:
                own = message.frames[:, STREAM] == stream
                self._hear(request, message.frames[own], message.vectors[own])

    def _hear(self, request: Request, frames: np.ndarray, Y: np.ndarray) -> None:
        assert request.unrolling
        awaited = np.isin(frames[:, SEQ], request.echoes)  # the rest are of a request that was given up
        rows, Y, drawn = frames[awaited], Y[awaited], NOTHING
        if not len(rows):
            return
        for row, y in zip(rows, Y, strict=True):
            request.echoes.popleft()
            value = request.unrolling.hear(y.copy())
            row[TOKEN] = value if isinstance(value, int) else -1
            if isinstance(value, np.ndarray):
                drawn = np.concatenate([drawn, value])
        if not request.echoes:
            del self.listening[request.stream]
        self.reply(request.sender, Message(RESULT, 0, request.message.number, rows, Y, drawn))
        self._advance(request.name)

    def lose(self, sender: bytes) -> None:
        """A client is gone: what it has sent is still let in, but nothing more is written for it."""
        for line in list(self.lines.values()):
            for request in line:
                if request.sender == sender and request.drawing.max_length:
                    request.drawing = Drawing()
                    if request.unrolling:
                        request.unrolling.stop()
        name = self.own.pop(sender, None)
        if name in self.intake.names or name in self.lines:
            assert name
            self.lines.setdefault(name, deque()).append(Request(sender, name, Message(CLOSE), Drawing()))

    def stop(self, reason: str) -> None:
        """Refuse whatever is not done, and close the clients' own streams."""
        for line in self.lines.values():
            for request in line:
                self.refuse(request.sender, request.message.number, f"{reason}: {request.taken} frames were taken")
                self.intake.last.pop(request.stream, None)
        self.lines.clear()
        self.waiting = 0
        self.listening.clear()
        for name in self.own.values():
            if name in self.intake.names:
                self._close(name)
        self.own.clear()

    def refuse(self, sender: bytes, number: int, reason: str) -> None:
        """Answer that a request was not let in, and why."""
        self.refused += 1
        self.reply(sender, Message(REFUSED, 0, number, extra=as_text(reason)))

    def _answer(self, request: Request, kind: int) -> None:
        self.reply(request.sender, Message(kind, 0, request.message.number, frame_with(request.first)))


def frame_with(seq: int, stream: int = 0) -> np.ndarray:
    """One row that carries these numbers."""
    row = np.zeros((1, COLUMNS), np.int64)
    row[0, SEQ], row[0, STREAM] = seq, stream
    return row
