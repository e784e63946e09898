"""The kernel that reads plain numbers: the bits that Python's float gives, and the rest is left to the caller."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.kernels.decimals import DIGITS, POWERS, decimals

figures = st.text("0123456789", max_size=10)
cells = st.one_of(
    st.tuples(st.sampled_from(["", "-", "+", " "]), figures, st.sampled_from(["", ".", ","]), figures).map("".join),
    st.text(" 0123456789.,-+e_\r\tx\xe9", max_size=8),
)


@settings(deadline=None)
@given(st.lists(cells, min_size=1, max_size=20), st.sampled_from(".,"))
def test_a_number_is_read_to_the_bit_or_left(cells, decimal):
    coded = [cell.encode("latin-1") for cell in cells]
    ends = np.cumsum([len(cell) for cell in coded])
    starts = ends - [len(cell) for cell in coded]
    values, left = np.empty(len(cells)), np.empty(len(cells), np.int64)
    count = decimals(np.frombuffer(b"".join(coded) + b"7", np.uint8), starts, ends, ord(decimal), POWERS, values, left)
    for number, cell in enumerate(cells):
        plain = cell.strip(" \r\t")
        if number in left[:count]:
            assert not is_plain(plain, decimal)
        else:
            expected = float(plain.replace(decimal, ".")) if plain else math.nan
            assert values[number].tobytes() == np.float64(expected).tobytes() or not plain
            assert is_plain(plain, decimal)


def is_plain(cell: str, decimal: str) -> bool:
    """Whether it is nothing, or a number of few digits without an exponent."""
    unsigned = cell[1:] if cell[:1] in ("-", "+") else cell
    digits = unsigned.replace(decimal, "", 1)
    return not cell or (digits.isascii() and digits.isdecimal() and len(digits) <= DIGITS)


@pytest.mark.parametrize("text", ["9" * DIGITS, "0." + "9" * (DIGITS - 1), "-0", "1" + "0" * 13 + ".3"])
def test_the_longest_are_exact(text):
    values, left = np.empty(1), np.empty(1, np.int64)
    places = np.array([0]), np.array([len(text)])
    assert decimals(np.frombuffer(text.encode(), np.uint8), *places, ord("."), POWERS, values, left) == 0
    assert values.tobytes() == np.float64(text).tobytes()
