"""The equations: the oracle against finite differences, then the library against the oracle."""

import naive
import numpy as np
import pytest

import streamrnn as sr
from streamrnn.kernels.buffers import PLAN_COLUMNS, PLAN_ROW, PLAN_SLOT, PLAN_STREAM, PLAN_TOKEN, ROWS, table_of
from streamrnn.kernels.jit import DISABLED
from streamrnn.kernels.stage import forward
from streamrnn.model.layers import CELLS

SHARP = 1e-8  # float64 against central differences
CLOSE = 2e-5  # float32 against float64; a single unit has no other to average its rounding errors with

cells = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
tokens = pytest.mark.parametrize("tokens", [False, True], ids=["vectors", "tokens"])
sizes = pytest.mark.parametrize(
    ("inputs", "hidden", "outputs"), [(1, 1, None), (5, 3, None), (5, 3, 1), (1, 17, 4), (3, 33, 5), (40, 16, None)]
)
readouts = pytest.mark.parametrize(("kind", "size"), [(sr.Softmax, 5), (sr.Linear, 3), (sr.Gaussian, 2)])


def central_differences(f, array, step=1e-5):
    """The gradient in `array` of f(), which reads it."""
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = f()
        array[index] = kept - step
        gradient[index] = (above - f()) / (2 * step)
        array[index] = kept
    return gradient


def randomize(module, rng):
    """Give every parameter a value, so that none hides behind a zero."""
    for value in module.params.values():
        value[...] = rng.normal(0, 1 / np.sqrt(len(value)), value.shape)
    return module


def some_inputs(rng, n, size, tokens=False):
    return rng.integers(size, size=n) if tokens else rng.normal(size=(n, size)).astype(np.float32)


def some_target(rng, kind, size):
    return some_inputs(rng, 1, size, tokens=kind is sr.Softmax)[0]


def run(cell, xs, state):
    """The oracle's outputs (n, O), last state and frames."""
    ys, frames = [], []
    for x in xs:
        y, state, frame = cell.forward(x, state)
        ys.append(y)
        frames.append(frame)
    return np.array(ys), state, frames


def steps(layer, xs):
    return np.array([np.array(layer.step(x)) for x in xs])


@cells
@tokens
@pytest.mark.parametrize("outputs", [None, 2])
def test_the_oracle_has_the_gradient_of_finite_differences(cell, tokens, outputs):
    rng = np.random.default_rng(0)
    oracle = naive.copy_of(randomize(cell(3, 4, outputs), rng))
    xs = some_inputs(rng, 5, 3, tokens) if tokens else rng.normal(size=(5, 3))
    weights = rng.normal(size=(5, outputs or 4))
    state = {name: rng.normal(0, 0.5, 4) for name in oracle.start()}

    def f():
        return np.sum(weights * run(oracle, xs, state)[0])

    dxs = oracle.backward(run(oracle, xs, state)[2], weights)
    for name, value in oracle.params.items():
        assert naive.distance(oracle.grads[name], central_differences(f, value)) < SHARP, name
    if not tokens:
        assert naive.distance(dxs, central_differences(f, xs)) < SHARP


@readouts
def test_the_oracle_has_the_readouts_gradient_of_finite_differences(kind, size):
    rng = np.random.default_rng(1)
    net = sr.Network([sr.RNN(2, 4)], readout=kind(size), optimizer=sr.SGD(0.1), window=4)
    oracle = naive.copy_of(randomize(net.readout, rng))
    h, target = rng.normal(size=4), some_target(rng, kind, size)

    def f():
        return oracle.loss(oracle.forward(h), target)

    dh = oracle.backward(h, oracle.draw(oracle.forward(h), target))
    assert naive.distance(dh, central_differences(f, h)) < SHARP
    for name, value in oracle.params.items():
        assert naive.distance(oracle.grads[name], central_differences(f, value)) < SHARP, name


@readouts
def test_a_readout_publishes_its_output(kind, size):
    rng = np.random.default_rng(8)
    net = sr.Network([sr.RNN(3, 17)], readout=kind(size), optimizer=sr.SGD(1.0))
    for module in (net.layers[0], net.readout):
        randomize(module, rng)
    oracle = naive.NaiveNetwork(net, naive.SGD(1.0))
    for x in some_inputs(rng, 20, 3):
        y = net.step(x, "a")
        assert naive.distance(y, oracle.step(x)) < CLOSE


@readouts
def test_a_readout_scores_and_learns_as_the_oracle(kind, size):
    """One window with a plain step of 1: the parameters move by minus their gradient."""
    rng = np.random.default_rng(2)
    net = sr.Network([sr.RNN(3, 17)], readout=kind(size), optimizer=sr.SGD(1.0), window=4, clip_norm=None)
    for module in (net.layers[0], net.readout):
        randomize(module, rng)
    before = [naive.flat(module.params) for module in (net.layers[0], net.readout)]
    oracle = naive.NaiveNetwork(net, naive.SGD(1.0), window=4)
    for x in some_inputs(rng, 4, 3):
        target = some_target(rng, kind, size)
        assert net.learn(x, target) == pytest.approx(oracle.learn(x, target), rel=CLOSE)
    for module, reference, start in zip((net.layers[0], net.readout), oracle.params(), before, strict=True):
        assert naive.distance(naive.flat(module.params) - start, naive.flat(reference) - start) < CLOSE


@cells
@sizes
@tokens
def test_step_is_the_oracles(cell, inputs, hidden, outputs, tokens):
    rng = np.random.default_rng(3)
    layer = randomize(cell(inputs, hidden, outputs), rng)
    oracle = naive.copy_of(layer)
    xs = some_inputs(rng, 50, inputs, tokens)
    reference, state, _ = run(oracle, xs, oracle.start())
    assert naive.distance(steps(layer, xs), reference) < CLOSE
    assert layer.state.keys() == state.keys()
    for name, value in state.items():
        assert naive.distance(layer.state[name], value) < CLOSE


@cells
@sizes
@tokens
def test_backward_is_the_oracles(cell, inputs, hidden, outputs, tokens):
    """More frames than the tape holds, part of the tape, then one frame alone; gradients add up."""
    rng = np.random.default_rng(4)
    layer = randomize(cell(inputs, hidden, outputs, window=16), rng)
    oracle = naive.copy_of(layer)
    state = oracle.start()
    for taken, n in ((21, 16), (16, 16), (9, 5), (3, 1)):
        xs = some_inputs(rng, taken, inputs, tokens)
        dys = rng.normal(size=(n, layer.output_size)).astype(np.float32)
        steps(layer, xs)
        _, state, frames = run(oracle, xs, state)
        dxs = layer.backward(dys[0] if n == 1 else dys)
        reference = oracle.backward(frames[-n:], dys)
        if tokens:
            assert not np.any(dxs)
        else:
            assert naive.distance(dxs, reference[0] if n == 1 else reference) < CLOSE
        assert layer.grads.keys() == oracle.grads.keys()
        for name, value in oracle.grads.items():
            assert naive.distance(layer.grads[name], value) < CLOSE, name


@cells
def test_two_layers_chained_by_hand(cell):
    rng = np.random.default_rng(5)
    rnn1, rnn2 = randomize(cell(6, 9, 4), rng), randomize(cell(4, 7), rng)
    oracles = [naive.copy_of(rnn1), naive.copy_of(rnn2)]
    frames = [[], []]
    states = [oracle.start() for oracle in oracles]
    for x in some_inputs(rng, 8, 6):
        y1 = rnn1.step(x)
        y = rnn2.step(y1)
        for k, oracle in enumerate(oracles):
            x, states[k], frame = oracle.forward(x, states[k])
            frames[k].append(frame)
        assert naive.distance(y, x) < CLOSE
    dy = rng.normal(size=(8, 7)).astype(np.float32)
    d1 = rnn2.backward(dy)
    dx = rnn1.backward(d1)
    reference = oracles[0].backward(frames[0], oracles[1].backward(frames[1], dy))
    assert naive.distance(dx, reference) < CLOSE
    for layer, oracle in zip((rnn1, rnn2), oracles, strict=True):
        assert naive.distance(naive.flat(layer.grads), naive.flat(oracle.grads)) < CLOSE


@cells
def test_reset_forgets_the_past_and_nothing_else(cell):
    rng = np.random.default_rng(6)
    layer = randomize(cell(3, 5), rng)
    params = naive.flat(layer.params)
    xs = some_inputs(rng, 10, 3)
    first = steps(layer, xs)
    assert not np.array_equal(steps(layer, xs), first)
    layer.reset()
    assert all(not value.any() for value in layer.state.values())
    assert np.array_equal(steps(layer, xs), first)
    assert np.array_equal(naive.flat(layer.params), params)


@cells
def test_a_gradient_longer_than_the_tape_is_refused(cell):
    layer = cell(3, 5, window=4)
    steps(layer, np.ones((3, 3), np.float32))
    with pytest.raises(ValueError, match="3"):
        layer.backward(np.ones((4, 5), np.float32))
    layer.backward(np.ones((3, 5), np.float32))
    with pytest.raises(ValueError, match="0"):
        layer.backward(np.ones(5, np.float32))


def test_live_views():
    """What is written into `params` and `state` is what the next step reads."""
    layer = sr.LSTM(2, 3)
    oracle = naive.copy_of(randomize(layer, np.random.default_rng(7)))
    layer.state["h"][...], layer.state["c"][...] = 0.25, -0.5
    y, _, _ = oracle.forward(np.ones(2), {"h": np.full(3, 0.25), "c": np.full(3, -0.5)})
    assert naive.distance(layer.step(np.ones(2, np.float32)), y) < CLOSE


@cells
@tokens
@pytest.mark.parametrize("outputs", [None, 3])
def test_frames_of_many_streams_at_once_are_those_of_each_alone(cell, tokens, outputs):
    rng = np.random.default_rng(6)
    streams, frames = 40, 3 * ROWS + 5
    order = rng.integers(streams, size=frames)
    order[: ROWS // 2] = np.arange(ROWS // 2) % 7  # streams that come again and again, then ones that seldom do
    xs = some_inputs(rng, frames, 5, tokens)

    def run_in_blocks(block):
        layer = randomize(cell(5, 6, outputs), np.random.default_rng(7))
        net = sr.Network([layer], sr.Linear(1), sr.SGD(0.1), window=frames)
        (stage,) = net.allocate(0, 1, net.sizes(streams, block=block))
        plan = np.zeros((frames, PLAN_COLUMNS), np.int64)
        plan[:, PLAN_STREAM] = plan[:, PLAN_SLOT] = order
        plan[:, PLAN_ROW] = [np.sum(order[:k] == order[k]) for k in range(frames)]
        plan[:, PLAN_TOKEN] = xs if tokens else -1
        ys = []
        for start in range(0, frames, block):
            part = slice(start, start + block)
            forward(table_of([stage]), 0, plan[part], np.zeros((0, 5), np.float32) if tokens else xs[part].copy())
            ys.append(stage.output[: len(plan[part])].copy())
        return np.concatenate(ys), stage.state.copy(), stage.tape.copy()

    for alone, together in zip(run_in_blocks(1), run_in_blocks(frames), strict=True):
        assert DISABLED or np.array_equal(alone, together)
        np.testing.assert_allclose(together, alone, atol=CLOSE)
