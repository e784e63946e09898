"""The two matrix products everything is made of, each with one order of summation for any number of rows.

A row's result never depends on how many rows are computed with it (batch invariance): outputs lie across the vector
lanes and inputs are added one after another, so tiling over rows and inputs changes speed and not one bit.
"""

from streamrnn.kernels.jit import kernel
from streamrnn.kernels.tiles import product, transposed_product


@kernel
def copy(b, c):
    """c (N,) = b (N,). Numba's own assignment asks for memory, in case they overlap."""
    for j in range(c.shape[0]):
        c[j] = b[j]


@kernel
def add(b, c):
    """c (N,) += b (N,)."""
    for j in range(c.shape[0]):
        c[j] += b[j]


@kernel
def copy_rows(B, C):
    """C (M, N) = B (M, N)."""
    for m in range(C.shape[0]):
        copy(B[m], C[m])


@kernel
def add_product(A, B, C):
    """C (M, N) += A (M, K) @ B (K, N)."""
    product(A, B, C)


@kernel
def add_outer_products(A, B, C):
    """C (M, N) += A (K, M).T @ B (K, N): the sum of the outer products of their rows."""
    product(A.T, B, C)


@kernel
def add_transposed(A, B, C):
    """C (M, K) += A (M, N) @ B (K, N).T, reading B along its rows."""
    transposed_product(A, B, C)


@kernel
def add_rows(A, c):
    """c (N,) += the sum of the rows of A (M, N), first row first."""
    for m in range(A.shape[0]):
        add(A[m], c)


@kernel
def within(values, most):
    """Whether all values are numbers of at most that size."""
    wrong = 0
    for value in values:
        wrong += not abs(value) <= most
    return wrong == 0


@kernel
def none_beyond(values, most):
    """The same, where they may be NaN too."""
    wrong = 0
    for value in values:
        wrong += abs(value) > most
    return wrong == 0
