"""The client: sends frames to a running daemon, and hears what it says.

A client belongs to one thread. Every call has a timeout. What the daemon has not answered for a while is sent again; it
recognises what it has taken, so that a failure there loses no frame and takes none twice.
"""

import os
import secrets
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from math import ceil, isnan, nan
from typing import Any, NamedTuple

import msgspec
import numpy as np
import zmq

from streamrnn.addresses import as_seen_with
from streamrnn.feedback import Drawing, Shape, Value
from streamrnn.frames import (
    BEGIN,
    COLUMNS,
    ECHO,
    EMIT,
    END,
    FEEDBACK,
    FLAGS,
    INPUT,
    LEARN,
    SCORED,
    SEQ,
    STREAM,
    TARGET,
    TOKEN,
    places,
)
from streamrnn.inputs import as_vector
from streamrnn.keys import Key, connect_with, load
from streamrnn.verbs import Verbs
from streamrnn.wire import (
    ACCEPTED,
    ALIVE,
    CLOSE,
    FRAMES,
    GREETING,
    NO_VECTORS,
    NOTHING,
    REFUSED,
    RESEND,
    RESULT,
    Message,
    WireError,
    pack,
    text_of,
    unpack,
)

CONTROL = "tcp://127.0.0.1:5703"  # where a daemon answers unless its config says otherwise
MOST_UNANSWERED = 1000  # requests whose answer has not come; the gate keeps many times that for a client
GREET_AFTER = 64  # answers: the gate may forget what they were to
RETRY = 0.5  # seconds without an answer, after which requests are sent again
QUESTIONS = count(1)  # their numbers
NONE, BEHIND_ALL = -1, 2**62 - 1  # before and behind every place
MOST_UNREAD = 100_000  # messages of outputs; what comes beyond is missed, and asked for again
PARTING = 200  # milliseconds that a client's last word may take
LARGEST_ANSWER = 1 << 26  # bytes; a daemon that sends more is cut off by the socket
ROOM = 4096  # bytes of a message that are not frames


class DaemonGone(ConnectionError):
    """No answer from the daemon within the timeout."""


class FrameRefused(ValueError):
    """The daemon did not let a frame in; says why. Nothing has changed there."""


class Output(NamedTuple):
    """What a network said of one frame."""

    stream: str
    seq: int  # of the frame, in the order in which the daemon accepted it
    y: np.ndarray  # probabilities, values, or means and standard deviations
    loss: float  # of what this frame scored, in nats; NaN if it scored nothing


class Accepted(NamedTuple):
    """What the gate says of a request that it has taken."""

    first: int  # SEQ of its first frame
    outputs: int  # how many were asked for, and sent before this


class Subscription:
    """The outputs of a stream, or of all, from now on: iterate over it.

    Each comes once and, within its stream, in order. What was missed, by a reader too slow or a line that broke, is
    asked for again and comes in its place; where the daemon's history does not reach back to it, `missed` has the
    stream's name and the SEQs between which its outputs are lacking. An iteration ends with DaemonGone when nothing has
    come for the timeout; None waits for ever.
    """

    def __init__(
        self,
        context: zmq.Context,
        endpoint: str,
        key: Key | None,
        past: "Past",
        stream: str | None,
        timeout: float | None,
        replays: bool,
    ) -> None:
        """replays: after a failure the daemon gives each frame the number again that it had."""
        self.timeout, self._replays = timeout, replays
        self.missed: list[tuple[str, int, int]] = []
        self._past = past
        self._ready: deque[Output] = deque()
        self._stream = stream
        self._began: tuple[int, int] | None = None  # the place of the last row before all this, and the epoch
        self._heard: dict[str, tuple[int, int]] = {}  # place and epoch of each stream's last row
        self._caught: dict[str, int] = {}  # the place up to which a stream's outputs came from the history
        self._scored: dict[int, float] = {}  # losses whose frame's output has not come
        self._socket = context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, MOST_UNREAD)
        self._endpoint = endpoint
        connect(self._socket, endpoint, key)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"" if stream is None else stream.encode() + b"\0")

    def __iter__(self) -> "Subscription":
        return self

    def __next__(self) -> Output:
        while not self._ready:
            self._receive()
        return self._ready.popleft()

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()
        self._past.close()

    def wait(self, timeout: float) -> None:
        """Until the daemon has answered that it sends everything from now on. Raises DaemonGone."""
        before, self.timeout = self.timeout, timeout
        while self._receive():
            pass
        self.timeout = before

    def _receive(self) -> bool:
        """Take one message; false if it was the answer to a subscription."""
        if not self._socket.poll(None if self.timeout is None else int(self.timeout * 1000)):
            raise DaemonGone(f"no output from {self._endpoint} within {self.timeout} s")
        topic, data = self._socket.recv_multipart()
        name, message = topic[:-1].decode(), unpack(data)
        if message.kind == ALIVE:
            self._catch_up()
            self._began = self._began or (message.number, message.epoch)
            return False
        last, epoch = self._heard.get(name, self._began or (message.number, message.epoch))
        first = int(places(message.frames[:1])[0])
        if message.epoch > epoch and not self._replays:  # the daemon has gone back: what it has is all new
            for earlier in self._known(name, NONE, first)[0]:
                self._take(name, earlier, NONE)
            last = first - 1
        elif first <= last and message.epoch <= epoch:
            if first > self._caught.get(name, NONE):  # a daemon that began anew
                last = message.number
        elif last < message.number:
            self._fill(name, last, first)
            last = first - 1
        self._take(name, message, last)
        return True

    def _catch_up(self) -> None:
        """The line is there again: what was published without it is in the history, and may have been the last."""
        if not self._replays:  # the history may be of other frames with those numbers
            return
        if self._stream is not None and self._began:
            self._heard.setdefault(self._stream, self._began)
        for name, (last, _) in list(self._heard.items()):
            messages, whole = self._known(name, last, BEHIND_ALL)
            if whole and messages:  # where it is not whole, the next output shows what is missed
                for message in messages:
                    self._take(name, message, last)
                self._caught[name] = self._heard[name][0]

    def _take(self, name: str, message: Message, after: int) -> None:
        """Make the outputs of rows behind that place ready; those before have been heard."""
        self._ready.extend(outputs_of(name, message, after, self._scored))
        self._heard[name] = max(after, int(places(message.frames[-1:])[0])), message.epoch

    def _fill(self, name: str, after: int, before: int) -> None:
        """Ask for what was missed between two places of a stream."""
        messages, whole = self._known(name, after, before)
        for message in messages:
            self._take(name, message, after)
        if not whole:
            before = int(places(messages[0].frames)[0]) if messages else before
            self.missed.append((name, (after - 1) // 2, (before + 1) // 2))

    def _known(self, name: str, after: int, before: int) -> tuple[list[Message], bool]:
        """What the history has between two places of a stream, and whether it is all, as far as it answers."""
        try:
            return self._past.messages(name, after, before)
        except DaemonGone:
            return [], False


class Past:
    """A line to the daemon's history of outputs."""

    def __init__(self, socket: zmq.Socket, timeout: float) -> None:
        self.timeout = timeout
        self._socket = socket

    def messages(self, stream: str, after: int, before: int) -> tuple[list[Message], bool]:
        """Outputs of a stream's rows between those places, and whether none is lacking. Raises DaemonGone."""
        found, whole = [], True
        while after < before - 1:
            question = {"ask": "history", "stream": stream, "after": after, "before": before}
            answer = ask(self._socket, question, self.timeout)
            if not answer:
                raise DaemonGone(f"no outputs of before within {self.timeout} s")
            facts, data = answer
            found += [unpack(part) for part in data]
            whole, after = whole and facts["whole"], facts["until"]
        return found, whole

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close(0)


def ask(socket: zmq.Socket, question: dict[str, Any], timeout: float) -> tuple[dict[str, Any], list[bytes]] | None:
    """The answer to a question, and what goes with it; None if there is none in time.

    A daemon that recovers, or opens its sockets anew, may lose a question, so it is asked again and again; answers that
    come late, to the question before, are passed over.
    """
    number, deadline = next(QUESTIONS), time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        with suppress(zmq.Again):  # not let in
            socket.send(msgspec.json.encode({**question, "number": number}))
        while socket.poll(int(min(left, RETRY) * 1000)):
            answer, *data = socket.recv_multipart()
            facts = msgspec.json.decode(answer)
            if facts.pop("number", None) == number:
                return facts, data
    return None


def outputs_of(name: str, message: Message, after: int, scored: dict[int, float]) -> Iterator[Output]:
    """The outputs in a message of rows behind that place; `scored`: losses whose frame's output has not come."""
    vectors = iter(message.vectors)
    for frame, place, loss in zip(message.frames, places(message.frames), message.extra, strict=True):
        number, flags = int(frame[STREAM]), int(frame[FLAGS])
        emitted = flags & INPUT and flags & EMIT
        y = next(vectors) if emitted else NOTHING
        if place <= after:
            continue
        if emitted:
            earlier = scored.pop(number, nan)
            yield Output(name, int(frame[SEQ]), y.copy(), earlier if isnan(loss) else float(loss))
        elif not isnan(loss):
            scored[number] = float(loss)


class Client(Verbs):
    """A line to a running daemon, found by the address of its control socket.

    timeout is in seconds and holds for every call. key: the file that `streamrnn keys new` has made for this client,
    where the daemon asks for one. Raises DaemonGone if nobody answers there, KeysError if the file cannot be used.
    """

    def __init__(self, control: str = CONTROL, timeout: float = 5.0, key: str | os.PathLike[str] | None = None) -> None:
        self.timeout = timeout
        self._key = load(key) if key else None
        self._context = zmq.Context()
        self._control_endpoint = as_seen_with(control, control)
        self._control = self._dealer(self._control_endpoint)
        self._subscriptions: dict[str, Subscription] = {}
        self._number = 0
        self._unanswered: dict[int, tuple[str, Message, tuple[bytes, ...]]] = {}  # requests, by number, in order
        self._answered = 0  # since the last greeting
        self._results: dict[int, list[Message]] = {}  # request -> the outputs that it asked for, while they are awaited
        self._accepted: dict[int, Accepted | None] = {}  # request -> its answer, for those that are waited for
        self._begin: set[str] = set()
        self._own_stream = False  # whether it has been used
        try:
            facts = self._ask("hello")
        except DaemonGone:
            self._context.destroy(linger=0)
            raise
        self.name: str = facts["name"]
        self._outputs = as_seen_with(control, facts["outputs"])
        self._input, self._readout, self.predict = facts["input"], facts["readout"], facts["predict"]
        self._may_take_tokens = self.takes_tokens
        self._largest_message: int = facts["largest_message"]  # bytes
        self._epoch: int = facts["epoch"]
        self._replays: bool = facts["replays"]
        self._gate = self._dealer(as_seen_with(control, facts["gate"]), secrets.token_hex(8).encode())
        self._greet()

    @property
    def takes_tokens(self) -> bool:
        """Whether inputs are int tokens; else they are vectors."""
        return self._input["kind"] == "tokens"

    @property
    def predicts_bytes(self) -> bool:
        """Whether inputs are bytes and outputs their probabilities."""
        return self.takes_tokens and self._input["size"] == 256 and self._readout["kind"] == "softmax"

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _dealer(self, endpoint: str, name: bytes = b"") -> zmq.Socket:
        socket = self._context.socket(zmq.DEALER)
        if name:
            socket.setsockopt(zmq.IDENTITY, name)
        socket.setsockopt(zmq.RECONNECT_IVL, 20)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        socket.setsockopt(zmq.LINGER, int(self.timeout * 1000))
        socket.setsockopt(zmq.SNDTIMEO, int(self.timeout * 1000))
        connect(socket, endpoint, self._key)
        return socket

    def close(self) -> None:
        """Let go of every socket; frames that were sent still go out."""
        if not self._gate.closed:
            if not self._unanswered:  # nobody need wait for the rest to arrive
                self._gate.setsockopt(zmq.LINGER, PARTING)
            with suppress(zmq.Again):
                if self._own_stream:
                    self._gate.send_multipart([b"", pack(Message(CLOSE))], zmq.DONTWAIT)
                self._gate.send_multipart([b"", pack(Message(GREETING, self._epoch))], zmq.DONTWAIT)
        self._context.destroy(linger=None)

    def _ask(self, what: str) -> dict[str, Any]:
        if answer := ask(self._control, {"ask": what}, self.timeout):
            return answer[0]
        self._control.setsockopt(zmq.LINGER, 0)
        known = ", and does it know this key" if self._key else ""
        waited = f"no daemon answers at {self._control_endpoint} (waited {self.timeout} s)"
        raise DaemonGone(f"{waited}; is it running{known}?")

    def status(self) -> dict[str, Any]:
        """How the daemon is: state, frames, frames_per_second, loss, refused, workers, ..."""
        return self._ask("status")

    def send(
        self,
        x: Any,
        target: Any = None,
        stream: str = "main",
        learn: bool = True,
        *,
        begin: bool = False,
        end: bool = False,
    ) -> None:
        """Send a frame without waiting for it: an int token or a vector, and its target where the daemon takes one.

        x = None feeds back the target of the frame before, or else what `step` heard of it.
        Where the daemon predicts the next input, learn=False keeps it from learning this one. begin: forget the
        stream's state before this frame; end: its sequence ends with it. That a frame was accepted is seen to in the
        background: by the next call, and by `flush`.
        Raises FrameRefused if an earlier frame was refused, DaemonGone if too many go unanswered.
        """
        self._send(stream, x, target, learn, _flags(begin, end))
        self._keep_up()

    def _keep_up(self) -> None:
        """Take the answers that have come, and wait for some where many have not."""
        while len(self._unanswered) > MOST_UNANSWERED:
            self._hear(self.timeout)
        while self._unanswered and self._gate.poll(0):
            self._take_answer()

    def flush(self) -> None:
        """Wait until every frame sent has been accepted. Raises FrameRefused, DaemonGone."""
        while self._unanswered:
            self._hear(self.timeout)

    def step(
        self,
        x: Any,
        target: Any = None,
        stream: str = "main",
        learn: bool = True,
        *,
        begin: bool = False,
        end: bool = False,
    ) -> Output:
        """Send a frame, see `send`, and wait for its output. Raises FrameRefused, DaemonGone."""
        if stream not in self._subscriptions:
            self._subscriptions[stream] = self.subscribe(stream, RETRY)
        number = self._send(stream, x, target, learn, ECHO | _flags(begin, end))
        self._results[number] = []
        try:
            seq = self._wait_for(number).first
        finally:
            heard = self._results.pop(number)
        if output := self._output(stream, seq):
            return output
        if not heard:
            raise DaemonGone(f"the output of frame {seq} of stream {stream} has not come within {self.timeout} s")
        return Output(stream, seq, heard[0].vectors[0].copy(), nan)

    def _output(self, stream: str, seq: int) -> Output | None:
        """The output of a frame, as it is published, or from the history if it was while this client was cut off."""
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            with suppress(DaemonGone):
                for output in self._subscriptions[stream]:
                    if output.seq == seq:
                        return output
            for output in self.outputs(stream, seq - 1, seq + 1):
                return output
        return None

    def outputs(self, stream: str, after: int, before: int) -> list[Output]:
        """What the daemon's history still holds of a stream, of frames between those SEQs. Raises DaemonGone."""
        scored: dict[int, float] = {}
        past = self._history()
        try:
            messages, _ = past.messages(stream, 2 * after + 1, 2 * before)
        finally:
            past.close()
        return [output for message in messages for output in outputs_of(stream, message, NONE, scored)]

    def _history(self) -> Past:
        return Past(self._dealer(self._control_endpoint), self.timeout)

    def reset(self, stream: str = "main") -> None:
        """The next frame of that stream begins a new sequence."""
        self._begin.add(stream)

    def forget(self, stream: str) -> None:
        """Be done with a stream: the daemon may give its place to another. Raises FrameRefused if there is none."""
        if stream in self._subscriptions:
            self._subscriptions.pop(stream).close()
        self._wait_for(self._post(stream, Message(CLOSE)))

    def subscribe(self, stream: str | None = None, timeout: float | None = None) -> Subscription:
        """Every output of that stream, of all streams without one, from the moment this call returns.

        Each stream's outputs come in their order; those of different streams may overtake one another.
        The timeout, in seconds, is of the iteration: without one it waits for ever. Raises DaemonGone.
        """
        subscription = Subscription(
            self._context, self._outputs, self._key, self._history(), stream, timeout, self._replays
        )
        subscription.wait(self.timeout)
        return subscription

    def _send(self, stream: str, x: Any, target: Any, learn: bool, flags: int) -> int:
        frames = np.zeros((1, COLUMNS), np.int64)
        frames[:, FLAGS] = INPUT | EMIT | flags
        if x is None:
            frames[:, FLAGS] |= FEEDBACK
        elif learn and self.predict == "next":
            frames[:, FLAGS] |= LEARN
        if stream in self._begin:
            frames[:, FLAGS] |= BEGIN
        vectors = NO_VECTORS
        if x is not None:
            vectors = self._fill([x], frames[:, TOKEN], self.takes_tokens, self._input["size"])
        extra = NOTHING
        if target is not None:
            frames[:, FLAGS] |= SCORED
            is_token = self._readout["kind"] == "softmax"
            extra = self._fill([target], frames[:, TARGET], is_token, self._readout["size"]).reshape(-1)
        number = self._request(stream, frames, vectors, extra)
        self._begin.discard(stream)
        return number

    def _request(self, stream: str, frames: np.ndarray, vectors: np.ndarray, extra: np.ndarray, *options: bytes) -> int:
        return self._post(stream, Message(FRAMES, frames=frames, vectors=vectors, extra=extra), *options)

    def _post(self, stream: str, message: Message, *options: bytes) -> int:
        """Send a request under the next number, and remember it until it is answered. Raises DaemonGone."""
        if self._answered >= GREET_AFTER:
            self._greet()
        number, request = self._number + 1, (stream, message._replace(number=self._number + 1), options)
        try:
            self._gate.send_multipart(self._parts(request))
        except zmq.Again:
            raise DaemonGone(f'the daemon "{self.name}" takes no frames: waited {self.timeout} s') from None
        self._number = number
        self._unanswered[number] = request
        return number

    def _parts(self, request: tuple[str, Message, tuple[bytes, ...]]) -> list[bytes]:
        stream, message, options = request
        return [stream.encode(), pack(message._replace(epoch=self._epoch)), *options]

    def _greet(self) -> None:
        """Tell the gate what has not been answered."""
        rows = np.zeros((len(self._unanswered), COLUMNS), np.int64)
        rows[:, SEQ] = list(self._unanswered)
        self._answered = 0
        with suppress(zmq.Again):  # it will ask
            self._gate.send_multipart([b"", pack(Message(GREETING, self._epoch, self._number + 1, rows))], zmq.DONTWAIT)

    def _send_again(self) -> None:
        """What has not been answered."""
        self._greet()
        with suppress(zmq.Again):
            for request in self._unanswered.values():
                self._gate.send_multipart(self._parts(request), zmq.DONTWAIT)

    def _perform(
        self, stream: str | None, frames: np.ndarray, X: np.ndarray, targets: np.ndarray, drawing: Drawing, wait: bool
    ) -> tuple[list[Value], np.ndarray, float | None]:
        """Have the daemon do it: as few requests as its messages allow, the next sent when the last is answered."""
        size = COLUMNS * 8 + 4 * (X.shape[1] + targets.shape[1])
        most = max(1, (self._largest_message - ROOM) // size)
        heard: list[Message] = []
        self._own_stream |= stream is None
        if drawing.seed is None:  # after a failure the daemon must draw the same again
            drawing = msgspec.structs.replace(drawing, seed=secrets.randbits(32))
        for start in range(0, len(frames), most):
            part = slice(start, start + most)
            if start and drawing.own:  # what the part before has drawn with goes on, from its last output
                drawing = msgspec.structs.replace(drawing, seed=None)
            if drawing.own and start + most < len(frames):
                frames[start + most - 1, FLAGS] |= ECHO
            flags = frames[part, FLAGS]
            vectors = X[part][flags & (INPUT | FEEDBACK) == INPUT] if X.shape[1] else NO_VECTORS
            last = start + most >= len(frames)
            options = drawing if last else msgspec.structs.replace(drawing, max_length=0)
            extra = targets[part][flags & SCORED > 0].reshape(-1)
            number = self._request(stream or "", frames[part], vectors, extra, msgspec.json.encode(options))
            if wait:
                self._results[number] = []
                try:
                    outputs = self._wait_for(number).outputs
                finally:
                    results = self._results.pop(number)
                if sum(len(message.frames) for message in results) != outputs:
                    raise DaemonGone("a failure came between: the sequence was taken, and its outputs were lost")
                heard += results
            else:
                self._keep_up()
        Y = np.concatenate([message.vectors for message in heard]) if heard else NO_VECTORS
        return self._written(heard, drawing), Y, None

    def _written(self, heard: list[Message], drawing: Drawing) -> list[Value]:
        """What was drawn, without the stop symbol."""
        if self._readout["kind"] != "softmax":
            size = self._readout["size"]
            return [values.copy() for message in heard for values in message.extra.reshape(-1, size)]
        classes = [int(token) for message in heard for token in message.frames[:, TOKEN] if token >= 0]
        return list(classes[:-1] if classes and classes[-1] == drawing.until else classes)

    def _shape(self, tokens: bool) -> Shape:
        classes = self._readout["kind"] == "softmax"
        return Shape(self._input["size"], self._readout["size"], self.takes_tokens, classes)

    @staticmethod
    def _fill(values: Sequence[Any], column: np.ndarray, tokens: bool, size: int) -> np.ndarray:
        """Put tokens into their column, or vectors into an array (n, size). Raises ValueError if they do not fit."""
        if not tokens:
            return np.stack([as_vector(value, size) for value in values])
        for row, value in enumerate(values):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise ValueError(f"the daemon takes int tokens, not {type(value).__name__}")
            column[row] = value
        return np.zeros((0, 0), np.float32)

    def _wait_for(self, number: int) -> Accepted:
        """The answer to a request, once it has been accepted."""
        self._accepted[number] = None
        while not (accepted := self._accepted[number]):
            self._hear(self.timeout)
        del self._accepted[number]
        return accepted

    def _hear(self, timeout: float) -> None:
        """Take one answer of the gate, asking again now and then. Raises FrameRefused, DaemonGone."""
        now, patience = time.monotonic(), RETRY
        deadline, again = now + timeout, now + patience
        while now < deadline:
            if now >= again:
                self._send_again()
                patience *= 2  # a daemon that has much to do is not given more
                again = now + patience
            come = self._gate.poll(ceil(1000 * (min(deadline, again) - now)))
            if come and self._take_answer() not in (ALIVE, RESEND):  # which say nothing of what is waited for
                return
            now = time.monotonic()
        raise DaemonGone(f'the daemon "{self.name}" has not answered for {timeout} s')

    def _take_answer(self) -> int:
        """Take the message that is there; its kind. Raises FrameRefused, DaemonGone."""
        try:
            message = unpack(self._gate.recv())
        except WireError as error:
            raise DaemonGone(f"what answers at the gate is no streamrnn daemon of this version: {error}") from error
        if message.kind == RESULT:
            if (heard := self._results.get(message.number)) is not None:
                if heard and heard[0].epoch != message.epoch:  # a gate behind a failure gives all of them again
                    heard.clear()
                heard.append(message)
            return message.kind
        if message.kind == RESEND:
            self._epoch = message.epoch
            self._send_again()
            return message.kind
        if message.number and not self._unanswered.pop(message.number, None):
            return message.kind  # the answer to what was sent again, and has been answered already
        self._answered += 1
        if message.kind == REFUSED:
            self._accepted.pop(message.number, None)
            raise FrameRefused(text_of(message))
        if message.kind == ACCEPTED and message.number in self._accepted:
            self._accepted[message.number] = Accepted(*message.frames[0, [SEQ, STREAM]].tolist())
        return message.kind


def connect(socket: zmq.Socket, endpoint: str, key: Key | None) -> None:
    """Connect a client's socket to a daemon's."""
    socket.setsockopt(zmq.MAXMSGSIZE, LARGEST_ANSWER)
    if key:
        connect_with(socket, key)
    socket.connect(endpoint)


def _flags(begin: bool, end: bool) -> int:
    return (BEGIN if begin else 0) | (END if end else 0)
