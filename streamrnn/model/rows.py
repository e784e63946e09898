"""Inputs and targets, written over the rows that kernels read."""

from typing import Any

import numpy as np

from streamrnn.kernels.linear import none_beyond, within
from streamrnn.model.inputs import as_vector


def put_vector(x: Any, row: np.ndarray, most: float, missing: bool = False) -> None:
    """Write what `as_vector` would make of x over a float64 row, sooner if x is nearly that already."""
    if type(x) is np.ndarray and x.dtype.char in "df" and x.shape == row.shape:
        row[:] = x
        if none_beyond(row, most) if missing else within(row, most):
            return
    row[:] = as_vector(x, len(row), most, missing)
