"""The supervisor: starts the workers, wires them, watches them, answers for them, and brings them to an orderly end."""

import os
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable
from math import log
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import msgspec
import zmq

from streamrnn import checkpoint
from streamrnn.checkpoint import Manifest
from streamrnn.config import Config
from streamrnn.jit import CACHE_FOLDER
from streamrnn.network import Network
from streamrnn.workers.gate import LARGEST_MESSAGE
from streamrnn.workers.member import Failure, bind
from streamrnn.workers.plan import GATE, PUBLISHER, Worker, plan

START_TIMEOUT = 60.0  # seconds until every worker must be ready
DRAIN_TIMEOUT = 60.0  # seconds until a checkpoint must be complete
STOP_TIMEOUT = 5.0  # seconds a worker may take to end
SIGNALS = {signal.SIGINT, signal.SIGTERM}  # drain the daemon
COMPILED = CACHE_FOLDER / "compiled"
RATE_SPAN = 3.0  # seconds over which frames per second are taken


def compile_kernels(tell: Callable[[str], Any]) -> None:
    """Compile what workers run, unless it lies on disk already."""
    if COMPILED.exists():
        return
    tell("compiling the kernels, once for this version and machine: about 25 seconds")
    from numba import typeof

    from streamrnn.layers import RNN
    from streamrnn.optimizers import SGD
    from streamrnn.readouts import Linear
    from streamrnn.workers import intake, loop, stages

    intake.warm_up()
    net = Network([RNN(1, 1)], Linear(1), SGD(1.0))
    links = stages.make_links(net, 0, 2, {"block": 1, "epoch": 0, "token_targets": False}, [0] * 6)
    loop.serve.compile((typeof(net._stages), typeof(net._schedule), typeof(links)))
    CACHE_FOLDER.mkdir(parents=True, exist_ok=True)
    COMPILED.touch()


class Supervisor:
    """A daemon: `start`, then `step` again and again until it returns False, then `close`.

    Raises Failure, with one clear line, where something outside the program is not as it must be.
    """

    signals = SIGNALS

    def __init__(self, config: Config, *, max_frames: int = 0, fused: bool = False, resume: bool = False) -> None:
        self.config = config
        self.checkpoints = config.checkpoints
        self.manifest, self.resumed = self._manifest(resume)
        stages = len(config.layers) + 1
        self.placement = [stages] if fused else config.pipeline.placement or [1] * stages
        self.folder = Path(tempfile.mkdtemp(prefix="streamrnn-"))  # private to the user
        self.context = zmq.Context()
        self.inner = self.context.socket(zmq.ROUTER)
        self.outer = self.context.socket(zmq.ROUTER)
        for socket in (self.inner, self.outer):
            socket.setsockopt(zmq.LINGER, 1000)
        workers = plan(config, self.manifest, self.resumed, self.placement, self.folder, max_frames)
        self.workers = {worker.name: worker for worker in workers}
        self.state = "starting"
        self.saving: dict[str, Any] = {}  # what came of the checkpoint that is being written
        self.deadline = 0.0
        self.refused = 0
        self.opened = self.ended = 0.0
        self.rate: deque[tuple[float, int]] = deque()

    def _manifest(self, resume: bool) -> tuple[Manifest, Path | None]:
        """Where to go on from: the newest checkpoint, or the beginning."""
        spec = self.config.spec()
        numbers = checkpoint.numbers(self.checkpoints)
        if not resume:
            return Manifest(checkpoint.FORMAT, spec, [], [], {}, 0, {}, ""), None
        if not numbers:
            raise Failure(f"nothing to resume: there is no checkpoint in {self.checkpoints}")
        folder = self.checkpoints / checkpoint.number_name(numbers[-1])
        manifest = checkpoint.read_manifest(folder)
        if manifest.spec != spec:
            changed = [key for key in spec if spec[key] != manifest.spec.get(key)]
            raise Failure(f"{folder} is of another network: the config differs in {', '.join(changed)}")
        return manifest, folder

    def start(self, tell: Callable[[str], Any]) -> None:
        """Bring everything up; returns when frames can come."""
        endpoint = f"ipc://{self.folder}/control"
        bind(self.inner, endpoint)
        bind(self.outer, self.config.sockets.control)
        self.checkpoints.mkdir(parents=True, exist_ok=True, mode=0o700)
        compile_kernels(tell)
        tell("starting the workers")
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
        # Ctrl-C, or a service manager's SIGTERM, reaches every process: those started here inherit that it is blocked
        resource_tracker.ensure_running()  # starting it unblocks
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for worker in self.workers.values():
            worker.start(endpoint)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        deadline = time.monotonic() + START_TIMEOUT
        while any(worker.state != "ready" for worker in self.workers.values()):
            self.listen(0.1)
            if time.monotonic() > deadline:
                late = [worker.name for worker in self.workers.values() if worker.state != "ready"]
                raise Failure(f"not ready after {START_TIMEOUT:.0f} s: {', '.join(late)}")
        self.opened = time.monotonic()
        self.state = "running"
        self.order(GATE, "open")

    def order(self, name: str, kind: str, **facts: Any) -> None:
        """Tell a worker what to do."""
        self.inner.send_multipart([name.encode(), msgspec.json.encode({"kind": kind, **facts})])

    def listen(self, timeout: float) -> None:
        """Hear the workers and answer clients, for that many seconds at most; see that every worker is alive."""
        poller = zmq.Poller()
        poller.register(self.inner, zmq.POLLIN)
        poller.register(self.outer, zmq.POLLIN)
        if poller.poll(int(timeout * 1000)):
            while self.inner.poll(0):
                identity, data = self.inner.recv_multipart()
                self.hear(self.workers[identity.decode()], msgspec.json.decode(data))
            while self.outer.poll(0):
                identity, *parts = self.outer.recv_multipart()
                self.outer.send_multipart([identity, msgspec.json.encode(self.answer(parts))])
        for worker in self.workers.values():
            if worker.process and worker.process.exitcode is not None and self.state != "stopping":
                raise Failure(f"worker {worker.name} ended with exit code {worker.process.exitcode}")

    def hear(self, worker: Worker, message: dict[str, Any]) -> None:
        """Take one report."""
        kind = message.pop("kind")
        if kind == "hello":
            self.order(worker.name, "start", **worker.order)
        elif kind == "ready":
            worker.state = "ready"
        elif kind == "failed":
            raise Failure(message["reason"])
        elif kind == "status":
            worker.facts = message
        elif kind == "ended":
            self.drain()
        elif kind == "saved":
            worker.facts |= message
            self.saving[worker.name] = message

    def answer(self, parts: list[bytes]) -> dict[str, Any]:
        """What a client asked for: "hello" or "status"."""
        try:
            ask = msgspec.json.decode(parts[0] if len(parts) == 1 else b"")["ask"]
        except (msgspec.DecodeError, KeyError, TypeError):
            ask = None
        if ask == "hello":
            return {
                "name": self.config.name,
                "gate": self.config.sockets.gate,
                "outputs": self.config.sockets.outputs,
                "input": msgspec.to_builtins(self.config.input),
                "readout": msgspec.to_builtins(self.config.readout),
                "predict": self.config.predict,
                "largest_message": LARGEST_MESSAGE,
            }
        if ask == "status":
            return self.status()
        self.refused += 1
        return {"error": 'ask for "hello" or "status" with a JSON object such as {"ask": "status"}'}

    def status(self) -> dict[str, Any]:
        """How things are, in plain values."""
        gate, publisher = self.workers[GATE].facts, self.workers[PUBLISHER].facts
        now = self.ended or time.monotonic()
        frames = publisher.get("inputs", 0)
        self.rate.append((now, frames))
        while now - self.rate[0][0] > RATE_SPAN:
            self.rate.popleft()
        since, before = self.rate[0]
        return {
            "name": self.config.name,
            "state": self.state,
            "frames": frames,
            "seconds": now - self.opened if self.opened else 0.0,
            "frames_per_second": (frames - before) / (now - since) if now > since else 0.0,
            "scored": publisher.get("scored", 0),
            "loss": publisher.get("loss"),
            "recent_loss": publisher.get("recent_loss"),
            "curve": publisher.get("curve", []),
            "refused": self.refused + gate.get("refused", 0),
            "bad": sum(worker.facts.get("bad", 0) for worker in self.workers.values()),
            "skipped_updates": sum(worker.facts.get("skipped", 0) for worker in self.workers.values()),
            "streams": gate.get("streams", 0),
            "workers": [[worker.name, worker.does, worker.pid] for worker in self.workers.values()],
            "checkpoints": str(self.checkpoints),
        }

    def interrupt(self) -> None:
        """What a signal asks for: an orderly end, or an end at once where there is nothing to save."""
        if self.state == "starting":
            raise Failure("stopped before it was ready")
        self.drain()

    def drain(self) -> None:
        """Let nothing more in, take what is inside to the end, save, and stop."""
        if self.state == "running":
            self.state = "draining"
            self.save()

    def save(self) -> None:
        """Begin a checkpoint behind every frame accepted so far; no more are let in."""
        number = max(checkpoint.numbers(self.checkpoints), default=0) + 1
        self.target = self.checkpoints / checkpoint.number_name(number)
        checkpoint.temporary_folder(self.target)
        self.saving = {}
        self.deadline = time.monotonic() + DRAIN_TIMEOUT
        self.order(GATE, "checkpoint", number=number)

    def step(self, timeout: float = 0.1) -> bool:
        """Go on for a moment; False when everything has been saved and it is time to close."""
        self.listen(timeout)
        if self.state != "draining":
            return True
        if len(self.saving) == len(self.workers):
            self.ended = time.monotonic()
            self.complete()
            return False
        if time.monotonic() > self.deadline:
            late = [name for name in self.workers if name not in self.saving]
            raise Failure(
                f"the checkpoint was not complete after {DRAIN_TIMEOUT:.0f} s: {', '.join(late)} did not save"
            )
        return True

    def complete(self) -> None:
        """Make the checkpoint whole: the manifest, the rename."""
        gate = self.saving[GATE]
        hashes: dict[str, str] = {}
        for message in self.saving.values():
            hashes |= message.get("sha256", {})
        temporary = checkpoint.temporary_name(self.target)
        self.manifest = Manifest(
            format=checkpoint.FORMAT,
            spec=self.config.spec(),
            streams=gate["names"],
            fresh=gate["fresh"],
            losses={},
            frames=gate["frames"],
            sha256=hashes,
            parameters_sha256=checkpoint.parameters_sha256(temporary, len(hashes)),
            position=gate["position"],
            last={int(number): last for number, last in gate["last"].items()},
            tokens=self.config.input.kind == "tokens",
        )
        checkpoint.complete(temporary, self.target, self.manifest)
        checkpoint.prune(self.checkpoints, self.config.state.keep)

    def result(self) -> dict[str, Any]:
        """What the run came to."""
        facts = self.saving[PUBLISHER]
        seconds = self.ended - self.opened
        tokens = self.config.input.kind == "tokens"
        bits = {
            name: facts[f"{name}loss"] / log(2) if facts[f"{name}loss"] is not None and tokens else None
            for name in ("", "last_")
        }
        return {
            "frames": facts["inputs"],
            "seconds": seconds,
            "frames_per_second": facts["inputs"] / seconds,
            "loss": facts["loss"],
            "bits_per_symbol": bits[""],
            "bits_per_symbol_of_last_100000": bits["last_"],
            "parameters_sha256": self.manifest.parameters_sha256,
            "checkpoint": str(self.target),
        }

    def close(self) -> None:
        """End every worker and let go of everything."""
        self.state = "stopping"
        running = [worker for worker in self.workers.values() if worker.process]
        for worker in running:
            self.order(worker.name, "stop")
        deadline = time.monotonic() + STOP_TIMEOUT
        for worker in running:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()
        self.inner.close()
        self.outer.close()
        self.context.term()
        shutil.rmtree(self.folder, ignore_errors=True)
