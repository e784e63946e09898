"""Numbers in text, as files have them.

A number of at most 15 digits is a whole number over a power of ten, both of which a double holds exactly, so that their
quotient is the double next to it, as Python's float gives it (W. D. Clinger, How to read floating point numbers
accurately, 1990). What has more digits, an exponent, or is no number is left to the caller.
"""

from typing import Any

import numpy as np

from streamrnn.kernels.jit import kernel

DIGITS = 15
POWERS = np.array([float(f"1e{power}") for power in range(DIGITS + 1)])


def _decimals(text: Any, starts: Any, ends: Any, decimal: Any, powers: Any, values: Any, left: Any) -> Any:
    """The numbers in cells: values (n,) float64 of the bytes from `starts` to `ends`, NaN where a cell is empty.

    `decimal` is the byte of the decimal sign. Returns how many cells are left to the caller; `left` (n,) begins with
    their numbers.
    """
    count = 0
    for cell in range(len(starts)):
        at, end = starts[cell], ends[cell]
        while at < end and (text[at] == 32 or text[at] == 9 or text[at] == 13):  # blank, tab, carriage return
            at += 1
        while at < end and (text[end - 1] == 32 or text[end - 1] == 9 or text[end - 1] == 13):
            end -= 1
        if at == end:
            values[cell] = np.nan
            continue
        is_negative = text[at] == 45
        if is_negative or text[at] == 43:
            at += 1
        whole, digits, below = 0, 0, 0
        point = False
        while at < end:
            sign = text[at]
            if 48 <= sign <= 57:
                whole = whole * 10 + (sign - 48)
                digits += 1
                below += point
            elif sign == decimal and not point:
                point = True
            else:
                break
            at += 1
        if at < end or digits == 0 or digits > DIGITS:
            left[count] = cell
            count += 1
            continue
        value = whole / powers[below]
        values[cell] = -value if is_negative else value
    return count


decimals = kernel(_decimals)


def warm_up() -> None:
    """Have this kernel in memory, from disk if it is there."""
    text, places = np.frombuffer(b"1", np.uint8), np.zeros(1, np.int64)
    decimals(text, places, places + 1, ord("."), POWERS, np.empty(1), np.empty(1, np.int64))
