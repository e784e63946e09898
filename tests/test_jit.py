"""No kernel allocates: one that asks for memory does not compile."""

import numba
import numpy as np
import pytest
from numba.core.errors import NumbaError

from streamrnn.kernels.jit import kernel


def zeros(a):
    return np.zeros(a.shape[0])


def scratch(a):
    b = np.empty_like(a)
    b[0] = a[0]
    return b[0]


def shift(a):
    a[1:] = a[:-1]  # by way of a copy


def items(a):
    return [a[0]]


@pytest.mark.parametrize("function", [zeros, scratch, shift, items])
def test_what_asks_for_memory_compiles_but_not_as_a_kernel(function):
    numba.njit(function)(np.zeros(3))
    with pytest.raises(NumbaError):
        kernel(function)(np.zeros(3))
