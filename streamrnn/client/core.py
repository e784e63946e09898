"""What a client can do, whoever waits for it: sends frames to a running daemon, and receives what it says.

It has its lines and their clock handed in, and does one call after the other. Every call has a timeout, from when its
turn comes. What the daemon has not answered for a while is sent again; it recognises what it has taken, so that a
failure there loses no frame and takes none twice. Whatever is cancelled, or ended by Ctrl-C, leaves it as it should be:
a frame that is on its way stays so, and its answer is taken by a later call.
"""

import os
import secrets
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import datetime
from math import nan
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
import numpy as np

from streamrnn.client.connection import RETRY
from streamrnn.client.control import ask
from streamrnn.client.errors import DaemonGone
from streamrnn.client.frame import block_messages, check_name, dismissal_message, frame_message
from streamrnn.client.history import BEFORE_ALL, History
from streamrnn.client.lines import Lines
from streamrnn.client.output import About, Output, outputs_of
from streamrnn.client.pipeline import Blocks, Pipeline
from streamrnn.client.requests import Requests
from streamrnn.client.sequence import outputs_in, requests_of, written_in
from streamrnn.client.subscription import Listening
from streamrnn.kernels.frames import BEGIN, ECHO, END, FLAGS
from streamrnn.kernels.messages import CLOSE
from streamrnn.model.anomalies import Alarm, alarm
from streamrnn.model.channels import by_name, names
from streamrnn.model.entrance import FILL
from streamrnn.model.feedback import Drawing, Shape, Value
from streamrnn.model.inputs import largest
from streamrnn.model.tables import AnyReadout, Forecast
from streamrnn.model.times import Time, as_times, nanoseconds
from streamrnn.model.verbs import BYTES, Asked, Sequences, named_as
from streamrnn.protocol.addresses import as_seen_with
from streamrnn.protocol.wire import Message

P = ParamSpec("P")
T = TypeVar("T")
AnyListening = TypeVar("AnyListening", bound=Listening)


class Core(Sequences):
    """One connection to a daemon: each of its verbs as a coroutine, which `streamrnn.client.turns` makes methods of."""

    def __init__(self, lines: Lines, control: str, timeout: float) -> None:
        self.timeout = timeout
        self._process = os.getpid()
        self._lines = lines
        self._address, self._control_endpoint = control, as_seen_with(control, control)
        self._subscriptions: dict[str, Listening] = {}  # those that `step` receives its outputs by
        self._begin: set[str] = set()  # streams whose next frame begins a new sequence
        self._own_stream = False  # whether it has been used
        self._connected = False

    async def _connect(self) -> None:
        """Learn what the daemon is. Raises DaemonGone if nobody answers there."""
        self._control = self._lines.dealer(self._control_endpoint, 0.0)
        try:
            facts = await self._ask("hello")
        except BaseException:
            self._control.close()
            raise
        control = self._address
        self.name: str = facts["name"]
        self.predict: str = facts["predict"]
        self._outputs_endpoint = as_seen_with(control, facts["outputs"])
        self.readout: AnyReadout = msgspec.convert(facts["readout"], AnyReadout)
        tokens, classes = facts["input"]["kind"] == "tokens", self.readout.classes
        most = largest(facts["input"].get("standardize", False))
        missing = facts["input"].get("missing") == FILL
        self._network = Shape(facts["input"]["size"], facts["readout"]["size"], tokens, classes, most, missing)
        self.inputs = facts["input"]["kind"]
        self.channels = facts["input"].get("channels")
        size = facts["readout"]["size"]
        self._about = About([] if classes else names(self.channels, size), self.readout)
        self.units: dict[str, str] = facts["input"].get("units", {})  # of channels, by name
        self._largest_message: int = facts["largest_message"]  # bytes
        self._replays: bool = facts["replays"]
        identity = secrets.token_hex(8).encode()
        gate = self._lines.dealer(as_seen_with(control, facts["gate"]), self.timeout, identity)
        self._requests = Requests(gate, self.name, facts["epoch"])
        self._connected = True

    @property
    def takes_tokens(self) -> bool:
        """Whether inputs are int tokens; else they are vectors."""
        return self._network.tokens

    @property
    def predicts_bytes(self) -> bool:
        """Whether inputs are bytes and outputs their probabilities."""
        return self._network.tokens and self._network.inputs == BYTES and self._network.classes

    @property
    def accepted(self) -> int:
        """The number of frames of this client that the daemon has accepted, as far as it is known here."""
        return self._requests.accepted

    def _say_goodbye(self) -> None:
        """Before the lines are closed."""
        if self._connected:
            self._requests.close(self._own_stream)
        self._connected = False

    async def _status(self) -> dict[str, Any]:
        """How the daemon is: state, frames, frames_per_second, loss, refused, workers, ... Raises DaemonGone."""
        return await self._ask("status")

    async def _send(
        self,
        x: Any,
        target: Any = None,
        stream: str = "main",
        learn: bool = True,
        *,
        begin: bool = False,
        end: bool = False,
        time: Time = None,
    ) -> None:
        """Send a frame without waiting for it: an int token or a vector (I,), and its target if the daemon takes one.

        Where the config names its channels, a vector may be a dict or a row of pandas; with input.missing = "fill"
        numbers may be NaN or None, and names absent.
        x = None feeds back the target of the frame before, or else what the network said of it.
        Where the daemon predicts the next input, learn=False keeps it from learning this one. begin: forget the
        stream's state before this frame; end: its sequence ends with it. time: when it was measured, which comes back
        with its output: a datetime, one without zone being in UTC, or nanoseconds since 1970. That a frame was accepted
        is seen to in the background: by the next call, and by `flush`.
        Raises ValueError if x or target do not fit, FrameRefused if an earlier frame was refused, DaemonGone if too
        many go unanswered.
        """
        await self._post(stream, x, target, learn, _flags(begin, end), time)
        await self._keep_up()

    async def _send_many(
        self,
        X: Any,
        targets: Any = None,
        stream: str = "main",
        learn: bool = True,
        *,
        times: Sequence[int | datetime] | np.ndarray | None = None,
    ) -> None:
        """Send frames as `send` would, many to a message, which is many times as fast: tokens (n,), or bytes for a
        network that takes them, or vectors (n, I); targets classes (n,) or values (n, K), or None.

        Raises ValueError, and nothing has been sent, if any of them does not fit; else as `send`.
        """
        check_name(stream)
        learn = learn and self.predict == "next"
        stamps = None if times is None else as_times(times, len(X))
        messages = block_messages(self._network, X, targets, learn, self._largest_message, stamps)
        for message in messages:
            if stream in self._begin:
                message.frames[0, FLAGS] |= BEGIN
            await self._requests.post(stream, message, self.timeout)
            self._begin.discard(stream)
            await self._keep_up()

    async def _flush(self) -> None:
        """Wait until every frame sent has been accepted. Raises FrameRefused, DaemonGone."""
        await self._requests.flush(self.timeout)

    async def _step(
        self,
        x: Any,
        target: Any = None,
        stream: str = "main",
        learn: bool = True,
        *,
        begin: bool = False,
        end: bool = False,
        time: Time = None,
    ) -> Output:
        """Send a frame, see `send`, and wait for its output. Raises ValueError, FrameRefused, DaemonGone."""
        check_name(stream)
        if stream not in self._subscriptions:
            self._subscriptions[stream] = await self._subscribe(Listening, stream, RETRY)
        number = await self._post(stream, x, target, learn, ECHO | _flags(begin, end), time)
        acknowledgement, results = await self._requests.wait_for(number, self.timeout)
        seq = acknowledgement.first
        if output := await self._output(stream, seq):
            return output
        if not results:
            raise DaemonGone(f"the output of frame {seq} of stream {stream} has not come within {self.timeout} s")
        return Output(stream, seq, results[0].vectors[0].copy(), nan, about=self._about)

    async def _outputs(self, stream: str, after: int, before: int) -> list[Output]:
        """What the daemon's history still holds of a stream, of frames between those SEQs. Raises DaemonGone."""
        scored: dict[int, np.ndarray] = {}
        messages = await self._messages(stream, after, before)
        return [
            output for message in messages for output in outputs_of(stream, message, BEFORE_ALL, scored, self._about)
        ]

    async def _messages(self, stream: str, after: int, before: int) -> list[Message]:
        """The same as messages of `streamrnn.protocol.wire`, for who reads many. Raises DaemonGone."""
        history = self._history()
        try:
            messages, _ = await history.messages(stream, 2 * after + 1, 2 * before)
        finally:
            history.close()
        return messages

    async def _streams(self, like: str = "") -> list[str]:
        """Names of streams with this in them, 32 at most, those with the newest outputs first. Raises DaemonGone."""
        names: list[str] = (await self._ask("streams", like=like))["streams"]
        return names

    async def _dismiss(self, alarm: Alarm) -> None:
        """Say that an alarm was none: the evidence of its detectors counts half from here on, on its stream.

        Raises ValueError where the daemon has no [anomaly], FrameRefused, DaemonGone.
        """
        self._alarming()
        if said := alarm.dismissals():
            message = dismissal_message(said)
            await self._requests.wait_for(await self._requests.post(alarm.stream, message, self.timeout), self.timeout)

    async def _reset(self, stream: str = "main") -> None:
        """The next frame of that stream begins a new sequence."""
        self._begin.add(stream)

    async def _forget(self, stream: str) -> None:
        """Be done with a stream: the daemon may give its place to another.

        Raises FrameRefused if there is none, DaemonGone.
        """
        if stream in self._subscriptions:
            self._subscriptions.pop(stream).close()
        await self._requests.wait_for(await self._requests.post(stream, Message(CLOSE), self.timeout), self.timeout)

    async def _subscribe(
        self, kind: type[AnyListening], stream: str | None, timeout: float | None, alarms: bool = False
    ) -> AnyListening:
        """Outputs from now on; alarms: it is for alarms. Raises ValueError where there are none, DaemonGone."""
        if alarms:
            self._alarming()
        topic = b"" if stream is None else stream.encode() + b"\0"
        line = self._lines.subscriber(self._outputs_endpoint, topic)
        listening = kind(line, self._history(), stream, timeout, self._replays, self._about)
        try:
            await listening.begin(self.timeout)
        except BaseException:
            listening.close()
            raise
        return listening

    async def _pipeline(self, stream: str, learn: bool) -> Pipeline:
        """A way for frames of that stream, and for their outputs back. Raises ValueError, DaemonGone."""
        check_name(stream)
        listening = await self._subscribe(Listening, stream, self.timeout)
        blocks = Blocks(self._network, self.channels, learn and self.predict == "next", self._largest_message)
        return Pipeline(self._requests, listening, blocks, stream, self._begin, self.timeout)

    def _alarm(self, output: Output) -> Alarm | None:
        """The alarm that an output says, if it does."""
        return alarm(output.stream, output.seq, self._alarming().anomalies(output.y), self.channels)

    def _alarming(self) -> Forecast:
        if isinstance(self.readout, Forecast) and self.readout.anomaly:
            return self.readout
        raise ValueError("this daemon raises no alarms: its config has no [anomaly]")

    def _history(self) -> History:
        return History(self._lines.dealer(self._control_endpoint, 0.0), self.timeout)

    async def _ask(self, what: str, **facts: str) -> dict[str, Any]:
        """The answer to a question on the control socket. Raises DaemonGone."""
        if answer := await ask(self._control, {"ask": what, **facts}, self.timeout):
            return answer[0]
        known = ", and does it know this key" if self._lines.key else ""
        waited = f"no daemon answers at {self._control_endpoint} (waited {self.timeout} s)"
        raise DaemonGone(f"{waited}; is it running{known}?")

    async def _post(self, stream: str, x: Any, target: Any, learn: bool, flags: int, when: Time) -> int:
        """Post a frame; its request's number. Raises ValueError, DaemonGone."""
        check_name(stream)
        flags |= BEGIN if stream in self._begin else 0
        x = by_name(x, self.channels, self._network.missing)
        learn = learn and self.predict == "next"
        message = frame_message(self._network, x, target, learn, flags, nanoseconds(when))
        number = await self._requests.post(stream, message, self.timeout)
        self._begin.discard(stream)
        return number

    async def _keep_up(self) -> None:
        await self._requests.keep_up(self.timeout)

    async def _output(self, stream: str, seq: int) -> Output | None:
        """The output of a frame, as it is published, or from the history if this client was cut off meanwhile."""
        deadline = self._control.now() + self.timeout
        while self._control.now() < deadline:
            with suppress(DaemonGone):
                while (output := await self._subscriptions[stream].next()).seq != seq:
                    pass
                return output
            for output in await self._outputs(stream, seq - 1, seq + 1):
                return output
        return None

    def _shape(self, tokens: bool) -> Shape:
        return self._network

    async def _perform(
        self, stream: str | None, frames: np.ndarray, X: np.ndarray, targets: np.ndarray, drawing: Drawing, wait: bool
    ) -> tuple[list[Value], np.ndarray, float | None]:
        """Have the daemon do it, the next request sent when the last is answered, if their answers are waited for."""
        results: list[Message] = []
        self._own_stream |= stream is None
        for message, options in requests_of(frames, X, targets, drawing, self._largest_message):
            number = await self._requests.post(stream or "", message, self.timeout, options)
            if wait:
                results += await self._results(number)
            else:
                await self._keep_up()
        return written_in(results, self._network, drawing.until), outputs_in(results), None

    async def _results(self, number: int) -> list[Message]:
        """The outputs that a request asked for. Raises FrameRefused, DaemonGone."""
        acknowledgement, results = await self._requests.wait_for(number, self.timeout)
        if sum(len(message.frames) for message in results) != acknowledgement.outputs:
            raise DaemonGone("a failure came between: the sequence was taken, and its outputs were lost")
        return results


def performing(plan: Callable[Concatenate[Any, P], Asked[T]]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """The verb that has the daemon do what that plan asks for."""

    async def verb(self: Any, *args: P.args, **kwargs: P.kwargs) -> T:
        *asked, read = plan(self, *args, **kwargs)
        return read(*await self._perform(*asked))

    return named_as(plan, verb)  # type: ignore[no-any-return]


def _flags(begin: bool, end: bool) -> int:
    return (BEGIN if begin else 0) | (END if end else 0)
