"""The matrix products: close to float64, in the order of summation they promise, each row as if it were alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.kernels.instructions import buffer, fma
from streamrnn.kernels.jit import DISABLED, kernel
from streamrnn.kernels.linear import add_product, add_rows, add_transposed
from streamrnn.kernels.tiles import dot

EPSILON = 2.0**-24  # rounding error of float32
ROUNDINGS = 2 if DISABLED else 1  # of a fused multiply-add
DOT_ERROR = 1e-5 if DISABLED else 0  # plain NumPy stands in for `dot`, in an order of its own

sizes = st.integers(1, 24)
lengths = st.integers(1, 20) | st.sampled_from(
    [31, 63, 64, 65, 80, 127, 129, 200, 407]
)  # tiles are of 256, 128, 64, 16 and 1
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=30, deadline=None)


@kernel
def fused(a, b, c):
    return fma(a, b, c)


@kernel
def inner(a, b):
    return dot(a, b)


def some(rng, *shape):
    """Numbers of very different sizes."""
    return (rng.normal(size=shape) * rng.lognormal(0, 2, shape)).astype(np.float32)


def short(rng, *shape):
    """Numbers of 10 bits, so that a product of two is exact in float32 and only sums round."""
    return (rng.integers(-1023, 1024, shape) * 2.0 ** rng.integers(-12, -6, shape)).astype(np.float32)


def add(function, A, B, C):
    """What the function makes of a copy of C."""
    C = C.copy()
    function(A, B, C)
    return C


def assert_close(value, A, B, C):
    """value = C + A @ B within the bound on the rounding error of such sums in any order (Higham 2002, section 3.1)."""
    A, B, C = (array.astype(np.float64) for array in (A, B, C))
    bound = ROUNDINGS * (A.shape[-1] + 2) * EPSILON * (np.abs(C) + np.abs(A) @ np.abs(B))
    assert (np.abs(value - (C + A @ B)) <= bound).all()


@few
@given(sizes, lengths, lengths, seeds, st.booleans())
def test_products_are_close_to_float64(M, K, N, seed, transposed):
    rng = np.random.default_rng(seed)
    A = some(rng, K, M).T if transposed else some(rng, M, K)
    B, C = some(rng, K, N), some(rng, M, N)
    assert_close(add(add_product, A, B, C), A, B, C)
    assert_close(add(add_product, A[:1], B, C[:1]), A[:1], B, C[:1])
    A, B = np.ascontiguousarray(A), np.ascontiguousarray(B.T)
    assert_close(add(add_transposed, A, B, C), A, B.T, C)
    assert_close(inner(A[0], B[0]), A[0], B[0], np.zeros(()))


@few
@given(sizes, lengths, lengths, seeds)
def test_a_row_is_the_same_alone_and_among_others(M, K, N, seed):
    rng = np.random.default_rng(seed)
    A, B, C, start = some(rng, M, K), some(rng, K, N), some(rng, M, N), int(rng.integers(M))
    product, transposed = add(add_product, A, B, C), add(add_transposed, A, np.ascontiguousarray(B.T), C)
    for rows in (slice(start, start + 1), slice(start, None)):
        alone, own = A[rows].copy(), C[rows]
        assert np.array_equal(add(add_product, alone, B, own), product[rows])
        again = add(add_transposed, alone, np.ascontiguousarray(B.T), own)
        np.testing.assert_allclose(again, transposed[rows], DOT_ERROR, DOT_ERROR * np.abs(A[rows] @ B).max())
    assert np.array_equal(add(add_product, np.asfortranarray(A), B, C), product)


@few
@given(lengths, sizes, seeds)
def test_add_product_adds_one_input_after_another(K, N, seed):
    rng = np.random.default_rng(seed)
    a, B, C = short(rng, 1, K), short(rng, K, N), short(rng, 1, N)
    expected = C.copy()
    for k in range(K):
        expected += a[:, k] * B[k]
    assert np.array_equal(add(add_product, a, B, C), expected)


@few
@given(sizes, sizes, seeds)
def test_add_rows_adds_one_row_after_another(M, N, seed):
    rng = np.random.default_rng(seed)
    A, c = some(rng, M, N), some(rng, N)
    expected, total = c.copy(), c.copy()
    for row in A:
        expected += row
    add_rows(A, total)
    assert np.array_equal(total, expected)


@few
@given(lengths, seeds)
def test_dot_adds_in_64_lanes(n, seed):
    rng = np.random.default_rng(seed)
    a, b = short(rng, n), short(rng, n)
    products, whole, rest = a * b, n - n % 64, n - n % 16
    sums = np.zeros((4, 16), np.float32)
    for start in range(0, whole, 64):
        sums += products[start : start + 64].reshape(4, 16)
    for start in range(whole, rest, 16):
        sums[0] += products[start : start + 16]
    lanes = (sums[0] + sums[1]) + (sums[2] + sums[3])
    while len(lanes) > 1:
        lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
    total = lanes[0]
    for product in products[rest:]:
        total += product
    assert inner(a, b) == pytest.approx(total, rel=DOT_ERROR, abs=float(DOT_ERROR * np.abs(products).sum()))


def test_fma_rounds_once():
    above, below = np.float32(1 + 2**-23), np.float32(1 - 2**-23)
    assert fused(above, below, np.float32(-1)) == pytest.approx(-(2.0**-46), abs=EPSILON if DISABLED else 0)
    a, b, c = some(np.random.default_rng(0), 3, 1000)
    for x, y, z in zip(a, b, c, strict=True):
        exact = float(x) * float(y) + float(z)
        bound = EPSILON * abs(exact) + (EPSILON * abs(float(x) * float(y)) if DISABLED else 0)
        assert abs(float(fused(x, y, z)) - exact) <= 1.0001 * bound


@pytest.mark.parametrize("shape", [(M, N) for M in (0, 1, 2) for N in (1, 2, 33)])
def test_no_rows_or_no_inputs_add_nothing(shape):
    M, N = shape
    C = some(np.random.default_rng(1), M, N)
    assert np.array_equal(add(add_product, np.zeros((M, 0), np.float32), np.zeros((0, N), np.float32), C), C)
    assert np.array_equal(add(add_transposed, np.zeros((M, 0), np.float32), np.zeros((N, 0), np.float32), C), C)


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), (7, 0), (16,), (17, 1), (2, 3, 4), (1000, 3)])
def test_a_buffer_is_aligned_and_zero(shape):
    many = [buffer(*shape) for _ in range(20)]
    for array in many:
        assert array.ctypes.data % 64 == 0 or array.size == 0
        assert array.shape == shape
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert not array.any()
        array[...] = 1  # the next one shares nothing with it
