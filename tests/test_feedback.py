"""Outputs that come back as inputs: what is drawn, what that is as an input, and sequences against a plain loop."""

import json
import zlib
from collections import deque
from itertools import cycle, pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.kernels.frames import BEGIN, COLUMNS, ECHO, EMIT, END, FEEDBACK, FLAGS, INPUT, SCORED, TARGET, TOKEN
from streamrnn.model.feedback import Drawing, Last, Shape, Unrolling, draw

# --- how outputs are drawn -------------------------------------------------------------------------------------------

FIELDS = ["temperature", "top_k", "seed", "until", "max_length", "own"]
OUT_OF_RANGE = [
    {"temperature": -0.1},
    {"top_k": -1},
    {"seed": -1},
    {"until": -1},
    {"max_length": -1},
    {"own": -0.1},
    {"own": 1.1},
]
WRONG = [
    {"temprature": 1},
    {"temperature": "1"},
    {"temperature": None},
    {"temperature": [1]},
    {"top_k": 1.5},
    {"top_k": None},
    {"seed": "x"},
    {"until": "\n"},
    {"max_length": {}},
    {"own": True},
]


def within(drawing):
    return (
        0 <= drawing.temperature < float("inf")
        and 0 <= drawing.own <= 1
        and drawing.top_k >= 0
        and drawing.max_length >= 0
        and (drawing.seed is None or drawing.seed >= 0)
        and (drawing.until is None or drawing.until >= 0)
    )


def decoded(data):
    return msgspec.json.decode(data, type=Drawing)


@pytest.mark.parametrize("options", [*OUT_OF_RANGE, *({"temperature": x} for x in (np.nan, np.inf)), {"own": np.nan}])
def test_what_is_out_of_range_is_refused_and_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Drawing(**options)


@pytest.mark.parametrize("options", OUT_OF_RANGE + WRONG)
def test_options_that_do_not_fit_are_no_options(options):
    with pytest.raises(msgspec.DecodeError):
        decoded(json.dumps(options))


@pytest.mark.parametrize(
    "data", ["", "1", "[]", "null", "{", '{"own": 1e999}', '{"own": NaN}', b"\xff", b'{"\xff": 1}']
)
def test_what_is_no_object_is_no_options(data):
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decoded(data)


def test_options_come_as_they_were_sent():
    options = {"temperature": 0.5, "top_k": 3, "seed": 2**70, "until": 0, "max_length": 9, "own": 1.0}
    drawing = decoded(json.dumps(options))
    assert {name: getattr(drawing, name) for name in FIELDS} == options
    assert decoded(msgspec.json.encode(drawing)) == drawing
    plain = decoded("{}")
    assert [getattr(plain, name) for name in FIELDS] == [0, 0, None, None, 0, 0]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
json_values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner))
objects = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), scalars | json_values, max_size=4)


@settings(deadline=None)
@given(objects.map(json.dumps) | st.text() | st.binary())
def test_whatever_comes_is_refused_or_within_its_range(data):
    try:
        drawing = decoded(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    assert within(drawing)


# --- draws -----------------------------------------------------------------------------------------------------------

weights = st.lists(st.sampled_from([0.0, 1e-30, 0.1, 0.25, 0.5, 1.0]), min_size=1, max_size=8).filter(any)


def probabilities_of(w):
    return (np.array(w) / sum(w)).astype(np.float32)


@settings(deadline=None)
@given(weights, st.integers(0, 9), st.integers(0, 99))
def test_temperature_zero_takes_the_first_of_the_likeliest(w, top_k, seed):
    assert draw(probabilities_of(w), 0, top_k, np.random.default_rng(seed)) == w.index(max(w))


@settings(deadline=None)
@given(weights, st.floats(1e-3, 10), st.integers(0, 99))
def test_one_of_one_is_the_likeliest(w, temperature, seed):
    assert draw(probabilities_of(w), temperature, 1, np.random.default_rng(seed)) == w.index(max(w))


@settings(deadline=None)
@given(weights, st.floats(1e-3, 10), st.integers(1, 9), st.integers(0, 2**32))
def test_what_is_drawn_is_among_the_likeliest(w, temperature, top_k, seed):
    among = sorted(range(len(w)), key=lambda k: (-w[k], k))[:top_k]
    rng = np.random.default_rng(seed)
    assert {draw(probabilities_of(w), temperature, top_k, rng) for _ in range(20)} <= set(among)


def test_a_seed_makes_the_draws_the_same_again():
    p = np.full(10, 0.1)
    first, again, other = ([draw(p, 1.0, 0, rng) for _ in range(50)] for rng in map(np.random.default_rng, (3, 3, 4)))
    assert first == again != other


P = [0.05, 0.4, 0.15, 0.3, 0.1, 0.0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("top_k", "among"), [(0, [0, 1, 2, 3, 4]), (6, [0, 1, 2, 3, 4]), (3, [1, 2, 3])])
def test_draws_follow_the_temperature(temperature, top_k, among):
    rng, draws = np.random.default_rng(0), 10_000
    counts = np.bincount([draw(np.array(P), temperature, top_k, rng) for _ in range(draws)], minlength=6)
    shares = {k: P[k] ** (1 / temperature) for k in among}
    expected = {k: draws * share / sum(shares.values()) for k, share in shares.items()}
    assert sum(counts[among]) == draws
    # chi-square with 4 degrees of freedom at most: over 18.5 one time in a thousand
    assert sum((counts[k] - count) ** 2 / count for k, count in expected.items()) < 18.5


def test_low_temperatures_take_the_likeliest_and_high_ones_anything():
    rng, p = np.random.default_rng(0), np.array([0.3, 0.4, 0.3])
    assert {draw(p, 1e-3, 0, rng) for _ in range(200)} == {1}
    assert {draw(p, 1e-308, 0, rng) for _ in range(20)} == {1}
    counts = np.bincount([draw(np.array([0.98, 0.01, 0.01]), 1e6, 0, rng) for _ in range(3000)])
    assert (counts > 850).all()


# --- what outputs are as inputs --------------------------------------------------------------------------------------

TOKENS, ONE_HOT, VALUES = Shape(5, 3, True, True), Shape(4, 3, False, True), Shape(4, 2, False, False)
GREEDY = Drawing()


def test_classes_become_the_last_tokens_or_places_and_values_the_last_numbers():
    assert [TOKENS.feed(k) for k in range(3)] == [2, 3, 4]
    assert [ONE_HOT.feed(k).tolist() for k in range(3)] == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    x = VALUES.feed(np.array([1.5, -2], np.float32))
    assert (x.tolist(), x.dtype) == ([0, 0, 1.5, -2], np.float64)
    assert Shape(3, 3, True, True).feed(1) == 1
    assert Shape(2, 2, False, False).feed(np.array([3, 4], np.float32)).tolist() == [3, 4]


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (Shape(2, 3, True, True), "3 outputs cannot be fed back into 2 inputs"),
        (Shape(2, 3, False, True), "3 outputs cannot be fed back into 2 inputs"),
        (Shape(2, 3, False, False), "3 outputs cannot be fed back into 2 inputs"),
        (Shape(4, 3, True, False), "values cannot be fed back"),
    ],
)
def test_outputs_that_fit_no_input_are_refused_only_where_they_are_fed_back(shape, reason):
    with pytest.raises(ValueError, match=reason):
        shape.check()
    row = np.zeros((2, COLUMNS), np.int64)
    row[:, FLAGS] = INPUT
    X = np.zeros((2, 0 if shape.tokens else shape.inputs), np.float32)
    targets = np.zeros((2, 0 if shape.classes else shape.outputs), np.float32)
    frames, *_ = Unrolling(shape, row.copy(), X, targets, GREEDY, Last()).due(9)
    assert frames.tolist() == row.tolist()
    with pytest.raises(ValueError, match=reason):
        Unrolling(shape, row.copy(), X, targets, Drawing(max_length=1), Last())
    row[1, FLAGS] |= FEEDBACK
    with pytest.raises(ValueError, match=reason):
        Unrolling(shape, row.copy(), X, targets, GREEDY, Last())


@pytest.mark.parametrize("shape", [TOKENS, ONE_HOT, VALUES, Shape(3, 3, True, True), Shape(2, 2, False, False)])
def test_outputs_that_fit_are_let_through(shape):
    shape.check()
    assert np.size(shape.feed(0 if shape.classes else np.ones(2, np.float32))) == (1 if shape.tokens else shape.inputs)


def test_a_class_is_drawn_with_temperature_and_top_k():
    y, rng = np.float32([0.2, 0.5, 0.3]), np.random.default_rng(0)
    assert TOKENS.read(y, GREEDY, rng) == 1
    assert {TOKENS.read(y, Drawing(temperature=5.0, top_k=2), rng) for _ in range(100)} == {1, 2}
    assert {ONE_HOT.read(y, Drawing(temperature=5.0), rng) for _ in range(100)} == {0, 1, 2}


def test_values_are_fed_back_as_they_are():
    y = np.float32([0.25, -7])
    assert VALUES.read(y, Drawing(temperature=3.0), np.random.default_rng(0)).tolist() == [0.25, -7]


def test_means_and_spreads_are_drawn_from():
    y, rng = np.float32([1, -2, 0.5, 3]), np.random.default_rng(0)
    assert VALUES.read(y, GREEDY, rng).tolist() == [1, -2]
    drawn = np.array([VALUES.read(y, Drawing(temperature=0.5), rng) for _ in range(10_000)])
    assert drawn.dtype == np.float64
    # five standard errors
    assert np.abs((drawn.mean(0) - [1, -2]) / [0.25, 1.5]).max() < 5 / 100
    assert np.abs(drawn.std(0) / [0.25, 1.5] - 1).max() < 5 / np.sqrt(20_000)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 5 / 100
    assert y.tolist() == [1, -2, 0.5, 3]


# --- sequences -------------------------------------------------------------------------------------------------------

KINDS = {"tokens": (TOKENS, 3), "one-hot": (ONE_HOT, 3), "values": (VALUES, 2), "means and spreads": (VALUES, 4)}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


class Network:
    """Its output is a function of all inputs since the sequence began, and of nothing else."""

    def __init__(self, size):
        self.size, self.history, self.ended = size, 0, False

    def step(self, flags, x):
        """The output, or None for a frame that is only a target; x is a token or a tuple."""
        ended, self.ended = self.ended, bool(flags & END or (self.ended and not flags & INPUT))
        if not flags & INPUT:
            return None
        self.history = zlib.crc32(repr(x).encode(), 0 if ended or flags & BEGIN else self.history)
        y = np.random.default_rng(self.history).random(self.size) + 0.01
        return (y / y.sum()).astype(np.float32)


class Case:
    """Frames (flags, token, numbers, target) of a network, and all else that an Unrolling takes."""

    def __init__(self, kind, listed, drawing=GREEDY, last=None):
        (self.shape, self.size), self.drawing, self.last = kind, drawing, last or Last()
        self.listed = listed

    def __repr__(self):
        return f"Case({self.shape}, {self.listed}, {self.drawing}, {self.last})"

    def unrolling(self):
        shape, count = self.shape, len(self.listed)
        frames = np.zeros((count, COLUMNS), np.int64)
        X = np.zeros((count, 0 if shape.tokens else shape.inputs), np.float32)
        targets = np.zeros((count, 0 if shape.classes else shape.outputs), np.float32)
        for k, (flags, token, numbers, target) in enumerate(self.listed):
            frames[k, [FLAGS, TOKEN]] = flags, token if shape.tokens else -1
            if not shape.tokens and not flags & FEEDBACK:
                X[k] = numbers
            if flags & SCORED and shape.classes:
                frames[k, TARGET] = target
            elif flags & SCORED:
                targets[k] = target
        return Unrolling(shape, frames, X, targets, self.drawing, self.last)


def likeliest(shape, y):
    """The first of the likeliest classes, the values, or the means."""
    value = tuple(y.tolist()[: shape.outputs])
    return value.index(max(value)) if shape.classes else value


def as_input(shape, value):
    """What a class or values become: a token, or all the numbers of an input."""
    outside = shape.inputs - shape.outputs
    if shape.tokens:
        return outside + value
    if shape.classes:
        value = [float(k == value) for k in range(shape.outputs)]
    return (0.0,) * outside + tuple(map(float, value))


class Loop:
    """The model: one frame after the other, an output at once. `refused` if there is nothing to feed back.

    rows (flags, input, target); heard is what was drawn of each output that had to come back, None if only heard.
    """

    def __init__(self, case):
        self.shape, self.drawing, self.network = case.shape, case.drawing, Network(case.size)
        self.rows, self.heard, self.written = [], [], []
        y, target, ended = case.last.y, case.last.value, False
        for flags, *frame in case.listed:
            self.refused = bool(flags & FEEDBACK and (flags & BEGIN or ended or (y is None and target is None)))
            if self.refused:
                return
            y, target = self.take(flags, frame, y, target)
            ended = flags & END
        self.last = target, y if flags & ECHO else None
        self.refused = bool(self.drawing.max_length and (flags & END or not flags & INPUT))
        if not self.refused:
            self.go_on(y)

    def take(self, flags, frame, y, target_before):
        """A frame, the output before it and the target before it; its own output and target."""
        token, numbers, target = frame
        x = token if self.shape.tokens else numbers
        if flags & FEEDBACK and target_before is not None and not (self.drawing.own and y is not None):
            x = as_input(self.shape, target_before)
        elif flags & FEEDBACK:
            x = as_input(self.shape, self.drawn(y))
        return self.step(flags & ~FEEDBACK, x, target if flags & SCORED else None)

    def step(self, flags, x, target):
        self.rows.append((flags, x if flags & INPUT else None, target))
        if flags & ECHO:
            self.heard.append(None)
        return self.network.step(flags, x), target

    def drawn(self, y):
        """Drawn from the newest output: its frame has to send it back."""
        value = likeliest(self.shape, y)
        if self.rows:
            flags, x, target = self.rows[-1]
            self.rows[-1] = flags | ECHO, x, target
            self.heard = self.heard[:-1] if flags & ECHO else self.heard
            self.heard.append(value)
        return value

    def go_on(self, y):
        for left in range(self.drawing.max_length, 0, -1):
            value = self.drawn(y)
            self.last = value, y
            if self.shape.classes and value == self.drawing.until:
                return
            self.written.append(value)
            if left > 1:
                y, _ = self.step(INPUT | EMIT, as_input(self.shape, value), None)


class Pass:
    """A case unrolled into the network, `limits` of frames at a time; `late` says when outputs keep us waiting."""

    def __init__(self, case, limits=(99,), late=(False,)):
        self.case, self.sequence, self.network = case, case.unrolling(), Network(case.size)
        self.rows, self.heard, self.outputs = [], [], deque()
        for limit, wait in zip(cycle([*limits, 1]), cycle(late), strict=False):
            if self.sequence.done:
                break
            if self.outputs and not wait:
                self.hear()
            part = self.sequence.due(limit)
            assert part is None or 0 < len(part[0]) <= limit
            assert len(self.rows) <= len(case.listed) + case.drawing.max_length
            if part:
                self.step(*part)
            elif limit and not self.sequence.done:
                self.hear()
        assert not self.outputs
        assert self.sequence.due(99) is None
        self.written = [self.plain(value) for value in self.sequence.written]

    def hear(self):
        self.heard.append(self.plain(self.sequence.hear(self.outputs.popleft())))

    def step(self, frames, X, targets):
        shape = self.case.shape
        assert len(X) == len(targets) == len(frames)
        for (_, _, flags, token, target, _), x, values in zip(frames.tolist(), X, targets, strict=True):
            x = (token if shape.tokens else tuple(x.tolist())) if flags & INPUT else None
            target = (target if shape.classes else tuple(values.tolist())) if flags & SCORED else None
            self.rows.append((flags, x, target))
            y = self.network.step(flags, x)
            if flags & ECHO:
                self.outputs.append(y)

    @staticmethod
    def plain(value):
        return tuple(value.tolist()) if isinstance(value, np.ndarray) else value


GIVEN = [INPUT, INPUT | EMIT, INPUT | SCORED, INPUT | SCORED | ECHO, INPUT | ECHO, INPUT | END, INPUT | BEGIN, SCORED]
FED = INPUT | FEEDBACK
FED_ONES = [FED, FED | EMIT, FED | SCORED, FED | SCORED | EMIT, FED | ECHO, FED | SCORED | END, FED | SCORED | ECHO]
ODD = [FED | BEGIN, SCORED | END, INPUT | SCORED | END]
numbers = st.integers(-8, 8).map(lambda k: k / 4)


@st.composite
def cases(draw, kind, own=(0.0, 1.0), temperature=0.0):
    shape, size = kind
    flags = draw(st.lists(st.sampled_from(2 * GIVEN + 3 * FED_ONES + ODD), min_size=1, max_size=8))
    value = st.integers(0, 2) if shape.classes else st.tuples(*[numbers] * shape.outputs)
    x = st.tuples(*[numbers] * shape.inputs)
    listed = [(f, draw(st.integers(0, shape.inputs - 1)), draw(x), draw(value)) for f in flags]
    y = Network(size).step(INPUT, draw(st.integers(0, 9)))
    known = draw(value)
    last = draw(st.sampled_from([Last(), Last(known), Last(None, y), Last(known, y)]))
    if last.value is not None and not shape.classes:
        last = last._replace(value=np.float32(last.value))
    until = draw(st.none() | st.integers(0, 2))
    drawing = Drawing(
        own=draw(st.sampled_from(own)),
        temperature=temperature,
        until=until,
        max_length=draw(st.sampled_from([0, 0, 1, 2, 5])),
        seed=draw(st.integers(0, 99)),
    )
    return Case(kind, listed, drawing, last)


some_limits = st.lists(st.integers(0, 4), min_size=1, max_size=4)
some_late = st.lists(st.booleans(), min_size=1, max_size=5)


def same(one, other):
    return Pass.plain(one) == Pass.plain(other) if one is not None and other is not None else one is other


@kinds
@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_sequence_is_what_a_plain_loop_makes_of_it(kind, data):
    case = data.draw(cases(kind))
    model = Loop(case)
    if model.refused:
        with pytest.raises(ValueError, match=r"nothing to feed back|gone on from"):
            case.unrolling()
        return
    came = Pass(case, data.draw(some_limits), data.draw(some_late))
    assert came.rows == model.rows
    assert came.heard == model.heard
    assert came.written == model.written
    value, y = model.last
    assert same(came.sequence.last.value, value)
    assert same(came.sequence.last.y, y)
    assert came.sequence.all_in


@kinds
@settings(deadline=None, max_examples=80)
@given(st.data())
def test_limits_and_waiting_change_nothing(kind, data):
    case = data.draw(cases(kind, own=(0.5,), temperature=1.0))
    try:
        whole = Pass(case)
    except ValueError:
        assert Loop(case).refused
        return
    came = Pass(case, data.draw(some_limits), data.draw(some_late))
    for name in ("rows", "heard", "written"):
        assert getattr(came, name) == getattr(whole, name)


def taught(kind, count, drawing):
    """A frame with an input, and others that are fed back, each with a target."""
    shape, _ = kind
    rng = np.random.default_rng(0)
    values = rng.integers(0, 3, count) if shape.classes else map(tuple, rng.integers(1, 9, (count, 2)).tolist())
    flags = [INPUT | SCORED, *[FED | SCORED] * (count - 1)]
    zeros = (0.0,) * shape.inputs
    return Case(kind, [(f, 0, zeros, value) for f, value in zip(flags, values, strict=True)], drawing)


@kinds
def test_some_inputs_are_outputs_and_the_others_targets(kind):
    count, share = 2000, 0.3
    came = Pass(taught(kind, count, Drawing(own=share, seed=5)))
    network, own = Network(kind[1]), 0
    for before, (_, fed, _) in pairwise(came.rows):
        flags, x, target = before
        y = network.step(flags, x)
        own += bool(flags & ECHO)
        assert fed == as_input(kind[0], likeliest(kind[0], y) if flags & ECHO else target)
    assert abs(own / count - share) < 5 * np.sqrt(share * (1 - share) / count)  # standard deviations
    assert Pass(taught(kind, count, Drawing(own=share, seed=5))).rows == came.rows
    assert Pass(taught(kind, count, Drawing(own=share, seed=6))).rows != came.rows


def said(k):
    """An output that says class k for sure."""
    return np.eye(3, dtype=np.float32)[k]


def written_on(**options):
    """A sequence of one frame, which is gone on from."""
    frame = (INPUT | EMIT | BEGIN, 1, None, None)
    return Case(KINDS["tokens"], [frame], Drawing(**options)).unrolling()


def test_writing_ends_before_the_stop_symbol():
    sequence = written_on(max_length=9, until=2)
    tokens = []
    for k in (0, 1, 1, 2):
        frames, *_ = sequence.due(9)
        assert len(frames) == 1
        assert not sequence.done
        assert sequence.due(9) is None
        tokens += frames[:, TOKEN].tolist()
        assert sequence.hear(said(k)) == k
    assert tokens == [1, 2, 3, 3]
    assert sequence.written == [0, 1, 1]
    assert sequence.done
    assert sequence.due(9) is None
    assert sequence.last.value == 2


@pytest.mark.parametrize("until", [None, 2])
@pytest.mark.parametrize("length", [1, 2, 40])
def test_writing_ends_at_its_length_if_the_stop_symbol_never_comes(length, until):
    sequence = written_on(max_length=length, until=until)
    for k in range(length):
        assert not sequence.done
        assert len(sequence.due(9)[0]) == 1
        assert sequence.hear(said(k % 2)) == k % 2
    assert sequence.done
    assert sequence.due(9) is None
    assert sequence.written == [k % 2 for k in range(length)]


def test_writing_is_drawn_as_told():
    def written(**options):
        sequence = written_on(max_length=60, **options)
        for _ in range(60):
            assert sequence.due(9)
            sequence.hear(np.float32([0.4, 0.35, 0.25]))
        return sequence.written

    assert set(written()) == {0}
    assert set(written(temperature=1.0, seed=1)) == {0, 1, 2}
    assert set(written(temperature=1.0, seed=1, top_k=2)) == {0, 1}
    assert written(temperature=1.0, seed=1) == written(temperature=1.0, seed=1) != written(temperature=1.0, seed=2)


@pytest.mark.parametrize("flags", [INPUT | END, INPUT | SCORED | END, SCORED])
def test_what_has_ended_cannot_be_gone_on_from(flags):
    listed = [(INPUT, 1, None, None), (flags, 1, None, 2)]
    with pytest.raises(ValueError, match="can be gone on from"):
        Case(KINDS["tokens"], listed, Drawing(max_length=1)).unrolling()
    assert Pass(Case(KINDS["tokens"], listed)).written == []


def test_the_writer_of_values_goes_on_with_them():
    came = Pass(Case(KINDS["values"], [(INPUT, 0, (0.0, 0.0, 1.0, 2.0), None)], Drawing(max_length=4)), limits=[1])
    assert len(came.written) == 4
    assert [x[2:] for _, x, _ in came.rows[1:]] == came.written[:3]


def test_who_stops_before_the_first_frame_writes_nothing():
    sequence = written_on(max_length=9)
    sequence.stop()
    frames, *_ = sequence.due(9)
    assert frames[:, FLAGS].tolist() == [INPUT | EMIT | BEGIN]
    assert sequence.done
    assert sequence.written == []


def test_who_stops_while_an_output_is_awaited_writes_no_further_frame():
    sequence = written_on(max_length=9)
    for k in (0, 1):
        sequence.due(9)
        sequence.hear(said(k))
    sequence.due(9)
    sequence.stop()
    assert not sequence.done
    sequence.hear(said(0))
    assert sequence.due(9) is None
    assert sequence.done


def test_who_stops_still_gets_the_outputs_that_are_fed_back():
    listed = [(INPUT, 1, None, None), (FED, 0, None, None), (FED, 0, None, None)]
    sequence, tokens = Case(KINDS["tokens"], listed, Drawing(max_length=5)).unrolling(), []
    sequence.stop()
    while not sequence.done:
        part = sequence.due(9)
        tokens += part[0][:, TOKEN].tolist()
        if part[0][-1, FLAGS] & ECHO:
            sequence.hear(said(1))
    assert tokens == [1, 3, 3]
    assert sequence.written == []


def test_what_was_said_last_is_fed_back_to_the_next_sequence():
    """Requests after one another are as good as one."""
    kind, frame, fed = KINDS["tokens"], (INPUT, 1, None, None), (FED, 0, None, None)
    whole = Pass(Case(kind, [frame, fed, fed, fed]))
    first = Pass(Case(kind, [frame, fed, (FED | ECHO, 0, None, None)]))
    then = Pass(Case(kind, [fed], last=first.sequence.last))
    tokens = [x for _, x, _ in whole.rows]
    assert [x for _, x, _ in first.rows + then.rows] == tokens
