"""The two matrix products everything is made of, each with one order of summation for any number of rows.

A row's result never depends on how many rows are computed with it (batch invariance): outputs lie across the vector
lanes and inputs are added one after another, so tiling over rows and inputs changes speed and not one bit.
"""

from streamrnn.instructions import fma
from streamrnn.jit import kernel
from streamrnn.tiles import product, transposed_product


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
def add_row_product(a, B, c):
    """c (N,) += a (K,) @ B (K, N)."""
    K, N = B.shape
    whole = K - K % 4
    for k in range(0, whole, 4):
        a0, a1, a2, a3 = a[k], a[k + 1], a[k + 2], a[k + 3]
        b0, b1, b2, b3 = B[k], B[k + 1], B[k + 2], B[k + 3]
        for j in range(N):
            c[j] = fma(a3, b3[j], fma(a2, b2[j], fma(a1, b1[j], fma(a0, b0[j], c[j]))))
    for k in range(whole, K):
        a0, b0 = a[k], B[k]
        for j in range(N):
            c[j] = fma(a0, b0[j], c[j])


@kernel
def add_product(A, B, C):
    """C (M, N) += A (M, K) @ B (K, N); A may be a transposed view."""
    if A.shape[0] == 1:
        add_row_product(A[0], B, C[0])
    else:
        product(A, B, C)


@kernel
def add_transposed(A, B, C):
    """C (M, K) += A (M, N) @ B (K, N).T, reading B along its rows."""
    transposed_product(A, B, C)


@kernel
def add_rows(A, c):
    """c (N,) += the sum of the rows of A (M, N), first row first."""
    for m in range(A.shape[0]):
        add(A[m], c)
