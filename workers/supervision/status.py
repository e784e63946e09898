"""How a daemon is, in plain values: its status while it runs, and in the end what the run came to."""

import time
from collections import deque
from math import inf, log
from typing import TYPE_CHECKING, Any

from streamrnn.model.channels import names
from streamrnn.workers.supervision.placement import GATE, PUBLISHER, numbering

if TYPE_CHECKING:
    from streamrnn.workers.supervisor import Supervisor

COUNTS = "refused", "streams_refused", "rejected", "bad"  # that workers begin anew when they are started again
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


class Passed:
    """Frames of the run that have gone through, and how many of them were new: replayed ones are not.

    What a resumed daemon replays ends with the frame that the gate had taken last when it opened. After a failure it is
    what had been counted before.
    """

    def __init__(self) -> None:
        self.frames = 0  # of the run, without those of previews
        self._old = 0  # of them, those that were in before this daemon was ready
        self.until: int | None = None  # of all frames, those of previews too, as many were in by then
        self._replays = True

    def opened(self, frames: int) -> None:
        """The gate has taken so many frames of the run, those of previews too, and takes new ones from now on."""
        if self.until is None:
            self.until = frames

    def look(self, inputs: int, seq: int) -> None:
        """So many have come to the publisher, without those of previews and with them."""
        self.frames = max(self.frames, inputs)
        if self._replays:
            new = -1 if self.until is None else seq - self.until
            self._old = self.frames - max(new, 0)
            self._replays = new < 0

    def go_back(self, frames: int) -> None:
        """The run goes on from so many, and what came since is lost."""
        self._old -= self.frames - frames
        self.frames = frames

    @property
    def new(self) -> int:
        """Frames that this daemon has let in and taken through."""
        return self.frames - self._old


def known(daemon: "Supervisor", name: str) -> dict[str, Any]:
    """What a worker has reported; until it has caught up with what was there before a failure, what was known then."""
    worker, before = daemon.workers[name], daemon.known.get(name, {})
    caught_up = worker.state == "open" if name == GATE else worker.facts.get("inputs", inf) >= daemon.passed.frames
    return before | worker.facts if caught_up else worker.facts | before


def status(daemon: "Supervisor") -> dict[str, Any]:
    """How things are."""
    gate, publisher = known(daemon, GATE), known(daemon, PUBLISHER)
    now = daemon.ended or time.monotonic()
    return {
        "name": daemon.config.name,
        "run": numbering(daemon.config, daemon.run, daemon.epoch),
        "state": daemon.state,
        "frames": daemon.passed.frames,
        "seq": publisher.get("seq", 0),
        "seconds": now - daemon.opened if daemon.opened else 0.0,
        "frames_per_second": daemon.rate.look(now, daemon.passed.new),
        "scored": publisher.get("scored", 0),
        "loss": publisher.get("loss"),
        "recent_loss": publisher.get("recent_loss"),
        "curve": publisher.get("curve", []),
        "curve_step": publisher.get("curve_step", 0),
        "refused": daemon.refused + daemon.counted["refused"] + total(daemon, "refused"),
        "rejected": daemon.frontend.rejected + daemon.counted["rejected"] + total(daemon, "rejected"),
        "bad": daemon.counted["bad"] + total(daemon, "bad"),
        "skipped_updates": sum(known(daemon, name).get("skipped", 0) for name in daemon.workers),
        "experts": told(daemon, "experts"),
        "channels": channels(daemon),
        "errors": errors(daemon),
        "alarms": alarms(daemon),
        "learning_rate": gate.get("rate"),
        "sources": gate.get("sources", []),
        "passed_over": gate.get("passed_over", {}),
        "streams": gate.get("streams", 0),
        "streams_on_disk": gate.get("streams_on_disk", 0),
        "streams_refused": daemon.counted["streams_refused"] + total(daemon, "streams_refused"),
        "full": gate.get("full", ""),
        "catching_up": catching_up(daemon),
        "recoveries": daemon.recoveries,
        "epoch": daemon.epoch,
        "journal": journal_status(daemon),
        "checkpoint": checkpoint_status(daemon),
        "checkpoints": str(daemon.checkpoints),
        "sinks": daemon.sinks.status(),
        "receivers": daemon.sinks.receivers(),
        "workers": [worker.status(daemon.clock.seconds) for worker in daemon.workers.values()],
    }


def catching_up(daemon: "Supervisor") -> dict[str, Any] | None:
    """How many frames, and about how many seconds, are left of what goes through again; None where nothing does."""
    gate = daemon.workers[GATE].facts
    if daemon.state != "catching up" or not gate.get("to_replay"):
        return None
    pace = gate["replayed"] / (time.monotonic() - daemon.replaying_since)
    return {"frames": gate["to_replay"], "seconds": gate["to_replay"] / pace if pace else None}


def told(daemon: "Supervisor", fact: str) -> Any:
    """What the worker says under a name that only the one with the readout has; None as long as it says nothing."""
    every = (known(daemon, name).get(fact) for name in daemon.workers)
    return next((found for found in every if found), None)


def channels(daemon: "Supervisor") -> dict[str, Any] | None:
    """The stream with the newest output, its channels as lists, and how unusual they are; None without forecasts.

    The stream's name is None for a moment where several streams come and their workers are not equally far.
    """
    if not (said := told(daemon, "channels")):
        return None
    number, name = known(daemon, PUBLISHER).get("newest_stream") or (None, None)
    count = len(said["forecast"])
    every = names(daemon.config.input.channels, daemon.config.readout.size)
    value = [recent[-1] if recent else None for recent in said["recent"]]
    unit = [daemon.config.input.units.get(each, "") for each in every[:count]]
    stream = name if number == said["stream"] else None
    found = said | {"stream": stream, "name": every[:count], "unit": unit, "value": value}
    surprise = known(daemon, PUBLISHER).get("surprise") or []
    return found | ({"surprise": surprise[:count]} if stream is not None and len(surprise) >= count else {})


def errors(daemon: "Supervisor") -> dict[str, Any] | None:
    """How far off forecasts of each channel were, see `ChannelErrors`; None where no values are forecast."""
    if not (known_errors := known(daemon, PUBLISHER).get("errors")):
        return None
    every = names(daemon.config.input.channels, daemon.config.readout.size)
    return {"name": every[: len(known_errors["scored"])], **known_errors}


def alarms(daemon: "Supervisor") -> list[dict[str, Any]]:
    """The newest ones, each with how many frames of all streams came after it."""
    last = known(daemon, PUBLISHER).get("seq", 0) - 1
    return [alarm | {"frames_ago": max(last - alarm["seq"], 0)} for alarm in daemon.alarms]


def total(daemon: "Supervisor", name: str) -> int:
    """What all workers together count under a name."""
    return sum(worker.facts.get(name, 0) for worker in daemon.workers.values())


def journal_status(daemon: "Supervisor") -> dict[str, int]:
    """The gate's log: its bytes, records that no checkpoint holds yet, and those not flushed to the disk yet."""
    gate = known(daemon, GATE)
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
    number, age = int(daemon.resumed.name), max(time.time() - daemon.run_checkpoints.completed, 0.0)
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
        "new_frames": daemon.passed.new,
        "seconds": seconds,
        "frames_per_second": daemon.passed.new / seconds,
        "loss": facts["loss"],
        "bits_per_symbol": bits[""],
        "bits_per_symbol_of_last_100000": bits["last_"],
        "parameters_sha256": daemon.manifest.parameters_sha256,
        "checkpoint": str(daemon.saving.folder),
    }
