"""Threads that share a network or a layer: their calls are done one after the other."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import streamrnn as sr

TIMEOUT = 120.0  # seconds that threads may take


@pytest.fixture(autouse=True)
def _many_switches():
    """Threads take turns a thousand times as often as they would."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def at_once(*tasks):
    """What these return, each run in a thread of its own."""
    with ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result(TIMEOUT) for future in [pool.submit(task) for task in tasks]]


def network():
    return sr.Network([sr.LSTM(4, 24)], sr.Softmax(4), sr.Adam(0.01), window=4)


def test_streams_of_different_threads_are_as_if_alone():
    net = network()

    def steps(net, name):
        rng = np.random.default_rng(ord(name))
        return np.array([net.step(rng.integers(4), name) for _ in range(1500)])

    for name, outputs in zip("abc", at_once(*[lambda name=name: steps(net, name) for name in "abc"]), strict=True):
        assert np.array_equal(outputs, steps(network(), name))


def test_learning_beside_everything_else_stays_finite_and_what_is_saved_is_whole(tmp_path):
    net, rng = network(), np.random.default_rng(0)
    inputs, targets = rng.integers(0, 4, (2, 1500))

    def learn():
        return [net.learn(int(x), int(t), "a") for x, t in zip(inputs, targets, strict=True)]

    def ask():
        for k in range(60):
            net.generate([0, 1, 2], max_length=10, seed=k)
            net.classify(inputs[:20])
            net.run(inputs[:50], stream=f"run {k}")
            net.forget(f"run {k}")
            net.reset("never seen")
            net.forget("never seen")

    def save():
        folder = tmp_path / str(threading.get_ident())  # one that nobody replaces while it is read
        for _ in range(10):
            net.save(folder)
            saved = sr.load(folder)  # its hash is verified
            assert np.isfinite(saved.loss("a")) or np.isnan(net.loss("a"))

    losses, *_ = at_once(learn, ask, save, save)
    alone = network()
    assert losses == [alone.learn(int(x), int(t), "a") for x, t in zip(inputs, targets, strict=True)]
    assert net.parameters_sha256() == alone.parameters_sha256()


def test_a_layer_alone_takes_turns_too():
    layer, steps, other = sr.LSTM(4, 24), 1500, sr.LSTM(4, 24)
    x = np.ones(4)
    said = np.concatenate(at_once(*[lambda: [layer.step(x) for _ in range(steps)]] * 3))
    expected = np.array([other.step(x) for _ in range(3 * steps)])
    assert sorted(y.tobytes() for y in said) == sorted(y.tobytes() for y in expected)


def test_updates_of_a_layer_wait_for_its_steps():
    layer, dy = sr.GRU(4, 24), np.ones(24)

    def learn():
        for _ in range(300):
            layer.step(1)
            sr.SGD(1e-4).update(layer)

    def back():
        found = 0
        for _ in range(300):
            try:
                found += np.isfinite(layer.backward(dy)).all()
            except ValueError:  # the tape is empty
                found += 1
        return found

    assert at_once(learn, back)[1] == 300
    assert all(np.isfinite(values).all() for values in layer.params.values())
