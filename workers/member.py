"""What every worker process has in common: it says hello to the supervisor, takes its orders and reports to it."""

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec
import psutil
import zmq

from streamrnn.checkpoint import CheckpointError
from streamrnn.keys import KeysError
from streamrnn.sources import SourceError

REPORT_INTERVAL = 0.2  # seconds
LARGEST = 1 << 30  # bytes of a message between processes of the daemon
PR_SET_PDEATHSIG = 1  # from linux/prctl.h


class Closable(Protocol):
    """A socket, or what has one."""

    def close(self) -> None: ...


class Failure(Exception):
    """Something outside the program is not as it must be; the text is one clear line."""


class GaveUp(Failure):
    """Workers have died too often for the daemon to go on."""


def bind(socket: zmq.Socket, endpoint: str) -> None:
    """Listen at an address; if it is a file, only its user can connect. Raises Failure if it cannot be had."""
    before = os.umask(0o177)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        reason = zmq.strerror(error.errno or 0)
        raise Failure(f"cannot listen on {endpoint}: {reason}; is another daemon running there?") from error
    finally:
        os.umask(before)


def received(socket: zmq.Socket, most: int) -> Iterator[list[bytes]]:
    """The messages that have come, so many at most."""
    for _ in range(most):
        try:
            parts = socket.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            return
        yield parts


def run(body: Callable[["Member"], None], endpoint: str, name: str, stdin: Any = None) -> None:
    """Run a worker; a failure is reported to the supervisor in one line. `stdin` stands for the daemon's own."""
    end_with_parent()
    if stdin:
        os.dup2(stdin.detach(), 0)
    member = Member(endpoint, name)
    try:
        body(member)
    except (Failure, SourceError, CheckpointError, KeysError) as error:
        member.report("failed", reason=str(error))
    except Exception as error:
        member.report("failed", reason=f"{name}: {type(error).__name__}: {error}")
        raise
    finally:
        member.close()


def end_with_parent() -> None:
    """Have the kernel end this process, even a stopped one, when the one that started it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Member:
    """A worker's line to the supervisor. Messages are JSON objects with a "kind".

    A worker whose supervisor is gone ends by itself.
    """

    def __init__(self, endpoint: str, name: str) -> None:
        self.name = name
        self.context = zmq.Context()
        self.control = self.context.socket(zmq.DEALER)
        self.control.setsockopt(zmq.LINGER, 1000)
        self.control.setsockopt(zmq.MAXMSGSIZE, LARGEST)
        self.control.setsockopt(zmq.IDENTITY, name.encode())
        self.control.connect(endpoint)
        self.sockets: list[Closable] = []
        self._reported = 0.0
        self._process = psutil.Process()
        self.report("hello", pid=os.getpid())

    def socket(self, kind: int, *, bind: str | None = None, connect: str | None = None) -> zmq.Socket:
        """A socket of the pipeline, without high-water mark: what is in flight is bounded by the gate's credit."""
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 1000)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, LARGEST)
        socket.setsockopt(zmq.RECONNECT_IVL, 10)
        self.sockets.append(socket)
        if bind:
            socket.bind(bind)
        if connect:
            socket.connect(connect)
        return socket

    def report(self, kind: str, data: Sequence[bytes] = (), **facts: Any) -> None:
        """Tell the supervisor."""
        self.control.send_multipart([msgspec.json.encode({"kind": kind, **facts}), *data])

    def save(self, number: int, write: Callable[[], dict[str, str]], **facts: Any) -> None:
        """Have files of that checkpoint written, and tell the supervisor their hashes, or why there are none."""
        try:
            self.report("saved", number=number, sha256=write(), **facts)
        except OSError as error:
            self.report("unsaved", number=number, reason=f"{error}")

    def beat(self, facts: Callable[[], dict[str, Any]]) -> None:
        """Report how things are, if that is due."""
        now = time.monotonic()
        if now - self._reported >= REPORT_INTERVAL:
            self._reported = now
            self.report("status", **facts(), memory=self._process.memory_info().rss)
            self.end_with_supervisor()

    def end_with_supervisor(self) -> None:
        """End the process if the supervisor has."""
        parent = multiprocessing.parent_process()
        if parent and not parent.is_alive():
            sys.exit(1)

    def order(self) -> dict[str, Any]:
        """The supervisor's next order; {"kind": None} if there is none."""
        try:
            return msgspec.json.decode(self.control.recv(zmq.DONTWAIT))
        except zmq.Again:
            return {"kind": None}

    def first_order(self) -> dict[str, Any]:
        """The order to start; ends the process if it is to stop before it has begun."""
        while not self.control.poll(200):
            self.end_with_supervisor()
        order = self.order()
        if order["kind"] == "stop":
            sys.exit()
        return order

    def close(self) -> None:
        """Let go of every socket; what was sent is still delivered."""
        for socket in (*self.sockets, self.control):
            socket.close()
        self.context.term()
