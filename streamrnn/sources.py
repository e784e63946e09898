"""Where a daemon's own frames come from: text, byte by byte, or the sensors of this machine.

The gate polls a source and never waits for it:

- `delay()`: seconds until frames are due; 0 = now, inf = not before `fileno()` is readable, or never (`ended`).
  Poll the descriptor only while `delay()` is inf: a rate makes frames wait although the descriptor is readable.
- `fileno()`: a descriptor for poll(2), or None.
- `read(limit)`: at most `limit` frames that are due, perhaps none; int64 (n,) tokens or float32 (n, size).
- `skip(n)`: pass over the first n frames, because a resumed run has seen them; nothing where time cannot be repeated.
- `ended`, `names` (of the sensors, else empty), `close()`.
"""

import math
import os
import select
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from streamrnn.config import SensorsConfig, Source, TextConfig, reading

Clock = Callable[[], float]
CHUNK = 1 << 16  # most bytes read at once
EARLY = 1e-6  # seconds by which a frame may come early: rounding must not send the gate back for a nanosecond


class SourceError(OSError):
    """A source that cannot be opened or read; the message is one line that says which and why."""


class _Pace:
    """Frame k is due k / rate seconds after the first question. Whoever comes late catches up on at most a second."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self._rate, self._clock = rate, clock
        self._start: float | None = None
        self._given = 0

    def delay(self) -> float:
        return _wait(-self._ahead() / self._rate) if self._rate else 0.0

    def due(self, limit: int) -> int:
        """How many frames may go out now, at most `limit`."""
        if not self._rate:
            return limit
        return min(limit, max(0, math.floor(self._ahead() + EARLY * self._rate) + 1))

    def took(self, count: int) -> None:
        self._given += count

    def _ahead(self) -> float:
        """By how many frames the clock is ahead of what was given."""
        now = self._clock()
        if self._start is None:
            self._start = now
        self._start = max(self._start, now - 1 - self._given / self._rate)
        return (now - self._start) * self._rate - self._given


class _File:
    """A regular file, read in pieces: a map would end the process where the file is cut short."""

    def __init__(self, descriptor: int, path: str, size: int) -> None:
        self._descriptor, self._path, self._size = descriptor, path, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        wanted = part.stop - part.start
        try:
            piece = os.pread(self._descriptor, wanted, part.start)
        except OSError as error:
            raise SourceError(f"{self._path}: {_reason(error)} at byte {part.start}") from None
        if not piece and wanted:
            raise SourceError(f"{self._path}: was cut short while it was being read, at byte {part.start}")
        return piece

    def close(self) -> None:
        os.close(self._descriptor)


class TextSource:
    """A text of known length: `passes` times through (0 = for ever) at `rate` bytes a second (0 = at once)."""

    names: tuple[str, ...] = ()

    def __init__(self, text: bytes | _File, passes: int = 1, rate: float = 0.0, clock: Clock = time.monotonic) -> None:
        self._text, self._pace = text, _Pace(rate, clock)
        self._end = len(text) * passes if passes else math.inf
        self._position = 0

    @property
    def ended(self) -> bool:
        return self._position >= self._end or not len(self._text)

    def delay(self) -> float:
        return math.inf if self.ended else self._pace.delay()

    def fileno(self) -> int | None:
        return None

    def read(self, limit: int) -> NDArray[np.int64]:
        """At most `limit` bytes that are due, as tokens (n,), never beyond the end of a pass. Raises SourceError."""
        if self.ended:
            return _tokens(b"")
        start = self._position % len(self._text)
        count = min(self._pace.due(min(limit, CHUNK)), len(self._text) - start)
        tokens = _tokens(self._text[start : start + count])
        self._position += len(tokens)
        self._pace.took(len(tokens))
        return tokens

    def skip(self, n: int) -> None:
        self._position += n

    def close(self) -> None:
        if isinstance(self._text, _File):
            self._text.close()


class PipeSource:
    """Bytes that come when they come: standard input, a named pipe, a device; `rate` bytes a second at most.

    It asks poll(2) before each read and leaves the descriptor blocking: a terminal's standard input shares its
    flags with standard output, which would then lose what it cannot print at once.
    """

    names: tuple[str, ...] = ()

    def __init__(self, descriptor: int, name: str, rate: float = 0.0, clock: Clock = time.monotonic) -> None:
        self._descriptor, self._name, self._pace = descriptor, name, _Pace(rate, clock)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self.ended = False

    def delay(self) -> float:
        return self._pace.delay() if not self.ended and self._poll.poll(0) else math.inf

    def fileno(self) -> int | None:
        return None if self.ended else self._descriptor

    def read(self, limit: int) -> NDArray[np.int64]:
        """At most `limit` bytes that are there and due, as tokens (n,). Raises SourceError."""
        if self.ended or not self._poll.poll(0):
            return _tokens(b"")
        count = self._pace.due(min(limit, CHUNK))
        if not count:
            return _tokens(b"")
        try:
            piece = os.read(self._descriptor, count)
        except BlockingIOError:
            return _tokens(b"")
        except OSError as error:
            raise SourceError(f"{self._name}: {_reason(error)}") from None
        self.ended = not piece
        self._pace.took(len(piece))
        return _tokens(piece)

    def skip(self, n: int) -> None:
        """Nothing: what a resumed run has seen does not come again."""

    def close(self) -> None:
        self.ended = True
        if self._descriptor:  # standard input is not ours to close
            os.close(self._descriptor)


class SensorSource:
    """What this machine measures of itself, `rate` times a second on a steady clock; a missed tick is left out.

    Load of each core and memory used as fractions of 1; disk and network traffic as log(1 + bytes per second).
    A counter that this machine does not have reads as 0.
    """

    ended = False

    def __init__(self, rate: float = 10.0, clock: Clock = time.monotonic) -> None:
        self.names = sensor_names()
        self._rate, self._clock = rate, clock
        self._start: float | None = None
        self._tick = 0  # of the next reading
        self._read_at = clock()
        self._traffic = _traffic()
        psutil.cpu_percent(percpu=True)  # the load is measured from the call before

    @property
    def size(self) -> int:
        return len(self.names)

    def delay(self) -> float:
        return _wait(self._tick / self._rate - self._elapsed())

    def fileno(self) -> int | None:
        return None

    def read(self, limit: int) -> NDArray[np.float32]:
        """The present reading, (1, size), or (0, size) where none is due."""
        if limit < 1 or self.delay() > 0:
            return np.empty((0, self.size), np.float32)
        self._tick = max(self._tick, math.floor(self._elapsed() * self._rate)) + 1
        return self._measure()[None]

    def skip(self, n: int) -> None:
        """Nothing: what was measured before does not come again."""

    def close(self) -> None:
        pass

    def _elapsed(self) -> float:
        now = self._clock()
        if self._start is None:
            self._start = now
        return now - self._start

    def _measure(self) -> NDArray[np.float32]:
        now, traffic = self._clock(), _traffic()
        elapsed = max(now - self._read_at, 1e-3)
        rates = [math.log1p(max(0, new - old) / elapsed) for new, old in zip(traffic, self._traffic, strict=True)]
        self._read_at, self._traffic = now, traffic
        cores = self.size - len(rates) - 1
        load = [percent / 100 for percent in psutil.cpu_percent(percpu=True)][:cores]
        load += [0.0] * (cores - len(load))  # a core was taken offline
        return np.array([*load, psutil.virtual_memory().percent / 100, *rates], np.float32)


def open_source(
    source: Source, path_override: str | None = None, clock: Clock = time.monotonic
) -> TextSource | PipeSource | SensorSource | None:
    """The source that [source] describes, or the text at `path_override`, once through; None = clients only.

    Raises SourceError.
    """
    if path_override is not None:
        source = reading(path_override, source)
    if isinstance(source, SensorsConfig):
        return SensorSource(source.rate, clock)
    if isinstance(source, TextConfig):
        return open_text(source.path, source.passes, source.rate, clock)
    return None


def open_text(
    path: str | None, passes: int = 1, rate: float = 0.0, clock: Clock = time.monotonic
) -> TextSource | PipeSource:
    """The bytes of a file, of standard input (`-`), or of Python's own help texts (None).

    A named pipe or a device is read once, as its bytes come. Raises SourceError.
    """
    if path is None:
        from pydoc_data.topics import topics

        return TextSource("\n\n".join(topics.values()).encode(), passes, rate, clock)
    if path == "-":
        return PipeSource(0, "standard input", rate, clock)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # without O_NONBLOCK a named pipe waits for its writer
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: {_reason(error)}; give a file that can be read, or - for standard input") from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size:
        return TextSource(_File(descriptor, path, status.st_size), passes, rate, clock)
    if stat.S_ISDIR(status.st_mode):
        os.close(descriptor)
        raise SourceError(f"{path}: is a folder; give a file")
    return PipeSource(descriptor, path, rate, clock)


def sensor_names() -> list[str]:
    """The channels of a SensorSource on this machine, in the order of its vectors."""
    cores = len(psutil.cpu_times(percpu=True))
    return [*(f"core {i}" for i in range(cores)), "memory", "disk read", "disk write", "network in", "network out"]


def _traffic() -> list[int]:
    """Bytes since the machine started: disk read, disk written, network in, network out."""
    disk, network = _counters(psutil.disk_io_counters), _counters(psutil.net_io_counters)
    return [
        getattr(disk, "read_bytes", 0),
        getattr(disk, "write_bytes", 0),
        getattr(network, "bytes_recv", 0),
        getattr(network, "bytes_sent", 0),
    ]


def _counters(ask: Callable[[], Any]) -> Any:
    with suppress(OSError, NotImplementedError, RuntimeError):  # containers hide what they do not have
        return ask()
    return None


def _wait(seconds: float) -> float:
    return seconds if seconds > EARLY else 0.0


def _tokens(piece: bytes) -> NDArray[np.int64]:
    return np.frombuffer(piece, np.uint8).astype(np.int64)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
