"""One rule for what is a token and what is a vector, the same for networks, lone layers and clients."""

from collections import namedtuple
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from daemon import VECTOR, Daemon

import streamrnn as sr
from streamrnn.client.frame import frame_message
from streamrnn.kernels.frames import TOKEN
from streamrnn.model.channels import names
from streamrnn.model.feedback import Shape

masked = np.ma.array
nothing_masked = masked([1.0, 0.5, 2.0], mask=False)


class Tensor(SimpleNamespace):
    """What cannot be made an array where it is: a tensor that requires grad, or lies on another device."""

    def __array__(self, *_, **__):
        raise self.error


REQUIRES_GRAD = Tensor(ndim=1, shape=(3,), error=RuntimeError("Can't call numpy() on Tensor that requires grad."))
ON_A_DEVICE = Tensor(ndim=0, shape=(), error=TypeError("can't convert device type tensor\nto numpy."))
BROKEN = Tensor(ndim=1, shape=(3,), error=KeyError("nobody expects this"))


class Row:
    """A row as pandas has it: an array by position, a mapping by name that is iterated over its values."""

    def __init__(self, **values):
        self._values = values

    ndim = 1

    def __array__(self, dtype=None, copy=None):
        return np.array([*self._values.values()], object)  # of columns of several types

    def __iter__(self):
        return iter(self._values.values())

    def __len__(self):
        return len(self._values)

    def __contains__(self, name):
        return name in self._values

    def __getitem__(self, name):
        return self._values[name]

    def keys(self):
        return self._values.keys()


# What three inputs take: a token, a vector, or the reason for which it is neither.
TABLE = [
    (1, 1),
    (np.int8(2), 2),
    (np.uint64(2), 2),
    (np.array(1), 1),
    (masked(1), 1),
    (3, r"token 3 is outside \[0, 3\)"),
    (np.array(-1), "token -1 is outside"),
    (10**30, "is outside"),
    (True, "a single number"),
    (np.True_, "a single number"),
    (np.array(True), "a single number"),
    (0.5, "a single number"),
    (np.float32(1), "a single number"),
    (np.array(1.0), "a single number"),
    (masked(1, mask=True), "masked"),
    (np.ma.masked, "masked"),
    ([1, 0.5, 2], [1, 0.5, 2]),
    ((1, 0.5, 2), [1, 0.5, 2]),
    ([True, False, True], [1, 0, 1]),
    ([True, 0.5, 2], [1, 0.5, 2]),
    (np.array([True, False, True]), [1, 0, 1]),
    (np.array([1, 2, 3], np.uint8), [1, 2, 3]),
    (np.array([1, 2, 3], np.float16), [1, 2, 3]),
    (np.array([1, 2, 3], np.longdouble), [1, 2, 3]),
    (np.arange(6)[::2], [0, 2, 4]),
    ([np.float32(1), np.array(0.5), np.True_], [1, 0.5, 1]),
    ([10**30, 0, 0], [1e30, 0, 0]),
    (np.array([True, 0.5, 2], object), [1, 0.5, 2]),
    (np.array([np.True_, Fraction(1, 2), 10**30], object), [1, 0.5, 1e30]),
    (Row(a=True, b=0.5, c=2), [1, 0.5, 2]),
    (nothing_masked, [1, 0.5, 2]),
    ([masked(1.0), 0.5, 2], [1, 0.5, 2]),
    (masked([1.0, 9.97e36, 2.0], mask=[0, 1, 0]), "masked"),
    (masked([1, 9, 2], mask=[0, 1, 0]), "masked"),
    (masked([1, 9, 2], mask=[0, 1, 0], dtype=object), "masked"),
    ([1.0, np.ma.masked, 2.0], "masked"),
    ([1.0, masked(9.97e36, mask=True), 2.0], "masked"),
    ([1.0, None, 2.0], "NoneType"),
    (np.array([1.0, None, 2.0]), "NoneType"),
    (Row(a=1.0, b=None, c=2.0), "NoneType"),
    ([1.0, np.nan, 2.0], "NaN"),
    ([1.0, np.inf, 2.0], "infinity"),
    (np.array([1.0, np.nan, 2.0], object), "NaN"),
    ([1e39, 0.0, 0.0], "larger than 3.4"),
    ([10**400, 0.0, 0.0], "too large"),
    ([[1.0], [0.0, 0.0], []], "a vector of numbers"),
    ([[1.0, 0.5, 2.0]], r"got \(1, 3\)"),
    ([1.0, 0.5], r"got \(2,\)"),
    ([], r"got \(0,\)"),
    (["1", "0.5", "2"], "numbers, got list"),
    (np.array(["1", 0.5, 2], object), "str"),
    ("abc", "numbers, got str"),
    (b"abc", "numbers, got bytes"),
    ([1j, 0, 0], "complex"),
    (np.array([1, 2, 3], "datetime64[s]"), "datetime64"),
    ({"a": 1, "b": 2, "c": 3}, "names need channels|dict"),
    ({1, 2, 3}, "set"),
    (object(), "object"),
    (REQUIRES_GRAD, "requires grad"),
    (ON_A_DEVICE, "device type tensor to numpy"),
    (BROKEN, "nobody expects this"),
]
table = pytest.mark.parametrize(
    ("x", "wanted"), TABLE, ids=[f"{k} {type(x).__name__}" for k, (x, _) in enumerate(TABLE)]
)
refused = pytest.mark.parametrize(
    ("x", "reason"), [pytest.param(x, why, id=f"{k}") for k, (x, why) in enumerate(TABLE) if isinstance(why, str)]
)


def network(size=3, outputs=2, **settings):
    return sr.Network([sr.GRU(size, 4)], sr.Linear(outputs), sr.SGD(0.1), **settings)


def assert_said(caught, reason):
    """In one line."""
    assert caught.match(reason)
    assert "\n" not in str(caught.value)


@table
@pytest.mark.filterwarnings("error")
def test_networks_and_layers_take_what_the_table_says(x, wanted):
    for make in (network, lambda: sr.GRU(3, 4)):
        if isinstance(wanted, str):
            with pytest.raises(ValueError) as caught:  # noqa: PT011
                make().step(x)
            assert_said(caught, wanted)
        else:
            plain = wanted if isinstance(wanted, int) else np.array(wanted, np.float32)
            assert np.array_equal(make().step(x), make().step(plain))


@table
@pytest.mark.filterwarnings("error")
def test_a_target_is_a_vector_by_the_same_rule(x, wanted):
    given, plain = network(outputs=3), network(outputs=3)
    if isinstance(wanted, list):
        assert given.learn(1, x) == plain.learn(1, np.array(wanted, np.float32))
    else:
        with pytest.raises(ValueError, match=r"\w"):
            given.learn(1, x)


@table
@pytest.mark.filterwarnings("error")
def test_frames_of_sequences_are_taken_by_the_same_rule(x, wanted):
    if isinstance(wanted, str):
        with pytest.raises(ValueError, match=r"\w"):
            network().label([x])
    else:
        plain = wanted if isinstance(wanted, int) else np.array(wanted, np.float32)
        assert np.array_equal(network().label([x]), network().label([plain]))


@table
@pytest.mark.filterwarnings("error")
def test_clients_take_what_the_table_says_of_what_their_daemon_takes(x, wanted):
    for tokens in (True, False):
        shape = Shape(3, 2, tokens, classes=False)
        if isinstance(wanted, int if tokens else list):
            message = frame_message(shape, x, None, learn=False, flags=0)
            got = message.frames[0, TOKEN] if tokens else message.vectors[0]
            assert np.array_equal(got, np.array(wanted, got.dtype))
        else:
            with pytest.raises(ValueError, match=r"\w"):
                frame_message(shape, x, None, learn=False, flags=0)


@pytest.mark.parametrize(
    "sequence",
    [
        masked([[1.0, 2.0, 3.0], [1.0, 9e36, 2.0]], mask=[[0, 0, 0], [0, 1, 0]]),
        masked([1, 2], mask=[0, 1]),
        [1, np.ma.masked],
        [REQUIRES_GRAD],
        REQUIRES_GRAD,
        np.array(1),
        [1, None],
    ],
    ids=lambda sequence: type(sequence).__name__,
)
@pytest.mark.filterwarnings("error")
def test_sequences_with_something_missing_are_refused(sequence):
    for ask in (network().label, network().generate, network().transduce, lambda xs: network().teach(xs, [[1, 2]])):
        with pytest.raises(ValueError, match=r"\w"):
            ask(sequence)


def test_masked_targets_of_a_sequence_are_refused():
    with pytest.raises(ValueError, match="masked"):
        network().teach([1], masked([[1.0, 9e36]], mask=[[0, 1]]))
    with pytest.raises(ValueError, match="masked"):
        sr.Network([sr.GRU(3, 4)], sr.Softmax(3), sr.SGD(0.1)).teach([1], masked([1], mask=[1]))


@pytest.mark.parametrize("dy", [masked([1.0, 9e36, 1.0, 1.0], mask=[0, 1, 0, 0]), REQUIRES_GRAD, [None] * 4, ["1"] * 4])
def test_gradients_are_numbers_too(dy):
    layer = sr.GRU(3, 4)
    layer.step([1, 2, 3])
    with pytest.raises(ValueError, match="expected gradients"):
        layer.backward(dy)
    assert layer.backward([1, 0, 0, True]).shape == (3,)


# --- what an int means -----------------------------------------------------------------------------------------------


def test_an_int_for_one_input_is_asked_about():
    for step in (network(1).step, lambda x: network(1).label([x]), lambda x: network(1).learn(x, [1, 2])):
        with pytest.raises(ValueError, match=r'inputs="vector"'):
            step(0)
        step(0.0)
        step([0])


def test_for_a_layer_alone_an_int_is_a_token():
    assert np.array_equal(sr.GRU(1, 4).step(0), sr.GRU(1, 4).step([1]))


@pytest.mark.parametrize("x", [1, 1.0, True, np.float32(1), np.array(1), [1], np.array([1.0])], ids=repr)
def test_as_vectors_of_one_number_ints_are_numbers(x):
    net, other = network(1, inputs="vector"), network(1)
    for _ in range(3):
        assert np.array_equal(net.step(x), other.step([1.0]))
    assert np.array_equal(net.label([x, x]), other.label([[1.0], [1.0]]))


def test_as_tokens_ints_are_tokens():
    net, other = network(1, inputs="tokens"), network(1)
    assert np.array_equal(net.step(0), other.step([1.0]))
    with pytest.raises(ValueError, match="expected an int token"):
        net.step([1.0])
    with pytest.raises(ValueError, match="expected an int token"):
        net.label([[1.0]])


def test_what_is_a_vector_takes_no_token():
    for settings in ({"inputs": "vector"}, {"standardize": True}, {"predict": "next"}):
        net = network(outputs=3, **settings)
        assert net.inputs == "vector"
        with pytest.raises(ValueError, match="a single number"):
            net.step(1)
        with pytest.raises(ValueError, match="a single number"):
            net.label([1])


def test_a_sequence_of_single_numbers_is_one_of_vectors():
    xs, ts = [0.5, 1, 2.0], [1, 0.5, 0.25]
    nets = [network(1, 1, inputs="vector") for _ in range(2)]
    assert nets[0].teach(xs, ts, synced=True) == nets[1].teach([[x] for x in xs], [[t] for t in ts], synced=True)
    assert np.array_equal(nets[0].generate(xs, max_length=4), nets[1].generate([[x] for x in xs], max_length=4))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"inputs": "vectors"}, '"tokens", "vector" or None'),
        ({"inputs": "tokens", "standardize": True}, 'needs "vector"'),
        ({"inputs": "tokens", "outputs": 3, "predict": "next"}, 'needs "vector"'),
        ({"inputs": "tokens", "channels": ["a", "b", "c"]}, "channels are of vectors"),
        ({"channels": "abc"}, "must be a list of names"),
        ({"channels": ["a", "b", 3]}, "must be a list of names"),
        ({"channels": ["a", "b"]}, "as many names as there are inputs, 3, not 2"),
        ({"channels": []}, "as many names as there are inputs, 3, not 0"),
        ({"channels": ["a", "b", "a"]}, "'a' comes more than once"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        network(**settings)


# --- names -----------------------------------------------------------------------------------------------------------

CHANNELS = ["flow", "return", "pump"]
NAMED = [
    {"flow": 1.0, "return": 0.5, "pump": True},
    {"pump": True, "return": 0.5, "flow": 1},
    Row(pump=True, flow=1.0, **{"return": 0.5}),
    [1.0, 0.5, 1.0],
    np.array([1.0, 0.5, 1.0]),
]
MISNAMED = [
    ({"flow": 1.0, "return": 0.5}, "absent 'pump'"),
    ({"flow": 1.0, "return": 0.5, "pump": 1.0, "pmp": 1.0}, "unknown 'pmp'"),
    (Row(flow=1.0, pmp=1.0, valve=1.0), "unknown 'pmp', 'valve'; absent 'return', 'pump'"),
    ({"flow": 1.0, "return": None, "pump": 1.0}, "NoneType"),
    ({"flow": 1.0, "return": np.ma.masked, "pump": 1.0}, "masked"),
    ({"flow": 1.0, "return": [1, 2], "pump": 1.0}, "a vector of numbers"),
]


@pytest.mark.parametrize("x", NAMED, ids=range(len(NAMED)))
def test_vectors_are_taken_by_the_names_of_their_channels(x):
    net, other = network(channels=CHANNELS), network()
    assert np.array_equal(net.step(x), other.step([1.0, 0.5, 1.0]))
    assert net.learn(x, [1, 2]) == other.learn([1.0, 0.5, 1.0], [1, 2])
    assert np.array_equal(net.label([x, x]), other.label([[1.0, 0.5, 1.0]] * 2))
    assert net.teach([x], [[1, 2]]) == other.teach([[1.0, 0.5, 1.0]], [[1, 2]])


def test_named_tuples_and_tables_are_taken_by_name():
    net, other = network(channels=["flow", "back", "pump"]), network()
    frames = [[1.0, 0.5, 1.0], [2.0, 1.5, 0.0]]
    row = namedtuple("row", ["pump", "flow", "back"])
    assert np.array_equal(net.label([row(c, a, b) for a, b, c in frames]), other.label(frames))
    table = {"pump": np.array([True, False]), "back": [0.5, 1.5], "flow": np.array([1, 2])}
    assert np.array_equal(net.label(table), other.label(frames))


def test_a_network_that_predicts_its_next_input_takes_that_by_name():
    net, other = (network(outputs=3, predict="next", channels=names) for names in (CHANNELS, None))
    for k in range(5):
        net.step({"pump": 3 * k, "return": 2 * k, "flow": k})
        other.step([k, 2 * k, 3 * k])
    assert net.loss() == other.loss() > 0
    assert net.generate({"pump": 1, "flow": 2, "return": 3}, max_length=3)[2].tolist() == (
        other.generate([2.0, 3.0, 1.0], max_length=3)[2].tolist()
    )


@pytest.mark.parametrize(("x", "reason"), MISNAMED, ids=range(len(MISNAMED)))
@pytest.mark.filterwarnings("error")
def test_names_that_do_not_fit_are_named(x, reason):
    net, spared = network(channels=CHANNELS), network(channels=CHANNELS)
    for ask in (net.step, lambda x: net.learn(x, [1, 2]), lambda x: net.label([x]), lambda x: net.teach([x], [[1, 2]])):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            ask(x)
        assert_said(caught, reason)
    assert (net.names, net.parameters_sha256()) == (spared.names, spared.parameters_sha256())


def test_what_inputs_are_is_saved(tmp_path):
    for settings in ({"channels": CHANNELS}, {"inputs": "tokens"}, {}):
        net = network(**settings)
        net.save(tmp_path / "net")
        again = sr.load(tmp_path / "net")
        assert (again.inputs, again.channels) == (net.inputs, net.channels)


def test_clients_give_vectors_by_the_names_in_the_config():
    names = 'channels = ["a", "b", "c", "d"]'
    with Daemon(**VECTOR | {"input": f"{VECTOR['input']}\n{names}"}) as daemon:
        daemon.start()
        with daemon.client() as client:
            by_name = client.step({"d": 4, "c": 3, "b": 2, "a": True}, stream="by name")
            assert np.array_equal(by_name.y, client.step([1, 2, 3, 4], stream="by position").y)
            assert np.array_equal(client.classify([{"d": 4, "c": 3, "b": 2, "a": 1}]), by_name.y)
            with pytest.raises(ValueError, match="unknown 'e'; absent 'd'"):
                client.step({"a": 1, "b": 2, "c": 3, "e": 4})
            with pytest.raises(ValueError, match="masked"):
                client.step(masked([1, 2, 3, 4], mask=[0, 0, 0, 1]))
            with pytest.raises(ValueError, match="a single number"):
                client.step(1)
        daemon.stop()
        net = sr.load(daemon.checkpoint())
        assert (net.inputs, net.channels) == ("vector", ["a", "b", "c", "d"])


def test_channels_are_called_by_their_names_where_as_many_have_one_and_else_by_their_numbers():
    assert names(["left", "right"], 2) == ["left", "right"]
    assert names(["left", "right"], 3) == ["channel 1", "channel 2", "channel 3"]
    assert names(None, 1) == ["channel 1"]
