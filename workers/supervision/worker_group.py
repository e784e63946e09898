"""The workers of a daemon while they run: what they report, what they are told, and whether they live."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import zmq

from streamrnn.workers.supervision.clock import RunningClock
from streamrnn.workers.supervision.placement import WorkerHandle, start
from streamrnn.workers.worker import LARGEST, bind, has_come, signals_blocked

STOP_TIMEOUT = 5.0  # seconds a worker may take to end
START_PATIENCE = 10  # heartbeats that a worker may be silent while it gets ready


class Died(Exception):
    """A worker is dead or stuck; the text says which and how."""

    def __init__(self, reason: str, worker: str) -> None:
        super().__init__(reason)
        self.worker = worker


class WorkerGroup:
    """`workers` by name, in the order of the pipeline; `inner`: the socket where they report, once they start."""

    def __init__(self, context: zmq.Context, clock: RunningClock) -> None:
        self.context, self.clock = context, clock
        self.workers: dict[str, WorkerHandle] = {}
        self.inner: zmq.Socket | None = None

    def start(self, endpoint: str, single: bool) -> None:
        """Start all of them, which report at that address; single: as threads of one process. Raises Failure."""
        self.inner = self.context.socket(zmq.ROUTER)
        self.inner.setsockopt(zmq.LINGER, 1000)
        self.inner.setsockopt(zmq.MAXMSGSIZE, LARGEST)
        bind(self.inner, endpoint)
        with signals_blocked():
            start(list(self.workers.values()), endpoint, self.clock.look(), single)

    def order(self, name: str, kind: str, **facts: Any) -> None:
        """Tell a worker what to do."""
        if self.inner:
            self.inner.send_multipart([name.encode(), msgspec.json.encode({"kind": kind, **facts})])

    def register(self, poller: zmq.Poller) -> None:
        """Have a poller wait for reports, and for the end of a process."""
        assert self.inner
        poller.register(self.inner, zmq.POLLIN)
        for process in {worker.process for worker in self.workers.values() if worker.process}:
            poller.register(process.sentinel, zmq.POLLIN)

    def reports(self) -> Iterator[tuple[WorkerHandle, str, dict[str, Any], list[bytes]]]:
        """The reports that have come: whose each is, its kind, what it says, and the data behind it."""
        assert self.inner
        while has_come(self.inner):
            identity, facts, *data = self.inner.recv_multipart()
            worker, message = self.workers[identity.decode()], msgspec.json.decode(facts)
            kind = message.pop("kind")
            self.note(worker, kind, message)
            yield worker, kind, message, data

    def note(self, worker: WorkerHandle, kind: str, message: dict[str, Any]) -> None:
        """Keep what a report says of a worker; one that says hello is told what it is to do."""
        worker.hear(self.clock.seconds)
        if kind == "hello":
            self.order(worker.name, "start", **worker.order)
        elif kind in ("ready", "open"):
            worker.state = kind
            worker.facts |= message
        elif kind == "status":
            worker.facts = message
        elif kind == "saved":
            worker.facts |= message

    def see_that_all_live(self, ready: Mapping[Any, int], silence: float) -> None:
        """Raise Died where a worker has ended, or has not reported for `silence` seconds; ready: what a poller gave."""
        now = self.clock.look()
        for worker in self.workers.values():
            if worker.process and worker.process.sentinel in ready and worker.process.exitcode is not None:
                raise Died(f"worker {worker.name} ended with exit code {worker.process.exitcode}", worker.name)
            if worker.process and now - worker.heard > silence * (1 if worker.state else START_PATIENCE):
                raise Died(f"worker {worker.name} has been silent for {now - worker.heard:.1f} s", worker.name)

    def kill(self) -> None:
        """End every worker at once."""
        for worker in self.workers.values():
            if worker.process:
                worker.process.kill()
                worker.process.join()
        if self.inner:
            self.inner.close(0)
            self.inner = None

    def stop(self) -> None:
        """Have every worker end, and end those that do not in time."""
        running = [worker for worker in self.workers.values() if worker.process]
        for worker in running:
            self.order(worker.name, "stop")
        deadline = time.monotonic() + STOP_TIMEOUT
        for worker in running:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()
        if self.inner:
            self.inner.close()
