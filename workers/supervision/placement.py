"""Who does what: the worker processes of a daemon, and the order that wires each into the pipeline."""

import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from streamrnn.config import Config
from streamrnn.cuda.device import CPU
from streamrnn.kernels.anomaly import DETECTORS
from streamrnn.kernels.readouts import READOUTS
from streamrnn.model.inputs import largest
from streamrnn.storage.manifest import Manifest
from streamrnn.workers import host
from streamrnn.workers.supervision.runs import journal_of

GATE, PUBLISHER = "gate", "publisher"

# Several workers are forked from a process that has everything ready and nothing open: they start in no time, and share
# what it has. A single one would double that, and starts by itself.
FORKED, SPAWNED = multiprocessing.get_context("forkserver"), multiprocessing.get_context("spawn")
FORKED.set_forkserver_preload(["streamrnn.workers.forkserver", "streamrnn.cli.main"])


class WorkerHandle:
    """A worker as the supervisor sees it: a process, or a thread of one."""

    def __init__(self, name: str, module: str, does: str, order: dict[str, Any]) -> None:
        self.name, self.module, self.does, self.order = name, f"streamrnn.workers.{module}", does, order
        self.process: Any = None
        self.state = ""
        self.heard = 0.0  # when, by the supervisor's running clock,
        self.silence = 0.0  # and the longest that it was not, in seconds
        self.facts: dict[str, Any] = {}

    def hear(self, now: float) -> None:
        """It has reported."""
        if self.state:
            self.silence = max(self.silence, now - self.heard)
        self.heard = now

    def status(self, now: float) -> dict[str, Any]:
        """How it is: `heard` seconds ago, `silence` the longest so far, `busy` in seconds; both memories in bytes;
        `rows` that it has passed on since it was started."""
        heard = now - self.heard if self.process else None
        known = {name: self.facts.get(name, 0) for name in ("busy", "memory", "rows", "device_memory")}
        known |= {"device": self.device}
        return {"name": self.name, "does": self.does, "pid": self.pid, "heard": heard, "silence": self.silence, **known}

    @property
    def device(self) -> str:
        return self.order.get("device", CPU)

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0


def start(workers: Sequence[WorkerHandle], endpoint: str, now: float, single: bool) -> None:
    """Start them as processes, or as threads of a single one; now: by the supervisor's running clock."""
    for group in [workers] if single else [[worker] for worker in workers]:
        stdin = host.StandardInput() if any(worker.order.get("stdin") for worker in group) else None
        names = [(worker.module, worker.name) for worker in group]
        process = (SPAWNED if single else FORKED).Process(target=host.run, args=(names, endpoint, stdin))
        process.start()
        for worker in group:
            worker.process, worker.heard = process, now


def plan(
    config: Config,
    manifest: Manifest,
    resumed: Path | None,
    folder: Path,
    epoch: int,
    max_frames: int | None,
) -> list[WorkerHandle]:
    """The workers in the order of the pipeline, each with the order it will get; sockets of their own lie in folder.

    max_frames: from here on, 0 for any number; None goes on counting.
    """
    placement = config.placement
    sockets = "inproc://" if config.single else f"ipc://{folder}/"
    common = {
        "epoch": epoch,
        "block": config.pipeline.block,
        "in_flight": config.pipeline.in_flight,
        "max_streams": config.pipeline.max_streams,
        "places": config.pipeline.places,
        "evict": config.pipeline.evict,
        "streams": manifest.streams,
        "rate": manifest.rate or 0.0,  # the one that is wanted comes down before the first frame
        "to_gate": f"{sockets}to-gate",
        "keys": str(config.keys) if config.security.curve else None,
        "checkpoints": str(config.checkpoints),
        "resume": str(resumed) if resumed else None,
    }
    frames = [f"{sockets}frames-{k}" for k in range(len(placement) + 1)]
    gradients = [None, *(f"{sockets}gradients-{k}" for k in range(1, len(placement))), None]
    entry = common | gate_order(config, manifest) | {"frames_out": frames[0], "max_frames": max_frames}
    entry["parts"] = len(placement) + 1  # of an evicted stream: one from each worker that it comes by
    workers = [WorkerHandle(GATE, "gate", "gate", entry)]
    names = [
        *(f"{layer.cell} {layer.units}" for layer in config.layers),
        f"{config.readout.kind} {config.readout.size}",
    ]
    first = 0
    for k, count in enumerate(placement):
        order = {
            "spec": config.spec(),
            "stages": [first, first + count],
            "device": config.devices[k],
            "token_targets": config.readout.classes,
            "frames_in": frames[k],
            "frames_out": frames[k + 1],
            "gradients_out": gradients[k],
            "gradients_in": gradients[k + 1],
        }
        workers.append(WorkerHandle(f"stages-{k}", "stages", ", ".join(names[first : first + count]), common | order))
        first += count
    order = {
        "frames_in": frames[-1],
        "outputs": config.sockets.outputs,
        "history": config.outputs.history,
        "run": numbering(config, manifest.run, epoch),
        "written": -1 if config.destinations and config.journal.enabled else None,
        "forecast": msgspec.to_builtins(config.readout) if READOUTS[config.readout.name].experts else None,
        "channels": config.input.channels,
        "targets": config.readout.size if config.predict == "next" and not config.readout.classes else 0,
        "losses": READOUTS[config.readout.name].beside(config.readout.size),
    }
    workers.append(WorkerHandle(PUBLISHER, "publisher", "publisher", common | order))
    return workers


def numbering(config: Config, run: str, epoch: int) -> str:
    """What the SEQs of frames are unique in: the run; without a journal they come again after a failure."""
    return run if config.journal.enabled else f"{run}.{epoch}"


def dismissals(config: Config) -> range:
    """What a frame with DISMISS may say, see `kernels.anomaly.alarm`."""
    return range(config.readout.size << len(DETECTORS) if config.anomaly else 0)


def gate_order(config: Config, manifest: Manifest) -> dict[str, Any]:
    """What the gate must know of the network and of where its frames go on from."""
    tokens, token_targets = config.input.kind == "tokens", config.readout.classes
    return {
        "overload": config.pipeline.overload,
        "sources": [(msgspec.to_builtins(table), stream) for table, stream in config.named_sources],
        "backfill": (msgspec.to_builtins(config.past[0]), config.past[1]) if config.past else None,
        "stdin": config.reads_stdin,
        "gate": config.sockets.gate,
        "predict": config.predict,
        "input_size": 0 if tokens else config.input.size,
        "classes": config.input.size if tokens else 0,
        "target_size": 0 if token_targets else config.readout.size,
        "largest": largest(config.input.standardize),
        "missing": config.input.missing,
        "dismissals": len(dismissals(config)),
        "target_classes": config.readout.size if token_targets else 0,
        "frames": manifest.frames,
        "fresh": manifest.fresh,
        "last": manifest.last,
        "position": manifest.position,
        "left": manifest.left,
        "run": manifest.run,
        "journal": str(journal_of(config.folder, manifest.run)),
        "evicted": str(config.folder / "streams"),
        "journal_start": manifest.journal,
        "journal_enabled": config.journal.enabled,
        "journal_bytes": config.journal.largest,
        "acknowledge": config.journal.acknowledge,
    }
