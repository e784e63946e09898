"""The order in which a device sums, in plain loops: it finds the bits of the CPU's vector instructions.

A thread of `streamrnn.cuda.products` has a whole sum, or one of the 64 lanes of `dot`, and one folds these pairwise.
"""

from math import sqrt

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.kernels.instructions import fma
from streamrnn.kernels.jit import kernel
from streamrnn.kernels.linear import add_outer_products, add_product, add_rows, add_transposed
from streamrnn.kernels.optimizers.update import length

LANES = 16
ALL_LANES = 4 * LANES
EDGES = [
    1,
    2,
    3,
    7,
    8,
    9,
    15,
    16,
    17,
    31,
    32,
    33,
    47,
    48,
    49,
    63,
    64,
    65,
    79,
    80,
    81,
    127,
    128,
    129,
    191,
    193,
    255,
    257,
]

sizes = st.integers(1, 24) | st.sampled_from(EDGES[:20])
lengths = st.integers(1, 70) | st.sampled_from(EDGES)
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=60, deadline=None)


@kernel
def sum_of_products(a, b, total):
    """One after another, from `total` on."""
    for k in range(a.shape[0]):
        total = fma(a[k], b[k], total)
    return total


@kernel
def in_lanes(a, b, lanes):
    """`dot`: lanes (64,) is spare room."""
    n = a.shape[0]
    whole, vectors = n - n % ALL_LANES, n - n % LANES
    for lane in range(ALL_LANES):
        total = np.float32(0)
        for k in range(lane, whole, ALL_LANES):
            total = fma(a[k], b[k], total)
        if lane < LANES:
            for k in range(whole + lane, vectors, LANES):
                total = fma(a[k], b[k], total)
        lanes[lane] = total
    for lane in range(LANES):
        lanes[lane] = (lanes[lane] + lanes[LANES + lane]) + (lanes[2 * LANES + lane] + lanes[3 * LANES + lane])
    width = LANES // 2
    while width:
        for lane in range(width):
            lanes[lane] += lanes[width + lane]
        width //= 2
    return sum_of_products(a[vectors:], b[vectors:], lanes[0])


def some(rng, *shape):
    """Numbers of very different sizes, of which some products and sums are too small to be normal."""
    x = rng.normal(size=shape) * rng.lognormal(0, 2, shape)
    return (x * rng.choice([1, 1, 1e-20, 0], size=shape)).astype(np.float32)


def bits(array):
    return np.ascontiguousarray(array).view(np.int32)


@few
@given(sizes, lengths, sizes, seeds)
def test_a_product_is_summed_over_its_inputs_one_after_another(M, K, N, seed):
    rng = np.random.default_rng(seed)
    A, B, C = some(rng, M, K), some(rng, K, N), some(rng, M, N)
    columns = np.ascontiguousarray(B.T)
    expected = np.array([[sum_of_products(A[m], columns[n], C[m, n]) for n in range(N)] for m in range(M)], np.float32)
    product, outer = C.copy(), C.copy()
    add_product(A, B, product)
    add_outer_products(np.ascontiguousarray(A.T), B, outer)
    assert np.array_equal(bits(product), bits(expected))
    assert np.array_equal(bits(outer), bits(expected))


@few
@given(sizes, lengths, sizes, seeds)
def test_a_transposed_product_is_summed_in_lanes(M, N, K, seed):
    rng = np.random.default_rng(seed)
    A, B, C, lanes = some(rng, M, N), some(rng, K, N), some(rng, M, K), np.zeros(ALL_LANES, np.float32)
    expected = C + np.array([[in_lanes(A[m], B[k], lanes) for k in range(K)] for m in range(M)], np.float32)
    add_transposed(A, B, C)
    assert np.array_equal(bits(C), bits(expected))


@few
@given(lengths, sizes, seeds)
def test_rows_are_added_one_after_another(M, N, seed):
    rng = np.random.default_rng(seed)
    A, c = some(rng, M, N), some(rng, N)
    expected = c.copy()
    for j in range(N):
        for m in range(M):
            expected[j] += A[m, j]
    add_rows(A, c)
    assert np.array_equal(bits(c), bits(expected))


@few
@given(lengths, seeds)
def test_a_norm_is_summed_in_lanes(N, seed):
    g = some(np.random.default_rng(seed), N)
    assert length(g) == sqrt(in_lanes(g, g, np.zeros(ALL_LANES, np.float32)))
