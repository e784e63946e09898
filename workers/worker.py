"""What every worker process has in common: it says hello to the supervisor, takes its orders and reports to it."""

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from math import ceil, inf
from multiprocessing import resource_tracker
from threading import Event, Thread
from typing import Any, NamedTuple, Protocol

import msgspec
import psutil
import zmq

REPORT_INTERVAL = 0.18  # seconds between reports; a worker waits no longer before it looks at orders and the clock
MEMORY_INTERVAL = 1.0  # seconds
LARGEST = 1 << 30  # bytes of a message between processes of the daemon
PR_SET_PDEATHSIG = 1  # from linux/prctl.h

SIGNALS = {signal.SIGINT, signal.SIGTERM}  # drain the daemon
RELOAD = signal.SIGHUP  # has it read its config again


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Ctrl-C, or a service manager's SIGTERM, goes to every process; those started in here have it blocked."""
    resource_tracker.ensure_running()  # starting it unblocks
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS | {RELOAD})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS | {RELOAD})


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
        if not has_come(socket):
            return
        yield socket.recv_multipart(zmq.DONTWAIT)


def has_come(socket: zmq.Socket) -> bool:
    """Whether a message can be received: to ask costs less than an exception."""
    return bool(int(socket.get(zmq.EVENTS)) & zmq.POLLIN)


def end_with_parent() -> None:
    """Have the kernel end this process, even a stopped one, when the one that started it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Part(NamedTuple):
    """A worker's part of a checkpoint, that is being written."""

    number: int
    sha256: Future[dict[str, str]]
    facts: dict[str, Any]


class Worker:
    """A worker's line to the supervisor, and its sockets. Messages are JSON objects with a "kind".

    A worker whose supervisor is gone ends by itself. `waited`: seconds in which it had nothing to do.
    """

    def __init__(self, endpoint: str, name: str, shared: zmq.Context | None = None) -> None:
        """shared: the context of the pipeline's sockets where all workers are threads of one process."""
        self.name = name
        self.context = zmq.Context()
        self._pipeline = shared or self.context
        self.control = self.context.socket(zmq.DEALER)
        self.control.setsockopt(zmq.LINGER, 1000)
        self.control.setsockopt(zmq.MAXMSGSIZE, LARGEST)
        self.control.setsockopt(zmq.IDENTITY, name.encode())
        self.control.connect(endpoint)
        self.sockets: list[Closable] = []
        self.waited = 0.0
        self._due = 0.0  # when the next report is, by the clock of all processes: they report together
        self._memory, self._measured = 0, -inf
        self._begun = time.monotonic()
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._parts: deque[Part] = deque()
        self._process = psutil.Process()
        self.report("hello", pid=os.getpid())

    def socket(self, kind: int, *, bind: str | None = None, connect: str | None = None) -> zmq.Socket:
        """A socket of the pipeline, without high-water mark: what is in flight is bounded by the gate's credit."""
        socket = self._pipeline.socket(kind)
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

    @contextmanager
    def reporting(self, kind: str) -> Iterator[None]:
        """Have a thread tell the supervisor again and again, while this one does what takes long, and tells nothing."""
        over = Event()

        def tell() -> None:
            while not over.wait(REPORT_INTERVAL):
                self.report(kind)

        thread = Thread(target=tell)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def poll(self, poller: zmq.Poller, seconds: float = inf, idle: bool = True) -> dict[Any, int]:
        """The sockets that are ready, within so many seconds or when a report is due; idle: there is nothing to do."""
        begun = time.monotonic()
        seconds = min(seconds, max(0.0, self._due - begun))
        ready = dict(poller.poll(ceil(seconds * 1000)))
        if idle:
            self.waited += time.monotonic() - begun
        return ready

    def save(self, number: int, write: Callable[[], dict[str, str]], **facts: Any) -> None:
        """Have files of that checkpoint written while work goes on; `beat` tells the supervisor their hashes."""
        self._parts.append(Part(number, self._writer.submit(write), facts))

    def _report_parts(self) -> None:
        """Tell of what has been written, or why it could not be."""
        while self._parts and self._parts[0].sha256.done():
            number, sha256, facts = self._parts.popleft()
            try:
                self.report("saved", number=number, sha256=sha256.result(), **facts)
            except OSError as error:
                self.report("unsaved", number=number, reason=f"{error}")

    def begin(self) -> None:
        """Everything is ready: tell so; from now on it counts how long this worker is busy."""
        self._begun = time.monotonic()
        self.report("ready")

    def beat(self, facts: Callable[[], dict[str, Any]]) -> None:
        """Report how things are, if that is due. To be called whenever `poll` returns."""
        self._report_parts()
        now = time.monotonic()
        if now >= self._due:
            self._due = (now // REPORT_INTERVAL + 1) * REPORT_INTERVAL
            if now - self._measured >= MEMORY_INTERVAL:
                self._memory, self._measured = self._process.memory_info().rss, now
            self.report("status", **facts(), busy=now - self._begun - self.waited, memory=self._memory)
            self.end_with_supervisor()

    def end_with_supervisor(self) -> None:
        """End the process if the supervisor has."""
        parent = multiprocessing.parent_process()
        if parent and not parent.is_alive():
            sys.exit(1)

    def order(self) -> dict[str, Any]:
        """The supervisor's next order; {"kind": None} if there is none."""
        return msgspec.json.decode(self.control.recv(zmq.DONTWAIT)) if has_come(self.control) else {"kind": None}

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
        self._writer.shutdown()
        for socket in (*self.sockets, self.control):
            socket.close()
        self.context.term()
