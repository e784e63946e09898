"""What a service manager hears of a daemon: datagrams to the socket that it names, as sd_notify(3) says of systemd."""

import math
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

STATUS_EVERY = 5.0  # seconds
EXTEND_EVERY = 1.0  # seconds
PATIENCE = 0.1  # seconds for a manager that is slow to take a datagram
EXTENSION = 30.0  # seconds that are asked for where it takes long; as often as it goes on


class ServiceManager:
    """Whoever started the daemon and waits for word of it; without $NOTIFY_SOCKET nobody, and nothing happens."""

    def __init__(
        self, environment: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic
    ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._clock = clock
        self._beat_every = watchdog_seconds(environment) / 2
        self._beaten, self._extended, self._shown = clock(), -math.inf, -math.inf

    def ready(self) -> None:
        """Frames can come."""
        self._send("READY=1")

    def stopping(self) -> None:
        """No more frames are let in."""
        self._send("STOPPING=1")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """What is done inside is a reload of the config."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            yield
        finally:
            self.ready()

    def beat(self, *, long: bool) -> None:
        """The supervisor's loop turns. To be called often; `long`: what it does now may take longer than is allowed."""
        now = self._clock()
        if now - self._beaten >= self._beat_every:
            self._beaten = now
            self._send("WATCHDOG=1")
        if long and now - self._extended >= EXTEND_EVERY:
            self._extended = now
            self._send(f"EXTEND_TIMEOUT_USEC={EXTENSION * 1e6:.0f}")

    def show(self, status: Mapping[str, Any]) -> None:
        """Tell in a line how things are, now and then."""
        if self._clock() - self._shown >= STATUS_EVERY:
            self._shown = self._clock()
            loss = "" if status["recent_loss"] is None else f", loss {status['recent_loss']:.3f} nats"
            pace = f"{status['frames']:,} frames, {status['frames_per_second']:,.0f}/s"
            self._send(f"STATUS={status['state']}: {pace}{loss}")

    def close(self) -> None:
        self._socket.close()

    def _send(self, *assignments: str) -> None:
        """A manager that does not listen changes nothing."""
        if self._address:
            with suppress(OSError):
                self._socket.sendto("\n".join(assignments).encode(), self._address)


def watchdog_seconds(environment: Mapping[str, str]) -> float:
    """After how many seconds without a sign of life the manager ends this process; infinity where it does not."""
    duration = environment.get("WATCHDOG_USEC", "")
    if not re.fullmatch("[0-9]{1,18}", duration) or environment.get("WATCHDOG_PID", "") not in ("", str(os.getpid())):
        return math.inf
    return int(duration) / 1e6 or math.inf
