"""One frame with everything that learning costs, batch 1: `python -m benchmarks.speed.learn`.

Step, loss, truncated BPTT over windows of 16 frames, clipping and Adam, of one layer with as many inputs as units and a
small linear readout. Ours runs in compiled code as in a worker. PyTorch's cell, as ours, says something of every frame
when it comes; torch.nn.LSTM sees a whole window at once, which is quicker and too late for a live stream.
"""

from benchmarks.shared import measure

# isort: split
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import streamrnn as sr
from benchmarks.shared.measure import Row, faster, seconds_each
from benchmarks.speed.step import CELLS, torch_cell
from streamrnn.kernels import chain
from streamrnn.kernels.buffers import table_of
from streamrnn.kernels.frames import COLUMNS, EMIT, FLAGS, INPUT, SCORED, TOKEN
from streamrnn.kernels.jit import kernel
from streamrnn.kernels.schedule import new_schedule

UNITS = 32, 64, 128, 256
MUST = {32: 60, 64: 30, 128: 15, 256: 10}
WINDOW, TARGETS, RATE, CLIP_NORM = 16, 8, 1e-3, 1.0
WINDOWS = 4  # different ones, over and over
SEQUENCES = {sr.LSTM: torch.nn.LSTM, sr.GRU: torch.nn.GRU}

State = torch.Tensor | tuple[torch.Tensor, ...]
Windows = Callable[[int], np.ndarray]  # learns from that many windows; the outputs of the last

torch.set_num_threads(1)


@kernel
def learn(stages, t, frames, X, targets, losses, Y, count):
    """That many windows, one after another."""
    W = frames.shape[0]
    for k in range(count):
        start = k * W % X.shape[0]
        chain.run(stages, t, frames, X[start : start + W], targets[start : start + W], losses, Y)


def network(cell: Any, units: int) -> sr.Network:
    optimizer = sr.Adam(RATE)
    return sr.Network([cell(units, units)], sr.Linear(TARGETS), optimizer, window=WINDOW, clip_norm=CLIP_NORM)


def series(units: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of all windows."""
    rng = np.random.default_rng(0)
    frames = WINDOWS * WINDOW
    return rng.standard_normal((frames, units), np.float32), rng.standard_normal((frames, TARGETS), np.float32)


def our_windows(net: sr.Network, X: np.ndarray, targets: np.ndarray) -> Windows:
    sizes = net.sizes(streams=1, block=WINDOW)
    stages = table_of(net.allocate(0, len(net.stages), sizes))
    schedule = new_schedule(sizes, net.accumulate, net.gradient_delay)
    frames = np.zeros((WINDOW, COLUMNS), np.int64)
    frames[:, FLAGS], frames[:, TOKEN] = INPUT | SCORED | EMIT, -1
    X, targets = X.astype(np.float64), targets.astype(np.float64)
    losses, Y = np.zeros((WINDOW, net.readout.loss_size)), np.zeros((WINDOW, TARGETS))

    def run(count: int) -> np.ndarray:
        learn(stages, schedule, frames, X, targets, losses, Y.view(np.float32), count)
        return Y

    return run


class Stepwise(torch.nn.Module):
    """A cell and a readout, frame by frame."""

    def __init__(self, net: sr.Network) -> None:
        super().__init__()
        self.cell, self.readout = torch_cell(net.layers[0]), torch_readout(net)

    def begin(self, streams: int) -> State:
        h = torch.zeros(streams, self.cell.hidden_size)
        return (h, h) if isinstance(self.cell, torch.nn.LSTMCell) else h

    def forward(self, X: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        outputs = []
        for x in X.unbind():
            state = self.cell(x, state)
            outputs.append(self.readout(state[0] if isinstance(state, tuple) else state))
        return torch.stack(outputs), state


class Windowwise(torch.nn.Module):
    """The same over a whole window in one call."""

    def __init__(self, net: sr.Network) -> None:
        super().__init__()
        cell = torch_cell(net.layers[0])
        self.layer = SEQUENCES[type(net.layers[0])](cell.input_size, cell.hidden_size)
        self.layer.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
        self.readout = torch_readout(net)

    def begin(self, streams: int) -> State:
        h = torch.zeros(1, streams, self.layer.hidden_size)
        return (h, h) if isinstance(self.layer, torch.nn.LSTM) else h

    def forward(self, X: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        outputs, state = self.layer(X, state)
        return self.readout(outputs), state


def torch_readout(net: sr.Network) -> torch.nn.Linear:
    own = net.readout.params
    linear = torch.nn.Linear(*own["W_hy"].shape)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(own["W_hy"].T))
        linear.bias.copy_(torch.from_numpy(own["b_y"]))
    return linear


def torch_windows(model: Any, X: np.ndarray, targets: np.ndarray, compiled: bool = False) -> Windows:
    """Windows of X (frames, streams, I) and targets (frames, streams, K)."""
    forward = torch.compile(model) if compiled else model
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, RATE, fused=True)
    windows, answers = torch.from_numpy(X).split(WINDOW), torch.from_numpy(targets).split(WINDOW)
    state = model.begin(X.shape[1])

    def run(count: int) -> np.ndarray:
        nonlocal state
        for k in range(count):
            outputs, state = forward(windows[k % len(windows)], state)
            loss = 0.5 * (outputs - answers[k % len(windows)]).square().sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
            optimizer.step()
            state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        return outputs.detach().numpy()

    return run


def check(runs: dict[str, Windows]) -> None:
    """That they say the same in their first window."""
    ours, *peers = (run(1).copy() for run in runs.values())
    for outputs in peers:
        np.testing.assert_allclose(outputs.reshape(ours.shape), ours, atol=1e-5)


def rows_of(cell: Any, units: int, quick: bool) -> list[Row]:
    """One cell at one size beside the peers; compiling PyTorch's takes longer than a quick run."""
    net, (X, targets) = network(cell, units), series(units)
    frame_by_frame = f"torch {CELLS[cell].__name__}, eager"
    peers = {
        frame_by_frame: torch_windows(Stepwise(net), X[:, None], targets[:, None]),
        f"torch {cell.__name__}, {WINDOW} frames at once": torch_windows(Windowwise(net), X[:, None], targets[:, None]),
    }
    if not quick:
        compiled = torch_windows(Stepwise(net), X[:, None], targets[:, None], compiled=True)
        peers[f"torch.compile of {CELLS[cell].__name__}"] = compiled
    runs = {"ours": our_windows(net, X, targets)} | peers
    check(runs)
    took = {name: value / WINDOW for name, value in seconds_each(runs, quick).items()}
    musts, what = {frame_by_frame: MUST[units]}, f"{cell.__name__}, step and learn"
    return [faster(what, units, took["ours"], peer, took[peer], musts.get(peer)) for peer in peers]


def rows(quick: bool) -> list[Row]:
    """Every cell at every size."""
    return [row for cell in SEQUENCES for units in UNITS for row in rows_of(cell, units, quick)]


if __name__ == "__main__":
    measure.main("learn", "one frame, learning included, batch 1", rows)
