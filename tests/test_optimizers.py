"""The optimisers against the oracle's, on a layer that belongs to no network."""

import naive
import numpy as np
import pytest

import streamrnn as sr
from streamrnn.kernels.buffers import SKIPPED

CLOSE = 1e-5

optimizers = pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (sr.SGD, {"learning_rate": 0.1}),
        (sr.SGD, {"learning_rate": 0.02, "momentum": 0.9}),
        (sr.SGD, {"learning_rate": 0.1, "decay_steps": 20}),
        (sr.RMSprop, {"learning_rate": 0.01}),
        (sr.RMSprop, {"learning_rate": 0.01, "decay": 0.8, "epsilon": 0.1}),
        (sr.Adagrad, {"learning_rate": 0.1}),
        (sr.Adagrad, {"learning_rate": 0.1, "epsilon": 0.5}),
        (sr.Adam, {"learning_rate": 0.01}),
        (sr.Adam, {"learning_rate": 0.01, "beta1": 0.5, "beta2": 0.8, "epsilon": 0.1}),
        (sr.Adam, {"learning_rate": 0.01, "decay_steps": 50}),
    ],
)


def random_grads(layer, rng, scale=1.0):
    """Gradients of very different sizes, some of them zero; float32 holds them exactly."""
    scale = scale * rng.lognormal()
    return {
        name: (scale * rng.normal(size=p.shape) * (rng.random(p.shape) < 0.8)).astype(np.float32)
        for name, p in layer.params.items()
    }


def apply(optimizer, layer, grads, clip_norm=None):
    for name, grad in grads.items():
        layer.grads[name][...] = grad
    optimizer.update(layer, clip_norm=clip_norm)


@optimizers
@pytest.mark.parametrize("clip_norm", [None, 5.0])
def test_a_hundred_updates_are_the_oracles(kind, settings, clip_norm):
    rng = np.random.default_rng(0)
    layer = sr.LSTM(4, 5, 3, seed=1)
    oracle = naive.copy_of(layer)
    start = naive.flat(layer.params)
    optimizer, reference = kind(**settings), getattr(naive, kind.__name__)(**settings)
    longer = 0
    for _ in range(100):
        grads = random_grads(layer, rng, scale=0.5)
        longer += np.linalg.norm(naive.flat(grads)) > 5
        apply(optimizer, layer, grads, clip_norm)
        reference.apply(oracle, {name: grad.astype(np.float64) for name, grad in grads.items()}, clip_norm)
        assert not any(grad.any() for grad in layer.grads.values())
    assert 20 < longer < 80
    assert naive.distance(naive.flat(layer.params) - start, naive.flat(oracle.params) - start) < CLOSE


@pytest.mark.parametrize("size", [1e-30, 0.5, 2.0, 1e6, 1e25])
def test_clipping_shortens_long_gradients_to_the_norm(size):
    layer = sr.RNN(3, 4)
    start = naive.flat(layer.params)
    grads = random_grads(layer, np.random.default_rng(1))
    length = np.linalg.norm(naive.flat(grads))
    apply(sr.SGD(1.0), layer, {name: grad * np.float32(size / length) for name, grad in grads.items()}, 1.0)
    moved = start - naive.flat(layer.params)
    assert np.abs(moved - naive.flat(grads) / length * min(1, size)).max() < 3e-7


def test_a_gradient_of_zero_moves_nothing():
    layer = sr.GRU(3, 4)
    start = naive.flat(layer.params)
    for kind in (sr.SGD, sr.RMSprop, sr.Adagrad, sr.Adam):
        kind(0.1).update(layer, clip_norm=1.0)
        assert np.array_equal(naive.flat(layer.params), start)


@optimizers
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_gradient_that_is_not_finite_is_skipped(kind, settings, bad, clip_norm):
    """A twin that never saw it goes on bit for bit the same: parameters, moments and step count are unchanged."""
    rng = np.random.default_rng(2)
    layer, twin = sr.GRU(3, 4), sr.GRU(3, 4)
    optimizer = kind(**settings)
    for k in range(10):
        grads = random_grads(layer, rng)
        for each in (layer, twin):
            apply(optimizer, each, grads, clip_norm)
        assert np.array_equal(naive.flat(layer.params), naive.flat(twin.params))
        if k % 3 == 0:
            before = naive.flat(layer.params)
            poisoned = random_grads(layer, rng)
            list(poisoned.values())[k // 3].flat[-1] = bad
            apply(optimizer, layer, poisoned, clip_norm)
            assert np.array_equal(naive.flat(layer.params), before)
            assert not any(grad.any() for grad in layer.grads.values())


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (sr.SGD, {"learning_rate": 0.0}),
        (sr.SGD, {"learning_rate": float("nan")}),
        (sr.SGD, {"learning_rate": 0.1, "momentum": 1.0}),
        (sr.RMSprop, {"learning_rate": 0.1, "decay": -0.1}),
        (sr.Adagrad, {"learning_rate": 0.1, "epsilon": float("nan")}),
        (sr.Adam, {"learning_rate": 0.1, "beta2": 1.0}),
        (sr.Adam, {"learning_rate": 0.1, "decay_steps": -1}),
    ],
)
def test_settings_that_could_only_diverge_are_refused(kind, settings):
    with pytest.raises(ValueError, match=r"must be a positive number|lie in|must not be negative"):
        kind(**settings)


@pytest.mark.parametrize("kind", [sr.SGD, sr.RMSprop, sr.Adagrad, sr.Adam])
@pytest.mark.parametrize("large", [1e19, 1e25, 1e30, 3e38])
def test_one_target_beyond_all_measure_does_not_end_the_learning(kind, large):
    """Its update is left out and counted; parameters and moments stay finite and go on changing."""
    net = sr.Network([sr.RNN(1, 4)], sr.Linear(1), kind(0.01), window=2, clip_norm=None)
    skipped = []
    for k in range(40):
        net.learn([k % 3], [large if k == 10 else 1.0])
        skipped.append(int(sum(owner.stage.counters[SKIPPED] for owner in net.stages)))
        before = naive.flat(net.layers[0].params)
    assert skipped[9] == 0
    assert skipped[-1] > 0
    for owner in net.stages:
        assert np.isfinite(owner.stage.params).all()
        assert np.isfinite(owner.stage.moments).all()
    net.learn([1.0], [1.0])
    net.learn([1.0], [1.0])
    assert not np.array_equal(naive.flat(net.layers[0].params), before)


def test_a_sum_of_squares_ends_before_it_is_infinite():
    layer = sr.RNN(1, 1)
    for _ in range(300):
        apply(sr.Adagrad(0.1), layer, {name: np.full_like(p, 5e17) for name, p in layer.params.items()})
    assert np.isfinite(layer.stage.moments).all()
    before = naive.flat(layer.params)
    apply(sr.Adagrad(0.1), layer, {name: np.full_like(p, 5e17) for name, p in layer.params.items()})
    assert not np.array_equal(naive.flat(layer.params), before)
