"""Frames a second of a recorded file: `python -m benchmarks.speed.send`.

`streamrnn send` reads a file of lines of 4 numbers, and of bytes, into a daemon with one GRU-8 that learns from each;
and a client gives the same numbers as an array. A frame counts when it is accepted: checked and on the disk.
"""

from benchmarks.shared import measure

# isort: split
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.shared.daemon import Daemon, running
from benchmarks.shared.measure import Row, more

FRAMES, FRAMES_QUICK = 500_000, 100_000
MUST = 50_000.0  # frames a second at least
CONFIG = """
name = "send"
layers = [{{ cell = "gru", units = 8 }}]
predict = "next"
input = {{ kind = "{kind}", size = {size} }}
readout = {{ kind = "{readout}", size = {size} }}
optimizer = {{ kind = "adam", learning_rate = 0.001 }}
learning = {{ window = 16 }}
"""
VECTORS = CONFIG.format(kind="vector", size=4, readout="gaussian")
TEXT = CONFIG.format(kind="tokens", size=256, readout="softmax")


def rows(quick: bool) -> list[Row]:
    """Each with a daemon of its own."""
    frames = FRAMES_QUICK if quick else FRAMES
    numbers = np.round(np.random.default_rng(0).normal(size=(frames, 4)), 4)
    with tempfile.TemporaryDirectory() as name:
        lines, text = Path(name, "lines"), Path(name, "text")
        np.savetxt(lines, numbers, fmt="%g")
        text.write_bytes(lines.read_bytes()[:frames])
        found = {
            "lines of 4 numbers, streamrnn send": rate(VECTORS, frames, sending(lines)),
            "bytes, streamrnn send": rate(TEXT, frames, sending(text)),
            "an array of vectors of 4, Client.send_many": rate(
                VECTORS, frames, lambda daemon: daemon.client.send_many(numbers)
            ),
        }
    return [more(what, None, ours, "limit", MUST, "frames/s", 1) for what, ours in found.items()]


def sending(path: Path) -> Callable[[Daemon], None]:
    """The command, on that file."""

    def send(daemon: Daemon) -> None:
        control = f"{daemon.outputs.removesuffix('outputs')}control"
        command = [sys.executable, "-m", "streamrnn", "send", "--control", control]
        with path.open("rb") as file:
            subprocess.run(command, stdin=file, stdout=subprocess.DEVNULL, check=True)

    return send


def rate(config: str, frames: int, send: Callable[[Daemon], None]) -> float:
    """Frames accepted a second, from the start to the last one."""
    with running(config) as daemon:
        begun = time.perf_counter()
        send(daemon)
        daemon.client.flush()
        return frames / (time.perf_counter() - begun)


if __name__ == "__main__":
    measure.main("send", "frames of a recorded file", rows)
