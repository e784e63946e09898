"""An LSTM on the GPU beside PyTorch there and beside one of our cores: streams x units, the step alone and learning.

A block has one frame of each stream, or 64 of the only one. Learning: a linear readout, windows of 16 frames, Adam, and
an update once a window of every stream has closed. Ours takes each block from the host's memory and brings its outputs
back there. The same PyTorch does where it says "from the host"; else its frames are on the device and stay there, as do
ours in the step alone. All are warm; they take turns, each until the device is through, and the median counts.
"""

from benchmarks.shared.measure import Row, faster, seconds

# isort: split
import gc
from collections.abc import Callable, Iterator
from itertools import product
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import psutil

import streamrnn as sr
from benchmarks.cuda.engines import Core, Device, outputs_for
from streamrnn.cuda.compiler import SIMULATED, cuda
from streamrnn.kernels import chain
from streamrnn.kernels.buffers import PLAN_COLUMNS, PLAN_ROW, PLAN_SLOT, PLAN_STREAM, PLAN_TOKEN, table_of
from streamrnn.kernels.frames import COLUMNS, EMIT, FLAGS, INPUT, SCORED, STREAM, TOKEN
from streamrnn.kernels.jit import kernel

try:
    from benchmarks.cuda import peer
except ImportError:
    peer = None  # type: ignore[assignment]

WINDOW, TARGETS = 16, 8
ALONE = WINDOW if SIMULATED else 64  # frames of a block of the only stream
SPAN, TURNS, LONGEST = (
    0.05,
    7,
    0.05 if SIMULATED else 1.0,
)  # seconds of a turn, turns, seconds after which none is begun
CORE_MOST = 4e11  # operations of a piece of work that one core is asked for
GRID_ROWS = 65_535  # of a launch: some kernels have one for each frame of a block
SHARE = 0.85  # of the memory, that ours may take
CELL, CUDNN, COMPILED = "torch LSTMCell, eager", "cuDNN, 16 frames at once", "torch.compile of LSTMCell"
LIVE, CORE = "torch LSTMCell, from the host", "one core"

Run = Callable[[int], Any]


class Sizes(NamedTuple):
    """What is measured."""

    streams: tuple[int, ...]
    units: tuple[int, ...]
    compiled: tuple[tuple[int, int], ...]  # streams and units, where torch.compile is taken along: it takes long


WHOLE = Sizes((1, 64, 1000, 10_000), (128, 512, 1024), ((1, 1024), (1000, 128)))
TINY = Sizes((1, 2), (4,), ())

STEP, FORWARD, LEARN = "step", "16 frames forward", "step and learn"
MUST = {
    (STEP, 1, 1024, CELL): 3.0,
    (FORWARD, 1000, 128, CUDNN): 0.5,
    (LEARN, 1000, 128, LIVE): 3.0,
    (LEARN, 1000, 128, CORE): 20.0,
}


@kernel
def layer_steps(stages, plan, X):
    """One block through the first stage."""
    chain.forward(stages, 0, plan, X)


def network(units: int, streams: int) -> sr.Network:
    settings: dict[str, Any] = {"window": WINDOW, "accumulate": streams, "clip_norm": 1.0}
    return sr.Network([sr.LSTM(units, units)], sr.Linear(TARGETS), sr.Adam(1e-3), **settings)


def room(streams: int, units: int, block: int) -> int:
    """Bytes that ours needs on the device, tapes above all: of open windows and of those that have closed."""
    slots, tape = 2 * streams, WINDOW * units + (WINDOW + 1) * units + WINDOW * 6 * units
    params, rows = 4 * 8 * units * units, min(4096, slots * WINDOW)
    return 4 * (slots * tape + 5 * params + (rows + block) * 20 * units)


def fits(streams: int, units: int, block: int) -> str:
    """Why it does not, or ""."""
    if block > GRID_ROWS:
        return f"{block:,} frames of a block, where a launch takes {GRID_ROWS:,}"
    needed, free = room(streams, units, block), psutil.virtual_memory().available
    if needed > SHARE * free:
        return f"needs {needed / 2**30:.1f} GiB here, where {free / 2**30:.1f} are free"
    there, _ = cuda.current_context().get_memory_info()
    return f"needs {needed / 2**30:.1f} GiB there, where {there / 2**30:.1f} are free" if needed > SHARE * there else ""


def planned(streams: int, frames: int) -> np.ndarray:
    """So many frames of each stream, the streams in order, frame after frame."""
    plan = np.zeros((streams * frames, PLAN_COLUMNS), np.int64)
    plan[:, PLAN_STREAM] = plan[:, PLAN_SLOT] = np.tile(np.arange(streams), frames)
    plan[:, PLAN_ROW] = np.repeat(np.arange(frames), streams) % WINDOW
    plan[:, PLAN_TOKEN] = -1
    return plan


def device_steps(net: sr.Network, X: np.ndarray) -> Run:
    """So many times X (frames, streams, I), which is on the device, through the layer."""
    frames, streams, width = X.shape
    device = Device(net, net.sizes(streams, frames * streams)._replace(slots=streams))
    plan, there = planned(streams, frames), cuda.to_device(X.reshape(-1, width))
    layer, segment = device.chain.stages[0], device.chain.segment

    def run(count: int) -> np.ndarray:
        for _ in range(count):
            segment.take_plan(plan)
            hidden = layer.forward(segment, there, False)
        device.wait()
        return hidden[(frames - 1) * streams :].copy_to_host()

    return run


def core_steps(net: sr.Network, X: np.ndarray) -> Run:
    """The same on a core."""
    frames, streams, width = X.shape
    core = Core(net, net.sizes(streams, frames * streams)._replace(slots=streams))
    table, plan, rows = table_of(core.stages[:1]), planned(streams, frames), X.reshape(-1, width)

    def run(count: int) -> np.ndarray:
        for _ in range(count):
            layer_steps(table, plan, rows)
        return core.stages[0].output[(frames - 1) * streams : frames * streams]

    return run


def windows(engine: type[Core] | type[Device], net: sr.Network, X: np.ndarray, targets: np.ndarray) -> Run:
    """So many times a window of every stream, block after block, learned from."""
    _, streams, width = X.shape
    block = streams if streams > 1 else WINDOW
    taken = engine(net, net.sizes(streams, block))
    frames = np.zeros((block, COLUMNS), np.int64)
    frames[:, STREAM] = np.arange(block) % streams
    frames[:, FLAGS], frames[:, TOKEN] = INPUT | SCORED | EMIT, -1
    blocks = X.astype(np.float64).reshape(-1, block, width), targets.astype(np.float64).reshape(-1, block, TARGETS)
    losses, Y = np.zeros((block, net.readout.loss_size)), outputs_for(net, WINDOW * streams).reshape(-1, block, TARGETS)

    def run(count: int) -> np.ndarray:
        for _ in range(count):
            for x, target, y in zip(*blocks, Y, strict=True):
                taken.run(frames, x, target, losses, y.view(np.float32))
        if isinstance(taken, Device):
            taken.wait()
        return Y.reshape(targets.shape)

    run.taken = taken  # type: ignore[attr-defined]
    return run


def operations(work: str, streams: int, units: int, frames: int) -> float:
    """Of matrix products, in a piece of work."""
    return (3.0 if work == LEARN else 1.0) * 2 * streams * frames * 8 * units**2


def medians(runs: dict[str, Run]) -> dict[str, float]:
    """Seconds of a piece of work of each, which are warm, in turns; fewer turns of what takes long."""
    took = {name: max(seconds(run, 1), 1e-7) for name, run in runs.items()}
    counts = {name: max(1, round(SPAN / each)) for name, each in took.items()}
    times = {name: [each] if each > LONGEST else [] for name, each in took.items()}
    for turn in range(TURNS):
        for name, run in runs.items():
            if turn * counts[name] * took[name] < LONGEST and took[name] <= LONGEST:
                times[name].append(seconds(run, counts[name]) / counts[name])
    return {name: median(values) for name, values in times.items()}


def agree(runs: dict[str, Run]) -> None:
    """That they say the same at first; then run each once more, to have it warm."""
    ours, *others = (np.array(run(1)) for run in runs.values())
    for outputs in others:
        np.testing.assert_allclose(outputs, ours, atol=1e-4)
    if not SIMULATED:
        for run in runs.values():
            run(1)


def contenders(work: str, streams: int, units: int, frames: int, compiled: bool) -> dict[str, Run]:
    """Ours, and whom it is measured beside, in one piece of work."""
    rng, net = np.random.default_rng(0), network(units, streams if work == LEARN else 1)
    X = rng.standard_normal((frames, streams, units), np.float32)
    targets = rng.standard_normal((frames, streams, TARGETS), np.float32)
    slow = operations(work, streams, units, frames) > CORE_MOST
    core = {} if slow else {CORE: network(units, streams if work == LEARN else 1)}
    if work == LEARN:
        peers = peer_windows(net, X, targets, compiled) if peer else {}
        ours = windows(Device, net, X, targets)
        return {"ours": ours} | peers | {name: windows(Core, each, X, targets) for name, each in core.items()}
    peers = {}
    if peer and work == STEP:
        peers[CELL] = peer.steps(net, X)
        if compiled:
            peers[COMPILED] = peer.steps(net, X, compiled=True)
    if peer and work == FORWARD:
        peers[CUDNN] = peer.windows_forward(net, X)
    return {"ours": device_steps(net, X)} | peers | {name: core_steps(each, X) for name, each in core.items()}


def peer_windows(net: sr.Network, X: np.ndarray, targets: np.ndarray, compiled: bool) -> dict[str, Run]:
    found = {
        LIVE: peer.learning(peer.Stepwise(net), X, targets, live=True),
        CELL: peer.learning(peer.Stepwise(net), X, targets),
        CUDNN: peer.learning(peer.Windowwise(net), X, targets),
    }
    if compiled:
        found[COMPILED] = peer.learning(peer.Stepwise(net), X, targets, compiled=True)
    return found


def frames_in(work: str, streams: int) -> int:
    """Of each stream, in a piece of work."""
    return WINDOW if work != STEP else ALONE if streams == 1 else 1


def rows_of(work: str, streams: int, units: int, sizes: Sizes) -> list[Row]:
    """One piece of work at one size; times are those of a block of one frame of each stream."""
    frames = frames_in(work, streams)
    runs = contenders(work, streams, units, frames, (streams, units) in sizes.compiled)
    agree(runs)
    took = {name: value / frames for name, value in medians(runs).items()}
    what, ours = named(work, streams), took.pop("ours")
    if not took:
        return [faster(what, units, ours, "nobody: too slow for one core", float("nan"))]
    return [faster(what, units, ours, name, t, MUST.get((work, streams, units, name))) for name, t in took.items()]


def named(work: str, streams: int) -> str:
    """A piece of work, as the table has it."""
    return f"{streams:,} stream{'s' * (streams > 1)}, {work}"


def works(sizes: Sizes) -> list[tuple[str, int, int]]:
    """What is measured, those that must reach something first."""
    every = list(product((STEP, FORWARD, LEARN), sizes.streams, sizes.units))
    musts = {key[:3] for key in MUST}
    return sorted(every, key=lambda work: (work not in musts, operations(*work, frames_in(*work[:2]))))


def rows(sizes: Sizes, left_out: list[str], late: Callable[[], bool]) -> Iterator[Row]:
    """One after another; what is left out, and why, is added to the list. late: whether the time is up."""
    for work, streams, units in works(sizes):
        what = f"{work}, {streams:,} streams x {units}"
        why = "no time left" if late() else fits(streams, units, frames_in(work, streams) * streams)
        if why:
            left_out.append(f"{what}: {why}")
            continue
        try:
            yield from rows_of(work, streams, units, sizes)
        except Exception as error:  # one size that fails must not take the other figures along
            left_out.append(f"{what}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        free()


def free() -> None:
    """Give back the device's memory of what is no longer used."""
    gc.collect()
    if peer:
        peer.clear()
    cuda.synchronize()
