"""The sensors of this machine."""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from streamrnn.model.tables import Input
from streamrnn.sources.frames import Frames, vectors
from streamrnn.sources.pace import Clock, wait
from streamrnn.sources.source import Problems, Source, SourceTable


class SensorSource(Source):
    """What this machine measures of itself, `rate` times a second on a steady clock; a missed tick is left out.

    Load of each core and memory used as fractions of 1; disk and network traffic as log(1 + bytes per second).
    A counter that this machine does not have reads as 0.
    """

    def __init__(self, rate: float = 10.0, clock: Clock = time.monotonic) -> None:
        self.names = sensor_names()
        self._rate, self._clock = rate, clock
        self._start: float | None = None
        self._tick = 0  # of the next reading
        self._read_at = clock()
        self._traffic = _traffic()
        _psutil().cpu_percent(percpu=True)  # the load is measured from the call before

    @property
    def size(self) -> int:
        return len(self.names)

    def delay(self) -> float:
        return wait(self._tick / self._rate - self._elapsed())

    def read(self, limit: int) -> Frames:
        """The present reading, (1, size), or (0, size) where none is due."""
        if limit < 1 or self.delay() > 0:
            return Frames(vectors([], self.size))
        self._tick = max(self._tick, math.floor(self._elapsed() * self._rate)) + 1
        return Frames(vectors([self._measure()], self.size))

    def _elapsed(self) -> float:
        now = self._clock()
        if self._start is None:
            self._start = now
        return now - self._start

    def _measure(self) -> list[float]:
        now, traffic = self._clock(), _traffic()
        elapsed = max(now - self._read_at, 1e-3)
        rates = [math.log1p(max(0, new - old) / elapsed) for new, old in zip(traffic, self._traffic, strict=True)]
        self._read_at, self._traffic = now, traffic
        cores = self.size - len(rates) - 1
        load = [percent / 100 for percent in _psutil().cpu_percent(percpu=True)][:cores]
        load += [0.0] * (cores - len(load))  # a core was taken offline
        return [*load, _psutil().virtual_memory().percent / 100, *rates]


class SensorsConfig(SourceTable, frozen=True, tag="sensors"):
    size_0: ClassVar[str] = "one for each sensor"
    rate: Annotated[float, Meta(gt=0, le=1000)] = 10.0  # samples per second

    @property
    def line(self) -> str:
        return f"this machine's sensors, {self.rate:g} times a second"

    def size(self) -> int:
        return len(sensor_names())

    def channels(self) -> list[str]:
        return list(sensor_names())

    def misfits(self, input: Input) -> Problems:
        if input.kind != "vector":
            yield "input.kind", 'must be "vector" with a sensors source'
        elif input.size != (count := self.size()):
            yield "input.size", f"must be {count}, this machine's number of sensors (or 0 for any machine's)"

    def open(self) -> SensorSource:
        return SensorSource(self.rate)


def sensor_names() -> tuple[str, ...]:
    """The channels of a SensorSource on this machine, in the order of its vectors."""
    cores = len(_psutil().cpu_times(percpu=True))
    return *(f"core {i}" for i in range(cores)), "memory", "disk read", "disk write", "network in", "network out"


def _traffic() -> list[int]:
    """Bytes since the machine started: disk read, disk written, network in, network out."""
    disk, network = _counters(_psutil().disk_io_counters), _counters(_psutil().net_io_counters)
    return [
        getattr(disk, "read_bytes", 0),
        getattr(disk, "write_bytes", 0),
        getattr(network, "bytes_recv", 0),
        getattr(network, "bytes_sent", 0),
    ]


def _counters(ask: Callable[..., Any]) -> Any:
    with suppress(OSError, NotImplementedError, RuntimeError):  # containers hide what they do not have
        return ask(nowrap=False)  # what has begun anew reads as no traffic
    return None


def _psutil() -> ModuleType:
    """Imported when a sensor is first asked for: other configs do without."""
    import psutil

    return psutil
