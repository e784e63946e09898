"""Copies and pickles of networks and lone layers, in this process and others: independent, and equal to the bit."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest

import streamrnn as sr
from streamrnn.model.layers import CELLS

WAYS = {"deepcopy": copy.deepcopy, "copy": copy.copy, "pickle": lambda each: pickle.loads(pickle.dumps(each))}
ways = pytest.mark.parametrize("again", WAYS.values(), ids=WAYS)
cells = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
TIMEOUT = 120.0  # seconds; a process that has no kernels in its cache compiles them


def tokens_network(cell=sr.LSTM):
    return sr.Network([cell(5, 7, 6), cell(6, 4)], sr.Softmax(5), sr.Adam(0.01), window=4, accumulate=2)


def vectors_network(cell=sr.LSTM):
    settings = {"window": 4, "gradient_delay": 1, "predict": "next", "standardize": True}
    return sr.Network([cell(3, 6)], sr.Gaussian(3), sr.SGD(0.01, 0.5), **settings)


networks = pytest.mark.parametrize("network", [tokens_network, vectors_network])


def live(net, count, seed):
    """What the network says of frames of three streams, some of which begin or end; and what it has learned."""
    rng, said = np.random.default_rng(seed), []
    for _ in range(count):
        stream, flags = "abc"[rng.integers(3)], {"begin": rng.random() < 0.05, "end": rng.random() < 0.05}
        if net.predict == "next":
            said.append(net.step(rng.normal(size=3), stream, **flags))
        elif rng.random() < 0.8:
            said.append([net.learn(rng.integers(5), rng.integers(5), stream, **flags)])
        else:
            said.append(net.step(rng.integers(5), stream, **flags))
        said.append([net.loss(stream)])
    return np.concatenate(said).tobytes(), net.parameters_sha256()


@ways
@cells
@networks
def test_a_copy_goes_on_as_the_original_does_and_neither_touches_the_other(network, cell, again):
    net, spared = network(cell), network(cell)
    assert live(net, 83, 1) == live(spared, 83, 1)
    twin = again(net)
    assert twin.spec() == net.spec()
    live(twin, 50, 2)
    assert twin.parameters_sha256() != net.parameters_sha256()
    twin = again(net)
    assert live(net, 100, 3) == live(spared, 100, 3)
    replayed = network(cell)
    live(replayed, 83, 1)
    assert live(twin, 100, 3) == live(replayed, 100, 3)


@networks
def test_a_copy_is_what_a_saved_network_is(network, tmp_path):
    net = network()
    live(net, 61, 1)
    net.learning_rate = 0.003
    net.reset("a")
    net.save(tmp_path / "net")
    twin, loaded = copy.deepcopy(net), sr.load(tmp_path / "net")
    assert twin.learning_rate == loaded.learning_rate == 0.003
    assert live(twin, 60, 2) == live(loaded, 60, 2)


@networks
def test_one_state_has_one_pickle(network):
    """However it was reached: tapes and places that were used before leave nothing in it."""
    net, other = network(), network()
    for name in "xyz":  # of no consequence: they are forgotten
        other.step(1 if other.predict == "target" else np.ones(3), name)
        other.forget(name)
    for seed in range(3):
        live(net, 37, seed)
        live(other, 37, seed)
        assert pickle.dumps(net) == pickle.dumps(net)
        assert pickle.dumps(net) == pickle.dumps(other)
        assert pickle.dumps(net) == pickle.dumps(copy.deepcopy(net))
    assert pickle.dumps(net) != pickle.dumps(network())


def test_a_network_that_has_seen_nothing_is_copied_too():
    assert live(copy.deepcopy(tokens_network()), 30, 1) == live(tokens_network(), 30, 1)


@ways
@cells
@pytest.mark.parametrize("outputs", [None, 3])
def test_a_layer_alone_is_copied_with_its_tape_and_its_moments(cell, outputs, again):
    rng, optimizer = np.random.default_rng(0), sr.Adam(0.01)

    def train(layer, xs, dY):
        said = [layer.step(x) for x in xs]
        said += list(layer.backward(dY))
        optimizer.update(layer, clip_norm=0.5)
        return np.concatenate(said).tobytes(), layer.parameters.flat.tobytes()

    xs, dY = rng.normal(size=(7, 4)), rng.normal(size=(3, outputs or 5)).astype(np.float32)
    layer, spared = cell(4, 5, outputs, window=6), cell(4, 5, outputs, window=6)
    for each in (layer, spared):
        train(each, xs, dY)
        for x in xs[:2]:  # left on the tape
            each.step(x)
    twin = again(layer)
    assert pickle.dumps(twin) == pickle.dumps(layer)
    moved = again(layer)
    train(moved, xs, dY)
    assert train(layer, xs[:1], dY) == train(twin, xs[:1], dY) == train(spared, xs[:1], dY)


def test_a_layer_in_a_network_is_not_copied_without_it():
    with pytest.raises(RuntimeError, match="copy the network"):
        copy.deepcopy(tokens_network().layers[0])


@pytest.mark.parametrize(
    "part", [sr.Adam(0.1, decay_steps=5), sr.SGD(0.2, 0.5), sr.Softmax(3), sr.Vocabulary(9, ["a"])]
)
@ways
def test_what_networks_are_made_of_is_copied(part, again):
    twin = again(part)
    assert type(twin) is type(part)
    assert repr(twin) == repr(part) or twin.words == part.words


def test_a_copied_readout_can_end_another_network():
    net = sr.Network([sr.RNN(5, 4)], copy.deepcopy(tokens_network().readout), sr.SGD(0.1))
    assert net.learn(1, 2) > 0


def in_the_pool(net):
    return live(net, 40, 5)


def test_networks_go_to_other_processes_and_come_back():
    nets = [tokens_network(), vectors_network()]
    for net in nets:
        live(net, 40, 4)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        said = pool.map_async(in_the_pool, nets).get(TIMEOUT)
        there = pool.map_async(copy.copy, nets).get(TIMEOUT)
    assert said == [in_the_pool(net) for net in there] == [in_the_pool(net) for net in nets]
