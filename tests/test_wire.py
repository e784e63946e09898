"""The wire format: what is packed comes back, and what is no message is refused."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamrnn.kernels import messages as names
from streamrnn.kernels.frames import COLUMNS
from streamrnn.kernels.messages import HEADER
from streamrnn.protocol.wire import (
    LONGEST_TEXT,
    Message,
    WireError,
    as_numbers,
    as_text,
    bytes_of,
    pack,
    size_in_bytes,
    text_of,
    unpack,
)

int64 = st.integers(-(2**63), 2**63 - 1)
counts = st.integers(0, 4)


def floats(rng, kind, *shape):
    """Any bits at all, NaN and infinity among them."""
    return rng.integers(0, 2 ** (8 * kind.itemsize), shape, f"u{kind.itemsize}").view(kind)


@st.composite
def messages(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    frames, vectors, width, extra = (draw(counts) for _ in range(4))
    rows = rng.integers(-(2**63), 2**63 - 1, (frames, COLUMNS), endpoint=True)
    kind = draw(st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)]))
    values = floats(rng, kind, vectors, width), floats(rng, np.dtype(np.float64), extra)
    return Message(draw(int64), draw(int64), draw(int64), rows, *values)


def size_of(message):
    return size_in_bytes(len(message.frames), *message.vectors.shape, message.vectors.itemsize, len(message.extra))


def accepted(data):
    """The message in these bytes, None if they are refused; it must be what its header says."""
    try:
        message = unpack(data)
    except WireError:
        return None
    assert message.frames.shape[1] == COLUMNS
    assert size_of(message) == len(data)
    assert pack(message) == data
    return message


@settings(deadline=None)
@given(messages())
def test_a_message_comes_back(message):
    data = pack(message)
    assert len(data) == size_of(message)
    for buffer in (data, memoryview(data), bytearray(data)):
        back = unpack(buffer)
        assert back[:3] == message[:3]
        for came, sent in zip(back[3:], message[3:], strict=True):
            assert came.shape == sent.shape
            assert came.dtype == sent.dtype
            assert came.tobytes() == sent.tobytes()


def test_the_layout_is_as_documented():
    frames, vectors = np.arange(5, 17).reshape(2, 6), np.float32([[1, 2, 3]])
    magic = int.from_bytes(b"srnn\3\0\0\0", "little")
    for kind, size in (("<f4", 4), ("<f8", 8)):
        data = pack(Message(1, 2, 3, frames, vectors.astype(kind), np.array([4.0, 5])))
        rows = np.array([magic, 1, 2, 3, 2, 1, 3, size, 2, *range(5, 17)], "<i8").tobytes()
        assert data == rows + np.array([4, 5], "<f8").tobytes() + np.array([1, 2, 3], kind).tobytes()
    assert pack(Message(7)) == np.array([magic, 7, 0, 0, 0, 0, 0, 8, 0], "<i8").tobytes()


def test_arrays_of_a_message_are_read_only_views():
    data = pack(Message(1, 2, 3, np.ones((2, COLUMNS), np.int64), np.ones((1, 2), np.float32), np.ones(3)))
    for array in unpack(data)[3:]:
        assert not array.flags.writeable
        assert array.base is not None


@settings(deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: pack(Message(1))[:8] + tail))
@example(b"")
def test_random_bytes_are_refused_or_make_sense(data):
    accepted(data)


@settings(deadline=None)
@given(
    messages(), st.integers(0, HEADER - 1), st.sampled_from([-1, 0, 1, 2, 2**31, 2**62, 2**63 - 1, -(2**63)]) | int64
)
@example(Message(1), names.H_VECTORS, 2**62)
@example(Message(1), names.H_WIDTH, 2**62)
@example(Message(1, vectors=np.zeros((1, 1), np.float32)), names.H_WIDTH, -1)
def test_a_header_that_lies_is_refused_or_makes_sense(message, position, value):
    header = np.frombuffer(pack(message), np.int64, HEADER).copy()
    header[position] = value
    changed = accepted(header.tobytes() + pack(message)[8 * HEADER :])
    if position == names.H_MAGIC:
        assert (changed is None) == (value != names.MAGIC)
    elif position in (names.H_KIND, names.H_EPOCH, names.H_NUMBER):
        assert changed[position - 1] == value
    elif position in (names.H_FRAMES, names.H_EXTRA):
        before = len(message.frames if position == names.H_FRAMES else message.extra)
        assert (changed is None) == (value != before)


@settings(deadline=None)
@given(messages(), st.data())
def test_a_message_cut_or_lengthened_is_refused(message, data):
    whole = pack(message)
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert accepted(whole[:cut]) is None
    assert accepted(whole + bytes(1 + cut)) is None


@settings(deadline=None)
@given(messages(), st.data())
def test_a_message_with_a_spoilt_byte_is_refused_or_makes_sense(message, data):
    spoilt = bytearray(pack(message))
    spoilt[data.draw(st.integers(0, len(spoilt) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    accepted(bytes(spoilt))


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50) | st.just(""))
@example("é" * 300)
@example("a" + "é" * 300)
@example("€" * 171)
@example("ab" + "\N{SNOWMAN}" * 200)
@example("\N{GRINNING FACE}" * 128 + "x")
@example("abc" + "\N{GRINNING FACE}" * 128)
@example("x" * 513)
def test_a_text_comes_back_up_to_the_longest_whole_characters(text):
    came = text_of(unpack(pack(Message(5, extra=as_text(text)))))
    assert text.startswith(came)
    assert len(came.encode()) <= LONGEST_TEXT
    if came != text:
        assert len((came + text[len(came)]).encode()) > LONGEST_TEXT


@pytest.mark.parametrize("extra", [b"", bytes(8), b"\xff\xfe\xfd\xfcabcd", b"abcdef\xc3\0"])
def test_any_bytes_are_read_as_some_text(extra):
    text = text_of(Message(5, extra=np.frombuffer(extra)))
    assert text == extra.rstrip(b"\0").decode(errors="replace")


@given(st.binary(max_size=40))
def test_bytes_come_back(data):
    assert bytes_of(unpack(pack(Message(1, extra=as_numbers(data))))) == data


@given(st.integers(0, 2**64 - 1), st.binary(max_size=16).filter(lambda data: len(data) % 8 == 0))
def test_bytes_that_tell_of_more_than_there_are_are_those_there_are(count, data):
    extra = np.frombuffer(count.to_bytes(8, "little") + data)
    assert bytes_of(Message(1, extra=extra)) == data[:count]
    assert bytes_of(Message(1)) == b""
