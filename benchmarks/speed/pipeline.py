"""What the pipeline costs and what it brings: `python -m benchmarks.speed.pipeline`.

Cost: two LSTM-32 workers without learning, a frame a message, beside workers that only receive and send with the very
same functions. Gain: daemons on configs/text.toml with layers of several sizes, two and three workers on two cores, and
one worker on one core; gate and publisher run on the same cores.
"""

from benchmarks.shared import measure

# isort: split
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import zmq
from numba import types

import streamrnn as sr
from benchmarks.shared.daemon import learn, text_config
from benchmarks.shared.measure import Row, faster, more
from streamrnn.kernels.buffers import table_of
from streamrnn.kernels.frames import BEGIN, COLUMNS, EMIT, FLAGS, INPUT, TOKEN
from streamrnn.kernels.jit import kernel
from streamrnn.kernels.messages import DOUBLE, FRAMES, H_FRAMES, HEADER
from streamrnn.kernels.schedule import new_schedule
from streamrnn.workers.kernels import loop
from streamrnn.workers.stages import make_links

WORKERS, UNITS, IN_FLIGHT, BLOCK = 2, 32, 256, 64
MUST_RATE, MUST_TRIP = 0.8, 1 / 1.25
GAIN_FRAMES = {128: 100_000, 256: 30_000, 512: 8_000}  # by units
GAIN_WORKERS = {2: [1, 2], 3: [1, 1, 1]}  # consecutive stages in each; a worker to each stage is the default
MUST_GAIN = {(256, 2): 1.7}  # by units and workers
CORES = sorted(os.sched_getaffinity(0))[:2]
PROCESSES = multiprocessing.get_context("spawn")

clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.uintp))
MONOTONIC = 1


@kernel
def forward(links):
    """What `loop.serve` does, without the network."""
    until = loop.now(links) + loop.LOOK_EVERY
    while loop.now(links) < until:
        if loop.receive(links, loop.FRAMES_IN, links.incoming) >= 0:
            loop.send(links, loop.FRAMES_OUT, links.incoming)
        elif loop.wait(links, loop.FRAMES_IN, until):
            return


@kernel
def now(clock):
    """In seconds; clock (2,) int64 is overwritten."""
    clock_gettime(MONOTONIC, clock.ctypes.data)
    return clock[0] + 1e-9 * clock[1]


@kernel
def drive(links, in_flight, sent, returned, clock):
    """Send a frame for each of `sent`, no more than `in_flight` before they are back; when each went and came."""
    gone, back = 0, 0
    while back < sent.shape[0]:
        if gone < sent.shape[0] and gone - back < in_flight:
            sent[gone] = now(clock)
            loop.send(links, loop.FRAMES_OUT, links.outgoing)
            links.outgoing[HEADER + FLAGS] = INPUT | EMIT
            gone += 1
        elif loop.receive(links, loop.FRAMES_IN, links.incoming) >= 0:
            count = links.incoming[H_FRAMES]
            returned[back : back + count] = now(clock)
            back += count
        else:
            loop.wait(links, loop.FRAMES_IN, loop.now(links) + loop.LOOK_EVERY)


def network() -> sr.Network:
    return sr.Network([sr.LSTM(UNITS, UNITS) for _ in range(WORKERS)], sr.Linear(1), sr.SGD(1.0))


def connect(before: str, after: str) -> list[zmq.Socket]:
    """Sockets to receive and to send."""
    context = zmq.Context.instance()
    source, sink = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    for socket in (source, sink):
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.SNDHWM, 0)
    source.bind(before)
    sink.connect(after)
    return [source, sink]


def links_of(net: sr.Network, stage: int, sockets: list[zmq.Socket]) -> loop.Links:
    """Of a worker that hosts that stage, or of whoever exchanges the same messages."""
    source, sink = (socket.underlying for socket in sockets)
    order = {"block": BLOCK, "epoch": 1, "token_targets": False}
    return make_links(net, stage, stage + 1, order, [source, 0, 0, sink, 0, 0])


def work(stage: int, computes: bool, before: str, after: str) -> None:
    """A worker's process, until it is terminated."""
    net, sockets = network(), connect(before, after)
    links, sizes = links_of(net, stage, sockets), net.sizes(streams=1, block=BLOCK)
    stages = table_of(net.allocate(stage, stage + 1, sizes))
    schedule = new_schedule(sizes, net.accumulate, net.gradient_delay)
    while True:
        if computes:
            loop.serve(stages, schedule, links)
        else:
            forward(links)


@contextmanager
def chain(computes: bool) -> Iterator[loop.Links]:
    """Workers in a row, and the links of whoever drives them."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        places = [f"ipc://{folder}/{k}" for k in range(WORKERS + 1)]
        arguments = [(k, computes, *places[k : k + 2]) for k in range(WORKERS)]
        workers = [PROCESSES.Process(target=work, args=args, daemon=True) for args in arguments]
        for worker in workers:
            worker.start()
        sockets = connect(places[-1], places[0])
        links = links_of(network(), 0, sockets)
        loop.start_message(links.outgoing, FRAMES, 1, 0, 1, 1, UNITS, DOUBLE, 0)
        row, vector = links.outgoing[HEADER:][:COLUMNS], links.outgoing[HEADER + COLUMNS :].view(np.float64)
        row[FLAGS], row[TOKEN] = BEGIN | INPUT | EMIT, -1
        vector[:UNITS] = np.random.default_rng(0).standard_normal(UNITS)
        try:
            yield links
        finally:
            for worker in workers:
                worker.terminate()
                worker.join()
            for socket in sockets:
                socket.close(0)


def rate(links: loop.Links, count: int) -> float:
    """Frames a second, many under way at a time."""
    sent, returned = np.zeros((2, count))
    drive(links, IN_FLIGHT, sent, returned, np.zeros(2, np.int64))
    return count / (returned[-1] - sent[0])


def trip(links: loop.Links, count: int) -> float:
    """Median seconds of a round trip, one frame at a time."""
    sent, returned = np.zeros((2, count))
    drive(links, 1, sent, returned, np.zeros(2, np.int64))
    return float(np.median(returned - sent))


def in_turn(runs: dict[Any, Callable[[], float]], repeats: int) -> dict[Any, float]:
    """The median of what each run measures: A, B, A, B, ..."""
    found: dict[Any, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            found[name].append(run())
    return {name: median(values) for name, values in found.items()}


def cost_rows(quick: bool) -> list[Row]:
    """Workers that compute beside workers that only forward."""
    with ExitStack() as stack:
        chains = {name: stack.enter_context(chain(name == "ours")) for name in ("ours", "forwarding")}
        for links in chains.values():
            rate(links, 1000)
        count, repeats = (10_000, 3) if quick else (100_000, 15)
        rates = in_turn({name: partial(rate, links, count) for name, links in chains.items()}, repeats)
        trips = in_turn({name: partial(trip, links, count // 10) for name, links in chains.items()}, repeats)
    what, peer = f"{WORKERS} workers, no learning", "workers that only forward"
    return [
        more(f"{what}, frames/s", UNITS, rates["ours"], peer, rates["forwarding"], "/s", MUST_RATE),
        faster(f"{what}, round trip", UNITS, trips["ours"], peer, trips["forwarding"], MUST_TRIP),
    ]


def gain(workers: int) -> str:
    """What a row is called."""
    return f"{workers} workers on 2 cores, learning"


def speed(units: int, frames: int, placement: list[int], cores: set[int]) -> float:
    """Frames a second of a daemon."""
    return learn(text_config(units, placement), "--max-frames", str(frames), cores=cores)["frames_per_second"]


def gain_rows(quick: bool) -> list[Row]:
    """Several workers on two cores beside one worker on one."""
    found = []
    for units, most in GAIN_FRAMES.items():
        frames = most // 4 if quick else most
        runs = {n: partial(speed, units, frames, placement, set(CORES)) for n, placement in GAIN_WORKERS.items()}
        rates = in_turn({1: partial(speed, units, frames, [3], set(CORES[:1])), **runs}, 1 if quick else 5)
        for n in GAIN_WORKERS:
            found.append(more(gain(n), units, rates[n], "fused, 1 core", rates[1], "/s", MUST_GAIN.get((units, n))))
    return found


def rows(quick: bool) -> list[Row]:
    """What it costs, then what it brings."""
    return cost_rows(quick) + gain_rows(quick)


if __name__ == "__main__":
    measure.main("pipeline", "the pipeline", rows)
