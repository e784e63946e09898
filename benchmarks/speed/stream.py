"""Frames a second through `stream`, each with its output: `python -m benchmarks.speed.stream`.

One client of each kind gives vectors of 1 number, one after another, to a daemon with one GRU-8 that learns from each,
and takes their outputs; beside it the same client waits for each by `step`. A frame counts when it has been accepted,
on the disk, and its output has come.
"""

from benchmarks.shared import measure

# isort: split
import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import numpy as np

import streamrnn as sr
from benchmarks.shared.daemon import ANSWER_TIMEOUT, running
from benchmarks.shared.measure import Row, more

FRAMES, FRAMES_QUICK = 500_000, 100_000
STEPS, STEPS_QUICK = 5_000, 500
MUST = 50_000.0  # frames a second at least
CONFIG = """
name = "stream"
layers = [{ cell = "gru", units = 8 }]
predict = "next"
input = { kind = "vector", size = 1 }
readout = { kind = "gaussian", size = 1 }
optimizer = { kind = "adam", learning_rate = 0.001 }
learning = { window = 16 }
"""


def rows(quick: bool) -> list[Row]:
    """Each client with a daemon of its own."""
    xs = np.random.default_rng(0).normal(size=(FRAMES_QUICK if quick else FRAMES, 1)).tolist()
    steps = xs[: STEPS_QUICK if quick else STEPS]
    found = {"Client": blocking(xs, steps), "AsyncClient": asyncio.run(awaited(xs, steps))}
    return [
        row
        for name, (streamed, stepped) in found.items()
        for row in (
            more(f"{name}.stream", None, streamed, "limit", MUST, "frames/s", 1),
            more(f"{name}.stream", None, streamed, f"{name}.step", stepped, "frames/s", None),
        )
    ]


def blocking(xs: list[Any], steps: list[Any]) -> tuple[float, float]:
    """Frames a second by `stream` and by `step`."""
    with running(CONFIG) as daemon:
        begun = time.perf_counter()
        in_order([output.seq for output in daemon.client.stream(xs)], len(xs))
        streamed = len(xs) / (time.perf_counter() - begun)
        begun = time.perf_counter()
        for x in steps:
            daemon.client.step(x)
        return streamed, len(steps) / (time.perf_counter() - begun)


async def awaited(xs: list[Any], steps: list[Any]) -> tuple[float, float]:
    """The same, awaited."""
    with running(CONFIG) as daemon:
        async with sr.AsyncClient(f"{daemon.outputs.removesuffix('outputs')}control", ANSWER_TIMEOUT) as client:
            streamed = len(xs) / await seconds(streaming(client, xs))
            return streamed, len(steps) / await seconds(stepping(client, steps))


async def streaming(client: sr.AsyncClient, xs: list[Any]) -> None:
    """By `stream`."""
    in_order([output.seq async for output in client.stream(xs)], len(xs))


async def stepping(client: sr.AsyncClient, xs: list[Any]) -> None:
    """By `step`."""
    for x in xs:
        await client.step(x)


async def seconds(work: Coroutine[Any, Any, None]) -> float:
    """That it takes."""
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


def in_order(seqs: list[int], count: int) -> None:
    """Raises RuntimeError if outputs of that many frames did not come in order."""
    if len(seqs) != count or any(np.diff(seqs) <= 0):
        raise RuntimeError("an output is lacking, or has come out of order")


if __name__ == "__main__":
    measure.main("stream", "frames of one client, each with its output", rows)
