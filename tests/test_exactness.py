"""Whole networks learning on line: the library against the oracle, and against PyTorch's own results.

Parameters after 200 windows, ‖difference‖ / ‖reference‖. torch_reference.py makes the file of PyTorch's.
"""

from itertools import count, pairwise
from pathlib import Path

import naive
import numpy as np
import pytest

import streamrnn as sr
from streamrnn.model.layers import CELLS

WINDOWS = 200
WINDOW = 5
SIZE = 7  # tokens, or numbers in a vector
TOLERANCE = {"SGD": 1e-5, "Adam": 1e-4, "RMSprop": 1e-4, "Adagrad": 1e-4}
OPTIMIZERS = {
    "SGD": {"momentum": 0.8},
    "Adam": {"learning_rate": 0.01},
    "RMSprop": {"learning_rate": 0.005},
    "Adagrad": {"learning_rate": 0.05},
}
SGD_RATE = {"RNN": 0.03, "Coupled": 0.07}  # of others 0.05: quick, but not so quick that rounding errors grow
READOUTS = {"Softmax": sr.Softmax, "Linear": sr.Linear, "Gaussian": sr.Gaussian}

cells = pytest.mark.parametrize("cell", CELLS)
readouts = pytest.mark.parametrize("readout", READOUTS)
optimizers = pytest.mark.parametrize("optimizer", ["SGD", "Adam"])


def token_walk(rng):
    """Round in a circle, with a jump now and then."""
    token = 1
    while True:
        yield token
        token = int(rng.integers(SIZE)) if rng.random() < 0.2 else (3 * token + 1) % SIZE


def waves(rng):
    """Waves of several lengths under noise, as float32."""
    phases, lengths = rng.uniform(0, 6, SIZE), np.arange(3, 3 + SIZE)
    for t in count():
        yield (np.sin(phases + 2 * np.pi * t / lengths) + 0.2 * rng.normal(size=SIZE)).astype(np.float32)


def frames(readout, streams=1, reset_every=None, targets=1.0):
    """Without end: (stream, whether it begins anew, x, next x or None), streams in a random order.

    Every 60 frames one more stream comes in, until all are there. A share `targets` of the frames has a target, but of
    a stream's frames 40 to 60 none has.
    """
    rng = np.random.default_rng(3)
    source = token_walk if readout == "Softmax" else waves
    walks = [source(np.random.default_rng(10 + k)) for k in range(streams)]
    newest = [next(walk) for walk in walks]
    taken = [0] * streams
    while True:
        k = int(rng.integers(min(streams, 1 + sum(taken) // 60)))
        x, newest[k] = newest[k], next(walks[k])
        taken[k] += 1
        begins = bool(reset_every) and rng.random() < 1 / reset_every
        has_target = rng.random() < targets and not (targets < 1 and 40 <= taken[k] < 60)
        yield f"stream {k}", begins, x, newest[k] if has_target else None


def build(layers, readout, optimizer, **settings):
    """The library's network and an oracle with the same parameters and settings."""
    constants = OPTIMIZERS[optimizer]
    if optimizer == "SGD":
        constants = constants | {"learning_rate": min(SGD_RATE.get(type(layer).__name__, 0.05) for layer in layers)}
    settings = {"window": WINDOW, "clip_norm": 1.0} | settings
    net = sr.Network(layers, readout=READOUTS[readout](SIZE), optimizer=getattr(sr, optimizer)(**constants), **settings)
    return net, naive.NaiveNetwork(net, getattr(naive, optimizer)(**constants), **settings)


def two_layers(cell):
    return [CELLS[cell](SIZE, 10), CELLS[cell](10, 6)]


def library_params(net):
    return [module.params for module in (*net.layers, net.readout)]


def feed(network, source, until):
    """The last loss of the frame's stream after every frame, nan before its first."""
    losses = []
    for stream, begins, x, target in source:
        if until(len(losses)):
            return np.array(losses)
        if begins:
            network.reset(stream)
        if target is not None:
            losses.append(network.learn(x, target, stream))
        else:
            network.step(x, stream)
            losses.append(network.loss(stream))


def assert_same(net, oracle, tolerance, source):
    """Both learn from the frames of source() until the oracle has closed WINDOWS windows; then they agree."""
    start = naive.flat(oracle.params())
    reference = feed(oracle, source(), lambda _: oracle.closed == WINDOWS)
    losses = feed(net, source(), lambda taken: taken == len(reference))
    scored = ~np.isnan(reference)
    assert np.array_equal(np.isnan(losses), ~scored)
    assert naive.distance(losses[scored], reference[scored]) <= tolerance
    assert naive.distance(naive.flat(oracle.params()), start) > 0.04
    assert naive.distance(naive.flat(library_params(net)), naive.flat(oracle.params())) <= tolerance


@cells
@readouts
@optimizers
def test_every_cell_and_readout(cell, readout, optimizer):
    net, oracle = build(two_layers(cell), readout, optimizer)
    assert_same(net, oracle, TOLERANCE[optimizer], lambda: frames(readout))


SCHEDULES = {
    "delay_1": ({"gradient_delay": 1}, {}),
    "delay_2": ({"gradient_delay": 2}, {}),
    "accumulate_3": ({"accumulate": 3}, {}),
    "streams_3": ({}, {"streams": 3}),
    "resets": ({}, {"reset_every": 12}),
    "few_targets": ({}, {"targets": 0.3}),
    "window_1": ({"window": 1}, {"targets": 0.7}),
    "together": (
        {"gradient_delay": 2, "accumulate": 3},
        {"streams": 5, "reset_every": 12, "targets": 0.6},
    ),
}


@cells
@optimizers
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule(cell, optimizer, schedule):
    settings, of_frames = SCHEDULES[schedule]
    net, oracle = build(two_layers(cell), "Softmax", optimizer, **settings)
    assert_same(net, oracle, TOLERANCE[optimizer], lambda: frames("Softmax", **of_frames))


@pytest.mark.parametrize("schedule", [k for k in SCHEDULES if k != "window_1"])
def test_a_schedule_that_is_off_by_one_would_show(schedule):
    """The tolerance tells each schedule from its neighbours by a wide margin."""
    settings, of_frames = SCHEDULES[schedule]
    settings = {"gradient_delay": 0, "accumulate": 1, "window": WINDOW} | settings
    results = []
    for name in (None, *settings):
        changed = settings | ({name: settings[name] + 1} if name else {})
        _, oracle = build(two_layers("GRU"), "Softmax", "SGD", **changed)
        feed(oracle, frames("Softmax", **of_frames), lambda taken: taken == 500)
        results.append(naive.flat(oracle.params()))
    assert all(naive.distance(other, results[0]) > 1e-3 for other in results[1:])


@cells
@readouts
@pytest.mark.parametrize(("optimizer", "delay"), [("SGD", 0), ("Adam", 1)])
def test_predicting_the_next_input(cell, readout, optimizer, delay):
    """Every input is the target of the frame before it, but for the first of a sequence."""
    net, oracle = build(two_layers(cell), readout, optimizer, predict="next", gradient_delay=delay)
    assert np.isnan(net.loss("stream 0"))
    assert_same(net, oracle, TOLERANCE[optimizer], lambda: frames(readout, streams=2, reset_every=40, targets=0))


@pytest.mark.parametrize("optimizer", ["RMSprop", "Adagrad"])
def test_the_other_optimizers(optimizer):
    net, oracle = build(two_layers("LSTM"), "Softmax", optimizer)
    assert_same(net, oracle, TOLERANCE[optimizer], lambda: frames("Softmax"))


@pytest.mark.parametrize("clip_norm", [None, 0.2])
@pytest.mark.parametrize(
    "layers",
    [
        pytest.param(lambda: [sr.GRU(SIZE, 9)], id="one"),
        pytest.param(lambda: [sr.LSTM(SIZE, 9, 4), sr.RNN(4, 6, 5), sr.GRU(5, 8)], id="three_with_own_outputs"),
    ],
)
@pytest.mark.parametrize("readout", ["Softmax", "Linear"])
def test_other_stacks(layers, readout, clip_norm):
    net, oracle = build(layers(), readout, "SGD", clip_norm=clip_norm)
    assert_same(net, oracle, TOLERANCE["SGD"], lambda: frames(readout))


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
@optimizers
def test_pytorch(cell, optimizer):
    reference = np.load(Path(__file__).with_name("torch_reference.npz"))
    tokens, hidden = reference["tokens"], [int(h) for h in reference["hidden"]]
    symbols = int(tokens.max()) + 1
    settings = {"learning_rate": float(reference[f"{optimizer}/lr"])}
    if optimizer == "SGD":
        settings["momentum"] = float(reference["SGD/momentum"])
    net = sr.Network(
        [CELLS[cell](symbols, hidden[0]), CELLS[cell](hidden[0], hidden[1])],
        readout=sr.Softmax(symbols),
        optimizer=getattr(sr, optimizer)(**settings),
        window=int(reference["window"]),
        clip_norm=float(reference["clip_norm"]),
    )

    def of_torch(when):
        return [
            {name: reference[f"{cell}/{optimizer}/{when}/{k}/{name}"] for name in params}
            for k, params in enumerate(library_params(net))
        ]

    for params, initial in zip(library_params(net), of_torch("initial"), strict=True):
        for name, value in initial.items():
            params[name][...] = value
    losses = [net.learn(int(x), int(target)) for x, target in pairwise(tokens)]
    assert naive.distance(losses, reference[f"{cell}/{optimizer}/losses"]) <= TOLERANCE[optimizer]
    assert naive.distance(naive.flat(library_params(net)), naive.flat(of_torch("final"))) <= TOLERANCE[optimizer]
