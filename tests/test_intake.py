"""The intake of the gate: what it lets in, what it refuses, and the rows that go down the pipeline."""

import json
import tempfile
from copy import deepcopy
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from streamrnn.kernels.frames import (
    BEGIN,
    COLUMNS,
    DISMISS,
    ECHO,
    EMIT,
    END,
    FEEDBACK,
    FLAGS,
    INPUT,
    LEARN,
    NEW,
    SCORED,
    SEQ,
    STREAM,
    TARGET,
    TIMED,
    TOKEN,
)
from streamrnn.kernels.messages import ACCEPTED, BARRIER, CLOSE, EVICT, FRAMES, HURRY, NAME, REFUSED
from streamrnn.model.feedback import Drawing, Last
from streamrnn.protocol.stream_names import PREVIEW, SOURCE
from streamrnn.protocol.wire import LARGEST_MESSAGE, NO_VECTORS, Message, as_numbers, pack, text_of, unpack
from streamrnn.sources import Frames, Rereadable
from streamrnn.sources.text import TextConfig
from streamrnn.workers.admission import connections, held_answers
from streamrnn.workers.admission.deduplication import Verdict
from streamrnn.workers.admission.intake import Intake, Refused, check_name
from streamrnn.workers.admission.journal import Journal, JournalFull
from streamrnn.workers.admission.journal_entries import decode
from streamrnn.workers.admission.sources import OpenSource
from streamrnn.workers.gate import Gate

STREAMS, BLOCK, FIRST = 3, 16, 100  # streams with names, rows in a block, frames accepted before
CLASSES, TARGET_CLASSES, WIDTH, TARGET_WIDTH = 5, 7, 3, 2
FED_CLASSES = 3  # of the networks whose outputs fit their inputs


NO_DRAWING = Drawing()


def order(predict, classes=0, target_classes=0, width=0, target_width=0):
    return {
        "predict": predict,
        "classes": classes,
        "target_classes": target_classes,
        "dismissals": 0,
        "input_size": width,
        "target_size": target_width,
        "max_streams": STREAMS,
        "places": 2 * STREAMS + 2,
        "block": BLOCK,
        "largest": 1e30,
        "missing": "refuse",
        "evict": "idle",
        "epoch": 9,
        "frames": FIRST,
        "streams": [],
        "fresh": [],
        "kept": {},
        "last": {},
    }


NEXT_TOKENS = order("next", classes=CLASSES, target_classes=CLASSES)
NEXT_VECTORS = order("next", width=WIDTH, target_width=WIDTH)
TOKENS_TO_TOKENS = order("target", classes=CLASSES, target_classes=TARGET_CLASSES)
TOKENS_TO_VECTORS = order("target", classes=CLASSES, target_width=TARGET_WIDTH)
VECTORS_TO_TOKENS = order("target", width=WIDTH, target_classes=TARGET_CLASSES)
VECTORS_TO_VECTORS = order("target", width=WIDTH, target_width=TARGET_WIDTH)
TOKENS_TO_FEWER = order("target", classes=CLASSES, target_classes=FED_CLASSES)
VECTORS_TO_FEWER = order("target", width=WIDTH + 1, target_classes=FED_CLASSES)
ORDERS = {
    "next token": NEXT_TOKENS,
    "next vector": NEXT_VECTORS,
    "tokens to tokens": TOKENS_TO_TOKENS,
    "tokens to vectors": TOKENS_TO_VECTORS,
    "vectors to tokens": VECTORS_TO_TOKENS,
    "vectors to vectors": VECTORS_TO_VECTORS,
    "tokens to fewer tokens": TOKENS_TO_FEWER,
    "vectors to fewer tokens": VECTORS_TO_FEWER,
}
orders = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)


def message(*frames, vectors=(), extra=(), kind=FRAMES):
    """Frames (flags, token or -1, target or -1), with vectors and target numbers beside them."""
    rows = np.zeros((len(frames), COLUMNS), np.int64)
    rows[:, SEQ] = rows[:, STREAM] = 77  # the gate's to fill in
    for row, values in zip(rows, frames, strict=True):
        row[[FLAGS, TOKEN, TARGET]] = values
    vectors = np.array(vectors, np.float32) if len(vectors) else NO_VECTORS
    return Message(kind, 0, 1, rows, vectors, np.array(extra, np.float32))


def fitting(order, *flags):
    """A message of such frames that fits the network; the numbers in it go up."""
    inputs, scored = sum(f & (INPUT | FEEDBACK) == INPUT for f in flags), sum(f & SCORED > 0 for f in flags)
    return message(
        *((f, k % CLASSES, k % (order["target_classes"] or TARGET_CLASSES)) for k, f in enumerate(flags)),
        vectors=np.arange(inputs * order["input_size"]).reshape(inputs, order["input_size"]),
        extra=np.arange(scored * order["target_size"]),
    )


def let_in(gate, name, letter, drawing=NO_DRAWING, limit=BLOCK // 2, say=None):
    """All that a worker does with a message; the first frame's number, and a NAME or nothing.

    `say` makes up the outputs that come back.
    """
    number, naming, unrolling = gate.unroll(name, unpack(pack(letter)), drawing)
    first = gate.seq
    while not unrolling.done:
        part = unrolling.due(limit)
        assert gate.add(number, *part) == gate.seq - len(part[0])
        for _ in range(np.count_nonzero(part[0][:, FLAGS] & ECHO)):
            unrolling.hear(say())
    gate.keep(number, unrolling.last)
    return first, naming


def state(gate):
    """Everything a gate is, to compare."""
    arrays = ("rows", "vectors", "extra")
    rest = {name: value for name, value in vars(gate).items() if name not in (*arrays, "last", "added")}
    plain = repr((gate.last, gate.added))
    return deepcopy(rest), plain, [[array.tobytes() for array in getattr(gate, name)] for name in arrays]


def sent(gate):
    """The block that goes down: rows (flags, token, target), None for what has no meaning, and the message."""
    block = unpack(gate.block())
    return [meaning(gate, *row) for row in block.frames[:, [FLAGS, TOKEN, TARGET]].tolist()], block


def meaning(gate, flags, token, target):
    return (
        flags,
        token if flags & INPUT and gate.classes else None,
        target if flags & SCORED and gate.target_classes else None,
    )


# --- the daemon's own source -----------------------------------------------------------------------------------------


def test_tokens_of_the_source_are_targets_then_inputs():
    gate = Intake(NEXT_TOKENS)
    number, naming = gate.stream(SOURCE)
    assert text_of(unpack(naming)) == SOURCE
    assert unpack(naming)[:3] == (NAME, 9, number)
    assert gate.stream(SOURCE) == (number, b"")
    gate.add_from_source(number, Frames(np.array([3, 1])), True)
    gate.add_from_source(number, Frames(np.array([4])), True)
    assert not gate.added
    rows, block = sent(gate)
    assert rows == [
        (INPUT | EMIT | BEGIN, 3, None),
        (SCORED, None, 1),
        (INPUT | EMIT, 1, None),
        (SCORED, None, 4),
        (INPUT | EMIT, 4, None),
    ]
    assert block.frames[:, SEQ].tolist() == [100, 101, 101, 102, 102]
    assert set(block.frames[:, STREAM]) == {number}
    assert block[:3] == (FRAMES, 9, 0)
    assert block.vectors.size == block.extra.size == gate.count == 0
    assert gate.seq == 103


def test_vectors_of_the_source_are_targets_then_inputs():
    gate = Intake(NEXT_VECTORS)
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    for part in (x[:1], x[1:3], x[3:]):
        gate.add_from_source(gate.stream(SOURCE)[0], Frames(part), False)
    assert len(gate.added) == 3
    assert gate.count == 7
    rows, block = sent(gate)
    assert [flags for flags, *_ in rows] == [INPUT | EMIT | BEGIN, *[SCORED, INPUT | EMIT] * 3]
    assert block.frames[:, SEQ].tolist() == [100, 101, 101, 102, 102, 103, 103]
    assert np.array_equal(block.vectors, x)
    assert np.array_equal(block.extra, x[1:].reshape(-1))


# --- clients ---------------------------------------------------------------------------------------------------------

STEP, LESSON = INPUT | EMIT, INPUT | EMIT | LEARN


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([LESSON, LESSON], [(STEP | BEGIN, 0, None), (SCORED, None, 1), (STEP, 1, None)]),
        ([STEP, LESSON, STEP], [(STEP | BEGIN, 0, None), (SCORED, None, 1), (STEP, 1, None), (STEP, 2, None)]),
        ([INPUT | LEARN, LESSON | BEGIN], [(INPUT | BEGIN, 0, None), (STEP | BEGIN, 1, None)]),
        ([LESSON | END, LESSON], [(STEP | BEGIN | END, 0, None), (STEP | BEGIN, 1, None)]),
        ([LESSON | BEGIN, LESSON | END], [(STEP | BEGIN, 0, None), (SCORED, None, 1), (STEP | END, 1, None)]),
    ],
)
def test_frames_of_a_client_that_predicts_the_next(flags, expected):
    gate = Intake(NEXT_TOKENS)
    assert let_in(gate, "a", fitting(NEXT_TOKENS, *flags))[0] == FIRST
    assert sent(gate)[0] == expected
    gate = Intake(NEXT_VECTORS)
    letter = fitting(NEXT_VECTORS, *flags)
    let_in(gate, "a", letter)
    rows, block = sent(gate)
    assert [flags for flags, _, _ in rows] == [flags for flags, _, _ in expected]
    assert np.array_equal(block.vectors, letter.vectors)
    learned = [k for flags, _, k in expected if flags == SCORED]
    assert np.array_equal(block.extra, letter.vectors[learned].reshape(-1))


@pytest.mark.parametrize("order", [o for o in ORDERS.values() if o["predict"] == "target"])
def test_frames_of_a_client_with_targets(order):
    gate, letter = Intake(order), fitting(order, STEP | SCORED, STEP, INPUT | SCORED | END, STEP, SCORED, STEP | BEGIN)
    assert let_in(gate, "a", letter)[0] == FIRST
    rows, block = sent(gate)
    assert [flags for flags, _, _ in rows] == [
        STEP | SCORED | BEGIN,
        STEP,
        INPUT | SCORED | END,
        STEP | BEGIN,
        SCORED,
        STEP | BEGIN,
    ]
    assert block.frames[:, SEQ].tolist() == list(range(FIRST, FIRST + 6))
    inputs = [k for k in range(6) if k != 4]
    assert block.frames[inputs, TOKEN].tolist() == ([0, 1, 2, 3, 0] if order["classes"] else [-1] * 5)
    if order["target_classes"]:
        wanted = [k % order["target_classes"] for k in (0, 2, 4)]
        assert [target for flags, _, target in rows if flags & SCORED] == wanted
    assert np.array_equal(block.vectors.reshape(-1), letter.vectors.reshape(-1))
    assert np.array_equal(block.extra, letter.extra)


@pytest.mark.parametrize("limit", [1, 2, 7, 40])
def test_frames_are_the_same_however_many_are_let_in_at_a_time(limit):
    letter = fitting(NEXT_VECTORS, STEP, *[LESSON] * 9, LESSON | END, LESSON, STEP | BEGIN, *[LESSON] * 20)
    whole, gate = Intake(NEXT_VECTORS), Intake(NEXT_VECTORS)
    let_in(whole, "a", letter, limit=99)
    number, _, unrolling = gate.unroll("a", letter, NO_DRAWING)
    parts = []
    while part := unrolling.due(limit):
        parts.append(len(part[0]))
        gate.add(number, *part)
    assert max(parts) <= limit
    assert sum(parts) == 33
    assert gate.block() == whole.block()


@pytest.mark.parametrize("order", [VECTORS_TO_TOKENS, VECTORS_TO_VECTORS])
@pytest.mark.parametrize("vectors", [NO_VECTORS, np.zeros((0, WIDTH), np.float32)])
def test_a_target_alone_brings_no_vector(order, vectors):
    gate = Intake(order)
    let_in(gate, "a", fitting(order, STEP))
    let_in(gate, "a", fitting(order, SCORED)._replace(vectors=vectors))
    assert [row[0] for row in sent(gate)[0]] == [STEP | BEGIN, SCORED]


def test_each_stream_begins_for_itself_and_blocks_end_nothing():
    gate = Intake(NEXT_TOKENS)
    seen = []
    for name in "abba":
        let_in(gate, name, fitting(NEXT_TOKENS, LESSON))
        seen.append((unpack(deepcopy(gate).block()).frames[-1, STREAM], len(sent(gate)[0])))
    assert seen == [(0, 1), (1, 1), (1, 2), (0, 2)]


@orders
def test_a_number_that_serves_again_is_new(order):
    gate = Intake(order)
    for name in "abc":
        let_in(gate, name, fitting(order, STEP))
    gate.close("b")
    gate.block()
    first, naming = let_in(gate, "d", fitting(order, STEP, STEP, STEP | BEGIN))
    assert first == FIRST + 3
    assert (unpack(naming).number, text_of(unpack(naming))) == (1, "d")
    rows, block = sent(gate)
    assert [flags for flags, _, _ in rows] == [STEP | BEGIN | NEW, STEP, STEP | BEGIN]
    assert set(block.frames[:, STREAM]) == {1}
    let_in(gate, "a", fitting(order, STEP))
    assert sent(gate)[0][0][0] == STEP


@orders
def test_clients_own_streams_and_the_daemons_have_places_of_their_own(order):
    gate = Intake(order)
    for name in "abc":
        let_in(gate, name, fitting(order, STEP))
    for name in ("~1", "~2", "~3", SOURCE, PREVIEW):
        let_in(gate, name, fitting(order, STEP))
    for name, kind in (("d", "3 streams"), ("~4", "3 clients' own streams")):
        with pytest.raises(Refused, match=f"all {kind} are in use"):
            gate.stream(name)
    assert sorted(gate.names.values()) == list(range(2 * STREAMS + 2))
    gate.close("~2")
    with pytest.raises(Refused):
        gate.stream("d")
    let_in(gate, "~4", fitting(order, STEP))
    gate.close("b")
    let_in(gate, "d", fitting(order, STEP))


@pytest.mark.parametrize("places", [4, 12])
def test_a_checkpoint_of_fewer_or_more_places_is_gone_on_from(places):
    gate = Intake(NEXT_TOKENS)
    for name in "ab":
        let_in(gate, name, fitting(NEXT_TOKENS, STEP))
    gate.close("a")
    facts, notes = gate.facts(), gate.notes()
    kept = {"frames": facts["frames"], "streams": facts["names"], "fresh": [], "kept": notes}
    again = Intake(NEXT_TOKENS | kept | {"places": places})
    assert sorted([*again.free, *again.names.values()]) == list(range(places))
    assert again.stream("c")[0] == gate.stream("c")[0] == 0
    assert again.names["b"] == 1


@orders
def test_a_stream_comes_back_as_it_went(order):
    one, other = Intake(order), Intake(order)
    for gate in (one, other):
        let_in(gate, "a", fitting(order, STEP))
        let_in(gate, "b", fitting(order, STEP | END))
        gate.stream("c")  # named, and without a frame
        gate.block()
    for name in "abc":
        known = json.loads(json.dumps(other.evict(name)))
        assert name not in other.names
        let_in(other, "x", fitting(order, STEP))
        other.close("x")
        other.block()
        other.restore(other.free[0], known)
    for name in "abc":
        known = [gate.last.get(gate.names[name], Last()).plain() for gate in (one, other)]
        assert known[0] == known[1]
        flags = SCORED if name == "a" and order["predict"] == "target" else STEP
        rows = []
        for gate in (one, other):
            let_in(gate, name, fitting(order, flags))
            rows.append(sent(gate)[0])
        assert rows[0] == rows[1]


@orders
def test_streams_are_limited(order):
    gate = Intake(order)
    for name in "abc":
        let_in(gate, name, fitting(order, STEP))
    before = state(gate)
    with pytest.raises(Refused, match="3 streams are in use"):
        let_in(gate, "d", fitting(order, STEP))
    with pytest.raises(Refused, match='no stream "d"'):
        gate.close("d")
    assert state(gate) == before
    gate.close("c")
    let_in(gate, "d", fitting(order, STEP))
    assert sorted(gate.names) == ["a", "b", "d"]


def test_a_gate_goes_on_from_a_checkpoint():
    gate = Intake(NEXT_TOKENS | {"streams": ["a", None, "c"], "fresh": [2]})
    for name in "acb":
        let_in(gate, name, fitting(NEXT_TOKENS, LESSON))
    assert [row[0] for row in sent(gate)[0]] == [SCORED, STEP, STEP | BEGIN, STEP | BEGIN | NEW]
    assert gate.names == {"a": 0, "c": 2, "b": 1}
    assert gate.used == 3
    with pytest.raises(Refused):
        gate.stream("d")


def test_a_target_does_not_reach_a_stream_that_is_gone():
    """A target is of its own stream's newest step; the window of the number's last stream may still be open."""
    gate = Intake(TOKENS_TO_TOKENS)
    let_in(gate, "a", fitting(TOKENS_TO_TOKENS, STEP))
    gate.close("a")
    gate.block()
    try:
        let_in(gate, "b", fitting(TOKENS_TO_TOKENS, SCORED))
    except Refused:
        return
    assert not any(flags & SCORED for flags, _, _ in sent(gate)[0])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "1 to 255 bytes"),
        ("x" * 256, "1 to 255 bytes"),
        ("é" * 128, "1 to 255 bytes"),
        ("a\0b", "no zero byte"),
        ("~", "begin with ~"),
        ("~1", "begin with ~"),
    ],
)
def test_names_that_no_stream_can_have_are_refused(name, reason):
    with pytest.raises(Refused, match=reason):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "x" * 255, "é" * 127, "a~", SOURCE])
def test_other_names_are_let_through(name):
    check_name(name)


X, T = [[1.0] * WIDTH], [1.0] * TARGET_WIDTH
REFUSED_MESSAGES = [
    (NEXT_TOKENS, "a", message((STEP, 1, 0), kind=NAME), "kind"),
    (NEXT_TOKENS, "a", message(), "frame"),
    (NEXT_TOKENS, "a", message((STEP | NEW, 1, 0)), "flag"),
    (NEXT_TOKENS, "a", message((STEP | 2048, 1, 0)), "flag"),
    (NEXT_TOKENS, "a", message((-1, 1, 0)), "flag"),
    (NEXT_TOKENS, "a", message((DISMISS, 0, 0)), "no such alarm"),
    (NEXT_VECTORS | {"dismissals": 2}, "a", message((DISMISS, 0, 2)), "no such alarm"),
    (NEXT_VECTORS | {"dismissals": 2}, "a", message((STEP | DISMISS, 0, 1), vectors=X), "nothing else"),
    (NEXT_TOKENS, "a", message((EMIT, 1, 0)), "input or a target"),
    (NEXT_TOKENS, "a", message((0, 1, 0)), "input or a target"),
    (NEXT_TOKENS, "a", message((FEEDBACK, 1, 0)), "input or a target"),
    (NEXT_TOKENS, "a", message((ECHO | LEARN, 1, 0)), "input or a target"),
    (TOKENS_TO_TOKENS, "a", message((SCORED | BEGIN, 1, 0)), "BEGIN"),
    (TOKENS_TO_FEWER, "a", message((SCORED | FEEDBACK, 1, 0)), "FEEDBACK"),
    (TOKENS_TO_FEWER, "a", message((SCORED | ECHO, 1, 0)), "ECHO"),
    (NEXT_TOKENS, "a", message((STEP, 1, 0), (LESSON | FEEDBACK, 1, 0)), "leave LEARN out"),
    (NEXT_VECTORS, "a", message((STEP, 1, 0), (LESSON | FEEDBACK, 1, 0), vectors=X), "leave LEARN out"),
    (NEXT_VECTORS, "a", message((STEP, 1, 0), (STEP | FEEDBACK, 1, 0), vectors=X * 2), "vectors of 3"),
    (NEXT_TOKENS, "a", message((STEP | SCORED, 1, 0)), "no targets"),
    (NEXT_TOKENS, "a", message((STEP, 1, 0), (STEP, CLASSES, 0)), "outside"),
    (NEXT_TOKENS, "a", message((STEP, -1, 0)), "outside"),
    (NEXT_TOKENS, "a", message((STEP, 1, 0), vectors=X), "vector"),
    (NEXT_TOKENS, "a", message((STEP, 1, 0), extra=[1.0]), "came"),
    (NEXT_VECTORS, "a", message((STEP, 1, 0)), "vectors of 3"),
    (NEXT_VECTORS, "a", message((STEP, 1, 0), vectors=X * 2), "vectors of 3"),
    (NEXT_VECTORS, "a", message((STEP, 1, 0), vectors=[[1.0] * 4]), "vectors of 3"),
    (NEXT_VECTORS, "a", message((STEP, 1, 0), vectors=[[1.0, np.nan, 1.0]]), "NaN"),
    (NEXT_VECTORS, "a", message((STEP, 1, 0), vectors=[[1.0, np.inf, 1.0]]), "NaN"),
    (TOKENS_TO_TOKENS, "a", message((STEP | SCORED, 1, TARGET_CLASSES)), "target token"),
    (TOKENS_TO_TOKENS, "a", message((STEP | SCORED, 1, -1)), "target token"),
    (TOKENS_TO_TOKENS, "a", message((STEP | SCORED, 1, 0), extra=[1.0]), "came"),
    (TOKENS_TO_VECTORS, "a", message((STEP | SCORED, 1, 0)), "targets of 2"),
    (TOKENS_TO_VECTORS, "a", message((STEP, 1, 0), extra=T), "targets of 2"),
    (VECTORS_TO_VECTORS, "a", message((STEP | SCORED, 1, 0), vectors=X, extra=T * 2), "targets of 2"),
    (VECTORS_TO_VECTORS, "a", message((STEP | SCORED, 1, 0), vectors=X, extra=[1.0, -np.inf]), "NaN"),
    (VECTORS_TO_TOKENS, "a", message((STEP | SCORED, 1, -5), vectors=X), "target token"),
]


@pytest.mark.parametrize(("order", "name", "letter", "reason"), REFUSED_MESSAGES)
def test_what_does_not_fit_is_refused_and_changes_nothing(order, name, letter, reason):
    gate = Intake(order)
    let_in(gate, "a", fitting(order, STEP))
    before = state(gate)
    with pytest.raises(Refused, match=reason) as caught:
        let_in(gate, name, letter)
    assert "\n" not in str(caught.value)
    assert state(gate) == before


# --- anything at all -------------------------------------------------------------------------------------------------


@st.composite
def letters(draw, order):
    """A message that fits, more often than not."""
    flags = [INPUT, STEP, LESSON, STEP | BEGIN, LESSON | BEGIN, STEP | END, STEP | ECHO, STEP | FEEDBACK]
    if order["predict"] == "target":
        flags += [STEP | SCORED, STEP | SCORED, INPUT | SCORED | END, SCORED, SCORED | END, STEP | FEEDBACK | SCORED]
    chosen = draw(st.lists(st.sampled_from(flags) | st.sampled_from([*flags, 0, NEW, -1]), min_size=1, max_size=5))
    letter = fitting(order, *chosen)
    spoil = draw(st.sampled_from([None] * 6 + ["row", "vectors", "extra", "number", "kind"]))
    if spoil == "row":
        column, value = draw(st.integers(0, COLUMNS - 1)), draw(st.sampled_from([-1, 4, 5, 6, 7, 2**40, -(2**63)]))
        letter.frames[draw(st.integers(0, len(chosen) - 1)), column] = value
    elif spoil == "vectors":
        letter = letter._replace(vectors=np.ones((draw(st.integers(0, 4)), draw(st.integers(0, 4))), np.float32))
    elif spoil == "extra":
        letter = letter._replace(extra=np.ones(draw(st.integers(0, 8)), np.float32))
    elif spoil == "number":
        for array in (letter.vectors, letter.extra):
            array[array == 1] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 0.5]))
    elif spoil == "kind":
        letter = letter._replace(kind=draw(st.integers(0, 12)))
    return letter


def check_block(gate, block, order, last, reached):
    """That the block can go down the pipeline; `reached` holds the streams whose sequence has begun and not ended."""
    frames, classes, target_classes = block.frames, order["classes"], order["target_classes"]
    inputs, scored = frames[frames[:, FLAGS] & INPUT > 0], frames[frames[:, FLAGS] & SCORED > 0]
    assert block.vectors.shape == (len(inputs) if order["input_size"] else 0, order["input_size"])
    assert block.extra.shape == (len(scored) * order["target_size"],)
    assert np.isfinite(block.vectors).all()
    assert np.isfinite(block.extra).all()
    if classes:
        assert ((inputs[:, TOKEN] >= 0) & (inputs[:, TOKEN] < classes)).all()
    else:
        assert (inputs[:, TOKEN] == -1).all()
    if target_classes:
        assert ((scored[:, TARGET] >= 0) & (scored[:, TARGET] < target_classes)).all()
    assert len(frames) <= BLOCK
    for k, (seq, stream, flags, *_) in enumerate(frames.tolist()):
        paired = k > 0 and frames[k - 1, SEQ] == seq
        assert seq == last + (not paired)
        if paired:
            assert frames[k - 1, [STREAM, FLAGS]].tolist() == [stream, SCORED]
            assert flags & INPUT
        last = seq
        assert flags & ~(BEGIN | INPUT | SCORED | EMIT | END | NEW | ECHO | TIMED) == 0
        assert flags & (INPUT | SCORED)
        assert 0 <= stream < STREAMS
        if flags & INPUT:
            assert bool(flags & BEGIN) or stream in reached
            assert flags & BEGIN or not flags & NEW
            reached.add(stream)
        else:
            assert not flags & (BEGIN | NEW)
        if flags & END:
            reached.discard(stream)
    assert last == gate.seq - 1
    return last


@orders
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_message_is_refused_and_changes_nothing_or_its_rows_make_sense(order, data):
    gate, last, reached, closed, names = Intake(order), FIRST - 1, set(), set(), ["a", "b", "c", "d"]
    outputs = order["target_classes"] or order["target_size"]
    for _ in range(data.draw(st.integers(1, 12))):
        before, name = state(gate), data.draw(st.sampled_from(names))
        known, frames_before = gate.names.get(name), gate.seq
        if data.draw(st.integers(0, 4)) == 0:
            try:
                gate.close(name)
            except Refused:
                assert known is None
                assert state(gate) == before
            else:
                reached.discard(known)
                closed.add(known)
        else:
            letter = data.draw(letters(order))
            try:
                first, naming = let_in(gate, name, letter, say=lambda: np.full(outputs, 1 / outputs, np.float32))
            except Refused:
                assert state(gate) == before
                continue
            number = gate.names[name]
            assert first == frames_before
            assert gate.seq == first + len(letter.frames)
            assert bool(naming) == (known is None)
            block = unpack(gate.block())
            assert set(block.frames[:, STREAM]) == {number}
            stepped = [flags for flags in block.frames[:, FLAGS].tolist() if flags & INPUT]
            assert [bool(flags & NEW) for flags in stepped] == [number in closed, *[False] * (len(stepped) - 1)][
                : len(stepped)
            ]
            if stepped:
                closed.discard(number)
            last = check_block(gate, block, order, last, reached)
        assert sorted([*gate.free, *gate.names.values()]) == list(range(2 * STREAMS + 2))
        assert gate.used >= max(gate.names.values(), default=-1) + 1


# --- rows, against a plain loop --------------------------------------------------------------------------------------


class Plain:
    """What rows a stream's frames become, one frame after the other."""

    def __init__(self, order, number):
        self.order, self.number, self.seq = order, number, FIRST
        self.begun = self.waiting = False
        self.new = True  # the number was another stream's before
        self.rows, self.inputs, self.targets = [], [], []

    def add(self, frame, x, target):
        flags, token, target_class = frame
        begins = flags & INPUT and (flags & BEGIN or not self.begun)
        if self.order["predict"] == "next" and flags & LEARN and not begins:
            self.rows.append((self.seq, SCORED, None, token))
            self.targets.append(x)
        added = (BEGIN if begins else 0) | (NEW if begins and self.new else 0)
        token = token if flags & INPUT else None
        self.rows.append((self.seq, flags & ~LEARN | added, token, target_class if flags & SCORED else None))
        self.inputs += [x] if flags & INPUT else []
        self.targets += [target] if flags & SCORED else []
        self.new = self.new and not begins
        self.begun = (self.begun or flags & INPUT > 0) and not flags & END
        self.waiting = not flags & (SCORED | END)
        self.seq += 1

    def expected(self):
        """Rows (SEQ, flags, token, target), None for what has no meaning."""
        classes, target_classes = self.order["classes"], self.order["target_classes"]
        return [
            (seq, flags, token if classes else None, target if target_classes else None)
            for seq, flags, token, target in self.rows
        ]


def checked(order, plain, flags):
    """The frames of a message, or None where a target comes for no frame."""
    waiting = plain.waiting
    for flag in flags:
        if not (flag & INPUT or waiting):
            return None
        waiting = not flag & (SCORED | END)
    return fitting(order, *flags)


def kinds_of_frames(order):
    """All sets of flags that a frame may have, but for FEEDBACK."""
    steps, ends = [INPUT, INPUT | BEGIN], [0, END]
    scored = [0, SCORED] if order["predict"] == "target" else [0]
    rest = [0, EMIT, LEARN, EMIT | ECHO, EMIT | LEARN | ECHO]
    kinds = [a | b | c | d for a in steps for b in ends for c in scored for d in rest]
    return st.sampled_from(kinds + [SCORED | b | c for b in ends for c in (0, LEARN, EMIT)] * (len(scored) - 1))


@orders
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_rows_are_those_of_a_plain_loop(order, data):
    gate = Intake(order | {"streams": [None], "fresh": []})
    plain = Plain(order, gate.stream("a")[0])
    for flags in data.draw(st.lists(st.lists(kinds_of_frames(order), min_size=1, max_size=6), max_size=5)):
        letter = checked(order, plain, flags)
        if letter is None:
            before = state(gate)
            with pytest.raises(Refused, match="a target came for no frame"):
                let_in(gate, "a", fitting(order, *flags))
            assert state(gate) == before
            continue
        let_in(gate, "a", letter, limit=data.draw(st.integers(1, 8)), say=lambda: np.zeros(1))
        X, targets = iter(letter.vectors.tolist()), iter(letter.extra.reshape(-1, order["target_size"] or 1).tolist())
        for frame in letter.frames[:, [FLAGS, TOKEN, TARGET]].tolist():
            plain.add(
                frame, next(X, None) if frame[0] & INPUT else None, next(targets, None) if frame[0] & SCORED else 0
            )
        assert gate.seq == plain.seq
        assert (0 in gate.begun, 0 in gate.waiting, 0 in gate.stale) == (plain.begun, plain.waiting, plain.new)
    if plain.rows:
        rows, block = sent(gate)
        assert set(block.frames[:, STREAM]) == {plain.number}
        assert [(seq, *row) for seq, row in zip(block.frames[:, SEQ].tolist(), rows, strict=True)] == plain.expected()
        assert block.vectors.tolist() == (plain.inputs if order["input_size"] else [])
        assert block.extra.tolist() == (list(chain(*plain.targets)) if order["target_size"] else [])


# --- outputs that come back ------------------------------------------------------------------------------------------

FED = STEP | FEEDBACK


@pytest.mark.parametrize("order", [NEXT_TOKENS, NEXT_VECTORS, TOKENS_TO_FEWER, VECTORS_TO_FEWER, VECTORS_TO_VECTORS])
@pytest.mark.parametrize(
    "flags", [[FED], [STEP, FED | BEGIN], [STEP | END, FED], [STEP | BEGIN, STEP | END, FED, STEP]]
)
def test_there_is_nothing_to_feed_back_before_a_sequence_has_begun(order, flags):
    gate = Intake(order)
    for name, earlier in (("b", STEP | ECHO), ("a", STEP | ECHO), ("a", STEP | END)):
        let_in(gate, name, fitting(order, earlier), say=lambda: np.ones(3))
    before = state(gate)
    for name in "ac":
        with pytest.raises(Refused, match="nothing to feed back"):
            gate.unroll(name, fitting(order, *flags), NO_DRAWING)
    assert state(gate) == before


@pytest.mark.parametrize("drawing", [NO_DRAWING, Drawing(own=1.0)])
def test_what_was_not_asked_for_cannot_be_fed_back_later(drawing):
    gate = Intake(NEXT_TOKENS)
    let_in(gate, "a", fitting(NEXT_TOKENS, STEP | ECHO, STEP), say=lambda: np.eye(5)[2])
    before = state(gate)
    with pytest.raises(Refused, match="nothing to feed back"):
        gate.unroll("a", fitting(NEXT_TOKENS, FED), drawing)
    assert state(gate) == before
    let_in(gate, "a", fitting(NEXT_TOKENS, STEP, STEP | ECHO), say=lambda: np.eye(5)[2])
    gate.block()
    let_in(gate, "a", fitting(NEXT_TOKENS, FED), drawing)
    assert sent(gate)[0] == [(STEP, 2, None)]


def test_what_is_known_of_a_stream_is_forgotten_with_it():
    gate = Intake(TOKENS_TO_FEWER)
    let_in(gate, "a", fitting(TOKENS_TO_FEWER, STEP | SCORED))
    number = gate.names["a"]
    gate.close("a")
    with pytest.raises(Refused, match="nothing to feed back"):
        gate.unroll("b", fitting(TOKENS_TO_FEWER, FED), NO_DRAWING)
    let_in(gate, "b", fitting(TOKENS_TO_FEWER, STEP))
    assert gate.names == {"b": number}
    with pytest.raises(Refused, match="nothing to feed back"):
        gate.unroll("b", fitting(TOKENS_TO_FEWER, FED), NO_DRAWING)


@pytest.mark.parametrize("order", [NEXT_TOKENS, NEXT_VECTORS])
def test_the_source_leaves_nothing_to_feed_back(order):
    gate = Intake(order)
    size = order["target_classes"] or order["target_size"]
    let_in(gate, SOURCE, fitting(order, STEP | ECHO), say=lambda: np.ones(size))
    let_in(gate, SOURCE, fitting(order, FED | ECHO), say=lambda: np.ones(size))
    number, _ = gate.stream(SOURCE)
    if order["classes"]:
        gate.add_from_source(number, Frames(np.array([1])), True)
    else:
        gate.add_from_source(number, Frames(np.ones((1, WIDTH))), True)
    with pytest.raises(Refused, match="nothing to feed back"):
        gate.unroll(SOURCE, fitting(order, FED), NO_DRAWING)


TARGETS = st.lists(st.integers(0, FED_CLASSES - 1), min_size=2, max_size=9)


def taught(order, targets, first):
    """A frame with an input if it is the first, others that are fed back, each with a target."""
    flags = [FED | SCORED] * len(targets)
    if first:
        flags[0] = STEP | SCORED
    letter = fitting(order, *flags)
    if order["target_classes"]:
        letter.frames[:, TARGET] = targets
        return letter
    return letter._replace(extra=np.float32([[t + 0.5, -t] for t in targets]).reshape(-1))


@pytest.mark.parametrize("order", [TOKENS_TO_FEWER, VECTORS_TO_FEWER, VECTORS_TO_VECTORS])
@settings(max_examples=30, deadline=None)
@given(targets=TARGETS, cut=st.integers(1, 8), limit=st.integers(1, 8))
def test_a_target_is_the_next_input(order, targets, cut, limit):
    gate = Intake(order)
    for number, part in enumerate((targets[:cut], targets[cut:])):
        if part:
            let_in(gate, "a", taught(order, part, number == 0), limit=limit)
    rows, block = sent(gate)
    assert [flags for flags, *_ in rows] == [STEP | SCORED | BEGIN, *[STEP | SCORED] * (len(targets) - 1)]
    if order is TOKENS_TO_FEWER:
        assert [row[1:] for row in rows] == list(zip([0, *(2 + t for t in targets)], targets, strict=False))
    elif order is VECTORS_TO_FEWER:
        one_hot = [[0.0, *(float(k == t) for k in range(3))] for t in targets[:-1]]
        assert block.vectors.tolist() == [[0.0, 1.0, 2.0, 3.0], *one_hot]
    else:
        assert block.vectors.tolist() == [[0.0, 1.0, 2.0], *([0.0, t + 0.5, -t] for t in targets[:-1])]
        assert block.extra.reshape(-1, 2).tolist() == [[t + 0.5, -t] for t in targets]


CANNOT = [
    (TOKENS_TO_TOKENS, [STEP, FED], NO_DRAWING, "7 outputs cannot be fed back into 5 inputs"),
    (VECTORS_TO_TOKENS, [STEP, FED], NO_DRAWING, "7 outputs cannot be fed back into 3 inputs"),
    (TOKENS_TO_VECTORS, [STEP, FED], NO_DRAWING, "values cannot be fed back"),
    (TOKENS_TO_VECTORS, [STEP], Drawing(max_length=1), "values cannot be fed back"),
    (NEXT_TOKENS, [STEP | END], Drawing(max_length=1), "gone on from"),
    (TOKENS_TO_FEWER, [STEP, SCORED], Drawing(max_length=1), "gone on from"),
    (NEXT_TOKENS, [STEP], Drawing(max_length=1, until=CLASSES), "stop symbol 5 is outside"),
    (TOKENS_TO_FEWER, [STEP], Drawing(max_length=1, until=FED_CLASSES), "stop symbol 3 is outside"),
    (NEXT_VECTORS, [STEP], Drawing(max_length=1, until=0), "stop symbol 0 is outside"),
]


@pytest.mark.parametrize(("order", "flags", "drawing", "reason"), CANNOT)
def test_what_cannot_be_fed_back_is_refused_and_changes_nothing(order, flags, drawing, reason):
    gate = Intake(order)
    let_in(gate, "a", fitting(order, STEP))
    before = state(gate)
    for name in "ab":
        with pytest.raises(Refused, match=reason):
            gate.unroll(name, fitting(order, *flags), drawing)
    assert state(gate) == before


def test_of_flags_for_the_gate_only_that_for_an_output_goes_down():
    gate = Intake(TOKENS_TO_FEWER)
    flags = [STEP | ECHO, INPUT | ECHO | SCORED | LEARN, FED | LEARN | END]
    let_in(gate, "a", fitting(TOKENS_TO_FEWER, *flags), say=lambda: np.ones(3))
    assert [row[0] for row in sent(gate)[0]] == [STEP | ECHO | BEGIN, INPUT | ECHO | SCORED, STEP | END]


def test_a_network_writes_on_without_learning_from_itself():
    gate, says = Intake(NEXT_TOKENS), iter(np.eye(CLASSES)[[4, 1, 3]])
    let_in(gate, "a", fitting(NEXT_TOKENS, STEP, LESSON), Drawing(max_length=3), say=lambda: next(says))
    let_in(gate, "a", fitting(NEXT_TOKENS, FED))
    assert sent(gate)[0] == [
        (STEP | BEGIN, 0, None),
        (SCORED, None, 1),
        (STEP | ECHO, 1, None),
        (STEP | ECHO, 4, None),
        (STEP | ECHO, 1, None),
        (STEP, 3, None),
    ]


# --- the worker around it --------------------------------------------------------------------------------------------


class Socket:
    def __init__(self):
        self.sent = []

    def send(self, data):
        self.sent.append(data)

    def send_multipart(self, parts, _):
        self.sent.append(parts)


class AuthenticatedSocket:
    """One that anybody may use and nobody does."""

    rejected = 0

    def __init__(self, *_):
        self.socket = Socket()


class Supervision:
    """What a gate's process gets from its `Worker`."""

    def __init__(self, order):
        self.order = {
            **order,
            "sources": [],
            "backfill": None,
            "position": 0,
            "max_frames": None,
            "left": 10,
            "run": "run",
            "journal": tempfile.mkdtemp(dir=FOLDER.name) + "/journal",
            "evicted": FOLDER.name + "/streams",
            "parts": 2,
            "resume": None,
            "checkpoints": "",
            "journal_start": 0,
            "journal_enabled": True,
            "journal_bytes": 2**30,
            "acknowledge": "written",
            "overload": "block",
            "rate": 0.0,
            "keys": None,
            "in_flight": 64,
            "gate": "",
            "to_gate": "",
            "frames_out": "",
        }

    def first_order(self):
        return self.order

    def socket(self, *_, **__):
        return Socket()


FOLDER, GATES = tempfile.TemporaryDirectory(prefix="sr-"), []


@pytest.fixture(autouse=True)
def gates(monkeypatch):
    """Without doors; the journals of those that a test has made are closed."""
    monkeypatch.setattr(connections, "open_authenticated", AuthenticatedSocket)
    yield
    while GATES:
        GATES.pop().journal.close()


def gate_for(order):
    worker = Gate(Supervision(order))
    worker.open = True
    GATES.append(worker)
    return worker


def test_the_journal_is_on_the_disk_before_a_checkpoint_says_how_far_it_is(monkeypatch):
    gate, happened = gate_for(NEXT_TOKENS), []
    monkeypatch.setattr(gate.journal, "flush", lambda: happened.append(gate.journal.last))
    gate.worker.save = lambda number, write, **facts: happened.append((number, facts["journal"]))
    gate.outbox.write(b"", {})
    gate.obey({"kind": "checkpoint", "number": 7, "last": False})
    gate.outbox.write(b"", {})
    gate.checkpoint.save()
    assert happened[-2:] == [1, (7, 1)]


def test_an_output_asked_for_beside_what_ends_is_asked_for_again_after_a_failure():
    gate = gate_for(NEXT_TOKENS)
    gate.pending.requests.greet(b"x", [], 1)
    for number, flags in ((1, INPUT | EMIT), (2, INPUT | EMIT | ECHO)):
        frame = message((flags, 1, -1))._replace(epoch=9, number=number)
        gate.clients.take(b"x", [b"a", pack(frame)])
    gate.outbox.flush()
    gate.journal.close()
    GATES.remove(gate)
    supervision = Supervision(NEXT_TOKENS)
    supervision.order["journal"] = str(gate.journal.path)
    again = Gate(supervision)
    GATES.append(again)
    again.obey({"kind": "open", "rate": 0.0})
    again.worker.report = lambda kind, **facts: None
    again.replay()
    number = again.intake.names["a"]
    assert list(again.pending.replayed[number]) == [FIRST + 1]
    assert again.pending.requests.look(b"x", 1)[0] == Verdict.EARLY
    again.pending.requests.greet(b"x", [1, 2], 3)
    assert again.pending.requests.look(b"x", 1)[0] == Verdict.AGAIN
    again.clients.take(b"x", [b"a", pack(frame)])
    assert list(again.pending.listening) == [number]


def test_the_disk_is_hurried_only_for_an_answer_that_somebody_waits_for(monkeypatch):
    monkeypatch.setattr(Journal, "_flush_behind", lambda _: None)
    gate, hurried = gate_for(NEXT_TOKENS), []
    gate.order["acknowledge"] = "on-disk"
    monkeypatch.setattr(gate.journal, "hurry", lambda: hurried.append(True))
    gate.pending.requests.greet(b"x", [], 1)

    def send(number):
        gate.clients.take(b"x", [b"a", pack(message((INPUT | EMIT, 1, -1))._replace(epoch=9, number=number))])

    def hurry(number):
        gate.clients.take(b"x", [b"", pack(Message(HURRY, 9, number))])

    def is_hurried():
        hurried.clear()
        gate.outbox.flush()
        gate.answers.send()
        return bool(hurried)

    send(1)
    assert not is_hurried()
    hurry(1)  # it is held
    assert is_hurried()
    gate.journal.flush()
    assert not is_hurried()
    assert unpack(gate.frontend.socket.sent[-1][1]).kind == ACCEPTED
    hurry(3)  # it is yet to come
    send(2)
    assert not is_hurried()
    send(3)
    assert is_hurried()
    gate.journal.flush()
    assert not is_hurried()
    monkeypatch.setattr(held_answers, "MANY_ANSWERS", 2)
    send(4)
    assert not is_hurried()
    send(5)
    assert is_hurried()


class Paced(Rereadable):
    """A source of one token over and over, due when it is told so; what it has goes out to whoever reads."""

    ended, at_once, is_due, taken = False, 4, False, 0

    def delay(self):
        return 0.0 if self.is_due else 0.001

    def peek(self, limit):
        return Frames(np.ones(min(limit, 4), np.int64))

    def take(self, count):
        self.taken += count

    @property
    def position(self):
        return self.taken

    def due(self, limit):
        return min(limit, 2)

    def where(self, position, count):
        return ""


def test_frames_of_a_source_and_of_clients_are_never_in_one_record():
    """The clock may say that none is due and, a moment later, give some: the journal did not know of them then."""
    gate = gate_for(NEXT_TOKENS)
    source = OpenSource(TextConfig(), SOURCE)
    source.source = source.rereadable = paced = Paced()
    source.begun = True
    gate.sources.all, gate.sources.by_origin = [source], {"text": source}
    frame = pack(message((INPUT | EMIT, 1, -1)))
    gate.clients.take(b"x", [b"a", frame])
    paced.is_due = True
    gate.sources.take()
    gate.outbox.flush()
    gate.clients.take(b"x", [b"a", frame])
    paced.is_due = False
    gate.sources.take()
    assert gate.sources.positions == {"text": 2}
    paced.is_due = True
    gate.sources.take()
    gate.outbox.flush()
    found = [(type(entry).__name__, entry.at) for entry in (decode(record) for _, record in gate.journal.after(0))]
    named = [("Control", 0), ("Batch", 0), ("Control", 0), ("Ahead", 0)]
    assert found == [*named, ("Batch", 2)]  # the first Ahead names four
    assert gate.sources.positions == {"text": 4}


def answer(worker, parts):
    """The one answer to a message."""
    before = len(worker.frontend.socket.sent)
    worker.clients.take(b"me", parts)
    worker.outbox.flush()
    worker.answers.send()
    ((to, data),) = worker.frontend.socket.sent[before:]
    assert to == b"me"
    return unpack(data)


def test_every_message_gets_an_answer():
    worker = gate_for(TOKENS_TO_VECTORS)
    good = pack(message((STEP, 1, 0)))
    wide = np.frombuffer(good, np.int64).copy()
    wide[6] = 2**62  # the width of no vectors
    bad = [
        [],
        [b"a"],
        [b"a", good, b"{}", b"{}"],
        [b"a", good, good],
        [b"a", good, b""],
        [b"a", good, b"\xff"],
        [b"a", good, b'{"own": 2}'],
        [b"a", good, b'{"max_length": -1}'],
        [b"a", good, b'{"temprature": 1}'],
        [b"a", b""],
        [b"a", b"x" * 200],
        [b"a", good[:-1]],
        [b"\xff", good],
        [b"~1", good],
        [b"a\0", good],
        [b"a" * 256, good],
        [b"a", wide.tobytes()],
        [b"a", pack(message((STEP, CLASSES, 0)))],
        [b"a", pack(Message(CLOSE, 0, 5))],
        [b"a", pack(fitting(TOKENS_TO_VECTORS, *[STEP] * 11))],
        [b"a", pack(message((STEP, 1, 0), extra=np.zeros(LARGEST_MESSAGE // 4)))],
    ]
    before = state(worker.intake)
    for parts in bad:
        refusal = answer(worker, parts)
        assert refusal.kind == REFUSED
        assert text_of(refusal)
        assert state(worker.intake) == before
    assert worker.facts()["refused"] == len(bad)
    assert worker.left == 10
    assert worker.pending.waiting == len(worker.pending.queues) == 0


def test_a_message_that_is_let_in_is_answered_with_its_number():
    worker = gate_for(TOKENS_TO_VECTORS)
    for frames, accepted in ((3, FIRST), (4, FIRST + 3)):
        came = answer(worker, [b"a", pack(fitting(TOKENS_TO_VECTORS, *[STEP] * frames)._replace(number=5))])
        assert (came.kind, came.number, came.frames[0, SEQ]) == (ACCEPTED, 5, accepted)
    assert worker.left == 3
    assert answer(worker, [b"a", pack(fitting(TOKENS_TO_VECTORS, *[STEP] * 4))]).kind == REFUSED
    assert answer(worker, [b"a", pack(Message(CLOSE, 0, 5))]).kind == ACCEPTED
    assert worker.intake.names == {}
    worker.outbox.flush()
    assert [unpack(data).kind for data in worker.down.sent] == [NAME, FRAMES, FRAMES]
    assert worker.sent == 7


def test_the_frames_of_a_closed_stream_go_down_before_another_gets_its_number():
    worker = gate_for(TOKENS_TO_VECTORS)
    step = pack(fitting(TOKENS_TO_VECTORS, STEP))
    for name, letter in ((b"a", step), (b"a", pack(Message(CLOSE, 0, 5))), (b"b", step)):
        assert answer(worker, [name, letter]).kind == ACCEPTED
    worker.outbox.flush()
    sent = [unpack(data) for data in worker.down.sent]
    assert [part.kind for part in sent] == [NAME, FRAMES, NAME, FRAMES]
    assert sent[0].number == sent[2].number


def test_a_message_over_several_blocks_is_let_in_as_there_is_room():
    worker = gate_for(TOKENS_TO_TOKENS)
    worker.order["in_flight"], worker.left = 2 * BLOCK, 1000
    worker.clients.take(b"me", [b"a", pack(fitting(TOKENS_TO_TOKENS, *[STEP] * 40))])
    assert not worker.frontend.socket.sent
    for credited in range(1, 60):
        worker.outbox.flush()
        assert worker.sent - worker.credited <= worker.order["in_flight"]
        worker.credited = min(credited, worker.sent)
        worker.pending.advance()
        worker.outbox.flush()
        worker.answers.send()
    ((_, data),) = worker.frontend.socket.sent
    came = unpack(data)
    assert (came.kind, came.frames[0, SEQ]) == (ACCEPTED, FIRST)
    worker.outbox.flush()
    blocks = [unpack(data).frames for data in worker.down.sent[1:]]
    assert max(map(len, blocks)) <= BLOCK
    assert np.concatenate(blocks)[:, SEQ].tolist() == list(range(FIRST, FIRST + 40))


def test_what_there_is_no_room_for_is_rejected():
    worker = gate_for(TOKENS_TO_VECTORS)
    worker.order["overload"] = "reject"
    step = pack(fitting(TOKENS_TO_VECTORS, STEP))
    assert answer(worker, [b"a", step]).kind == ACCEPTED
    worker.sent = worker.credited + worker.order["in_flight"]
    refusal = answer(worker, [b"a", step])
    assert (refusal.kind, "no room" in text_of(refusal)) == (REFUSED, True)
    worker.credited = worker.sent
    assert answer(worker, [b"a", step]).kind == ACCEPTED


def test_the_oldest_are_dropped_for_newer_ones():
    worker = gate_for(TOKENS_TO_VECTORS)
    worker.order["overload"], worker.left = "drop-oldest", 1000
    worker.sent = worker.order["in_flight"]
    for number in range(1, 101):
        name, frames = (b"a", b"b", b"c")[number % 3], fitting(TOKENS_TO_VECTORS, STEP)
        worker.clients.take(b"me", [name, pack(frames._replace(number=number))])
    worker.pending.drop_oldest(worker.order["in_flight"])
    answers = [unpack(data) for _, data in worker.frontend.socket.sent]
    assert [(a.kind, a.number) for a in answers] == [(REFUSED, number) for number in range(1, 37)]
    assert "newer frames" in text_of(answers[0])
    for _ in range(10):
        worker.credited = worker.sent
        worker.pending.advance()
        worker.outbox.flush()
    worker.answers.send()
    answers = [unpack(data) for _, data in worker.frontend.socket.sent[36:]]
    assert sorted((a.kind, a.number) for a in answers) == [(ACCEPTED, number) for number in range(37, 101)]


def test_a_checkpoint_waits_for_the_states_of_streams_that_were_evicted_before(tmp_path):
    gate, saved = gate_for(NEXT_TOKENS | {"evicted": str(tmp_path / "streams")}), []
    gate.worker.save = lambda number, write, **facts: saved.append(number)
    gate.eviction.is_there = lambda client: False
    frame = pack(message((STEP, 1, -1)))
    for name in (b"a", b"b", b"c", b"d"):
        gate.clients.take(b"x", [name, frame])
    gate.obey({"kind": "checkpoint", "number": 7, "last": False})
    gate.clients.take(b"x", [b"e", frame])
    before, behind = gate.eviction.leaving
    for record in (before, behind):
        for name in ("0.state", "newest"):
            gate.checkpoint.save()
            assert saved == ([] if record == before else [7])
            part = as_numbers(save({name: np.zeros(1)}))
            gate.eviction.hear(Message(EVICT, 9, record, extra=part))
    sent = [unpack(data).kind for data in gate.down.sent]
    assert sent[-3:] == [BARRIER, EVICT, NAME]
    gate.eviction.disk.close()


def test_a_barrier_waits_for_what_has_no_room_in_the_journal(monkeypatch):
    gate = gate_for(NEXT_TOKENS)
    gate.worker.report = lambda *_, **__: None
    with monkeypatch.context() as full:

        def append(*_, **__):
            raise JournalFull("no room")

        full.setattr(gate.journal, "append", append)
        gate.clients.take(b"me", [b"a", pack(message((STEP, 1, 0)))])
        gate.obey({"kind": "checkpoint", "number": 1, "last": False})
        assert gate.facts()["full"] == "no room"
        assert gate.down.sent == []
    gate.outbox.empty()
    gate.obey(gate.orders.popleft())
    assert [unpack(data).kind for data in gate.down.sent] == [NAME, BARRIER]


@st.composite
def anything(draw):
    """A client's message whose parts are good, more often than not."""
    letter = draw(letters(TOKENS_TO_FEWER))
    data = pack(letter)
    data = draw(st.sampled_from([data] * 6 + [data[:-1], data + b"\0", b""]) | st.binary(max_size=80))
    name = draw(st.sampled_from([b"a", b"b", b"", b"~1"]) | st.binary(max_size=4))
    options = draw(st.sampled_from([b"{}", b'{"max_length": 2}', b'{"own": 0.5, "seed": 1}']) | st.binary(max_size=9))
    return draw(st.sampled_from([[name, data], [name, data, options]]))


@settings(deadline=None)
@given(st.lists(anything(), max_size=8))
def test_whatever_comes_is_answered_or_waits(messages):
    worker = gate_for(TOKENS_TO_FEWER)
    for number, parts in enumerate(messages):
        worker.clients.take(b"%d" % number, parts)
    worker.outbox.flush()
    worker.answers.send()
    answered = {int(to) for to, _ in worker.frontend.socket.sent}
    waiting = {int(request.sender) for line in worker.pending.queues.values() for request in line}
    assert sorted([*answered, *waiting]) == list(range(len(messages)))
    worker.pending.stop("the end")
    left = [request for line in worker.pending.queues.values() for request in line]
    assert all(request.all_in for request in left)
    told = [int(to) for to, _ in worker.frontend.socket.sent]
    assert sorted([*told, *(int(request.sender) for request in left)]) == list(range(len(messages)))
