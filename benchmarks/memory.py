"""Memory over many frames: `python -m benchmarks.memory`.

Allocations are counted by Numba's runtime, through which compiled code makes all of its own: a call that takes many
frames makes as many as one that takes few (they wrap the arguments), so no frame makes any. libzmq makes and frees the
messages it carries. And a daemon with two LSTM-32 layers reads text, 10^6 bytes: what each of its processes holds at
the end, beside what it held after a tenth, when the publisher's memory of the last 100,000 losses is full.
"""

from benchmarks import measure

# isort: split
import time
from collections.abc import Callable

import numpy as np
import psutil
import zmq
from numba.core.runtime import _nrt_python, rtsys

import streamrnn as sr
from benchmarks.daemon import running, text_config
from benchmarks.measure import Row, less
from streamrnn import chain
from streamrnn.buffers import table_of
from streamrnn.frames import BEGIN, COLUMNS, EMIT, FLAGS, INPUT, SCORED, TOKEN
from streamrnn.schedule import new_schedule
from streamrnn.wire import FRAMES, Message, pack
from streamrnn.workers import loop
from streamrnn.workers.stages import make_links

FEW, MANY = 64, 2560  # frames; in messages of BLOCK, so few that `serve` takes them in one call
EARLY, LATE, LATE_QUICK = 100_000, 1_000_000, 200_000
BLOCK, INPUTS, UNITS, TARGETS = 64, 16, 32, 8
GROWTH = 1.01  # at most

_nrt_python.memsys_enable_stats()


def network() -> sr.Network:
    return sr.Network([sr.LSTM(INPUTS, UNITS)], sr.Linear(TARGETS), sr.Adam(1e-3))


def frames_of(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, inputs and targets of that many."""
    rng = np.random.default_rng(0)
    frames = np.zeros((count, COLUMNS), np.int64)
    frames[:, FLAGS], frames[:, TOKEN] = INPUT | SCORED | EMIT, -1
    frames[0, FLAGS] |= BEGIN
    return frames, rng.standard_normal((count, INPUTS), np.float32), rng.standard_normal((count, TARGETS), np.float32)


def allocations(work: Callable[[int], None], frames: int) -> int:
    """That compiled code makes while it takes that many frames."""
    work(frames)
    before = rtsys.get_allocation_stats()
    work(frames)
    after = rtsys.get_allocation_stats()
    return after.alloc - before.alloc


def run_chain(count: int) -> None:
    """Step and learn in one process."""
    net = network()
    sizes = net.sizes(streams=1, block=BLOCK)
    stages, schedule = table_of(net.allocate(0, 2, sizes)), new_schedule(sizes, net.accumulate, net.gradient_delay)
    chain.run(stages, schedule, *frames_of(count), np.zeros(count), np.zeros((count, TARGETS), np.float32))


def run_loop(count: int) -> None:
    """The loop of a worker that hosts the whole network; all messages are there when it begins."""
    net, context = network(), zmq.Context()
    sizes = net.sizes(streams=1, block=BLOCK)
    stages, schedule = table_of(net.allocate(0, 2, sizes)), new_schedule(sizes, net.accumulate, net.gradient_delay)
    before, source, sink, after = (context.socket(kind) for kind in (zmq.PUSH, zmq.PULL, zmq.PUSH, zmq.PULL))
    for socket in (before, source, sink, after):
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
    for receiver, sender, name in ((source, before, "in"), (after, sink, "out")):
        receiver.bind(f"inproc://{name}")
        sender.connect(f"inproc://{name}")
    order = {"block": BLOCK, "epoch": 1, "token_targets": False}
    links = make_links(net, 0, 2, order, [source.underlying, 0, 0, sink.underlying, 0, 0])
    frames, X, targets = frames_of(count)
    for start in range(0, count, BLOCK):
        part = slice(start, start + BLOCK)
        before.send(pack(Message(FRAMES, 1, 0, frames[part], X[part], targets[part].reshape(-1))))
    while links.state[loop.DONE_FRAMES] < count:
        loop.serve(stages, schedule, links)
    context.destroy(0)


def daemon_rows(frames: int) -> list[Row]:
    """Resident memory of every process of a daemon that reads a text over and over."""
    with running(text_config(32, [1, 1, 1])) as (client, _):
        processes = {f"{does} ({name})": psutil.Process(pid) for name, does, pid in client.status()["workers"]}
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


def rows(quick: bool) -> list[Row]:
    """Allocations in compiled code, then a daemon's memory."""
    found = []
    for name, work in {"chain.run": run_chain, "a worker's loop": run_loop}.items():
        few, many = allocations(work, FEW), allocations(work, MANY)
        found.append(less(f"allocations in {MANY:,} frames: {name}", None, many, f"in {FEW}", few, "", 1))
    return found + daemon_rows(LATE_QUICK if quick else LATE)


if __name__ == "__main__":
    measure.main("memory", "memory over many frames", rows)
