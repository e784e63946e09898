"""1,000 streams through one LSTM-128 layer, frames batched as they come: `python -m benchmarks.speed.streams`.

One frame of each stream in a block; learning with a small linear readout, windows of 16 frames, and an update when a
window of every stream has closed, as in PyTorch at batch 1,000. The limit of a step is one core's matrix product:
what NumPy or PyTorch, the faster of them, reaches on large square matrices in the same run.
"""

from benchmarks.shared import measure

# isort: split
from typing import Any

import numpy as np
import torch

import streamrnn as sr
from benchmarks.shared.measure import Row, faster, more, seconds_each
from benchmarks.speed.learn import CLIP_NORM, RATE, TARGETS, WINDOW, Stepwise, Windows, Windowwise, check, torch_windows
from benchmarks.speed.step import torch_cell
from streamrnn.kernels import chain
from streamrnn.kernels.buffers import PLAN_COLUMNS, PLAN_ROW, PLAN_SLOT, PLAN_STREAM, PLAN_TOKEN, table_of
from streamrnn.kernels.frames import COLUMNS, EMIT, FLAGS, INPUT, SCORED, STREAM, TOKEN
from streamrnn.kernels.jit import kernel
from streamrnn.kernels.schedule import new_schedule

STREAMS, UNITS, SIDE = 1000, 128, 2048
MUST_STEP, MUST_SHARE, MUST_LEARN = 1.2, 0.6, 2.0

torch.set_num_threads(1)


@kernel
def steps(stages, plan, X, count):
    """Blocks one after another; the tape's rows are used as in a window."""
    for k in range(count):
        plan[:, PLAN_ROW] = k % WINDOW
        chain.forward(stages, 0, plan, X)


@kernel
def learn(stages, t, frames, X, targets, losses, Y, count):
    """That many windows of every stream, block after block."""
    for k in range(count * X.shape[0]):
        row = k % X.shape[0]
        chain.run(stages, t, frames, X[row], targets[row], losses, Y[row])


def series() -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of a window of every stream."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((WINDOW, STREAMS, UNITS), np.float32)
    return X, rng.standard_normal((WINDOW, STREAMS, TARGETS), np.float32)


def network() -> sr.Network:
    settings: dict[str, Any] = {"window": WINDOW, "clip_norm": CLIP_NORM, "accumulate": STREAMS}
    return sr.Network([sr.LSTM(UNITS, UNITS)], sr.Linear(TARGETS), sr.Adam(RATE), **settings)


def our_steps(net: sr.Network, X: np.ndarray) -> Windows:
    (stage,) = net.allocate(0, 1, net.sizes(STREAMS, block=STREAMS))
    stages = table_of([stage])
    plan = np.zeros((STREAMS, PLAN_COLUMNS), np.int64)
    plan[:, PLAN_STREAM] = plan[:, PLAN_SLOT] = np.arange(STREAMS)
    plan[:, PLAN_TOKEN] = -1

    def run(count: int) -> np.ndarray:
        steps(stages, plan, X, count)
        return stage.output

    return run


def torch_steps(net: sr.Network, X: np.ndarray) -> Windows:
    cell, frames = torch_cell(net.layers[0]), torch.from_numpy(X)
    state: Any = None

    def run(count: int) -> np.ndarray:
        nonlocal state
        with torch.inference_mode():
            for _ in range(count):
                state = cell(frames, state)
        return state[0].numpy()

    return run


def our_windows(net: sr.Network, X: np.ndarray, targets: np.ndarray) -> Windows:
    sizes = net.sizes(STREAMS, block=STREAMS)
    stages, schedule = table_of(net.allocate(0, 2, sizes)), new_schedule(sizes, net.accumulate, net.gradient_delay)
    frames = np.zeros((STREAMS, COLUMNS), np.int64)
    frames[:, STREAM] = np.arange(STREAMS)
    frames[:, FLAGS], frames[:, TOKEN] = INPUT | SCORED | EMIT, -1
    X, targets = X.astype(np.float64), targets.astype(np.float64)
    losses, Y = np.zeros((STREAMS, net.readout.loss_size)), np.zeros(targets.shape)

    def run(count: int) -> np.ndarray:
        learn(stages, schedule, frames, X, targets, losses, Y.view(np.float32), count)
        return Y

    return run


def products(count: int) -> None:
    """Of large square matrices, by NumPy."""
    for _ in range(count):
        np.dot(LEFT, RIGHT, out=RESULT)


def torch_products(count: int) -> None:
    """The same by PyTorch."""
    left, right, result = (torch.from_numpy(matrix) for matrix in (LEFT, RIGHT, RESULT))
    for _ in range(count):
        torch.mm(left, right, out=result)


LEFT, RIGHT = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), np.float32)
RESULT = np.zeros((SIDE, SIDE), np.float32)


def step_rows(quick: bool) -> list[Row]:
    net, X = network(), series()[0][0]
    runs = {"ours": our_steps(net, X), "torch": torch_steps(net, X)}
    check(runs)
    took = seconds_each(runs | {"NumPy": products, "PyTorch": torch_products}, quick)
    ours = 2 * STREAMS * (UNITS + UNITS) * 4 * UNITS / took["ours"] / 1e9
    peak = 2 * SIDE**3 / min(took["NumPy"], took["PyTorch"]) / 1e9
    return [
        faster("1,000 streams, step", UNITS, took["ours"], "torch LSTMCell, batch 1,000", took["torch"], MUST_STEP),
        more("1,000 streams, step", UNITS, ours, "a large matrix product", peak, "GFLOP/s", MUST_SHARE),
    ]


def learn_rows(quick: bool) -> list[Row]:
    net, (X, targets) = network(), series()
    cell = "torch LSTMCell, batch 1,000"
    sequence = f"torch LSTM, {WINDOW} frames at once"
    peers = {
        cell: torch_windows(Stepwise(net), X, targets),
        sequence: torch_windows(Windowwise(net), X, targets),
    }
    runs = {"ours": our_windows(net, X, targets)} | peers
    check(runs)
    took = seconds_each(runs, quick)
    ours, what = took["ours"] / WINDOW, "1,000 streams, step and learn"
    return [faster(what, UNITS, ours, peer, took[peer] / WINDOW, MUST_LEARN) for peer in peers]


def rows(quick: bool) -> list[Row]:
    """A block of frames, one of each stream."""
    return step_rows(quick) + learn_rows(quick)


if __name__ == "__main__":
    measure.main("streams", "a block of 1,000 frames, one of each stream", rows)
