"""Who does what: the worker processes of a daemon, and the order that wires each into the pipeline."""

import multiprocessing
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from streamrnn.checkpoint import Manifest
from streamrnn.config import Config
from streamrnn.workers import gate, member, publisher, stages

GATE, PUBLISHER = "gate", "publisher"

# Workers are forked from a process that has everything ready and nothing open: they start in no time
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["streamrnn.workers.nursery", "streamrnn.cli"])

SIGNALS = {signal.SIGINT, signal.SIGTERM}  # drain the daemon
RELOAD = signal.SIGHUP  # has it read its config again


@contextmanager
def out_of_reach() -> Iterator[None]:
    """Ctrl-C, or a service manager's SIGTERM, goes to every process; those started in here have it blocked."""
    resource_tracker.ensure_running()  # starting it unblocks
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS | {RELOAD})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS | {RELOAD})


class Worker:
    """A worker process as the supervisor sees it."""

    def __init__(self, name: str, module: ModuleType, does: str, order: dict[str, Any]) -> None:
        self.name, self.module, self.does, self.order = name, module, does, order
        self.process: Any = None
        self.state = ""
        self.heard = 0.0  # when
        self.facts: dict[str, Any] = {}

    def start(self, endpoint: str) -> None:
        """Start the process."""
        stdin = DupFd(0) if self.order.get("stdin") else None
        process = PROCESSES.Process(target=member.run, args=(self.module.main, endpoint, self.name, stdin))
        process.start()
        self.process, self.heard = process, time.monotonic()

    def status(self) -> dict[str, Any]:
        """How it is: `heard` so many seconds ago, `memory` in bytes."""
        heard = time.monotonic() - self.heard if self.process else None
        memory = self.facts.get("memory", 0)
        return {"name": self.name, "does": self.does, "pid": self.pid, "heard": heard, "memory": memory}

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0


def plan(
    config: Config,
    manifest: Manifest,
    resumed: Path | None,
    placement: list[int],
    folder: Path,
    epoch: int,
    max_frames: int | None,
    score: bool,
) -> list[Worker]:
    """The workers in the order of the pipeline, each with the order it will get; sockets of their own lie in folder.

    max_frames: from here on, 0 for any number; None goes on counting. score: go on counting what was scored.
    """
    common = {
        "epoch": epoch,
        "block": config.pipeline.block,
        "in_flight": config.pipeline.in_flight,
        "max_streams": config.pipeline.max_streams,
        "streams": manifest.streams,
        "rate": manifest.rate or 0.0,  # the one that is wanted comes down before the first frame
        "to_gate": f"ipc://{folder}/to-gate",
        "keys": str(config.keys) if config.security.curve else None,
        "checkpoints": str(config.checkpoints),
        "resume": str(resumed) if resumed else None,
    }
    frames = [f"ipc://{folder}/frames-{k}" for k in range(len(placement) + 1)]
    gradients = [None, *(f"ipc://{folder}/gradients-{k}" for k in range(1, len(placement))), None]
    entry = common | gate_order(config, manifest) | {"frames_out": frames[0], "max_frames": max_frames}
    workers = [Worker(GATE, gate, "gate", entry)]
    names = [
        *(f"{layer.cell} {layer.units}" for layer in config.layers),
        f"{config.readout.kind} {config.readout.size}",
    ]
    first = 0
    for k, count in enumerate(placement):
        order = {
            "spec": config.spec(),
            "stages": [first, first + count],
            "token_targets": config.readout.kind == "softmax",
            "frames_in": frames[k],
            "frames_out": frames[k + 1],
            "gradients_out": gradients[k],
            "gradients_in": gradients[k + 1],
        }
        workers.append(Worker(f"stages-{k}", stages, ", ".join(names[first : first + count]), common | order))
        first += count
    order = {
        "frames_in": frames[-1],
        "outputs": config.sockets.outputs,
        "score": score,
        "history": config.outputs.history,
    }
    workers.append(Worker(PUBLISHER, publisher, "publisher", common | order))
    return workers


def gate_order(config: Config, manifest: Manifest) -> dict[str, Any]:
    """What the gate must know of the network and of where its frames go on from."""
    tokens, token_targets = config.input.kind == "tokens", config.readout.kind == "softmax"
    return {
        "overload": config.pipeline.overload,
        "source": msgspec.to_builtins(config.source),
        "stdin": getattr(config.source, "path", None) == "-",
        "gate": config.sockets.gate,
        "predict": config.predict,
        "input_size": 0 if tokens else config.input.size,
        "classes": config.input.size if tokens else 0,
        "target_size": 0 if token_targets else config.readout.size,
        "target_classes": config.readout.size if token_targets else 0,
        "frames": manifest.frames,
        "fresh": manifest.fresh,
        "last": manifest.last,
        "position": manifest.position,
        "left": manifest.left,
        "run": manifest.run,
        "journal": str(config.folder / "journal"),
        "journal_start": manifest.journal,
        "journal_enabled": config.journal.enabled,
        "journal_bytes": config.journal.largest,
        "acknowledge": config.journal.acknowledge,
    }
