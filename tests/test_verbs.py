"""The five ways of processing a sequence in the library, against the oracle with inputs and feedback made by hand."""

from itertools import product
from typing import NamedTuple

import naive
import numpy as np
import pytest

import streamrnn as sr

LONGEST = 12  # frames of an input, and of a target


class Kind(NamedTuple):
    """What a network takes and says. What comes back takes the last `outputs` of its inputs."""

    inputs: int
    outputs: int
    readout: type
    tokens: bool

    def network(self, **settings):
        settings = {"window": 4, "clip_norm": 1.0} | settings
        layers = [sr.LSTM(self.inputs, 6), sr.GRU(6, 5)]
        return sr.Network(layers, self.readout(self.outputs), sr.SGD(0.1, 0.5), **settings)

    def some_input(self, rng):
        """A token, or a vector whose last places are for what comes back."""
        outside = self.inputs - self.outputs
        return int(rng.integers(self.inputs)) if self.tokens else rng.normal(size=outside).astype(np.float32)

    def some_target(self, rng):
        if self.readout is sr.Softmax:
            return int(rng.integers(self.outputs))
        return rng.normal(size=self.outputs).astype(np.float32)

    def whole(self, x):
        """The input that the oracle gets for one that may leave out the places of what comes back."""
        if self.tokens or len(x) == self.inputs:
            return x
        return np.concatenate([x, np.zeros(self.outputs)])

    def back(self, value):
        """The input that a class or values become."""
        outside = self.inputs - self.outputs
        if self.tokens:
            return outside + value
        return np.concatenate([np.zeros(outside), np.eye(self.outputs)[value] if np.ndim(value) == 0 else value])

    def says(self, y):
        """The class or the values of an output at temperature 0."""
        return int(np.argmax(y)) if self.readout is sr.Softmax else y[: self.outputs]


KINDS = {
    "tokens": Kind(7, 4, sr.Softmax, True),
    "classes": Kind(7, 4, sr.Softmax, False),
    "values": Kind(5, 2, sr.Linear, False),
    "means": Kind(5, 2, sr.Gaussian, False),
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
# longest input and longest target of each way; synced, they are as long as each other
WAYS = {
    "fixed to fixed": (1, 1),
    "sequence input": (LONGEST, 1),
    "synced": (LONGEST, None),
    "sequence output": (1, LONGEST),
    "sequence to sequence": (LONGEST, LONGEST),
}


def oracle_of(net, **settings):
    """With the parameters that the network has now."""
    settings = {"window": 4, "clip_norm": 1.0} | settings
    return naive.NaiveNetwork(net, naive.SGD(0.1, momentum=0.5), **settings)


def parameters(net):
    return naive.flat([owner.params for owner in net.stages])


def lessons(kind, way, count=30, seed=0):
    """Random sequences and their targets."""
    longest_input, longest_target = WAYS[way]
    rng = np.random.default_rng(seed)
    for _ in range(count):
        n = int(rng.integers(1, longest_input + 1))
        m = n if longest_target is None else int(rng.integers(1, longest_target + 1))
        yield [kind.some_input(rng) for _ in range(n)], [kind.some_target(rng) for _ in range(m)]


def taught(oracle, kind, inputs, targets, synced=False, own=()):
    """Teach the oracle one sequence, every input made by hand; the mean loss.

    `own` names the frames, counted from the first that has no given input, that get what the network said before.
    """
    first = 0 if synced else len(inputs) - 1
    oracle.reset()
    y, losses = np.nan, []
    for k in range(max(len(inputs), first + len(targets))):
        if k < len(inputs):
            x = kind.whole(inputs[k])
        else:
            x = kind.back(kind.says(y) if k - len(inputs) in own else targets[k - first - 1])
        y = oracle.step(x)
        if k >= first:
            losses.append(oracle.score(oracle.stream(""), targets[k - first]))
    oracle.end()
    return np.mean(losses)


def written(oracle, kind, inputs, count):
    """What the oracle writes behind these inputs at temperature 0."""
    y, values = labelled(oracle, kind, inputs)[-1], []
    for _ in range(count):
        values.append(kind.says(y))
        y = oracle.step(kind.back(values[-1]))
    return values


def labelled(oracle, kind, inputs):
    """The oracle's outputs."""
    oracle.reset()
    return [oracle.step(kind.whole(x)) for x in inputs]


# --- teaching --------------------------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("window", "accumulate", "delay"), [(4, 1, 0), (3, 3, 1), (32, 1, 1), (32, 3, 0)], ids=lambda number: str(number)
)
def test_what_is_taught_is_what_the_oracle_learns(kind, way, window, accumulate, delay):
    """Sequences are shorter than the window and longer: targets that come late reach over what has not slid away."""
    settings = {"window": window, "accumulate": accumulate, "gradient_delay": delay}
    net = kind.network(**settings)
    oracle = oracle_of(net, **settings)
    start, synced = parameters(net), way == "synced"
    losses = [net.teach(xs, ts, synced=synced) for xs, ts in lessons(kind, way)]
    expected = [taught(oracle, kind, xs, ts, synced) for xs, ts in lessons(kind, way)]
    assert naive.distance(losses, expected) <= 1e-5
    assert naive.distance(naive.flat(oracle.params()), start) > 0.01
    assert naive.distance(parameters(net), naive.flat(oracle.params())) <= 1e-5


@pytest.mark.parametrize("way", ["sequence input", "sequence output", "sequence to sequence", "synced"])
@pytest.mark.parametrize("changed", [{"window": 5}, {"window": 100}, {"accumulate": 4}, {"gradient_delay": 2}])
def test_a_schedule_that_is_off_by_one_would_show(way, changed):
    kind, settings = KINDS["tokens"], {"window": 4, "accumulate": 3, "gradient_delay": 1}
    results = []
    for some in (settings, settings | changed):
        oracle = oracle_of(kind.network(**some), **some)
        for xs, ts in lessons(kind, way):
            taught(oracle, kind, xs, ts, way == "synced")
        results.append(naive.flat(oracle.params()))
    assert naive.distance(*results) > 1e-3


@kinds
def test_inputs_may_be_given_whole_and_as_arrays(kind):
    net, other, rng = kind.network(), kind.network(), np.random.default_rng(1)
    oracle = oracle_of(net)
    for xs, ts in lessons(kind, "sequence to sequence", 5):
        whole = xs if kind.tokens else [np.concatenate([x, rng.normal(size=kind.outputs)]) for x in xs]
        expected = taught(oracle, kind, whole, ts)
        assert net.teach(np.array(whole), np.array(ts)) == pytest.approx(expected, rel=1e-5)
        other.teach(tuple(whole), tuple(ts))
    assert net.parameters_sha256() == other.parameters_sha256() != kind.network().parameters_sha256()


# --- scheduled sampling ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["sequence output", "sequence to sequence"])
@pytest.mark.parametrize("window", [3, 32])
def test_own_1_feeds_back_what_the_network_said(way, window):
    """Values come back as they are, so nothing is drawn."""
    kind = KINDS["values"]
    net = kind.network(window=window)
    oracle, start = oracle_of(net, window=window), parameters(net)
    losses = [net.teach(xs, ts, own=1.0) for xs, ts in lessons(kind, way)]
    expected = [taught(oracle, kind, xs, ts, own=range(LONGEST)) for xs, ts in lessons(kind, way)]
    assert naive.distance(losses, expected) <= 1e-5
    assert naive.distance(naive.flat(oracle.params()), start) > 0.01
    assert naive.distance(parameters(net), naive.flat(oracle.params())) <= 1e-5


def test_own_1_draws_the_class_that_is_fed_back():
    """A network that is sure of a class draws no other."""
    kind, sure = KINDS["tokens"], 2
    net = kind.network()
    net.readout.params["b_y"][sure] = 60
    oracle = oracle_of(net)
    for xs, ts in lessons(kind, "sequence to sequence", 5):
        expected = taught(oracle, kind, xs, ts, own=range(LONGEST))
        assert net.teach(xs, ts, own=1.0, seed=3) == pytest.approx(expected, rel=1e-5)


def test_own_is_a_share_of_the_frames_that_are_fed_back():
    """Each of 4 frames gets an output or a target, so there are 16 losses: which one, the seed decides."""
    kind = KINDS["values"]
    ((xs, _),) = lessons(kind, "sequence input", 1)
    ts = [kind.some_target(np.random.default_rng(k)) for k in range(5)]
    choices = [[k for k in range(4) if chosen[k]] for chosen in product((0, 1), repeat=4)]
    losses = np.array([taught(oracle_of(kind.network()), kind, xs, ts, own=own) for own in choices])
    assert np.diff(np.sort(losses)).min() > 1e-5 * losses.max()
    drawn = []
    for seed in range(100):
        loss = kind.network().teach(xs, ts, own=0.25, seed=seed)
        drawn.append(int(np.abs(losses - loss).argmin()))
        assert loss == pytest.approx(losses[drawn[-1]], rel=1e-6)
        if seed < 5:
            assert loss == kind.network().teach(xs, ts, own=0.25, seed=seed)
    assert len(set(drawn)) > 5
    assert np.mean([len(choices[k]) for k in drawn]) == pytest.approx(1, abs=0.3)  # 5 standard errors


# --- asking ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def pupil(request):
    """A kind, and a network that has learned a little, so that it does not say the same of everything."""
    net = request.param.network()
    for xs, ts in lessons(request.param, "sequence to sequence", 60, seed=1):
        net.teach(xs, ts)
    return request.param, net


def sequences(kind):
    return [xs for xs, _ in lessons(kind, "sequence input", 20, seed=9)]


def assert_near(actual, expected):
    assert np.shape(actual) == np.shape(expected)
    assert np.abs(np.subtract(actual, expected)).max() <= 1e-5


def test_classify_gives_the_last_output(pupil):
    kind, net = pupil
    for xs in sequences(kind):
        assert_near(net.classify(xs), labelled(oracle_of(net), kind, xs)[-1])


def test_label_gives_every_output(pupil):
    kind, net = pupil
    for xs in sequences(kind):
        assert_near(net.label(xs), labelled(oracle_of(net), kind, xs))


def test_a_long_sequence_is_labelled_in_parts_as_if_whole(pupil):
    kind, net = pupil
    rng = np.random.default_rng(11)
    xs = [kind.some_input(rng) for _ in range(200)]
    expected = labelled(oracle_of(net), kind, xs)
    assert_near(net.label(xs), expected)
    assert_near(net.classify(xs), expected[-1])
    assert_near(net.classify(xs[:64]), expected[63])


def test_transduce_and_generate_write_what_the_oracle_writes(pupil):
    kind, net = pupil
    said = set()
    for xs in sequences(kind):
        expected = written(oracle_of(net), kind, xs, 10)
        assert_near(net.transduce(xs, max_length=10), expected)
        assert_near(net.generate(xs, max_length=10, temperature=0), expected)
        assert_near(net.generate(xs[0], max_length=10, temperature=0), written(oracle_of(net), kind, xs[:1], 10))
        said |= {repr(value) for value in expected}
    assert len(said) > 1


def test_max_length_is_how_much_is_written(pupil):
    kind, net = pupil
    (xs, *_) = sequences(kind)
    expected = written(oracle_of(net), kind, xs, 100)
    for count in (1, 2, 63, 64, 65, 100):
        assert_near(net.transduce(xs, max_length=count), expected[:count])
    assert len(net.transduce(xs)) == 256


def test_verbs_learn_nothing_and_touch_no_other_stream(pupil):
    kind, net = pupil
    before, (xs, *_) = net.parameters_sha256(), sequences(kind)
    whole = [kind.whole(x) for x in xs]
    alone = [net.step(x, "alone") for x in whole]
    net.reset("alone")
    for x, y in zip(whole, alone, strict=True):
        assert np.array_equal(net.step(x, "alone"), y)
        net.classify(xs)
        net.label(xs)
        net.generate(xs, max_length=5, seed=1)
        net.transduce(xs, max_length=5)
    assert net.parameters_sha256() == before
    assert np.isnan(net.loss())


def test_a_verb_begins_a_sequence_on_the_stream_that_is_named(pupil):
    kind, net = pupil
    (xs, *_) = sequences(kind)
    net.step(kind.whole(xs[-1]), "named")
    assert np.array_equal(net.classify(xs, stream="named"), net.classify(xs))
    with pytest.raises(ValueError, match="nothing to feed back"):
        net.step(None, "named")
    net.step(kind.whole(xs[-1]), "named")
    whole = net.transduce(xs, max_length=12)
    assert_near(net.transduce(xs, max_length=8, stream="named"), whole[:8])
    assert_near([kind.says(net.step(None, "named")) for _ in range(4)], whole[8:])


# --- drawing ---------------------------------------------------------------------------------------------------------

TOKENS = KINDS["tokens"]


@pytest.fixture(scope="module")
def speaker():
    """A network that says several classes in turn."""
    net = TOKENS.network()
    for xs, ts in lessons(TOKENS, "sequence to sequence", 60):
        net.teach(xs, ts)
    return net


def test_until_ends_before_that_class(speaker):
    for xs in sequences(TOKENS):
        drawn = speaker.generate(xs, max_length=40, seed=4)
        for until in range(TOKENS.outputs):
            end = drawn.index(until) if until in drawn else 40
            assert speaker.generate(xs, max_length=40, seed=4, until=until) == drawn[:end]
    greedy = speaker.transduce([1], max_length=5)
    assert speaker.transduce([1], max_length=5, until=greedy[0]) == []
    assert speaker.transduce([1], max_length=5, until=np.int64(greedy[0])) == []


def test_a_seed_makes_the_draws_the_same_again(speaker):
    drawn = [speaker.generate([1, 2], max_length=40, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert speaker.generate([1, 2], max_length=40) != speaker.generate([1, 2], max_length=40)


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_top_k_draws_among_the_likeliest(speaker, top_k):
    """And, with 300 draws, each of them now and then."""
    drawn = speaker.generate([1, 2], max_length=300, temperature=3.0, top_k=top_k, seed=7)
    oracle = oracle_of(speaker)
    y, ranks = labelled(oracle, TOKENS, [1, 2])[-1], set()
    for token in drawn:
        ranks.add(int(np.argsort(-y).tolist().index(token)))
        y = oracle.step(TOKENS.back(token))
    assert ranks == set(range(top_k))


def test_a_mean_and_a_spread_are_drawn_from():
    kind = KINDS["means"]
    net = kind.network()
    net.readout.params["W_hy"][:] = 0
    net.readout.params["b_y"][:] = [3.0, -2.0, np.log(0.5), np.log(0.1)]
    (start,) = sequences(kind)[:1]
    values = np.array(net.generate(start, max_length=2000, temperature=2.0, seed=1))
    assert np.abs(values.mean(0) - [3, -2]).max() < 0.1
    assert np.abs(values.std(0) / [1.0, 0.2] - 1).max() < 0.1
    assert np.array_equal(net.generate(start, max_length=5, temperature=0), [np.float32([3, -2])] * 5)


# --- texts -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def writer():
    """A network of bytes."""
    net = sr.Network([sr.GRU(256, 12)], sr.Softmax(256), sr.Adam(0.02), window=16)
    for _ in range(60):
        net.teach("a", "bcd.")
    return net


def test_a_text_start_gives_a_text(writer):
    assert writer.transduce("a", max_length=4) == "bcd."
    assert writer.transduce(b"a", max_length=4) == b"bcd."
    assert writer.transduce([97], max_length=4) == [98, 99, 100, 46]
    assert writer.generate(97, max_length=4, temperature=0) == [98, 99, 100, 46]
    for until in (".", b".", 46):
        assert writer.transduce("a", until=until) == "bcd"


def test_a_text_is_its_bytes(writer):
    assert np.array_equal(writer.classify("aé"), writer.classify([97, 0xC3, 0xA9]))
    assert np.array_equal(writer.label("aé"), writer.label("aé".encode()))
    assert writer.label("aé").shape == (3, 256)


def test_bytes_that_are_no_text_are_replaced():
    net = sr.Network([sr.GRU(256, 4)], sr.Softmax(256), sr.SGD(0.1))
    net.readout.params["b_y"][0xFF] = 60
    assert net.transduce("a", max_length=3) == "\ufffd" * 3
    assert net.transduce(b"a", max_length=3) == b"\xff" * 3


def test_texts_teach_what_their_bytes_teach():
    nets = [sr.Network([sr.GRU(256, 4)], sr.Softmax(256), sr.SGD(0.1)) for _ in range(2)]
    nets[0].teach("ab", "cdé")
    nets[1].teach([97, 98], [99, 100, 0xC3, 0xA9])
    assert nets[0].parameters_sha256() == nets[1].parameters_sha256()


# --- what does not fit -----------------------------------------------------------------------------------------------

NAN = float("nan")
VECTOR = [0.5] * 7
UNFIT = [
    ("tokens", "classify", ([],), {}, "at least one frame"),
    ("tokens", "label", ([],), {}, "at least one frame"),
    ("tokens", "generate", ([],), {}, "at least one frame"),
    ("tokens", "transduce", ([],), {}, "at least one frame"),
    ("values", "label", (np.zeros((0, 5)),), {}, "at least one frame"),
    ("tokens", "teach", ([], [1]), {}, "at least one frame"),
    ("tokens", "teach", ([1], []), {}, "at least one target"),
    ("values", "teach", ([[1, 2, 3]], np.zeros((0, 2))), {}, "at least one target"),
    ("tokens", "classify", ([1, 7],), {}, "token 7 is outside"),
    ("tokens", "label", ([-1],), {}, "token -1 is outside"),
    ("tokens", "label", ([1.5],), {}, "expected ints"),
    ("tokens", "label", ([True],), {}, "expected ints"),
    ("tokens", "label", (["a"],), {}, "expected ints"),
    ("tokens", "label", ([None],), {}, "expected ints"),
    ("tokens", "label", ([1, [2]],), {}, "expected ints"),
    ("tokens", "label", ("abc",), {}, "takes 256 different bytes; this one has 7"),
    ("classes", "label", ([VECTOR, 1],), {}, "shape"),
    ("classes", "label", ([VECTOR, VECTOR[:6]],), {}, "shape"),
    ("classes", "label", ([VECTOR, [NAN] * 7],), {}, "NaN"),
    ("values", "label", ([[1, 2, 3], [1, 2, 3, 4, 5]],), {}, "shape"),
    ("values", "generate", ([[1.0, 2.0]],), {}, "shape"),
    ("tokens", "teach", ([1], [4]), {}, "token 4 is outside"),
    ("tokens", "teach", ([1], [[0.5] * 4]), {}, "expected ints"),
    ("tokens", "teach", ([1], "ab"), {}, "says 256 different bytes; this one has 4"),
    ("values", "teach", ([[1, 2, 3]], [1, 2]), {}, "shape"),
    ("values", "teach", ([[1, 2, 3]], [[1, 2, 3]]), {}, "shape"),
    ("values", "teach", ([[1, 2, 3]], [[1, NAN]]), {}, "NaN"),
    ("tokens", "teach", ([1, 2], [1]), {"synced": True}, "2 inputs need as many targets, not 1"),
    ("tokens", "teach", ([1], [1, 2]), {"synced": True}, "1 inputs need as many targets, not 2"),
    ("tokens", "teach", ([1], [1, 2]), {"own": 1.5}, "own is a share"),
    ("tokens", "teach", ([1], [1, 2]), {"own": NAN}, "own is a share"),
    ("tokens", "teach", ([1], [1, 2]), {"seed": -1}, "seed must not be negative"),
    ("tokens", "generate", (1,), {"max_length": 0}, "max_length must be at least 1"),
    ("tokens", "generate", (1,), {"temperature": -0.1}, "temperature must be from 0 to"),
    ("tokens", "generate", (1,), {"temperature": NAN}, "temperature must be from 0 to"),
    ("tokens", "generate", (1,), {"top_k": -1}, "top_k must not be negative"),
    ("tokens", "generate", (1,), {"until": 4}, "token 4 is outside"),
    ("tokens", "generate", (1,), {"until": "a"}, "says 256 different bytes; this one has 4"),
    ("tokens", "generate", (1,), {"until": True}, "expected ints"),
    ("tokens", "classify", ([1],), {"stream": 5}, "a stream's name is a str"),
    ("values", "generate", ([1],), {}, "values cannot be fed back into a network that takes tokens"),
    ("values", "teach", ([1], [[1, 2], [3, 4]]), {}, "values cannot be fed back into a network that takes tokens"),
]


@pytest.mark.parametrize(("kind", "verb", "sequences", "options", "reason"), UNFIT, ids=lambda value: str(value)[:30])
def test_what_does_not_fit_raises_and_changes_nothing(kind, verb, sequences, options, reason):
    kind = KINDS[kind]
    net, spared = kind.network(accumulate=2, gradient_delay=1), kind.network(accumulate=2, gradient_delay=1)
    for part in (0, 1):
        for xs, ts in lessons(kind, "sequence to sequence", 3, seed=part):
            assert net.teach(xs, ts) == spared.teach(xs, ts)
            assert np.array_equal(net.step(kind.whole(xs[0]), "a"), spared.step(kind.whole(xs[0]), "a"))
        assert net.parameters_sha256() == spared.parameters_sha256()
        with pytest.raises(ValueError, match=reason) as caught:
            getattr(net, verb)(*sequences, **options)
        assert "\n" not in str(caught.value)
        assert net.names == spared.names


def test_more_outputs_than_inputs_are_not_fed_back():
    net = sr.Network([sr.RNN(2, 4)], sr.Softmax(3), sr.SGD(0.1))
    before, reason = net.parameters_sha256(), "3 outputs cannot be fed back into 2 inputs"
    for ask in (lambda: net.generate(1), lambda: net.transduce([1, 0]), lambda: net.teach([1], [1, 2])):
        with pytest.raises(ValueError, match=reason):
            ask()
    assert (net.parameters_sha256(), net.names) == (before, {})
    assert net.teach([1, 0], [2, 1], synced=True) > 0
    assert net.classify([1, 0]).shape == (3,)


def test_a_network_that_predicts_its_next_input_writes_and_is_not_taught():
    net = sr.Network([sr.GRU(3, 6)], sr.Softmax(3), sr.SGD(0.3), predict="next")
    for token in [0, 1, 2] * 200:
        net.step(token)
    before = net.parameters_sha256()
    with pytest.raises(ValueError, match='predict="next"'):
        net.teach([1], [2])
    assert net.transduce([0, 1, 2], max_length=4) == [0, 1, 2, 0]
    assert net.classify([0, 1, 2, 0]).argmax() == 1
    assert net.parameters_sha256() == before
