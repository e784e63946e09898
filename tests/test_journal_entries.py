"""What the journal holds is small, and what comes out of it is what went in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamrnn.kernels.frames import (
    BEGIN,
    COLUMNS,
    DISMISS,
    ECHO,
    EMIT,
    END,
    FLAGS,
    INPUT,
    LEARN,
    SCORED,
    TARGET,
    TIME,
    TIMED,
    TOKEN,
)
from streamrnn.model.feedback import Last
from streamrnn.workers.admission import journal_entries as entries
from streamrnn.workers.admission.deduplication import Progress
from streamrnn.workers.admission.intake import Intake
from streamrnn.workers.admission.journal_entries import Ahead, Batch, Control, Let

ANY = st.integers(-(2**63), 2**63 - 1)
COLUMNS_OF_NUMBERS = st.one_of(
    *(hnp.arrays(np.int64, st.integers(1, 20), elements=st.integers(-high, high)) for high in (0, 1, 100, 300, 2**31)),
    hnp.arrays(np.int64, st.integers(1, 20), elements=ANY),
)
FLOATS = st.integers(0, 2**64 - 1)  # their bits: NaNs too
KINDS = {"tokens": (0, 0, "target"), "vectors": (3, 2, "target"), "the next vector": (3, 3, "next")}


def again(entry):
    return entries.decode(entries.encode(entry))


@given(COLUMNS_OF_NUMBERS)
def test_columns_of_numbers(values):
    assert entries.unpack_column(entries.pack_column(values), len(values)).tolist() == values.tolist()
    assert entries.unpack_rising(entries.pack_rising(values), len(values)).tolist() == values.tolist()


@given(hnp.arrays(np.uint64, st.tuples(st.integers(0, 9), st.integers(1, 5)), elements=FLOATS))
def test_vectors(bits):
    vectors = bits.view(np.float64)
    if bits.size:
        packed = entries.pack_vectors(vectors)
        assert entries.unpack_vectors(packed, *bits.shape).tobytes() == bits.tobytes()


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=st.floats(width=32)))
def test_vectors_that_float32_holds_take_half(vectors):
    packed = entries.pack_vectors(vectors.astype(np.float64))
    assert len(packed) <= 4 * vectors.size or np.isnan(vectors).any()
    assert entries.unpack_vectors(packed, *vectors.shape).tobytes() == vectors.astype(np.float64).tobytes()


def intake(kind):
    inputs, targets, predict = KINDS[kind]
    sizes = {"input_size": inputs, "target_size": targets, "classes": 0 if inputs else 256}
    order = {
        "target_classes": 0 if targets else 256,
        "dismissals": 99,
        "predict": predict,
        "largest": 1e30,
        "missing": "refuse",
        "max_streams": 4,
        "places": 10,
        "epoch": 1,
        "frames": 7,
    }
    return Intake(sizes | order | {"streams": [], "fresh": [], "kept": {}, "last": {}})


@st.composite
def lets(draw, kind):
    """What comes for one stream after the other; of what a frame does not bring, anything."""
    inputs, targets, predict = KINDS[kind]
    parts = []
    for _ in range(draw(st.integers(1, 6))):
        count = draw(st.integers(1, 5))
        frames = np.zeros((count, COLUMNS), np.int64)
        step = INPUT | EMIT
        learns = [step | LEARN, step, step | LEARN | END, step | BEGIN, DISMISS]
        scores = [step, step | SCORED, SCORED, step | ECHO, step | SCORED | END, step | BEGIN, DISMISS]
        for column, values in (
            (FLAGS, st.sampled_from(learns if predict == "next" else scores)),
            (TOKEN, st.integers(0, 255) | ANY),
            (TARGET, st.integers(0, 255) | ANY),
            (TIME, ANY),
        ):
            frames[:, column] = draw(st.lists(values, min_size=count, max_size=count))
        frames[:, FLAGS] |= draw(st.sampled_from([0, TIMED])) * (frames[:, FLAGS] != DISMISS)
        X, Y = (draw(hnp.arrays(np.float64, (count, size), elements=st.floats())) for size in (inputs, targets))
        parts.append(Let(draw(st.integers(0, 3)), draw(st.booleans()), frames, X, Y))
    return parts


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_frames_that_are_let_in_from_the_journal_give_the_same_block(kind, data):
    """Also where what came one by one is joined."""
    parts = data.draw(lets(kind))
    first, second = intake(kind), intake(kind)
    for let in parts:
        first.add(let.stream, let.frames, let.X, let.targets)
    batch = again(Batch(0, [entries.pack_frames(let) for let in entries.joined(parts)], {}, {}, {"pipe": [1, "a"]}))
    assert batch.positions == {"pipe": [1, "a"]}
    assert len(batch.parts) <= len(parts)
    for part in batch.parts:
        let = entries.unpack_frames(part, first.inputs, first.targets)
        second.add(let.stream, let.frames, let.X, let.targets)
    assert sum(part.count for part in batch.parts if part.own) == sum(len(let.frames) for let in parts if let.own)
    assert second.block() == first.block()
    for name in ("seq", "begun", "waiting", "stale"):
        assert getattr(second, name) == getattr(first, name)


@given(
    st.dictionaries(
        st.integers(1, 2**62),
        st.tuples(st.tuples(st.integers(0, 9), ANY, st.booleans(), st.text(), ANY), st.integers(-1, 200)),
        min_size=1,
    )
)
def test_how_far_requests_are(found):
    news = {number: (Progress(*facts), stream) for number, (facts, stream) in found.items()}
    batch = again(Batch(3, [], {b"me\xff": entries.pack_progress(news)}, {}, {}))
    assert entries.unpack_progress(batch.requests[b"me\xff"]) == [(number, *each) for number, each in news.items()]


@pytest.mark.parametrize(
    "last",
    [
        None,
        Last(),
        Last(5),
        Last(np.array([0.1, -2], np.float32)),
        Last(7, np.array([0.25, 0.75], np.float32)),
        Last(None, np.array([np.nan], np.float32)),
    ],
)
def test_what_can_be_fed_back(last):
    packed = again(Batch(0, [], {}, {2: entries.pack_last(last)}, {})).ended[2]
    found = entries.unpack_last(packed)
    assert (found and found.plain()) == (last and last.plain())


@given(st.integers(0, 2**62), st.binary(), st.none() | st.dictionaries(st.text(), ANY | st.binary()))
def test_other_entries(at, data, note):
    for entry in (Control(at, data, note), Ahead(at, "a source", [at, "b"], 4096, 2**32 - 1)):
        assert again(entry) == entry


def test_a_byte_from_a_client_costs_little_more_than_itself():
    frames = np.zeros((1, COLUMNS), np.int64)
    none = np.zeros((1, 0), np.float32)
    came = []
    for token in np.random.default_rng(0).integers(256, size=100):
        frames = frames.copy()
        frames[0, [FLAGS, TOKEN]] = INPUT | EMIT | LEARN, token
        came.append(Let(0, False, frames, none, none))
    progress = entries.pack_progress({k: (Progress(1, 9000 + k, True), 3) for k in range(500, 600)})
    batch = Batch(0, [entries.pack_frames(let) for let in entries.joined(came)], {b"x" * 16: progress}, {0: None}, {})
    assert len(entries.encode(batch)) < 100 + 70
