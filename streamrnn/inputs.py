"""What a caller gives as an input or a target, checked once and made a token or a float32 vector."""

from typing import Any

import numpy as np

from streamrnn.jit import kernel


def as_token(x: Any, size: int) -> int:
    """x as a token below `size`, -1 where it is no int. Raises ValueError if it is out of range."""
    if isinstance(x, int | np.integer) and not isinstance(x, bool):
        if not 0 <= x < size:
            raise ValueError(f"token {x} is outside [0, {size})")
        return int(x)
    return -1


def as_vector(x: Any, size: int) -> np.ndarray:
    """x as a float32 vector (size,). Raises ValueError if it has another shape, or holds what is no finite number."""
    try:
        values = np.asarray(x)
    except ValueError as error:  # lists of unequal lengths
        raise ValueError(f"expected a vector of {size} numbers: {error}") from None
    if values.dtype.kind not in "iuf":
        raise ValueError(f"expected a vector of {size} numbers, got {type(x).__name__} of {values.dtype}")
    if values.shape != (size,):
        raise ValueError(f"expected a vector of shape ({size},), got {values.shape}")
    with np.errstate(over="ignore"):
        vector = values.astype(np.float32)
    if not np.isfinite(vector).all():
        raise ValueError("the vector holds NaN or infinity, or a number too large for float32")
    return vector


@kernel
def finite(values):
    wrong = 0
    for value in values:
        wrong += not np.isfinite(value)
    return wrong == 0


def put_vector(x: Any, row: np.ndarray) -> None:
    """Write what `as_vector` would make of x over a float32 row, sooner if x is nearly that already."""
    if type(x) is np.ndarray and x.dtype == row.dtype and x.shape == row.shape:
        row[:] = x
        if finite(row):
            return
    row[:] = as_vector(x, len(row))
