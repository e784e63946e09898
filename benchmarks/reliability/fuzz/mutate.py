"""Good bytes made bad: bits flipped, ends cut off, parts of others put in, edge values where numbers are."""

from collections.abc import Callable, Sequence
from random import Random
from struct import pack

from streamrnn.kernels.messages import H_FRAMES, HEADER

WORDS = [0, 1, -1, 2, 5, 8, 63, 255, 2**16, 2**31 - 1, 2**31, -(2**31), 2**32, 2**61, 2**62, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -0.0, 1.0, -1.0, float("nan"), float("inf"), float("-inf"), 3.4e38, 1e-45]
MOST = 2**17  # bytes


def flip(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A few bits."""
    for _ in range(random.choice([1, 1, 2, 8])):
        if data:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def cut(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """The end, or a part of the middle."""
    start = random.randrange(len(data) + 1)
    del data[start : random.choice([len(data), start + random.choice([1, 4, 8, 40])])]


def grow(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """Random bytes somewhere."""
    at = random.choice([len(data), random.randrange(len(data) + 1)])
    data[at:at] = random.randbytes(random.choice([1, 4, 8, 40, 300]))


def splice(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    """The end of another in the place of its own."""
    other = random.choice(others)
    data[random.randrange(len(data) + 1) :] = other[random.randrange(len(other) + 1) :]


def repeat(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A part of it once more."""
    start = random.randrange(len(data) + 1)
    data[start:start] = data[start : start + random.choice([1, 8, 40, 200])]


def put_word(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """An edge value in the place of an int64."""
    at = 8 * random.randrange(len(data) // 8 + 1)
    data[at : at + 8] = pack("<q", random.choice(WORDS))


def put_count(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """An edge value in the place of one of the header's counts."""
    at = 8 * random.randrange(H_FRAMES, HEADER)
    data[at : at + 8] = pack("<q", random.choice(WORDS))


def put_float(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """An edge value in the place of a float32 or a float64, NaN and infinity among them."""
    size, kind = random.choice([(4, "<f"), (8, "<d")])
    at = size * random.randrange(len(data) // size + 1)
    data[at : at + size] = pack(kind, random.choice(FLOATS))


def noise(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """Nothing but random bytes."""
    data[:] = random.randbytes(random.choice([0, 1, 71, 72, 73, 200, 1000]))


WAYS: list[Callable[[Random, bytearray, Sequence[bytes]], None]]
WAYS = [flip, cut, grow, splice, repeat, put_word, put_count, put_float, noise]


def mutated(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Those bytes, changed in one way or in several; `others`: whose parts may be put in."""
    changed = bytearray(data)
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        random.choice(WAYS)(random, changed, others)
    return bytes(changed[:MOST])
