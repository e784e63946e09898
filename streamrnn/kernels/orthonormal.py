"""Orthonormal columns, with one order of every sum."""

from math import sqrt

from numba import float64

from streamrnn.kernels.jit import kernel


@kernel
def orthonormalize(A, products):
    """Make the columns of A (H, H) orthonormal, in place: modified Gram-Schmidt. products (H,) is overwritten."""
    H = A.shape[0]
    for j in range(H):
        square = 0.0
        for k in range(H):
            square += A[k, j] * A[k, j]
        length = sqrt(square)
        for k in range(H):
            A[k, j] /= length
        products[j:] = 0
        for k in range(H):
            for i in range(j + 1, H):
                products[i] += A[k, j] * A[k, i]
        for k in range(H):
            for i in range(j + 1, H):
                A[k, i] -= A[k, j] * products[i]


def warm_up() -> None:
    """Have this kernel in memory, from disk if it is there."""
    orthonormalize.compile((float64[:, ::1], float64[::1]))
