"""The intake of the gate: what it lets in, what it refuses, and the rows that go down the pipeline."""

from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.frames import BEGIN, COLUMNS, EMIT, END, FLAGS, INPUT, LEARN, NEW, SCORED, SEQ, STREAM, TARGET, TOKEN
from streamrnn.wire import (
    ACCEPTED,
    CLOSE,
    FRAMES,
    NAME,
    NO_VECTORS,
    REFUSED,
    Message,
    pack,
    text_of,
    unpack,
)
from streamrnn.workers.gate import OWN_STREAM, Gate
from streamrnn.workers.intake import Intake, Refused

STREAMS, BLOCK, FIRST = 3, 16, 100  # places for streams, rows in a block, frames accepted before
CLASSES, TARGET_CLASSES, WIDTH, TARGET_WIDTH = 5, 7, 3, 2


def order(predict, classes=0, target_classes=0, width=0, target_width=0):
    return {
        "predict": predict,
        "classes": classes,
        "target_classes": target_classes,
        "input_size": width,
        "target_size": target_width,
        "max_streams": STREAMS,
        "block": BLOCK,
        "epoch": 9,
        "frames": FIRST,
        "streams": [],
        "fresh": [],
    }


NEXT_TOKENS = order("next", classes=CLASSES, target_classes=CLASSES)
NEXT_VECTORS = order("next", width=WIDTH, target_width=WIDTH)
TOKENS_TO_TOKENS = order("target", classes=CLASSES, target_classes=TARGET_CLASSES)
TOKENS_TO_VECTORS = order("target", classes=CLASSES, target_width=TARGET_WIDTH)
VECTORS_TO_TOKENS = order("target", width=WIDTH, target_classes=TARGET_CLASSES)
VECTORS_TO_VECTORS = order("target", width=WIDTH, target_width=TARGET_WIDTH)
ORDERS = {
    "next token": NEXT_TOKENS,
    "next vector": NEXT_VECTORS,
    "tokens to tokens": TOKENS_TO_TOKENS,
    "tokens to vectors": TOKENS_TO_VECTORS,
    "vectors to tokens": VECTORS_TO_TOKENS,
    "vectors to vectors": VECTORS_TO_VECTORS,
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
    inputs, scored = (sum(f & flag > 0 for f in flags) for flag in (INPUT, SCORED))
    return message(
        *((f, k % CLASSES, k % TARGET_CLASSES) for k, f in enumerate(flags)),
        vectors=np.arange(inputs * order["input_size"]).reshape(inputs, order["input_size"]),
        extra=np.arange(scored * order["target_size"]),
    )


def state(gate):
    """Everything a gate is, to compare."""
    arrays = ("rows", "vectors", "extra")
    rest = {name: value for name, value in vars(gate).items() if name not in arrays}
    return deepcopy(rest), [[array.tobytes() for array in getattr(gate, name)] for name in arrays]


def sent(gate):
    """The block that goes down: rows without SEQ and STREAM in front, and the message."""
    block = unpack(gate.block())
    return block.frames[:, [FLAGS, TOKEN, TARGET]].tolist(), block


# --- the daemon's own source -----------------------------------------------------------------------------------------


def test_tokens_of_the_source_are_targets_then_inputs():
    gate = Intake(NEXT_TOKENS)
    number, naming = gate.stream(OWN_STREAM)
    assert text_of(unpack(naming)) == OWN_STREAM
    assert unpack(naming)[:3] == (NAME, 9, number)
    assert gate.stream(OWN_STREAM) == (number, b"")
    gate.add_tokens(number, np.array([3, 1]))
    gate.add_tokens(number, np.array([4]))
    rows, block = sent(gate)
    assert rows == [
        [INPUT | EMIT | BEGIN, 3, 0],
        [SCORED, 0, 1],
        [INPUT | EMIT, 1, 0],
        [SCORED, 0, 4],
        [INPUT | EMIT, 4, 0],
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
        gate.add_vectors(gate.stream(OWN_STREAM)[0], part)
    assert gate.count == 7
    rows, block = sent(gate)
    assert rows == [[INPUT | EMIT | BEGIN, -1, 0]] + [[SCORED, -1, 0], [INPUT | EMIT, -1, 0]] * 3
    assert block.frames[:, SEQ].tolist() == [100, 101, 101, 102, 102, 103, 103]
    assert np.array_equal(block.vectors, x)
    assert np.array_equal(block.extra, x[1:].reshape(-1))


# --- clients ---------------------------------------------------------------------------------------------------------

STEP, LESSON = INPUT | EMIT, INPUT | EMIT | LEARN


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([LESSON, LESSON], [(STEP | BEGIN, 0, 0), (SCORED, 0, 1), (STEP, 1, 0)]),
        ([STEP, LESSON, STEP], [(STEP | BEGIN, 0, 0), (SCORED, 0, 1), (STEP, 1, 0), (STEP, 2, 0)]),
        ([INPUT | LEARN, LESSON | BEGIN], [(INPUT | BEGIN, 0, 0), (STEP | BEGIN, 1, 0)]),
        ([LESSON | END, LESSON], [(STEP | BEGIN | END, 0, 0), (STEP | BEGIN, 1, 0)]),
        ([LESSON | BEGIN, LESSON | END], [(STEP | BEGIN, 0, 0), (SCORED, 0, 1), (STEP | END, 1, 0)]),
    ],
)
def test_frames_of_a_client_that_predicts_the_next(flags, expected):
    gate = Intake(NEXT_TOKENS)
    assert gate.add_message("a", fitting(NEXT_TOKENS, *flags))[0] == FIRST
    assert sent(gate)[0] == [list(row) for row in expected]
    gate = Intake(NEXT_VECTORS)
    letter = fitting(NEXT_VECTORS, *flags)
    gate.add_message("a", letter)
    rows, block = sent(gate)
    assert [flags for flags, _, _ in rows] == [flags for flags, _, _ in expected]
    assert np.array_equal(block.vectors, letter.vectors)
    learned = [k for flags, _, k in expected if flags == SCORED]
    assert np.array_equal(block.extra, letter.vectors[learned].reshape(-1))


@pytest.mark.parametrize("order", [o for o in ORDERS.values() if o["predict"] == "target"])
def test_frames_of_a_client_with_targets(order):
    gate, letter = Intake(order), fitting(order, STEP | SCORED, STEP, INPUT | SCORED | END, STEP, SCORED, STEP | BEGIN)
    assert gate.add_message("a", letter)[0] == FIRST
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
    tokens = [token for flags, token, _ in rows if flags & INPUT]
    assert tokens == ([0, 1, 2, 3, 0] if order["classes"] else [-1] * 5)
    if order["target_classes"]:
        assert [target for flags, _, target in rows if flags & SCORED] == [0, 2, 4]
    assert np.array_equal(block.vectors.reshape(-1), letter.vectors.reshape(-1))
    assert np.array_equal(block.extra, letter.extra)


def test_each_stream_begins_for_itself_and_blocks_end_nothing():
    gate = Intake(NEXT_TOKENS)
    seen = []
    for name in "abba":
        gate.add_message(name, fitting(NEXT_TOKENS, LESSON))
        seen.append((unpack(deepcopy(gate).block()).frames[-1, STREAM], len(sent(gate)[0])))
    assert seen == [(0, 1), (1, 1), (1, 2), (0, 2)]


@orders
def test_a_number_that_serves_again_is_new(order):
    gate = Intake(order)
    for name in "abc":
        gate.add_message(name, fitting(order, STEP))
    gate.close("b")
    gate.block()
    first, naming = gate.add_message("d", fitting(order, STEP, STEP, STEP | BEGIN))
    assert first == FIRST + 3
    assert (unpack(naming).number, text_of(unpack(naming))) == (1, "d")
    rows, block = sent(gate)
    assert [flags for flags, _, _ in rows] == [STEP | BEGIN | NEW, STEP, STEP | BEGIN]
    assert set(block.frames[:, STREAM]) == {1}
    gate.add_message("a", fitting(order, STEP))
    assert sent(gate)[0][0][0] == STEP


@orders
def test_streams_are_limited(order):
    gate = Intake(order)
    for name in "abc":
        gate.add_message(name, fitting(order, STEP))
    before = state(gate)
    with pytest.raises(Refused, match="3 streams are in use"):
        gate.add_message("d", fitting(order, STEP))
    with pytest.raises(Refused, match='no stream "d"'):
        gate.close("d")
    assert state(gate) == before
    gate.close("c")
    gate.add_message("d", fitting(order, STEP))
    assert sorted(gate.names) == ["a", "b", "d"]


def test_a_gate_goes_on_from_a_checkpoint():
    gate = Intake(NEXT_TOKENS | {"streams": ["a", None, "c"], "fresh": [2]})
    for name in "acb":
        gate.add_message(name, fitting(NEXT_TOKENS, LESSON))
    assert [row[0] for row in sent(gate)[0]] == [SCORED, STEP, STEP | BEGIN, STEP | BEGIN | NEW]
    assert gate.names == {"a": 0, "c": 2, "b": 1}
    assert gate.used == 3
    with pytest.raises(Refused):
        gate.stream("d")


def test_a_target_does_not_reach_a_stream_that_is_gone():
    """A target is of its own stream's newest step; the window of the number's last stream may still be open."""
    gate = Intake(TOKENS_TO_TOKENS)
    gate.add_message("a", fitting(TOKENS_TO_TOKENS, STEP))
    gate.close("a")
    gate.block()
    try:
        gate.add_message("b", fitting(TOKENS_TO_TOKENS, SCORED))
    except Refused:
        return
    assert not any(flags & SCORED for flags, _, _ in sent(gate)[0])


ONE = message((STEP, 1, 0))
X, T = [[1.0] * WIDTH], [1.0] * TARGET_WIDTH
REFUSED_MESSAGES = [
    (NEXT_TOKENS, "", ONE, "name"),
    (NEXT_TOKENS, "x" * 256, ONE, "name"),
    (NEXT_TOKENS, "é" * 128, ONE, "name"),
    (NEXT_TOKENS, "a\0b", ONE, "name"),
    (NEXT_TOKENS, "a", message((STEP, 1, 0), kind=NAME), "kind"),
    (NEXT_TOKENS, "a", message(), "frames"),
    (NEXT_TOKENS, "a", message(*[(STEP, 1, 0)] * (BLOCK // 2 + 1)), "frames"),
    (NEXT_TOKENS, "a", message((STEP | NEW, 1, 0)), "flag"),
    (NEXT_TOKENS, "a", message((STEP | 128, 1, 0)), "flag"),
    (NEXT_TOKENS, "a", message((-1, 1, 0)), "flag"),
    (NEXT_TOKENS, "a", message((EMIT, 1, 0)), "input or a target"),
    (NEXT_TOKENS, "a", message((0, 1, 0)), "input or a target"),
    (TOKENS_TO_TOKENS, "a", message((SCORED | BEGIN, 1, 0)), "begins"),
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
    gate.add_message("a", fitting(order, STEP))
    before = state(gate)
    with pytest.raises(Refused, match=reason) as caught:
        gate.add_message(name, letter)
    assert "\n" not in str(caught.value)
    assert state(gate) == before


# --- anything at all -------------------------------------------------------------------------------------------------


@st.composite
def letters(draw, order):
    """A message that fits, more often than not."""
    flags = [INPUT, STEP, LESSON, STEP | BEGIN, LESSON | BEGIN, STEP | END]
    if order["predict"] == "target":
        flags += [STEP | SCORED, STEP | SCORED, INPUT | SCORED | END, SCORED, SCORED | END]
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
    for k, (seq, stream, flags, _, _) in enumerate(frames.tolist()):
        paired = k > 0 and frames[k - 1, SEQ] == seq
        assert seq == last + (not paired)
        if paired:
            assert frames[k - 1, [STREAM, FLAGS]].tolist() == [stream, SCORED]
            assert flags & INPUT
        last = seq
        assert flags & ~(BEGIN | INPUT | SCORED | EMIT | END | NEW) == 0
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
    gate, last, reached, closed, names = Intake(order), FIRST - 1, set(), set(), ["a", "b", "c", "d", ""]
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
                first, naming = gate.add_message(name, letter)
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
        assert sorted([*gate.free, *gate.names.values()]) == list(range(STREAMS))
        assert gate.used >= max(gate.names.values(), default=-1) + 1


# --- the worker around it --------------------------------------------------------------------------------------------


class Socket:
    def __init__(self):
        self.sent = []

    def send(self, data):
        self.sent.append(data)


class Supervision:
    """What a gate's process gets from its `Member`."""

    def __init__(self, order):
        self.order = {
            **order,
            "source": {"kind": "none"},
            "position": 0,
            "max_frames": 10,
            "in_flight": 64,
            "gate": "",
            "credit": "",
            "frames_out": "",
        }

    def first_order(self):
        return self.order

    def socket(self, *_, **__):
        return Socket()

    public_socket = socket


def test_every_message_gets_an_answer():
    worker = Gate(Supervision(TOKENS_TO_VECTORS))
    good = pack(message((STEP, 1, 0)))
    wide = np.frombuffer(good, np.int64).copy()
    wide[6] = 2**62  # the width of no vectors
    for parts in (
        [],
        [b"a"],
        [b"a", good, good],
        [b"a", b""],
        [b"a", b"x" * 200],
        [b"a", good[:-1]],
        [b"\xff", good],
        [b"", good],
        [b"a", wide.tobytes()],
        [b"a", pack(message((STEP, CLASSES, 0)))],
        [b"a", pack(Message(CLOSE, 0, 5))],
        [b"a", pack(fitting(TOKENS_TO_VECTORS, *[STEP] * 9))],
    ):
        before = state(worker.intake)
        answer = unpack(worker.answer(parts))
        assert answer.kind == REFUSED
        assert text_of(answer)
        assert state(worker.intake) == before
    assert worker.refused == 12
    assert worker.left == 10


def test_a_message_that_is_let_in_is_answered_with_its_number():
    worker = Gate(Supervision(TOKENS_TO_VECTORS))
    for frames, accepted in ((3, FIRST), (4, FIRST + 3)):
        answer = unpack(worker.answer([b"a", pack(fitting(TOKENS_TO_VECTORS, *[STEP] * frames)._replace(number=5))]))
        assert (answer.kind, answer.number, answer.frames[0, SEQ]) == (ACCEPTED, 5, accepted)
    assert worker.left == 3
    assert unpack(worker.answer([b"a", pack(fitting(TOKENS_TO_VECTORS, *[STEP] * 4))])).kind == REFUSED
    assert unpack(worker.answer([b"a", pack(Message(CLOSE, 0, 5))])).kind == ACCEPTED
    assert worker.intake.names == {}
    worker.flush()
    assert [unpack(data).kind for data in worker.down.sent] == [NAME, FRAMES]
    assert worker.sent == 7


def test_the_frames_of_a_closed_stream_go_down_before_another_gets_its_number():
    worker = Gate(Supervision(TOKENS_TO_VECTORS))
    step = pack(fitting(TOKENS_TO_VECTORS, STEP))
    for name, letter in ((b"a", step), (b"a", pack(Message(CLOSE, 0, 5))), (b"b", step)):
        assert unpack(worker.answer([name, letter])).kind == ACCEPTED
    worker.flush()
    sent = [unpack(data) for data in worker.down.sent]
    assert [part.kind for part in sent] == [NAME, FRAMES, NAME, FRAMES]
    assert sent[0].number == sent[2].number
