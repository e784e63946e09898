"""The client: sends frames to a running daemon, and receives what it says.

Threads that share a client have their calls done one after the other. Every call has a timeout, from when its turn
comes. What the daemon has not answered for a while is sent again; it recognises what it has taken, so that a failure
there loses no frame and takes none twice.
"""

import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from math import nan
from threading import RLock
from typing import Any

import msgspec
import numpy as np
import zmq

from streamrnn.client.alarms import Alarms
from streamrnn.client.connection import RETRY, open_dealer
from streamrnn.client.control import CONTROL, ask
from streamrnn.client.errors import DaemonGone
from streamrnn.client.frame import block_messages, check_name, dismissal_message, frame_message
from streamrnn.client.history import BEFORE_ALL, History
from streamrnn.client.output import About, Output, outputs_of
from streamrnn.client.requests import Requests
from streamrnn.client.sequence import outputs_in, requests_of, written_in
from streamrnn.client.subscription import Subscription
from streamrnn.client.turns import in_turn
from streamrnn.kernels.frames import BEGIN, ECHO, END, FLAGS
from streamrnn.kernels.messages import CLOSE
from streamrnn.model.anomalies import Alarm
from streamrnn.model.channels import by_name, names
from streamrnn.model.entrance import FILL
from streamrnn.model.feedback import Drawing, Shape, Value
from streamrnn.model.inputs import largest
from streamrnn.model.tables import AnyReadout, Forecast
from streamrnn.model.times import Time, as_times, nanoseconds
from streamrnn.model.verbs import BYTES, Verbs
from streamrnn.protocol.addresses import as_seen_with
from streamrnn.protocol.keys import load
from streamrnn.protocol.wire import Message


class Client(Verbs):
    """A connection to a running daemon, found by the address of its control socket.

    timeout is in seconds and holds for every call. A client does not outlive a fork: in the child each call but `close`
    raises RuntimeError. key: the file that `streamrnn keys new` has made for this client,
    where the daemon asks for one. Raises DaemonGone if nobody answers there, KeysError if the file cannot be used.
    """

    def __init__(self, control: str = CONTROL, timeout: float = 5.0, key: str | os.PathLike[str] | None = None) -> None:
        self.timeout = timeout
        self._process, self._lock = os.getpid(), RLock()
        self._key = load(key) if key else None
        self._context = zmq.Context()
        self._control_endpoint = as_seen_with(control, control)
        self._control = self._dealer(self._control_endpoint)
        self._subscriptions: dict[str, Subscription] = {}  # those that `step` receives its outputs by
        self._begin: set[str] = set()  # streams whose next frame begins a new sequence
        self._own_stream = False  # whether it has been used
        try:
            facts = self._ask("hello")
        except DaemonGone:
            self._context.destroy(linger=0)
            raise
        self.name: str = facts["name"]
        self.predict: str = facts["predict"]
        self._outputs = as_seen_with(control, facts["outputs"])
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
        gate = self._dealer(as_seen_with(control, facts["gate"]), secrets.token_hex(8).encode())
        self._requests = Requests(gate, self.name, facts["epoch"])

    @property
    def takes_tokens(self) -> bool:
        """Whether inputs are int tokens; else they are vectors."""
        return self._network.tokens

    @property
    def predicts_bytes(self) -> bool:
        """Whether inputs are bytes and outputs their probabilities."""
        return self._network.tokens and self._network.inputs == BYTES and self._network.classes

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close every socket; frames that were sent still go out. In a forked process it does nothing."""
        if os.getpid() == self._process:
            with self._lock:
                self._requests.close(self._own_stream)
                self._context.destroy(linger=None)

    @in_turn
    def status(self) -> dict[str, Any]:
        """How the daemon is: state, frames, frames_per_second, loss, refused, workers, ... Raises DaemonGone."""
        return self._ask("status")

    @in_turn
    def send(
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
        self._send(stream, x, target, learn, _flags(begin, end), time)
        self._keep_up()

    @in_turn
    def send_many(
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
            self._requests.post(stream, message, self.timeout)
            self._begin.discard(stream)
            self._keep_up()

    @property
    def accepted(self) -> int:
        """The number of frames of this client that the daemon has accepted, as far as it is known here."""
        return self._requests.accepted

    @in_turn
    def flush(self) -> None:
        """Wait until every frame sent has been accepted. Raises FrameRefused, DaemonGone."""
        self._requests.flush(self.timeout)

    @in_turn
    def step(
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
            self._subscriptions[stream] = self.subscribe(stream, RETRY)
        number = self._send(stream, x, target, learn, ECHO | _flags(begin, end), time)
        acknowledgement, results = self._requests.wait_for(number, self.timeout)
        seq = acknowledgement.first
        if output := self._output(stream, seq):
            return output
        if not results:
            raise DaemonGone(f"the output of frame {seq} of stream {stream} has not come within {self.timeout} s")
        return Output(stream, seq, results[0].vectors[0].copy(), nan, about=self._about)

    @in_turn
    def outputs(self, stream: str, after: int, before: int) -> list[Output]:
        """What the daemon's history still holds of a stream, of frames between those SEQs. Raises DaemonGone."""
        scored: dict[int, np.ndarray] = {}
        messages = self.rows(stream, after, before)
        return [
            output for message in messages for output in outputs_of(stream, message, BEFORE_ALL, scored, self._about)
        ]

    @in_turn
    def streams(self, like: str = "") -> list[str]:
        """Names of streams with this in them, 32 at most, those with the newest outputs first. Raises DaemonGone."""
        names: list[str] = self._ask("streams", like=like)["streams"]
        return names

    @in_turn
    def rows(self, stream: str, after: int, before: int) -> list[Message]:
        """The same as messages of `streamrnn.protocol.wire`, for who reads many. Raises DaemonGone."""
        history = self._history()
        try:
            return history.messages(stream, 2 * after + 1, 2 * before)[0]
        finally:
            history.close()

    def alarms(self, stream: str | None = None, timeout: float | None = None) -> Alarms:
        """Every alarm of that stream, of all streams without one, from the moment this call returns, see `subscribe`.

        Raises ValueError where the daemon has no [anomaly], DaemonGone.
        """
        return Alarms(self.subscribe(stream, timeout), self._alarming(), self.channels)

    @in_turn
    def dismiss(self, alarm: Alarm) -> None:
        """Say that an alarm was none: the evidence of its detectors counts half from here on, on its stream.

        Raises ValueError where the daemon has no [anomaly], FrameRefused, DaemonGone.
        """
        self._alarming()
        if said := alarm.dismissals():
            message = dismissal_message(said)
            self._requests.wait_for(self._requests.post(alarm.stream, message, self.timeout), self.timeout)

    @in_turn
    def reset(self, stream: str = "main") -> None:
        """The next frame of that stream begins a new sequence."""
        self._begin.add(stream)

    @in_turn
    def forget(self, stream: str) -> None:
        """Be done with a stream: the daemon may give its place to another.

        Raises FrameRefused if there is none, DaemonGone.
        """
        if stream in self._subscriptions:
            self._subscriptions.pop(stream).close()
        self._requests.wait_for(self._requests.post(stream, Message(CLOSE), self.timeout), self.timeout)

    @in_turn
    def subscribe(self, stream: str | None = None, timeout: float | None = None) -> Subscription:
        """Every output of that stream, of all streams without one, from the moment this call returns.

        Each stream's outputs come in their order; those of different streams may overtake one another.
        The timeout, in seconds, is of the iteration: without one it waits for ever. Raises DaemonGone.
        """
        subscription = Subscription(
            self._context, self._outputs, self._key, self._history(), stream, timeout, self._replays, self._about
        )
        subscription.wait(self.timeout)
        return subscription

    def _alarming(self) -> Forecast:
        if isinstance(self.readout, Forecast) and self.readout.anomaly:
            return self.readout
        raise ValueError("this daemon raises no alarms: its config has no [anomaly]")

    def _dealer(self, endpoint: str, identity: bytes = b"") -> zmq.Socket:
        return open_dealer(self._context, endpoint, self._key, self.timeout, identity)

    def _history(self) -> History:
        return History(self._dealer(self._control_endpoint), self.timeout)

    def _ask(self, what: str, **more: str) -> dict[str, Any]:
        """The answer to a question on the control socket. Raises DaemonGone."""
        if answer := ask(self._control, {"ask": what, **more}, self.timeout):
            return answer[0]
        self._control.setsockopt(zmq.LINGER, 0)
        known = ", and does it know this key" if self._key else ""
        waited = f"no daemon answers at {self._control_endpoint} (waited {self.timeout} s)"
        raise DaemonGone(f"{waited}; is it running{known}?")

    def _send(self, stream: str, x: Any, target: Any, learn: bool, flags: int, when: Time) -> int:
        """Post a frame; its request's number. Raises ValueError, DaemonGone."""
        check_name(stream)
        flags |= BEGIN if stream in self._begin else 0
        x = by_name(x, self.channels, self._network.missing)
        learn = learn and self.predict == "next"
        message = frame_message(self._network, x, target, learn, flags, nanoseconds(when))
        number = self._requests.post(stream, message, self.timeout)
        self._begin.discard(stream)
        return number

    def _keep_up(self) -> None:
        self._requests.keep_up(self.timeout)

    def _output(self, stream: str, seq: int) -> Output | None:
        """The output of a frame, as it is published, or from the history if this client was cut off meanwhile."""
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            with suppress(DaemonGone):
                for output in self._subscriptions[stream]:
                    if output.seq == seq:
                        return output
            for output in self.outputs(stream, seq - 1, seq + 1):
                return output
        return None

    def _shape(self, tokens: bool) -> Shape:
        return self._network

    @in_turn
    def _perform(
        self, stream: str | None, frames: np.ndarray, X: np.ndarray, targets: np.ndarray, drawing: Drawing, wait: bool
    ) -> tuple[list[Value], np.ndarray, float | None]:
        """Have the daemon do it, the next request sent when the last is answered, if their answers are waited for."""
        results: list[Message] = []
        self._own_stream |= stream is None
        for message, options in requests_of(frames, X, targets, drawing, self._largest_message):
            number = self._requests.post(stream or "", message, self.timeout, options)
            if wait:
                results += self._results(number)
            else:
                self._keep_up()
        return written_in(results, self._network, drawing.until), outputs_in(results), None

    def _results(self, number: int) -> list[Message]:
        """The outputs that a request asked for. Raises FrameRefused, DaemonGone."""
        acknowledgement, results = self._requests.wait_for(number, self.timeout)
        if sum(len(message.frames) for message in results) != acknowledgement.outputs:
            raise DaemonGone("a failure came between: the sequence was taken, and its outputs were lost")
        return results


def _flags(begin: bool, end: bool) -> int:
    return (BEGIN if begin else 0) | (END if end else 0)
