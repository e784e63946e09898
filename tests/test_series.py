"""Whole arrays of frames in one call: the bits of `step` and `learn` one by one."""

import os
import pickle
import signal

import numpy as np
import pytest

import streamrnn as sr
from streamrnn.model.series import PART

COUNT = 2 * PART + 77  # several parts, the last one not whole


def tokens_next():
    return sr.Network([sr.GRU(5, 6), sr.LSTM(6, 4)], sr.Softmax(5), sr.SGD(0.1), window=4, predict="next")


def vectors_next():
    settings = {"window": 5, "predict": "next", "standardize": True, "gradient_delay": 1}
    return sr.Network([sr.GRU(3, 6)], sr.Gaussian(3), sr.Adam(1e-3), **settings)


def tokens_to_classes():
    return sr.Network([sr.LSTM(5, 6)], sr.Softmax(3), sr.Adam(0.01), window=4, accumulate=2)


def vectors_to_values():
    return sr.Network([sr.RNN(3, 6)], sr.Linear(2), sr.SGD(0.01), window=4, standardize=True)


NETWORKS = [tokens_next, vectors_next, tokens_to_classes, vectors_to_values]
networks = pytest.mark.parametrize("network", NETWORKS)


def frames(net, count, seed=0):
    """Inputs, and targets where the network takes some."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 5, count) if net.input_size == 5 else np.cumsum(rng.normal(size=(count, 3)), 0)
    if net.predict == "next":
        return X, None
    return X, rng.integers(0, 3, count) if net.readout.classes else rng.normal(size=(count, 2))


def one_by_one(net, X, targets=None, stream="", begin=False, end=False):
    """What `run` is to give: a loss where the frame scored something, NaN elsewhere."""
    Y, losses = [], []
    for k, x in enumerate(X):
        flags = {"begin": begin and k == 0, "end": end and k == len(X) - 1}
        scores = targets is not None or (net.predict == "next" and not flags["begin"] and stream in net.names)
        if targets is None:
            Y.append(net.step(x, stream, **flags))
        else:
            net.learn(x, targets[k], stream, **flags)
            Y.append(net._y[0].copy())
        losses.append(net.loss(stream) if scores else np.nan)
    return np.array(Y), np.array(losses)


def assert_same(found, wanted):
    for each, other in zip(found, wanted, strict=True):
        assert each.tobytes() == other.tobytes()


@networks
def test_the_bits_are_those_of_frames_one_by_one(network):
    net, other = network(), network()
    for seed, (stream, count, flags) in enumerate(
        [
            ("", COUNT, {}),
            ("b", 1, {}),
            ("", 70, {}),
            ("b", 33, {"end": True}),
            ("", 40, {"begin": True}),
            ("b", 65, {}),
        ]
    ):
        X, targets = frames(net, count, seed)
        if network is vectors_next and seed == 5:  # its statistics are left of it, and its first frame scores nothing
            net.forget("b")
            other.forget("b")
        assert_same(net.run(X, targets, stream, **flags), one_by_one(other, X, targets, stream, **flags))
        assert pickle.dumps(net) == pickle.dumps(other)
    assert net.parameters_sha256() != network().parameters_sha256()


@networks
def test_without_targets_nothing_is_learned_but_from_what_comes_next(network):
    net = network()
    X, _ = frames(net, 100)
    Y, losses = net.run(X)
    assert_same((Y, losses), one_by_one(network(), X))
    assert np.isnan(losses).sum() == (1 if net.predict == "next" else 100)
    assert (net.parameters_sha256() == network().parameters_sha256()) == (net.predict == "target")


@networks
def test_an_array_is_taken_as_it_is_and_not_changed(network):
    net, other = network(), network()
    X, targets = frames(net, 50)
    kept = X.copy()
    X.flags.writeable = False
    net.run(X, targets)
    other.run(list(kept), targets)
    net.run(np.asfortranarray(X[::2]), None if targets is None else targets[::2])
    other.run(kept[::2].tolist(), None if targets is None else targets[::2].tolist())
    assert np.array_equal(X, kept)
    assert pickle.dumps(net) == pickle.dumps(other)


def test_no_frames_are_no_frames():
    net = tokens_next()
    Y, losses = net.run([])
    assert (Y.shape, losses.shape, net.names) == ((0, 5), (0,), {})


VECTORS = np.ones((4, 3))
UNFIT = [
    (tokens_next, [0, 1, 5], None, "token 5 is outside"),
    (tokens_next, [0.5, 1.0], None, "expected ints"),
    (tokens_next, [[0, 1], [1]], None, "expected numbers"),
    (tokens_to_classes, np.zeros((2, 3, 4)), None, "expected ints .n,. or vectors .n, 5., got an array of shape"),
    (tokens_next, np.ones((2, 5)), None, r"expected ints \(n,\), got"),
    (tokens_next, [0, 1], [1, 2], 'predict="next"'),
    (vectors_next, VECTORS[:, :2], None, "row 0: expected a vector of shape"),
    (vectors_next, VECTORS * [[1], [1], [np.nan], [1]], None, "row 2: the vector holds NaN"),
    (vectors_next, VECTORS * [[1], [1], [1], [1e301]], None, "row 3: .* larger than"),
    (vectors_next, VECTORS.astype(str), None, "row 0: expected a vector of numbers"),
    (tokens_to_classes, [0, 1], [1], "2 frames need as many targets, not 1"),
    (tokens_to_classes, [0, 1], [1, 3], "token 3 is outside"),
    (vectors_to_values, VECTORS, [1, 2, 3, 4], r"expected vectors \(n, 2\)"),
    (vectors_to_values, VECTORS, np.full((4, 2), np.inf), "row 0: the vector holds NaN or infinity"),
]


@pytest.mark.parametrize(("network", "X", "targets", "reason"), UNFIT)
def test_what_does_not_fit_raises_and_changes_nothing(network, X, targets, reason):
    net = network()
    net.run(*frames(net, 10))
    before = pickle.dumps(net)
    with pytest.raises(ValueError, match=reason):
        net.run(X, targets)
    assert pickle.dumps(net) == before


class Interrupting:
    """An array that has Ctrl-C come while it is being worked through, after so many looks at its parts."""

    def __init__(self, monkeypatch, net, after):
        self.after, self.take = after, net._run_part
        monkeypatch.setattr(net, "_run_part", self)

    def __call__(self, *args):
        self.after -= 1
        if self.after == 0:
            os.kill(os.getpid(), signal.SIGINT)
        self.take(*args)


@networks
@pytest.mark.parametrize("after", [1, 2])
def test_ctrl_c_comes_between_parts(network, after, monkeypatch):
    net, other = network(), network()
    X, targets = frames(net, COUNT)
    taken = 1 + after * PART
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs tests in the background ignores it
    with monkeypatch.context() as patch:
        Interrupting(patch, net, after)
        with pytest.raises(KeyboardInterrupt, match=f"{taken} of {COUNT} frames were taken"):
            net.run(X, targets)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    other.run(X[:taken], None if targets is None else targets[:taken])
    assert pickle.dumps(net) == pickle.dumps(other)
    rest = slice(taken, None)
    targets = None if targets is None else targets[rest]
    assert_same(net.run(X[rest], targets), other.run(X[rest], targets))


def test_a_bar_on_request_goes_to_standard_error(capfd):
    net = tokens_next()
    X, _ = frames(net, COUNT)
    net.run(X)
    assert capfd.readouterr() == ("", "")
    net.run(X, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "frames" in err
    assert "100%" in err
