"""Networks: streams that do not touch each other, learning on time, checkpoints, and input that does not fit."""

import gc
import hashlib
import json
import pickle
import shutil
import tracemalloc
from math import isnan

import naive
import numpy as np
import psutil
import pytest

import streamrnn as sr
from streamrnn.kernels.buffers import UPDATES
from streamrnn.kernels.jit import DISABLED
from streamrnn.model.layers import CELLS as LAYERS

SIZE, WINDOW = 4, 3
CELLS = list(LAYERS.values())
OPTIMIZERS = [sr.SGD(0.01, momentum=0.5), sr.RMSprop(0.01), sr.Adagrad(0.05), sr.Adam(0.01)]


def token_network(cell=sr.LSTM, optimizer=OPTIMIZERS[0], **settings):
    settings = {"window": WINDOW} | settings
    return sr.Network([cell(SIZE, 6, 5), cell(5, 4)], sr.Softmax(SIZE), optimizer, **settings)


def vector_network(cell=sr.LSTM, optimizer=OPTIMIZERS[0], **settings):
    settings = {"window": WINDOW, "standardize": True} | settings
    return sr.Network([cell(SIZE, 6), cell(6, 5)], sr.Gaussian(SIZE), optimizer, **settings)


networks = pytest.mark.parametrize("network", [token_network, vector_network])


def inputs(net, count, seed=0):
    """Tokens or vectors, as the network takes them: a random walk, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    if isinstance(net.readout, sr.Softmax):
        return [int(x) % SIZE for x in np.cumsum(rng.integers(0, 2, count))]
    return list(np.cumsum(rng.normal(size=(count, SIZE)), 0).astype(np.float32))


def traffic(net, count, streams, seed=0):
    """Frames (stream, begins, x, target or None): the streams come in one after another, then in a random order."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(1 + np.arange(count) * streams // count)
    xs = inputs(net, count + 1, seed)
    return [
        (f"stream {numbers[k]}", rng.random() < 0.05, xs[k], xs[k + 1] if rng.random() < 0.9 else None)
        for k in range(count)
    ]


def feed(net, frames):
    """Everything the network says of these frames, and its parameters at the end."""
    said = []
    for stream, begins, x, target in frames:
        if begins:
            net.reset(stream)
        if net.predict == "target" and target is not None:
            said.append([net.learn(x, target, stream)])
        else:
            said.append(net.step(x, stream))
            said.append([net.loss(stream)])
    return np.concatenate(said).tolist(), net.parameters_sha256()


def assert_same(net, other):
    """From here on, the two say and learn the same, to the bit."""
    assert net.parameters_sha256() == other.parameters_sha256()
    assert net.names == other.names
    frames = traffic(net, 40, streams=3, seed=99)
    np.testing.assert_equal(feed(net, frames), feed(other, frames))


# --- streams ---------------------------------------------------------------------------------------------------------


@networks
@pytest.mark.parametrize("cell", CELLS)
def test_streams_that_do_not_learn_are_isolated(network, cell):
    net, alone = network(cell), {f"stream {n}": network(cell) for n in range(5)}
    for stream, begins, x, _ in traffic(net, 60, streams=5):
        if begins:
            net.reset(stream)
            alone[stream].reset()
        assert np.array_equal(net.step(x, stream), alone[stream].step(x))


@networks
def test_a_network_makes_room_for_streams_as_if_it_had_had_it(network):
    net, roomy = network(accumulate=2, gradient_delay=1), network(accumulate=2, gradient_delay=1)
    roomy._allocate(16)
    frames = traffic(net, 90, streams=9)
    np.testing.assert_equal(feed(net, frames), feed(roomy, frames))
    assert len(net.names) == 9
    assert_same(net, roomy)


@networks
def test_reset_begins_a_new_sequence(network):
    net = network(standardize=False)
    xs = inputs(net, 10)
    net.reset("a")
    outputs = [net.step(x, "a") for x in xs]
    assert not np.array_equal(net.step(xs[0], "a"), outputs[0])
    net.step(xs[0], "b")
    net.reset("a")
    assert np.array_equal([net.step(x, "a") for x in xs], outputs)
    assert np.array_equal(net.step(xs[1], "b"), outputs[1])


def test_reset_keeps_the_statistics_of_the_stream():
    net, other = vector_network(), vector_network()
    xs = inputs(net, 10)
    for x in xs:
        net.step(x)
    net.reset()
    assert not np.array_equal(net.step(xs[5]), other.step(xs[5]))


# --- learning --------------------------------------------------------------------------------------------------------


@networks
@pytest.mark.parametrize(("accumulate", "delay"), [(1, 0), (2, 0), (1, 2), (3, 1)])
def test_predicting_the_next_is_learning_from_shifted_targets(network, accumulate, delay):
    settings = {"accumulate": accumulate, "gradient_delay": delay}
    following, shifted = network(predict="next", **settings), network(**settings)
    xs, resets = inputs(following, 60), {20, 21, 40}
    following.step(xs[0])
    assert isnan(following.loss())
    for t in range(1, len(xs)):
        before = following.loss()
        if t in resets:  # then xs[t] is not the target of xs[t - 1]
            following.reset()
            shifted.step(xs[t - 1])
            shifted.reset()
        else:
            shifted.learn(xs[t - 1], xs[t])
        following.step(xs[t])
        np.testing.assert_equal(following.loss(), before if t in resets else shifted.loss())
        if t not in resets:
            assert following.parameters_sha256() == shifted.parameters_sha256()
    assert following.parameters_sha256() != network().parameters_sha256()


@networks
@pytest.mark.parametrize(("accumulate", "delay"), [(1, 0), (2, 0), (1, 1), (2, 3)])
def test_updates_come_when_they_are_due(network, accumulate, delay):
    net = network(accumulate=accumulate, gradient_delay=delay)
    xs, before = inputs(net, 61), net.parameters_sha256()
    for t in range(1, len(xs)):
        assert net.learn(xs[t - 1], xs[t]) == net.loss()
        groups, now = t // WINDOW // accumulate, net.parameters_sha256()
        assert [owner.stage.counters[UPDATES] for owner in net.stages] == [max(0, groups - delay)] * 3
        assert (now != before) == (t % (WINDOW * accumulate) == 0 and groups > delay)
        before = now


@networks
def test_a_step_without_target_scores_and_learns_nothing(network):
    net = network()
    before = net.parameters_sha256()
    for x in inputs(net, 20):
        net.step(x)
    assert net.parameters_sha256() == before
    assert isnan(net.loss())
    assert isnan(net.loss("never heard of"))


def test_an_output_belongs_to_its_caller():
    net = token_network()
    first = net.step(1)
    kept = first.copy()
    second = net.step(2)
    assert np.array_equal(first, kept)
    first[:] = 7
    net.reset()
    assert np.array_equal(net.step(1), kept)
    assert np.array_equal(net.step(2), second)


def test_parameters_follow_from_the_seed():
    net, again, other = (token_network(seed=seed) for seed in (1, 1, 2))
    assert net.parameters_sha256() == again.parameters_sha256() != other.parameters_sha256()
    for owner, its_other in zip(net.stages, other.stages, strict=True):
        assert not np.array_equal(owner.parameters.flat, its_other.parameters.flat)


@networks
@pytest.mark.parametrize("cell", CELLS)
def test_parameters_sha256_is_of_every_parameter_in_order(network, cell):
    net = network(cell)
    names = ("W_xh", "W_hh", "b_h", "b_hn", "p_i", "p_f", "p_o", "W_hy", "b_y")
    arrays = [owner.params[name] for owner in net.stages for name in names if name in owner.params]
    assert len(arrays) == sum(len(owner.params) for owner in net.stages)
    assert net.parameters_sha256() == hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def test_memory_stays_flat():
    net = sr.Network([sr.RNN(2, 2)], sr.Softmax(2), sr.SGD(0.1), window=WINDOW, predict="next")
    process = psutil.Process()

    def run(frames):
        for k in range(frames):
            net.step(k & 1, "ab"[k % 5 == 0])
            if k % 1000 == 0:
                net.reset("a")
        gc.collect()

    run(2000)
    before = process.memory_info().rss
    run(2000 if DISABLED else 200_000)
    assert process.memory_info().rss - before < 2**20  # 5 bytes a frame, and all that Numba might lose
    tracemalloc.start()
    run(4000)  # every line traced at least once: what measures coverage allocates too
    before = tracemalloc.get_traced_memory()[0]
    run(4000)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 4000  # 1 byte a frame


# --- where sequences begin and end -----------------------------------------------------------------------------------


@networks
def test_begin_is_a_reset_before_the_frame(network):
    net, other = network(), network()
    for stream, begins, x, target in traffic(net, 80, streams=3):
        if begins:
            other.reset(stream)
        if target is None:
            assert np.array_equal(net.step(x, stream, begin=begins), other.step(x, stream))
        else:
            assert net.learn(x, target, stream, begin=begins) == other.learn(x, target, stream)
    assert_same(net, other)


@pytest.mark.parametrize(("accumulate", "delay"), [(1, 0), (3, 0), (1, 2)])
def test_sequences_begin_and_end_as_the_oracle_s_do(accumulate, delay):
    """An end closes the window at once; with several streams, when it closes decides which group it is in."""
    settings = {"window": 5, "accumulate": accumulate, "gradient_delay": delay, "clip_norm": 1.0}
    net = token_network(optimizer=sr.SGD(0.2, 0.5), **settings)
    oracle = naive.NaiveNetwork(net, naive.SGD(0.2, momentum=0.5), **settings)
    start, rng = naive.flat(oracle.params()), np.random.default_rng(5)
    for stream, begins, x, target in traffic(net, 300, streams=3):
        if begins:
            oracle.reset(stream)
        ends = {"begin": begins, "end": rng.random() < 0.2}
        y = oracle.step(x, stream) if target is None else oracle.learn(x, target, stream)
        said = net.step(x, stream, **ends) if target is None else net.learn(x, target, stream, **ends)
        assert np.allclose(said, y, rtol=1e-4, atol=1e-6)
        if ends["end"]:
            oracle.end(stream)
    params = naive.flat([owner.params for owner in net.stages])
    assert naive.distance(naive.flat(oracle.params()), start) > 0.04
    assert naive.distance(params, naive.flat(oracle.params())) <= 1e-5


# --- streams that go -------------------------------------------------------------------------------------------------


@networks
@pytest.mark.parametrize("learns", [False, True])
def test_a_stream_that_is_forgotten_begins_anew_and_no_other_notices(network, learns):
    settings = {"accumulate": 2, "gradient_delay": 1, "predict": "next" if learns else "target"}
    net, untouched = network(**settings), network(**settings)
    for stream, _, x, _ in traffic(net, 50, streams=3):
        net.step(x, stream)
        untouched.step(x, stream)
    xs = inputs(net, 9)
    for x in xs[:WINDOW]:  # its window is open, and nothing has been learned from it
        net.step(x, "gone")
    net.forget("gone")
    assert isnan(net.loss("gone"))
    assert "gone" not in net.names
    with pytest.raises(ValueError, match="nothing to feed back"):
        net.step(None, "gone")
    assert_same(net, untouched)
    again = net.step(xs[0], "gone")
    assert np.array_equal(again, untouched.step(xs[0], "gone"))
    net.forget("never heard of")
    assert_same(net, untouched)


@networks
def test_numbers_are_used_again_and_streams_keep_what_is_theirs(network, tmp_path):
    """Many come and go in any order; a network that never lets go, under other names, says the same."""
    net, other = network(predict="next"), network(predict="next")
    rng, lives = np.random.default_rng(7), {}
    most, x = 0, iter(inputs(net, 3000, seed=1))
    for k in range(600):
        name = f"stream {rng.integers(20)}"
        if rng.random() < 0.3:
            net.forget(name)
            lives[name] = lives.get(name, 0) + 1
        else:
            given = next(x)
            assert np.array_equal(net.step(given, name), other.step(given, f"{name}, life {lives.get(name, 0)}"))
        most = max(most, len(net.names))
        if k % 200 == 199:
            net.save(tmp_path / "net")
            net = sr.load(tmp_path / "net")
    assert net.parameters_sha256() == other.parameters_sha256()
    assert sorted([*net.names.values(), *net._streams.free]) == list(range(net._streams.used))
    assert net._streams.used <= most < len(other.names)


def test_streams_that_have_ended_leave_nothing():
    net, other = (token_network(optimizer=sr.Adam(0.01)) for _ in range(2))
    for k in range(20_000 if not DISABLED else 200):
        net.learn(k % SIZE, 0, f"stream {k}", begin=True, end=True)
        other.learn(k % SIZE, 0, "the same one", begin=True, end=True)
    assert net.loss(f"stream {k}") == other.loss("the same one")
    assert isnan(net.loss("stream 0"))
    assert net.names == {}
    net.forget(f"stream {k}")
    other.forget("the same one")
    assert pickle.dumps(net) == pickle.dumps(other)
    assert len(pickle.dumps(net)) < 1.1 * len(pickle.dumps(token_network(optimizer=sr.Adam(0.01))))
    assert_same(net, other)


def test_many_open_streams_that_end_give_their_room_back(tmp_path):
    net, other, names = token_network(), token_network(), [f"stream {k}" for k in range(300)]
    for each in (net, other):
        each.learn(1, 2, "stays")
        each.learn(2, 1, "stays")
    for name in names:
        net.step(1, name)
    crowded = len(pickle.dumps(net))
    for name in np.random.default_rng(0).permutation(names):
        net.step(2, str(name), end=True)
    assert list(net.names) == ["stays"]
    assert net._capacity <= 8
    assert len(pickle.dumps(net)) < crowded / 10
    net.save(tmp_path / "net")
    frames = [("stays", False, 1, 2)] * 20
    assert feed(net, frames) == feed(sr.load(tmp_path / "net"), frames) == feed(other, frames)


def test_an_ended_stream_keeps_its_statistics_until_it_is_forgotten():
    net, other = vector_network(), vector_network()
    xs = inputs(net, 20)
    for x in xs[:10]:
        net.step(x, "a", end=x is xs[9])
        other.step(x, "a")
    other.reset("a")
    assert np.array_equal(net.step(xs[10], "a"), other.step(xs[10], "a"))
    net.forget("a")
    assert np.array_equal(net.step(xs[10], "a"), vector_network().step(xs[10], "a"))


# --- what is fed back ------------------------------------------------------------------------------------------------

INPUTS, OUTPUTS = 5, 3  # what comes back takes the last 3 places of 5
FED_BACK = {
    "classes, as tokens": (sr.Softmax(OUTPUTS), True),
    "classes, as vectors": (sr.Softmax(OUTPUTS), False),
    "values": (sr.Linear(OUTPUTS), False),
    "means": (sr.Gaussian(OUTPUTS), False),
}
feeding = pytest.mark.parametrize(("readout", "tokens"), FED_BACK.values(), ids=FED_BACK)


def feeding_network(readout, inputs=INPUTS, predict="target"):
    cell, settings = sr.GRU(inputs, 6), {"window": WINDOW, "predict": predict}
    return sr.Network([cell], type(readout)(readout.size), sr.SGD(0.05), **settings)


def by_hand(value, tokens, inputs=INPUTS):
    """The input that a class or values become."""
    if tokens:
        return inputs - OUTPUTS + int(value)
    x = np.zeros(inputs, np.float32)
    x[inputs - OUTPUTS :] = np.eye(OUTPUTS)[value] if np.ndim(value) == 0 else value
    return x


def spoken(net, y):
    """The class or the values that an output says at temperature 0."""
    return int(np.argmax(y)) if isinstance(net.readout, sr.Softmax) else y[:OUTPUTS]


def some_input(rng, tokens, inputs=INPUTS):
    return int(rng.integers(inputs)) if tokens else rng.normal(size=inputs).astype(np.float32)


def some_target(rng, net):
    return int(rng.integers(OUTPUTS)) if isinstance(net.readout, sr.Softmax) else rng.normal(size=OUTPUTS)


@feeding
def test_none_feeds_back_the_target_or_else_what_was_said(readout, tokens):
    net, other, rng = feeding_network(readout), feeding_network(readout), np.random.default_rng(1)
    last = {}
    for k in range(120):
        stream = "ab"[rng.integers(2)]
        x = None if stream in last and k % 3 else some_input(rng, tokens)
        given = by_hand(last[stream], tokens) if x is None else x
        if rng.random() < 0.5:
            last[stream] = some_target(rng, net)
            assert net.learn(x, last[stream], stream) == other.learn(given, last[stream], stream)
        else:
            y = net.step(x, stream)
            assert np.array_equal(y, other.step(given, stream))
            last[stream] = spoken(net, y)
    assert net.parameters_sha256() == other.parameters_sha256() != feeding_network(readout).parameters_sha256()


@pytest.mark.parametrize("case", ["classes, as tokens", "values", "means"])
def test_what_is_fed_back_to_a_network_that_predicts_its_next_input_is_not_learned(case):
    readout, tokens = FED_BACK[case]
    net, other = (feeding_network(readout, OUTPUTS, predict) for predict in ("next", "target"))
    y = net.step(x := some_input(np.random.default_rng(2), tokens, OUTPUTS))
    assert np.array_equal(y, other.step(x))
    for _ in range(3 * WINDOW):
        given = by_hand(spoken(net, y), tokens, OUTPUTS)
        y = net.step(None)
        assert np.array_equal(y, other.step(given))
    assert net.parameters_sha256() == other.parameters_sha256()
    assert isnan(net.loss())


def without_past(net, tokens):
    """Ways of coming to a frame that has nothing before it: (stream, flags)."""
    x = some_input(np.random.default_rng(3), tokens)
    for stream in ("reset", "begin", "ended"):
        net.step(x, stream, end=stream == "ended")
    net.reset("reset")
    return [("never heard of", {}), ("reset", {}), ("begin", {"begin": True}), ("ended", {})]


@feeding
def test_where_nothing_can_be_fed_back_none_raises_and_changes_nothing(readout, tokens):
    net, spared = feeding_network(readout), feeding_network(readout)
    without_past(spared, tokens)
    target, x = some_target(np.random.default_rng(4), net), some_input(np.random.default_rng(5), tokens)
    for stream, flags in without_past(net, tokens):
        with pytest.raises(ValueError, match="nothing to feed back"):
            net.step(None, stream, **flags)
        with pytest.raises(ValueError, match="nothing to feed back"):
            net.learn(None, target, stream, **flags)
    assert net.names == spared.names
    for stream in ("reset", "begin", "ended", "new"):
        assert np.array_equal(net.step(x, stream), spared.step(x, stream))
    assert net.parameters_sha256() == spared.parameters_sha256()


@pytest.mark.parametrize(
    ("inputs", "readout", "x", "reason"),
    [
        (2, sr.Softmax(3), 1, "3 outputs cannot be fed back into 2 inputs"),
        (2, sr.Softmax(3), [0.5, 1.0], "3 outputs cannot be fed back into 2 inputs"),
        (2, sr.Linear(3), [0.5, 1.0], "3 outputs cannot be fed back into 2 inputs"),
        (3, sr.Linear(3), 1, "values cannot be fed back into a network that takes tokens"),
        (3, sr.Gaussian(2), 1, "values cannot be fed back into a network that takes tokens"),
    ],
)
def test_outputs_that_fit_no_input_are_not_fed_back(inputs, readout, x, reason):
    net = sr.Network([sr.RNN(inputs, 4)], readout, sr.SGD(0.1))
    spared = sr.Network([sr.RNN(inputs, 4)], type(readout)(readout.size), sr.SGD(0.1))
    assert np.array_equal(net.step(x), spared.step(x))
    with pytest.raises(ValueError, match=reason):
        net.step(None)
    assert np.array_equal(net.step(x), spared.step(x))


@networks
def test_learn_needs_a_target(network):
    net, spared = network(), network()
    good = inputs(net, 1)[0]
    for x in (good, None):
        net.step(good)
        spared.step(good)
        with pytest.raises(ValueError, match="learn needs a target"):
            net.learn(x, None)
    assert_same(net, spared)


# --- checkpoints -----------------------------------------------------------------------------------------------------


@networks
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: type(optimizer).__name__)
@pytest.mark.parametrize(
    "settings",
    [{}, {"accumulate": 2, "gradient_delay": 2, "clip_norm": None}, {"predict": "next", "accumulate": 3}],
    ids=["target", "delayed", "next"],
)
def test_a_loaded_network_goes_on_to_the_bit(network, optimizer, settings, tmp_path):
    """Saved in the middle of windows and groups, with streams that are to begin anew and one that has had no frame."""
    net, undisturbed = network(sr.GRU, optimizer, **settings), network(sr.GRU, optimizer, **settings)
    frames = traffic(net, 77, streams=3)
    for each in (net, undisturbed):
        feed(each, frames)
        each.reset("stream 1")
        each.reset("no frame yet")
    net.save(tmp_path / "first")
    loaded = sr.load(tmp_path / "first")
    assert loaded.spec() == net.spec()
    np.testing.assert_equal([loaded.loss(name) for name in net.names], [net.loss(name) for name in net.names])
    loaded.save(tmp_path / "second")
    assert_same(loaded, undisturbed)
    assert_same(net, sr.load(tmp_path / "second"))
    assert net.parameters_sha256() == undisturbed.parameters_sha256()


@networks
def test_a_network_without_streams_is_saved_too(network, tmp_path):
    network().save(tmp_path / "new")
    assert_same(sr.load(tmp_path / "new"), network())


def test_saving_replaces_what_was_saved_before(tmp_path):
    net, folder = token_network(), tmp_path / "deep" / "net"
    net.save(folder)
    for leftover in ("net.writing", "net.old"):  # of a process that was killed
        shutil.copytree(folder, folder.with_name(leftover))
    feed(net, traffic(net, 20, streams=2))
    net.save(str(folder))
    assert [path.name for path in folder.parent.iterdir()] == ["net"]
    assert_same(sr.load(str(folder)), net)


@pytest.mark.parametrize("bias", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_can_be_saved(bias, tmp_path):
    net = sr.Network([sr.RNN(1, 2)], sr.Linear(1), sr.SGD(0.1))
    net.readout.params["b_y"][:] = bias
    loss = net.learn([1.0], [1.0], "a")
    assert not np.isfinite(loss)
    net.save(tmp_path / "net")
    assert np.isnan(sr.load(tmp_path / "net").loss("a"))


def rewrite(folder, **changes):
    """Change entries of a manifest; a function changes the one that is there. Its checksum is right again then."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, change in changes.items():
        manifest[name] = change(manifest[name]) if callable(change) else change
    manifest["checksum"] = ""
    plain = json.dumps(manifest, separators=(",", ":"), ensure_ascii=False).encode()
    manifest["checksum"] = hashlib.sha256(plain).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_numbers_without_a_stream_in_a_daemons_checkpoint_are_free(tmp_path):
    """A daemon writes "" for the number of a stream that was closed."""
    net = token_network()
    feed(net, traffic(net, 60, streams=3))
    net.save(tmp_path / "net")
    rewrite(tmp_path / "net", streams=["", "", "c"])
    loaded, other = sr.load(tmp_path / "net"), sr.load(tmp_path / "net")
    for x in (1, 2, 3):
        loaded.step(x, "d")
    assert np.array_equal(loaded.step(1, "c"), other.step(1, "c"))


def resave_stage(folder, number, data):
    """Put other bytes into a stage's file, with the hash that fits them."""
    name = f"stage-{number}.safetensors"
    (folder / name).write_bytes(data)
    rewrite(folder, sha256=lambda hashes: hashes | {name: hashlib.sha256(data).hexdigest()})


def spoil_byte(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def spoil(path, before, after):
    data = path.read_bytes()
    assert data.count(before) == 1
    path.write_bytes(data.replace(before, after))


def layers(**changes):
    """A change of a spec: of its first layer."""
    return lambda spec: spec | {"layers": [spec["layers"][0] | changes, *spec["layers"][1:]]}


DAMAGES = {
    "missing": shutil.rmtree,
    "a file": lambda folder: (shutil.rmtree(folder), folder.write_text("")),
    "without manifest": lambda folder: (folder / "manifest.json").unlink(),
    "empty manifest": lambda folder: (folder / "manifest.json").write_bytes(b""),
    "manifest is no text": lambda folder: (folder / "manifest.json").write_bytes(b"\xff\x00"),
    "manifest is another": lambda folder: (folder / "manifest.json").write_text('{"format": 2}'),
    "of another checksum": lambda folder: spoil(folder / "manifest.json", b'"frames": 0', b'"frames": 1'),
    "of another format": lambda folder: rewrite(folder, format=999),
    "without spec": lambda folder: rewrite(folder, spec={}),
    "unknown cell": lambda folder: rewrite(folder, spec=layers(cell="CNN")),
    "layers that do not fit": lambda folder: rewrite(folder, spec=layers(output_size=17)),
    "no number": lambda folder: rewrite(folder, spec=layers(hidden_size="six")),
    "other hidden size": lambda folder: rewrite(folder, spec=layers(hidden_size=7)),
    "other cell": lambda folder: rewrite(folder, spec=layers(cell="RNN")),
    "other window": lambda folder: rewrite(folder, spec=lambda spec: spec | {"window": 5}),
    "other delay": lambda folder: rewrite(folder, spec=lambda spec: spec | {"gradient_delay": 1}),
    "other optimiser": lambda folder: rewrite(
        folder, spec=lambda spec: spec | {"optimizer": {"kind": "Adam", "learning_rate": 0.1}}
    ),
    "one more layer": lambda folder: rewrite(
        folder, spec=lambda spec: spec | {"layers": [spec["layers"][0] | {"output_size": SIZE}, *spec["layers"]]}
    ),
    "without streams": lambda folder: rewrite(folder, streams=[]),
    "stage missing": lambda folder: (folder / "stage-1.safetensors").unlink(),
    "stage a folder": lambda folder: (
        (folder / "stage-1.safetensors").unlink(),
        (folder / "stage-1.safetensors").mkdir(),
    ),
    "stage empty": lambda folder: (folder / "stage-1.safetensors").write_bytes(b""),
    "stage damaged": lambda folder: spoil_byte(folder / "stage-1.safetensors"),
    "stage no tensors": lambda folder: resave_stage(folder, 1, b"nothing" * 100),
    "stage of another place": lambda folder: resave_stage(folder, 1, (folder / "stage-0.safetensors").read_bytes()),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    net, folder = token_network(), tmp_path_factory.mktemp("checkpoint") / "net"
    feed(net, traffic(net, 40, streams=3))
    net.save(folder)
    return folder


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_refused_in_one_line(damage, saved, tmp_path):
    folder = tmp_path / "net"
    shutil.copytree(saved, folder)
    sr.load(folder)
    damage(folder)
    with pytest.raises(sr.CheckpointError, match=str(folder)) as caught:
        sr.load(folder)
    assert "\n" not in str(caught.value)


def test_any_damage_to_a_manifest_is_refused(saved, tmp_path):
    folder = tmp_path / "net"
    shutil.copytree(saved, folder)
    whole, rng, refused = (saved / "manifest.json").read_bytes(), np.random.default_rng(0), 0
    facts = json.loads(whole)
    for _ in range(300):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << rng.integers(7)
        (folder / "manifest.json").write_bytes(data)
        try:
            sr.load(folder)
            assert json.loads(data) == facts  # only what is between the values is another
        except sr.CheckpointError:
            refused += 1
    assert refused > 150


# --- what does not fit -----------------------------------------------------------------------------------------------

UNFIT = [
    -1,
    SIZE,
    10**30,
    True,
    1.5,
    "a",
    [],
    [0.0] * (SIZE - 1),
    [0.0] * (SIZE + 1),
    [[0.0] * SIZE],
    [[0.0], [0.0, 0.0]],
    [0.0, 0.0, 0.0, np.nan],
    [0.0, -np.inf, 0.0, 0.0],
    [1e301, 0.0, 0.0, 0.0],
    [1j, 0, 0, 0],
    {},
    object(),
]


@networks
@pytest.mark.parametrize("unfit", UNFIT, ids=lambda unfit: "object" if type(unfit) is object else repr(unfit))
@pytest.mark.filterwarnings("ignore:overflow")
def test_what_does_not_fit_raises_and_changes_nothing(network, unfit):
    for predict in ("target", "next"):
        net, spared = network(predict=predict), network(predict=predict)
        good, frames = inputs(net, 1)[0], traffic(net, 20, streams=2)
        for part in (frames[:10], frames[10:]):
            np.testing.assert_equal(feed(net, part), feed(spared, part))
            for stream in ("stream 0", "new"):
                with pytest.raises(ValueError, match=r"\w"):
                    net.step(unfit, stream)
                for x, target in ((unfit, good), (good, unfit), (good, good) if predict == "next" else (unfit, unfit)):
                    with pytest.raises(ValueError, match=r"\w"):
                        net.learn(x, target, stream)
        assert_same(net, spared)


@pytest.mark.parametrize(
    ("network", "target"), [(token_network, [1.0, 0, 0, 0]), (token_network, 1.0), (vector_network, 1)]
)
def test_a_target_of_the_wrong_kind_changes_nothing(network, target):
    net, spared = network(), network()
    good = inputs(net, 1)[0]
    with pytest.raises(ValueError, match=r"target|shape"):
        net.learn(good, target)
    with pytest.raises(ValueError, match=r"target|shape"):
        network(predict="next").step(target)
    assert_same(net, spared)


SHARED = sr.RNN(3, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: sr.RNN(0, 3),
        lambda: sr.LSTM(3, 0),
        lambda: sr.GRU(3, 3, 0),
        lambda: sr.GRU(3, 3, -1),
        lambda: sr.RNN(3, 3, window=0),
        lambda: sr.Softmax(0),
        lambda: sr.Linear(-1),
        lambda: sr.Gaussian(0),
        lambda: sr.SGD(0.0),
        lambda: sr.Adam(-1.0),
        lambda: sr.RMSprop(float("nan")),
        lambda: sr.Adagrad(float("inf")),
        lambda: sr.Network([], sr.Linear(3), sr.SGD(0.1)),
        lambda: sr.Network([SHARED, SHARED], sr.Linear(3), sr.SGD(0.1)),
        lambda: sr.Network([sr.RNN(3, 4), sr.RNN(3, 4)], sr.Linear(3), sr.SGD(0.1)),
        lambda: sr.Network([sr.RNN(3, 3, 4), sr.RNN(3, 4)], sr.Linear(3), sr.SGD(0.1)),
        lambda: sr.Network([sr.RNN(3, 4)], sr.Linear(2), sr.SGD(0.1), predict="next"),
        lambda: sr.Network([sr.RNN(3, 4)], sr.Linear(3), sr.SGD(0.1), predict="previous"),
        lambda: sr.Network([sr.RNN(3, 4)], sr.Linear(3), sr.SGD(0.1), window=0),
        lambda: sr.Network([sr.RNN(3, 4)], sr.Linear(3), sr.SGD(0.1), accumulate=0),
        lambda: sr.Network([sr.RNN(3, 4)], sr.Linear(3), sr.SGD(0.1), gradient_delay=-1),
        lambda: sr.Network([sr.RNN(3, 4)], sr.Linear(3), sr.SGD(0.1), streams=0),
    ],
)
def test_what_cannot_be_built_raises(make):
    with pytest.raises(ValueError, match=r"\w") as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_loaded_network_feeds_back_what_it_would_have(tmp_path):
    net = sr.Network([sr.GRU(7, 8)], sr.Softmax(4), sr.SGD(0.1))
    net.step(1)
    net.learn(2, 3, stream="taught")
    net.save(tmp_path / "net")
    again = sr.load(tmp_path / "net")
    for stream in ("", "taught"):
        assert np.array_equal(again.step(None, stream=stream), net.step(None, stream=stream))


def test_the_learning_rate_can_change_at_any_time(tmp_path):
    net = sr.Network([sr.GRU(4, 6)], sr.Linear(4), sr.SGD(0.1), window=4, predict="next")
    xs = np.random.default_rng(0).standard_normal((40, 4))
    for x in xs[:20]:
        net.step(x)
    before = net.parameters_sha256()
    net.learning_rate = 0.0
    for x in xs[20:]:
        net.step(x)
    assert net.parameters_sha256() == before
    net.learning_rate = 0.05
    net.save(tmp_path / "net")
    assert sr.load(tmp_path / "net").learning_rate == 0.05
    with pytest.raises(ValueError, match="at least 0"):
        net.learning_rate = float("nan")


def test_a_rate_holds_for_the_updates_behind_it():
    """Two networks with other rates from the start agree as soon as nothing has been learned with those."""
    nets = [sr.Network([sr.LSTM(4, 6)], sr.Linear(4), sr.SGD(rate), window=8, predict="next") for rate in (0.1, 0.2)]
    xs = np.random.default_rng(1).standard_normal((60, 4))
    for net in nets:
        for k, x in enumerate(xs):
            if k == 5:  # before the first update
                net.learning_rate = 0.07
            net.step(x)
    assert nets[0].parameters_sha256() == nets[1].parameters_sha256()
