"""The process of sinks and receivers as the supervisor sees it: beside the pipeline, started again alone."""

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import zmq

from streamrnn.config import Config
from streamrnn.protocol.keys import Keys
from streamrnn.workers.supervision import logs
from streamrnn.workers.supervision.clock import RunningClock
from streamrnn.workers.supervision.placement import WorkerHandle
from streamrnn.workers.supervision.worker_group import Died, WorkerGroup
from streamrnn.workers.worker import Failure

NAME = "sinks"
SHORTEST, LONGEST = 0.5, 30.0  # seconds before it is started again
LASTING = 60.0  # seconds after which a start was a good one
FINISH = 10.0  # seconds that the rest may take in the end
PATIENCE = 6  # times the silence that a worker of the pipeline is allowed
COUNTS = "written", "missed"


class SinkProcess:
    """Nothing happens where the config has no [[sinks]] and no [[alarms]]."""

    def __init__(self, context: zmq.Context, config: Config, folder: Path, clock: RunningClock) -> None:
        """folder: of the daemon's own sockets."""
        self._config, self._folder = config, folder
        self._group = WorkerGroup(context, clock)
        self._counted = [Counter[str]() for _ in config.destinations]  # by processes that are no more
        self._starts = 0
        self._started, self._again, self._wait = 0.0, float("inf"), SHORTEST
        self._died = ""  # how
        self._deadline = float("inf")

    @property
    def safe(self) -> int:
        """The place up to which all have written everything, whatever happens; -1 where that is not known."""
        return int(self._facts.get("safe", -1))

    @property
    def finished(self) -> bool:
        """Whether all is written that can be."""
        running = self._group.inner is not None
        return not running or self._facts.get("finished", False) or time.monotonic() > self._deadline

    def start(self) -> None:
        """Start it."""
        if not self._config.destinations:
            return
        self._starts += 1
        self._started, self._again = time.monotonic(), float("inf")
        self._group.workers = {NAME: WorkerHandle(NAME, "sinks", NAME, self._order())}
        try:
            self._group.start(f"ipc://{self._folder}/sinks-{self._starts}", self._config.single)
        except (Failure, OSError) as error:  # such as a folder that was cleaned away
            self._take_death(str(error))

    def register(self, poller: zmq.Poller) -> None:
        """Have a poller wait for what it reports, and for its end."""
        if self._group.inner:
            self._group.register(poller)

    def hear(self, ready: Mapping[Any, int], silence: float) -> None:
        """Take what it reports, and start it again where it has died; silence: see `supervision.heartbeat`."""
        if not self._group.inner:
            if time.monotonic() >= self._again:
                self.start()
            return
        for _, kind, message, _ in self._group.reports():
            if kind == "warning":
                logs.tell("warning", message["event"], message["text"])
            elif kind == "failed":
                self._died = message["reason"]
            elif kind == "status":
                self._died = ""
        try:
            self._group.see_that_all_live(ready, PATIENCE * silence)
        except Died as error:
            self._take_death(self._died or str(error))

    def finish(self) -> None:
        """Have the rest written: what came before is all there is."""
        self._deadline = time.monotonic() + FINISH
        self._group.order(NAME, "finish")

    def stop(self) -> None:
        """End it."""
        self._group.stop()

    def status(self) -> list[dict[str, Any]]:
        """How each sink is: `kind`, `line`, outputs `written` and `missed` by this daemon, `trouble`, and the `pid`."""
        every = self._every()[: len(self._config.sinks)]
        return [{name: value for name, value in each.items() if name != "waiting"} for each in every]

    def receivers(self) -> list[dict[str, Any]]:
        """How each receiver is: `kind`, `line`, alarms `sent` and `waiting`, outputs `missed`, `trouble`, `pid`."""
        every = self._every()[len(self._config.sinks) :]
        return [{"sent" if name == "written" else name: value for name, value in each.items()} for each in every]

    def _every(self) -> list[dict[str, Any]]:
        tables = self._config.destinations
        known = self._facts.get("sinks") or [{} for _ in tables]
        return [
            {
                "kind": table.kind,
                "line": table.line,
                **{name: counted[name] + facts.get(name, 0) for name in COUNTS},
                "waiting": facts.get("waiting", 0),
                "trouble": self._died or facts.get("trouble", ""),
                "pid": self.pid,
            }
            for table, counted, facts in zip(tables, self._counted, known, strict=True)
        ]

    @property
    def pid(self) -> int:
        """0 where it does not run."""
        return self._group.workers[NAME].pid if self._group.inner else 0

    @property
    def _facts(self) -> dict[str, Any]:
        return self._group.workers[NAME].facts if self._group.workers else {}

    def _take_death(self, how: str) -> None:
        now = time.monotonic()
        self._wait = SHORTEST if now - self._started > LASTING else self._wait
        text = f"{how}: sinks and receivers start again in {self._wait:.1f} s, the pipeline goes on"
        logs.tell("warning", "sinks_died", text, reason=how)
        for counted, facts in zip(self._counted, self._facts.get("sinks", ()), strict=False):
            counted.update({name: facts[name] for name in COUNTS})
        self._group.kill()
        self._group.workers[NAME].facts = {"safe": self.safe}
        self._died, self._again = how, now + self._wait
        self._wait = min(2 * self._wait, LONGEST)

    def _order(self) -> dict[str, Any]:
        config = self._config
        return {
            "daemon": config.name,
            "sinks": [msgspec.to_builtins(table) for table in config.sinks],
            "alarms": [msgspec.to_builtins(table) for table in config.alarms],
            "readout": msgspec.to_builtins(config.readout),
            "channels": config.input.channels,
            "units": config.input.units,
            "control": config.sockets.control,
            "key": str(Keys(config.keys).path) if config.security.curve else None,
            "positions": str(config.folder / NAME),
        }
