"""A subscription to outputs: each once and in order, what was missed from the history."""

import os
from collections import deque
from typing import Any

import numpy as np
import zmq

from streamrnn.client.connection import connect
from streamrnn.client.errors import DaemonGone
from streamrnn.client.history import BEFORE_ALL, BEHIND_ALL, Gap, History
from streamrnn.client.output import About, Output, outputs_of
from streamrnn.client.turns import check_process
from streamrnn.kernels.frames import places
from streamrnn.kernels.messages import ALARM, ALIVE
from streamrnn.protocol.keys import Key
from streamrnn.protocol.wire import Message, unpack

MOST_UNREAD = 100_000  # messages of outputs; what comes beyond is missed, and asked for again


class Subscription:
    """The outputs of a stream, or of all, from now on: iterate over it.

    Each comes once and, within its stream, in order. What was missed, by a slow reader or a broken connection, is
    asked for again and comes in its place; where the daemon's history does not reach back to it, `missed` has the
    stream's name and the SEQs between which its outputs are lacking. An iteration ends with DaemonGone when nothing has
    come for `timeout` seconds; None waits for ever. It belongs to one thread, and not to a forked process.
    """

    def __init__(
        self,
        context: zmq.Context,
        endpoint: str,
        key: Key | None,
        history: History,
        stream: str | None,
        timeout: float | None,
        replays: bool,
        about: About | None = None,
    ) -> None:
        """about: of outputs. replays: after a failure the daemon gives each frame the number again that it had."""
        self.timeout, self._replays, self._about = timeout, replays, about
        self._process = os.getpid()
        self.missed: list[tuple[str, int, int]] = []
        self._history = history
        self._ready: deque[Output] = deque()
        self._stream = stream
        self._start: tuple[int, int] | None = None  # the place of the last row before all this, and the epoch
        self._last: dict[str, tuple[int, int]] = {}  # place of each stream's last row, and the epoch it first came in
        self._caught_up: dict[str, int] = {}  # the place up to which a stream's outputs came from the history
        self._scored: dict[int, np.ndarray] = {}  # losses whose frame's output has not come
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
        """Close the sockets."""
        self._socket.close()
        self._history.close()

    def wait(self, timeout: float) -> None:
        """Until the daemon has answered that it sends everything from now on. Raises DaemonGone."""
        before, self.timeout = self.timeout, timeout
        while self._receive():
            pass
        self.timeout = before

    def _receive(self) -> bool:
        """Take one message; false if it was the answer to a subscription."""
        check_process(self._process)
        if not self._socket.poll(None if self.timeout is None else int(self.timeout * 1000)):
            raise DaemonGone(f"no output from {self._endpoint} within {self.timeout} s")
        topic, data = self._socket.recv_multipart()
        name, message = topic[:-1].decode(), unpack(data)
        if message.kind == ALARM:  # a subscriber to all streams hears them too, and has them in outputs
            return True
        if message.kind == ALIVE:
            self._catch_up()
            self._start = self._start or (message.number, message.epoch)
            return False
        self._take_published(name, message)
        return True

    def _take_published(self, name: str, message: Message) -> None:
        """Make the outputs ready that are new, those that were missed before them."""
        last, epoch = self._last.get(name, self._start or (message.number, message.epoch))
        first = int(places(message.frames[:1])[0])
        if message.epoch > epoch and not self._replays:  # the daemon has gone back: what it has is all new
            for earlier in self._ask_history(name, BEFORE_ALL, first)[0]:
                self._take(name, earlier, BEFORE_ALL)
            last = first - 1
        elif first <= last and message.epoch <= epoch:
            if first > self._caught_up.get(name, BEFORE_ALL):  # a daemon that began anew
                last = message.number
        elif last < message.number:
            self._fill_gap(name, last, first)
            last = first - 1
        self._take(name, message, last)

    def _catch_up(self) -> None:
        """Connected again: what was published meanwhile is in the history, and may have been the last."""
        if not self._replays:  # the history may be of other frames with those numbers
            return
        if self._stream is not None and self._start:
            self._last.setdefault(self._stream, self._start)
        for name, (last, _) in list(self._last.items()):
            messages, gaps = self._ask_history(name, last, BEHIND_ALL)
            if messages and not gaps:  # where there are gaps, the next output shows what is missed
                for message in messages:
                    self._take(name, message, last)
                self._caught_up[name] = self._last[name][0]

    def _take(self, name: str, message: Message, after: int) -> None:
        """Make the outputs of rows behind that place ready; those before are known already."""
        self._ready.extend(outputs_of(name, message, after, self._scored, self._about))
        last = int(places(message.frames[-1:])[0])
        if last > after:  # else it is all replayed
            self._last[name] = last, message.epoch

    def _fill_gap(self, name: str, after: int, before: int) -> None:
        """Ask for what was missed between two places of a stream."""
        messages, gaps = self._ask_history(name, after, before)
        for message in messages:
            self._take(name, message, after)
        for start, end in gaps:
            earlier, later = (start - 1) // 2, end // 2  # SEQs: a frame's last row is the one with its output
            if later - earlier > 1:
                self.missed.append((name, earlier, later))

    def _ask_history(self, name: str, after: int, before: int) -> tuple[list[Message], list[Gap]]:
        """What the history has between two places of a stream, and what it lacks; that is all if it does not answer."""
        try:
            return self._history.messages(name, after, before)
        except DaemonGone:
            return [], [(after, before)]
