"""A client's lines: sockets that never block, a clock, and the wait for a message or for room.

The client's logic is written once, in coroutines, and has its lines handed to it. `Client` and `AsyncClient` differ in
how they wait, and in nothing else: on a `Line` a wait blocks, so that `at_once` runs a coroutine to its end; on an
`AwaitedLine` others have their turn meanwhile.
"""

import asyncio
import time
from collections.abc import Coroutine
from math import ceil
from typing import Any, TypeVar
from weakref import WeakSet

import zmq
import zmq.asyncio

from streamrnn.client.connection import connect, open_dealer
from streamrnn.protocol.keys import Key

CLOSING = 200  # milliseconds that a client's last messages may take
MOST_UNREAD = 100_000  # messages of outputs; what comes beyond is missed, and asked for again

T = TypeVar("T")


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns whose waits all block."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("it waits for an event loop")


class Line:
    """A socket that is connected to a daemon's."""

    now = staticmethod(time.monotonic)  # seconds

    def __init__(self, socket: zmq.Socket, endpoint: str = "") -> None:
        self.socket, self.endpoint = socket, endpoint

    def send(self, parts: list[bytes]) -> bool:
        """Send a message; false if there is no room for it."""
        try:
            self.socket.send_multipart(parts, zmq.DONTWAIT)
        except zmq.Again:
            return False
        return True

    def take(self) -> list[bytes] | None:
        """The next message, if it is there."""
        if not int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:  # which also subscribes anew where a line is back
            return None
        return self.socket.recv_multipart(zmq.DONTWAIT)

    async def receive(self, seconds: float | None) -> list[bytes] | None:
        """The next message, if it comes within that time; None waits for ever."""
        parts = self.take()
        if parts is None and await self._wait(seconds, zmq.POLLIN):
            parts = self.take()  # right behind the wait: whoever is cancelled there has taken nothing
        return parts

    async def room(self, seconds: float) -> bool:
        """Wait until there is room for a message; false if there is none by then."""
        return await self._wait(seconds, zmq.POLLOUT)

    def hasten(self) -> None:
        """What is left to send when all lines close has only a moment."""
        self.socket.setsockopt(zmq.LINGER, CLOSING)

    def close(self) -> None:
        """Close the socket, and let go of what has not been sent."""
        self.socket.close(0)

    async def _wait(self, seconds: float | None, what: int) -> bool:
        return bool(self.socket.poll(_milliseconds(seconds), what))


class AwaitedLine(Line):
    """One whose waits are awaited, in an event loop."""

    def __init__(self, socket: zmq.Socket, endpoint: str = "") -> None:
        super().__init__(zmq.Socket.shadow(socket), endpoint)
        self._waiting: Any = socket  # of zmq.asyncio, for whose waits the other is a view of the same socket

    async def receive(self, seconds: float | None) -> list[bytes] | None:
        await asyncio.sleep(0)  # others have their turn even where message follows upon message
        return await super().receive(seconds)

    def close(self) -> None:
        self._waiting.close(0)

    async def _wait(self, seconds: float | None, what: int) -> bool:
        return bool(await self._waiting.poll(_milliseconds(seconds), what))


class Lines:
    """Opens lines, with a key where the daemon asks for one."""

    context_kind: type[zmq.Context] = zmq.Context
    line_kind: type[Line] = Line

    def __init__(self, key: Key | None) -> None:
        self.key = key
        self.context = self.context_kind()
        self._open: WeakSet[zmq.Socket] = WeakSet()

    def dealer(self, endpoint: str, timeout: float, identity: bytes = b"") -> Line:
        """For requests; what is left to send when all lines close has `timeout` seconds."""
        return self._line(open_dealer(self.context, endpoint, self.key, timeout, identity), endpoint)

    def subscriber(self, endpoint: str, topic: bytes) -> Line:
        """For what is published under a topic that begins so."""
        socket = self.context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, MOST_UNREAD)
        connect(socket, endpoint, self.key)
        socket.setsockopt(zmq.SUBSCRIBE, topic)
        return self._line(socket, endpoint)

    def close(self, linger: int | None = None) -> None:
        """Close all; linger: milliseconds for what is left to send, or what each line has been opened with."""
        self.context.destroy(linger)

    def _line(self, socket: zmq.Socket, endpoint: str) -> Line:
        self._open.add(socket)
        return self.line_kind(socket, endpoint)


class AwaitedLines(Lines):
    """Lines whose waits are awaited."""

    context_kind = zmq.asyncio.Context
    line_kind = AwaitedLine

    async def end(self) -> None:
        """Close all, and wait for what is left to send."""
        for socket in self._open:
            socket.close()
        await asyncio.to_thread(self.context.term)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else max(0, ceil(1000 * seconds))
