"""A whole array of frames in one call, `Network.run`, beside the compiled loop: `python -m benchmarks.speed.run`.

Both predict and learn from the same frames; the loop has them in arrays that are as kernels want them and gives nothing
back, so the ratio is the share of its speed that is left of checking, copying and handing over.
"""

from benchmarks.shared import measure

# isort: split
from collections.abc import Callable
from typing import Any

import numpy as np

import streamrnn as sr
from benchmarks.shared.measure import Row, faster, seconds_each
from streamrnn.kernels import chain
from streamrnn.kernels.buffers import table_of
from streamrnn.kernels.frames import COLUMNS, EMIT, FLAGS, INPUT, SCORED, TARGET, TOKEN
from streamrnn.kernels.jit import kernel
from streamrnn.kernels.schedule import new_schedule

FRAMES, BLOCK = 20_480, 64  # a whole number of blocks
WINDOW, TARGETS, MUST = 16, 8, 0.9
UNITS = 32, 64, 128


@kernel
def loop(stages, t, frames, X, targets, losses, Y, rows, count):
    """All frames, that often; `rows` of them are one step."""
    steps = Y.shape[0]
    for _ in range(count):
        for start in range(0, frames.shape[0], steps * rows):
            end, first = start + steps * rows, start // rows
            chain.run(stages, t, frames[start:end], X[first : first + steps], targets[first : first + steps], losses, Y)


def compiled(net: sr.Network, X: np.ndarray, targets: np.ndarray | None) -> Callable[[int], Any]:
    """The loop over a network's own kernels; without targets, each frame is that of the one before."""
    sizes, rows = net.sizes(streams=1, block=BLOCK), 2 if targets is None else 1
    stages = table_of(net.allocate(0, len(net.stages), sizes))
    schedule = new_schedule(sizes, net.accumulate, net.gradient_delay)
    answers = X if targets is None else targets
    frames = np.zeros((len(X), rows, COLUMNS), np.int64)
    frames[:, :, FLAGS] = [SCORED, INPUT | EMIT][-rows:] if rows == 2 else INPUT | EMIT | SCORED
    frames[:, :, TOKEN] = X[:, np.newaxis] if X.ndim == 1 else -1
    frames[:, :, TARGET] = answers[:, np.newaxis] if answers.ndim == 1 else -1
    vectors, values = (each if each.ndim == 2 else np.zeros((0, 1)) for each in (X, answers))
    losses, numbers = np.zeros((BLOCK, net.readout.loss_size)), np.float32 if net.readout.classes else np.float64
    Y = np.zeros((BLOCK // rows, net.readout.output_size), numbers).view(np.float32)

    def run(count: int) -> None:
        loop(stages, schedule, frames.reshape(-1, COLUMNS), vectors, values, losses, Y, rows, count)

    return run


def networks(units: int) -> dict[str, sr.Network]:
    """Vectors with targets, vectors that predict the next, tokens that do."""
    optimizer, following = sr.Adam(1e-3), {"window": WINDOW, "predict": "next"}
    vectors, tokens = [sr.GRU(units, units)], [sr.LSTM(256, units)]
    return {
        "LSTM, targets": sr.Network([sr.LSTM(units, units)], sr.Linear(TARGETS), optimizer, window=WINDOW),
        "GRU, the next vector": sr.Network(vectors, sr.Gaussian(units), optimizer, standardize=True, **following),
        "LSTM, the next byte": sr.Network(tokens, sr.Softmax(256), optimizer, **following),
    }


def series(net: sr.Network) -> tuple[np.ndarray, np.ndarray | None]:
    """Frames that fit a network, and targets where it has some."""
    rng = np.random.default_rng(0)
    if net.readout.classes:
        return rng.integers(0, 256, FRAMES), None
    X = rng.standard_normal((FRAMES, net.input_size))
    return X, None if net.predict == "next" else rng.standard_normal((FRAMES, TARGETS))


def row(what: str, units: int, net: sr.Network, other: sr.Network, quick: bool) -> Row:
    X, targets = series(net)

    def ours(count: int) -> None:
        for _ in range(count):
            net.run(X, targets)

    took = seconds_each({"ours": ours, "loop": compiled(other, X, targets)}, quick)
    return faster(what, units, took["ours"] / FRAMES, "compiled loop", took["loop"] / FRAMES, MUST)


def rows(quick: bool) -> list[Row]:
    """Every network at every size."""
    return [
        row(what, units, net, other, quick)
        for units in UNITS
        for (what, net), other in zip(networks(units).items(), networks(units).values(), strict=True)
    ]


if __name__ == "__main__":
    measure.main("run", "a whole array of frames in one call", rows)
