"""How a daemon is, in plain values: its status while it runs, and in the end what the run came to."""

import time
from collections import deque
from math import log
from typing import TYPE_CHECKING, Any

from streamrnn.workers.plan import GATE, PUBLISHER

if TYPE_CHECKING:
    from streamrnn.workers.supervisor import Supervisor

COUNTS = "refused", "strangers", "bad"  # that workers begin anew when they are started again
RATE_SPAN = 3.0  # seconds over which frames per second are taken


class Rate:
    """Frames per second, from when they were looked at."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()

    def look(self, now: float, frames: int) -> float:
        """So many frames by now: how many a second that has been of late."""
        self._looks.append((now, frames))
        while now - self._looks[0][0] > RATE_SPAN:
            self._looks.popleft()
        since, before = self._looks[0]
        return (frames - before) / (now - since) if now > since else 0.0


def status(daemon: "Supervisor") -> dict[str, Any]:
    """How things are."""
    gate, publisher = daemon.workers[GATE].facts, daemon.workers[PUBLISHER].facts
    now = daemon.ended or time.monotonic()
    frames = publisher.get("inputs", 0)
    return {
        "name": daemon.config.name,
        "state": daemon.state,
        "frames": frames,
        "seconds": now - daemon.opened if daemon.opened else 0.0,
        "frames_per_second": daemon.rate.look(now, frames),
        "scored": publisher.get("scored", 0),
        "loss": publisher.get("loss"),
        "recent_loss": publisher.get("recent_loss"),
        "curve": publisher.get("curve", []),
        "refused": daemon.refused + daemon.counted["refused"] + total(daemon, "refused"),
        "strangers": daemon.door.strangers + daemon.counted["strangers"] + total(daemon, "strangers"),
        "bad": daemon.counted["bad"] + total(daemon, "bad"),
        "skipped_updates": total(daemon, "skipped"),
        "learning_rate": gate.get("rate"),
        "streams": gate.get("streams", 0),
        "full": gate.get("full", ""),
        "recoveries": daemon.recoveries,
        "epoch": daemon.epoch,
        "journal": journal_status(daemon),
        "checkpoint": checkpoint_status(daemon),
        "checkpoints": str(daemon.checkpoints),
        "workers": [worker.status() for worker in daemon.workers.values()],
    }


def total(daemon: "Supervisor", name: str) -> int:
    """What all workers together count under a name."""
    return sum(worker.facts.get(name, 0) for worker in daemon.workers.values())


def journal_status(daemon: "Supervisor") -> dict[str, int]:
    """The gate's log: its bytes, records that no checkpoint holds yet, and those not flushed to the disk yet."""
    gate = daemon.workers[GATE].facts
    last = gate.get("journal_last", 0)
    return {
        "bytes": gate.get("journal_bytes", 0),
        "records": max(last - daemon.manifest.journal, 0),
        "not_durable": last - gate.get("journal_durable", 0),
    }


def checkpoint_status(daemon: "Supervisor") -> dict[str, Any] | None:
    """The last checkpoint: its number, the frames in it, its age in seconds; None before the first."""
    if not daemon.resumed:
        return None
    number, age = int(daemon.resumed.name), max(time.time() - daemon.completed, 0.0)
    return {"number": number, "frames": daemon.manifest.frames, "seconds": age}


def result(daemon: "Supervisor") -> dict[str, Any]:
    """What the run came to."""
    assert daemon.saving
    facts = daemon.saving.reports[PUBLISHER]
    seconds = daemon.ended - daemon.opened
    tokens = daemon.config.input.kind == "tokens"
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
        "parameters_sha256": daemon.manifest.parameters_sha256,
        "checkpoint": str(daemon.saving.folder),
    }
