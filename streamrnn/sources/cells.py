"""What a cell of a table or a field of a message says, as a number."""

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

_WORDS = "nan na n/a #n/a #na <na> null nil none missing unavailable unknown undefined - -- --- ? . .. ..."
_ERRORS = "1.#qnan -1.#ind #div/0! #value! #num!"  # of C's library, and of spreadsheets
MISSING = frozenset(["", *_WORDS.split(), *_ERRORS.split()])

BETWEEN = " \u00a0\u2009\u202f"  # blanks that part thousands
_GROUPED = {  # numbers with separators between their thousands, by the decimal sign
    ".": re.compile(rf"[+-]?[0-9]{{1,3}}(?:(?P<by>[,'{BETWEEN}])[0-9]{{3}})(?:(?P=by)[0-9]{{3}})*(?:\.[0-9]*)?"),
    ",": re.compile(rf"[+-]?[0-9]{{1,3}}(?:(?P<by>[.'{BETWEEN}])[0-9]{{3}})(?:(?P=by)[0-9]{{3}})*(?:,[0-9]*)?"),
}


def is_missing(value: Any) -> bool:
    """Whether it says that there is no reading: nothing, NaN, or a word such as null, n/a or -."""
    if isinstance(value, str):
        return value.strip().lower() in MISSING
    return value is None or value != value


def mostly(fits: Callable[[Any], bool], cells: Sequence[Any]) -> bool:
    """Whether more than half of what they say is such: the others among them are then mistakes."""
    said = [cell for cell in cells if not is_missing(cell)]
    return sum(map(fits, said)) > len(said) / 2


def is_number(value: Any) -> bool:
    """Whether it is a number, whatever its decimal sign."""
    for decimal in ".,":
        try:
            return number(value, decimal) == number(value, decimal)  # not NaN
        except ValueError:
            pass
    return False


def number(value: Any, decimal: str = "") -> float:
    """What it says, NaN where it is missing; true is 1. Raises ValueError where it is no finite number.

    `decimal` is the sign before the fraction of a number in text, "." or ","; then the other one, a blank or ' may part
    its thousands. Without, it is "." and nothing may part them: 1,234 could be either.
    """
    if isinstance(value, str):
        return _read(value.strip(), decimal)
    if value is None:
        return math.nan
    if not isinstance(value, int | float):
        raise ValueError(f"{show(value)} is no number")
    try:
        return _finite(float(value), value)
    except OverflowError:
        raise ValueError(f"{show(value)} is too large") from None


def show(value: Any) -> str:
    """It, on one short line of ASCII."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= 40 else text[:37] + "..."


def _read(text: str, decimal: str) -> float:
    try:
        if "_" not in text:  # a habit of Python's alone
            return _finite(float(_plain(text, decimal)), text)
    except ValueError:
        pass
    word = text.lower()
    if word in MISSING:
        return math.nan
    if word in ("true", "false"):
        return float(word == "true")
    raise ValueError(f"{show(text)} is no number")


def _plain(text: str, decimal: str) -> str:
    """With a point for the decimal sign, and nothing between thousands."""
    if decimal and _GROUPED[decimal].fullmatch(text):
        text = re.sub(f"[^0-9+{decimal}-]", "", text)
    if decimal == ",":
        return "" if "." in text else text.replace(",", ".")
    return text


def _finite(number: float, value: Any) -> float:
    if math.isinf(number):
        raise ValueError(f"{show(value)} is not finite")
    return number
