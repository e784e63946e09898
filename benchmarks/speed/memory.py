"""Memory over many frames: `python -m benchmarks.speed.memory`.

A daemon with two LSTM-32 layers reads text, 10^6 bytes: what each of its processes holds at the end, beside what it
held after a tenth, when the publisher's memory of the last 100,000 losses is full.

Compiled code makes no allocation of its own, for a frame or at all: kernels are compiled without the part of Numba that
makes them, and one that asks for memory does not compile (tests/test_jit.py). libzmq makes and frees the messages it
carries.
"""

from benchmarks.shared import measure

# isort: split
import time

import psutil

import streamrnn as sr
from benchmarks.shared.daemon import running, text_config
from benchmarks.shared.measure import Row, less

EARLY, LATE, LATE_QUICK = 100_000, 1_000_000, 200_000
GROWTH = 1.01  # at most


def rows(quick: bool) -> list[Row]:
    """Resident memory of every process of a daemon that reads a text over and over."""
    frames = LATE_QUICK if quick else LATE
    with running(text_config(32, [1, 1, 1])) as (client, *_):
        processes = {f"{w['does']} ({w['name']})": psutil.Process(w["pid"]) for w in client.status()["workers"]}
        early = resident(client, processes, EARLY)
        late = resident(client, processes, frames)
    against, must = f"after {EARLY:,}", 1 / GROWTH
    return [
        less(f"resident after {frames:,} frames: {name}", None, late[name], against, early[name], "MiB", must)
        for name in processes
    ]


def resident(client: sr.Client, processes: dict[str, psutil.Process], frames: int) -> dict[str, float]:
    """MiB that each holds once that many frames have gone through."""
    while client.status()["frames"] < frames:
        time.sleep(0.05)
    return {name: process.memory_info().rss / 2**20 for name, process in processes.items()}


if __name__ == "__main__":
    measure.main("memory", "memory over many frames", rows)
