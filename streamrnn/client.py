"""The client: sends frames to a running daemon, and hears what it says.

A client belongs to one thread. Every call has a timeout.
"""

from collections.abc import Sequence
from math import isnan, nan
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import zmq

from streamrnn.frames import BEGIN, COLUMNS, EMIT, FLAGS, INPUT, LEARN, SCORED, SEQ, STREAM, TARGET, TOKEN
from streamrnn.inputs import as_vector
from streamrnn.wire import ACCEPTED, CLOSE, FRAMES, REFUSED, Message, WireError, pack, text_of, unpack

CONTROL = "tcp://127.0.0.1:5703"  # where a daemon answers unless its config says otherwise
MOST_UNANSWERED = 1000  # requests whose answer has not come; the gate keeps many times that for a client

Text = TypeVar("Text", str, bytes)


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


class Subscription:
    """The outputs of a stream, or of all, from now on: iterate over it.

    An iteration ends with DaemonGone when nothing has come for the timeout; None waits for ever.
    """

    def __init__(self, context: zmq.Context, endpoint: str, stream: str | None, timeout: float | None) -> None:
        self.timeout = timeout
        self._ready: list[Output] = []
        self._scored: dict[int, float] = {}  # losses whose frame's output has not come
        self._socket = context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._endpoint = endpoint
        self._socket.connect(endpoint)
        topic = b"" if stream is None else stream.encode() + b"\0"
        self._socket.setsockopt(zmq.SUBSCRIBE, topic)

    def __iter__(self) -> "Subscription":
        return self

    def __next__(self) -> Output:
        while not self._ready:
            self._receive()
        return self._ready.pop(0)

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()

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
        if not data:
            return False
        message = unpack(data)
        name, vectors = topic[:-1].decode(), iter(message.vectors)
        for frame, loss in zip(message.frames, message.extra, strict=True):
            number, flags = int(frame[STREAM]), int(frame[FLAGS])
            if flags & INPUT and flags & EMIT:
                earlier = self._scored.pop(number, nan)
                own = earlier if isnan(loss) else float(loss)
                self._ready.append(Output(name, int(frame[SEQ]), next(vectors).copy(), own))
            elif not isnan(loss):
                self._scored[number] = float(loss)
        return True


class Client:
    """A line to a running daemon, found by the address of its control socket.

    timeout is in seconds and holds for every call. Raises DaemonGone if nobody answers there.
    """

    def __init__(self, control: str = CONTROL, timeout: float = 5.0) -> None:
        self.timeout = timeout
        self._context = zmq.Context()
        self._control_endpoint = control
        self._control = self._dealer(control)
        self._subscriptions: dict[str, Subscription] = {}
        self._number = 0
        self._unanswered: dict[int, int] = {}  # request -> frames
        self._accepted: dict[int, int] = {}  # request -> SEQ of its first frame, for those that are waited for
        self._begin: set[str] = set()
        try:
            facts = self._ask("hello")
        except DaemonGone:
            self.close()
            raise
        self.name: str = facts["name"]
        self._outputs = facts["outputs"]
        self._input, self._readout, self._predict = facts["input"], facts["readout"], facts["predict"]
        self._most_frames: int = facts["most_frames"]  # in a message
        self._gate = self._dealer(facts["gate"])

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

    def _dealer(self, endpoint: str) -> zmq.Socket:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, int(self.timeout * 1000))
        socket.connect(endpoint)
        return socket

    def close(self) -> None:
        """Let go of every socket; frames that were sent still go out."""
        self._context.destroy(linger=None)

    def _ask(self, what: str) -> dict[str, Any]:
        self._control.send(msgspec.json.encode({"ask": what}))
        if not self._control.poll(int(self.timeout * 1000)):
            self._control.setsockopt(zmq.LINGER, 0)
            raise DaemonGone(f"no daemon answers at {self._control_endpoint} (waited {self.timeout} s); is it running?")
        return msgspec.json.decode(self._control.recv())

    def status(self) -> dict[str, Any]:
        """How the daemon is: state, frames, frames_per_second, loss, refused, workers, ..."""
        return self._ask("status")

    def send(self, x: Any, target: Any = None, stream: str = "main", learn: bool = True) -> None:
        """Send a frame without waiting for it: an int token or a vector, and its target where the daemon takes one.

        Where the daemon predicts the next input, learn=False keeps it from learning this one. That a frame was accepted
        is seen to in the background: by the next call, and by `flush`.
        Raises FrameRefused if an earlier frame was refused, DaemonGone if too many go unanswered.
        """
        self._send(stream, [x], None if target is None else [target], learn)
        while len(self._unanswered) > MOST_UNANSWERED:
            self._hear(self.timeout)
        while self._unanswered and self._gate.poll(0):
            self._hear(0)

    def flush(self) -> None:
        """Wait until every frame sent has been accepted. Raises FrameRefused, DaemonGone."""
        while self._unanswered:
            self._hear(self.timeout)

    def step(self, x: Any, target: Any = None, stream: str = "main", learn: bool = True) -> Output:
        """Send a frame and wait for its output. Raises FrameRefused, DaemonGone."""
        return self._steps(stream, [x], None if target is None else [target], learn)

    def reset(self, stream: str = "main") -> None:
        """The next frame of that stream begins a new sequence."""
        self._begin.add(stream)

    def forget(self, stream: str) -> None:
        """Be done with a stream: the daemon may give its place to another. Raises FrameRefused if there is none."""
        if stream in self._subscriptions:
            self._subscriptions.pop(stream).close()
        self._number += 1
        self._gate.send_multipart([stream.encode(), pack(Message(CLOSE, 0, self._number))])
        self._wait_for(self._number)

    def subscribe(self, stream: str | None = None, timeout: float | None = None) -> Subscription:
        """Every output of that stream, of all streams without one, from the moment this call returns.

        Each stream's outputs come in their order; those of different streams may overtake one another.
        The timeout, in seconds, is of the iteration: without one it waits for ever. Raises DaemonGone.
        """
        subscription = Subscription(self._context, self._outputs, stream, timeout)
        subscription.wait(self.timeout)
        return subscription

    def generate(
        self, prefix: Text, length: int, temperature: float = 1.0, seed: int | None = None, stream: str | None = None
    ) -> Text:
        """Text that goes on from a prefix: `length` bytes, each drawn from the daemon's prediction and fed back to it.

        Temperature 0 takes the likeliest byte each time; a seed makes the draws the same again. Nothing is learned.
        It runs on a stream of its own, which is gone afterwards, or on the one that is named. Raises ValueError if
        the prefix is empty or the daemon does not predict bytes, and what `step` raises.
        """
        tokens = list(prefix.encode() if isinstance(prefix, str) else prefix)
        if not tokens:
            raise ValueError("generate needs a prefix of at least one byte")
        if not self.predicts_bytes:
            raise ValueError(f'the daemon "{self.name}" does not predict bytes')
        rng = np.random.default_rng(seed)
        own = stream or f"generate-{rng.bit_generator.random_raw() if seed is None else seed}-{id(self):x}"
        self.reset(own)
        for start in range(0, len(tokens), self._most_frames):
            output = self._steps(own, tokens[start : start + self._most_frames], None, learn=False)
        written = [draw(output.y, temperature, rng)]
        while len(written) < length:
            output = self.step(written[-1], stream=own, learn=False)
            written.append(draw(output.y, temperature, rng))
        if stream is None:
            self.forget(own)
        data = bytes(written[:length])
        return data.decode(errors="replace") if isinstance(prefix, str) else data

    def _steps(self, stream: str, inputs: Sequence[Any], targets: Sequence[Any] | None, learn: bool) -> Output:
        """Send frames in one message and wait for the last one's output."""
        if stream not in self._subscriptions:
            self._subscriptions[stream] = self.subscribe(stream, self.timeout)
        number = self._send(stream, inputs, targets, learn)
        seq = self._wait_for(number) + len(inputs) - 1
        for output in self._subscriptions[stream]:
            if output.seq == seq:
                break
        return output

    def _send(self, stream: str, inputs: Sequence[Any], targets: Sequence[Any] | None, learn: bool) -> int:
        frames = np.zeros((len(inputs), COLUMNS), np.int64)
        frames[:, FLAGS] = INPUT | EMIT | (LEARN if learn and self._predict == "next" else 0)
        if stream in self._begin:
            frames[0, FLAGS] |= BEGIN
        vectors = self._fill(inputs, frames[:, TOKEN], self.takes_tokens, self._input["size"])
        extra = np.zeros(0, np.float32)
        if targets is not None:
            frames[:, FLAGS] |= SCORED
            is_token = self._readout["kind"] == "softmax"
            extra = self._fill(targets, frames[:, TARGET], is_token, self._readout["size"]).reshape(-1)
        self._number += 1
        self._gate.send_multipart([stream.encode(), pack(Message(FRAMES, 0, self._number, frames, vectors, extra))])
        self._unanswered[self._number] = len(frames)
        self._begin.discard(stream)
        return self._number

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

    def _wait_for(self, number: int) -> int:
        """The SEQ of the first frame of a request, once it has been accepted."""
        self._accepted[number] = -1
        while self._accepted[number] < 0:
            self._hear(self.timeout)
        return self._accepted.pop(number)

    def _hear(self, timeout: float) -> None:
        """Take one answer of the gate. Raises FrameRefused, DaemonGone."""
        if not self._gate.poll(int(timeout * 1000)):
            raise DaemonGone(f'the daemon "{self.name}" has not answered for {timeout} s')
        try:
            message = unpack(self._gate.recv())
        except WireError as error:
            raise DaemonGone(f"what answers at the gate is no streamrnn daemon of this version: {error}") from error
        self._unanswered.pop(message.number, None)
        if message.kind == REFUSED:
            self._accepted.pop(message.number, None)
            raise FrameRefused(text_of(message))
        if message.kind == ACCEPTED and message.number in self._accepted:
            self._accepted[message.number] = int(message.frames[0, SEQ])


def draw(probabilities: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    """A class drawn from probabilities (K,) sharpened by 1 / temperature; 0 takes the likeliest."""
    if temperature <= 0:
        return int(np.argmax(probabilities))
    logits = np.log(np.maximum(probabilities.astype(np.float64), 1e-300)) / temperature
    weights = np.exp(logits - logits.max())
    return int(rng.choice(len(weights), p=weights / weights.sum()))
