"""What a caller gives as an input or a target, checked by one rule and made a token or a vector, float64.

A token is one int: Python's, NumPy's, or an array or tensor of no dimension; a boolean is none. A vector is whatever
NumPy makes finite real numbers of; booleans in it are 0 and 1, and where it has one number, that number alone will do.
What is marked as missing, NaN, None, pandas' NA, a masked value, is refused, or where it is taken becomes NaN.
"""

from numbers import Real
from typing import Any

import numpy as np

TOKENS, VECTOR = "tokens", "vector"  # what inputs can be
INTS, MASKED = (int, np.integer), np.ma.MaskedArray
LARGEST = float(np.finfo(np.float32).max)  # of a number that goes into a network as it is
LARGEST_SCALED = 1e300  # of one that is standardised before
HINT = 'what is missing is taken with missing="fill", in a config input.missing'


def largest(standardize: bool) -> float:
    """The largest size of a number in an input or a target."""
    return LARGEST_SCALED if standardize else LARGEST


def as_token(x: Any, size: int, inputs: str | None = None) -> int:
    """x as a token below `size`, -1 where it is a vector; `inputs` says which of the two it must be, None: either.

    Raises ValueError if it is out of range, is no token and must be one, or could be both: an int where `size` is 1.
    """
    if inputs == VECTOR or not is_int(x):
        if inputs == TOKENS:
            raise ValueError(f"expected an int token in [0, {size}), of shape (), got {type(x).__name__}")
        return -1
    if inputs is None and size == 1:
        raise ValueError(
            "an int is a token or the only number of a vector here: give a vector as [0.0], or settle it for all with "
            'Network(..., inputs="vector") or inputs="tokens"'
        )
    token = int(x)
    if not 0 <= token < size:
        raise ValueError(f"token {token} is outside [0, {size})")
    return token


def as_tokens(values: Any, size: int) -> np.ndarray:
    """Ints below `size` as an array (n,) of int64. Raises ValueError if they are something else."""
    tokens = (
        np.frombuffer(values, np.uint8) if isinstance(values, bytes) else as_numbers(values, f"ints in [0, {size})")
    )
    if len(tokens) and (tokens.dtype.kind not in "iu" or tokens.ndim != 1):
        raise ValueError(f"expected ints in [0, {size}), got {tokens.dtype} of shape {tokens.shape}")
    wrong = (tokens < 0) | (tokens >= size)
    if wrong.any():
        raise ValueError(f"token {tokens[wrong.argmax()]} is outside [0, {size})")
    return tokens.astype(np.int64)


def as_vector(x: Any, size: int, most: float = LARGEST, missing: bool = False) -> np.ndarray:
    """x as a float64 vector (size,); missing: numbers may be, and are NaN.

    Raises ValueError if it has another shape, or holds what is no finite number, or one that is larger than `most`.
    """
    values = as_numbers(x, "a vector of numbers", missing)
    if values.ndim == 0 and size == 1:
        values = values.reshape(1)
    if values.shape != (size,):
        got = values.shape if values.ndim else "a single number"
        raise ValueError(f"expected a vector of shape ({size},), got {got}")
    with np.errstate(over="ignore"):  # of a longdouble
        vector = values.astype(np.float64)
    if not within(vector, most, missing):
        raise ValueError(f"the vector holds {beyond(vector, most, missing)}")
    return vector


def within(values: np.ndarray, most: float, missing: bool = False) -> bool:
    """Whether all are numbers of at most that size, or NaN if they may be missing."""
    sizes = np.abs(values)
    return not (sizes > most).any() if missing else bool((sizes <= most).all())


def beyond(values: np.ndarray, most: float, missing: bool) -> str:
    """What of values is not `within`, in words."""
    hint = f"; {HINT}" if np.isnan(values).any() and not missing else ""
    return f"{'' if missing else 'NaN or '}infinity, or a number larger than {most:.3g}{hint}"


def vectors_at_once(values: np.ndarray, size: int, most: float, missing: bool = False) -> np.ndarray | None:
    """An array (n, size), copied, as what `as_vector` makes of each row; None where that must be asked."""
    if values.dtype.kind not in "iuf" or values.ndim != 2 or values.shape[1] != size:
        return None
    with np.errstate(over="ignore"):
        vectors = values.astype(np.float64, order="C")  # a copy: the caller may go on to change theirs
    return vectors if within(vectors, most, missing) else None


def is_int(x: Any) -> bool:
    """Whether x is one int, no boolean. Raises ValueError if it is masked."""
    if isinstance(x, INTS):
        return not isinstance(x, bool)
    return getattr(x, "ndim", None) == 0 and as_array(x).dtype.kind in "iu"


def as_numbers(x: Any, what: str, missing: bool = False) -> np.ndarray:
    """x as an array of booleans, ints or floats, no object among them; missing: some may be, and are NaN.

    Raises ValueError: `what` was expected.
    """
    values = as_array(x, what, missing)
    if values.dtype.kind == "O":
        values = _unboxed(values, what, missing)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"expected {what}, got {type(x).__name__} of {values.dtype}")
    return values


def as_array(x: Any, what: str = "numbers", missing: bool = False) -> np.ndarray:
    """x as an array of whatever it holds; missing: with NaN where it is masked.

    Raises ValueError if it cannot be one, or something in it is masked and may not be missing.
    """
    x = _unmasked(x, what, missing)
    try:
        values = np.asarray(x)
    except Exception as error:  # each library has its own, of tensors that require grad or lie on another device
        raise ValueError(f"expected {what}: {' '.join(str(error).split())}") from None
    return values


def _unmasked(x: Any, what: str, missing: bool) -> Any:
    """x without masks, which NumPy would just drop, or turn into NaN. Raises ValueError if one hides something."""
    inside = (MASKED, list, tuple) if missing else MASKED
    if isinstance(x, list | tuple) and any(isinstance(item, inside) for item in x):
        return [_unmasked(item, what, missing) for item in x]
    if not isinstance(x, MASKED):
        return x
    if not np.ma.is_masked(x):
        return x.data
    if not missing:
        raise ValueError(f"expected {what}, and some are masked; {HINT}")
    return np.ma.filled(x.astype(object), np.nan)[()]


def is_missing(value: Any) -> bool:
    """Whether it says that nothing is there, but for NaN: None, or pandas' NA."""
    return value is None or type(value).__name__ == "NAType"


def _unboxed(values: np.ndarray, what: str, missing: bool) -> np.ndarray:
    """The numbers that an array of objects holds, such as a row of columns of several types. Raises ValueError."""
    if missing:
        values = values.copy()
        values[np.reshape([is_missing(value) for value in values.flat], values.shape)] = np.nan
    for value in values.flat:
        if not isinstance(value, Real | np.bool_):
            hint = f"; {HINT}" if is_missing(value) else ""
            raise ValueError(f"expected {what}, and there is a {type(value).__name__} in it{hint}")
    try:
        numbers = np.array(values.tolist())
        return numbers if numbers.dtype != object else values.astype(np.float64)
    except OverflowError:
        raise ValueError(f"expected {what}, and one is too large for a float") from None
