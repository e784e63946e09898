"""A subscription to outputs: each once and in order, what was missed from the history."""

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from streamrnn.client.errors import DaemonGone
from streamrnn.client.history import BEFORE_ALL, BEHIND_ALL, Gap, History
from streamrnn.client.lines import Line, at_once
from streamrnn.client.output import About, Output, outputs_of
from streamrnn.client.turns import check_process
from streamrnn.kernels.frames import places
from streamrnn.kernels.messages import ALARM, ALIVE
from streamrnn.protocol.wire import Message, unpack


class Listening:
    """Takes what is published on a line, and asks the history for what is lacking. One caller at a time."""

    def __init__(
        self,
        line: Line,
        history: History,
        stream: str | None,
        timeout: float | None,
        replays: bool,
        about: About | None = None,
    ) -> None:
        """stream: whose outputs the line brings, None for all. about: of outputs.

        replays: after a failure the daemon gives each frame the number again that it had.
        """
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
        self._line = line
        self._come: list[bytes] | None = None  # a message that has been received, until all is done with it

    def close(self) -> None:
        """Close the sockets."""
        self._line.close()
        self._history.close()

    async def begin(self, timeout: float) -> None:
        """Wait until the daemon has answered that it sends everything from now on. Raises DaemonGone."""
        while await self._receive(timeout):
            pass

    async def next(self) -> Output:
        """The next output. Raises DaemonGone."""
        await self.fill()
        return self.pop()

    async def fill(self) -> None:
        """Wait until an output is there. Raises DaemonGone."""
        while not self._ready:
            await self._receive(self.timeout)

    @property
    def has_some(self) -> bool:
        """Whether an output is there."""
        return bool(self._ready)

    def pop(self) -> Output:
        """Take an output that is there."""
        return self._ready.popleft()

    async def several(self, most: int) -> list[Output]:
        """The next outputs, those that have come and one at least, `most` at the most. Raises DaemonGone."""
        first = await self.next()
        return [first, *(self._ready.popleft() for _ in range(min(most - 1, len(self._ready))))]

    async def _receive(self, timeout: float | None) -> bool:
        """Take one message; false if it was the answer to a subscription."""
        check_process(self._process)
        self._come = self._come or await self._line.receive(timeout)
        if not self._come:
            raise DaemonGone(f"no output from {self._line.endpoint} within {timeout} s")
        answered = await self._take_message(*self._come)
        self._come = None
        return not answered

    async def _take_message(self, topic: bytes, data: bytes) -> bool:
        """Take a message, or take it again where that was cancelled; whether it was the answer to a subscription."""
        name, message = topic[:-1].decode(), unpack(data)
        if message.kind == ALARM:  # a subscriber to all streams hears them too, and has them in outputs
            return False
        if message.kind == ALIVE:
            await self._catch_up()
            self._start = self._start or (message.number, message.epoch)
            return True
        await self._take_published(name, message)
        return False

    async def _take_published(self, name: str, message: Message) -> None:
        """Make the outputs ready that are new, those that were missed before them."""
        last, epoch = self._last.get(name, self._start or (message.number, message.epoch))
        first = int(places(message.frames[:1])[0])
        if message.epoch > epoch and not self._replays:  # the daemon has gone back: what it has is all new
            for earlier in (await self._ask_history(name, BEFORE_ALL, first))[0]:
                self._take(name, earlier, BEFORE_ALL)
            last = first - 1
        elif first <= last and message.epoch <= epoch:
            if first > self._caught_up.get(name, BEFORE_ALL):  # a daemon that began anew
                last = message.number
        elif last < message.number:
            await self._fill_gap(name, last, first)
            last = first - 1
        self._take(name, message, last)

    async def _catch_up(self) -> None:
        """Connected again: what was published meanwhile is in the history, and may have been the last."""
        if not self._replays:  # the history may be of other frames with those numbers
            return
        if self._stream is not None and self._start:
            self._last.setdefault(self._stream, self._start)
        for name, (last, _) in list(self._last.items()):
            messages, gaps = await self._ask_history(name, last, BEHIND_ALL)
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

    async def _fill_gap(self, name: str, after: int, before: int) -> None:
        """Ask for what was missed between two places of a stream."""
        messages, gaps = await self._ask_history(name, after, before)
        for message in messages:
            self._take(name, message, after)
        for start, end in gaps:
            earlier, later = (start - 1) // 2, end // 2  # SEQs: a frame's last row is the one with its output
            if later - earlier > 1:
                self.missed.append((name, earlier, later))

    async def _ask_history(self, name: str, after: int, before: int) -> tuple[list[Message], list[Gap]]:
        """What the history has between two places of a stream, and what it lacks; that is all if it does not answer."""
        try:
            return await self._history.messages(name, after, before)
        except DaemonGone:
            return [], [(after, before)]


class Subscription(Listening):
    """The outputs of a stream, or of all, from now on: iterate over it.

    Each comes once and, within its stream, in order. What was missed, by a slow reader or a broken connection, is
    asked for again and comes in its place; where the daemon's history does not reach back to it, `missed` has the
    stream's name and the SEQs between which its outputs are lacking. An iteration ends with DaemonGone when nothing has
    come for `timeout` seconds; None waits for ever. It belongs to one thread, and not to a forked process.
    """

    def __iter__(self) -> "Subscription":
        return self

    def __next__(self) -> Output:
        return at_once(self.next())

    def wait(self, timeout: float) -> None:
        """Until the daemon has answered that it sends everything from now on. Raises DaemonGone."""
        at_once(self.begin(timeout))

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class AsyncSubscription:
    """A `Subscription` for `async for`, from the first step on, or from where an `async with` begins.

    It belongs to one task at a time; a step that is cancelled takes no output away.
    """

    def __init__(self, begin: Callable[[], Awaitable[Listening]]) -> None:
        self._begin = begin
        self._listening: Listening | None = None
        self._filling: asyncio.Task[None] | None = None  # goes on where a step is cancelled, so that the next has less

    @property
    def missed(self) -> list[tuple[str, int, int]]:
        """Streams, and the SEQs between which their outputs are lacking."""
        return self._listening.missed if self._listening else []

    def __aiter__(self) -> "AsyncSubscription":
        return self

    async def __anext__(self) -> Output:
        listening = await self._begun()
        while not listening.has_some:
            self._filling = self._filling or asyncio.create_task(listening.fill())
            await asyncio.wait([self._filling])
            filled, self._filling = self._filling, None
            filled.result()
        return listening.pop()

    async def __aenter__(self) -> "AsyncSubscription":
        await self._begun()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the sockets."""
        if self._filling:
            self._filling.cancel()
            await asyncio.wait([self._filling])
        if self._listening:
            self._listening.close()

    async def _begun(self) -> Listening:
        self._listening = self._listening or await self._begin()
        return self._listening
