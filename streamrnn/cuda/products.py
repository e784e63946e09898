"""The matrix products of `streamrnn.kernels.linear` on a device, to the bit.

A thread owns whole sums and adds in the order of `streamrnn.kernels.tiles`: those over K one after another, starting
from what is there; those of `dot` in 4 x LANES lanes, a thread for each, then folded pairwise.
"""

from typing import Any

from numba import float32

from streamrnn.cuda.compiler import SIMULATED, cuda, device_function, device_kernel
from streamrnn.kernels.instructions import fma
from streamrnn.kernels.tiles import LANES

SIDE = 2 if SIMULATED else 16  # threads along each side of a block: each owns 2 x 2 sums
TILE = 2 * SIDE  # rows and columns of C that a block owns, and as many terms at a time
ALL_LANES = 4 * LANES  # of a dot product
ROWS, COLUMNS = 4, 4  # of C, that ALL_LANES threads own together
SUMS = ROWS * COLUMNS
TILE_ROOM, LANES_ROOM = TILE + 1, ALL_LANES + 1  # one more, so that a column lies in different banks of shared memory
ZERO = float32(0)


def blocks(count: int, each: int) -> int:
    """How many blocks of that many cover so many."""
    return -(-count // each)


def launch_product(A: Any, B: Any, C: Any, stream: Any) -> None:
    """C (M, N) += A (M, K) @ B (K, N), each sum over K in order, starting from C."""
    if 0 not in A.shape and C.shape[1]:
        grid = blocks(C.shape[1], TILE), blocks(C.shape[0], TILE)
        add_product[grid, (SIDE, SIDE), stream](A, B, C)


def launch_transposed(A: Any, B: Any, C: Any, stream: Any) -> None:
    """C (M, K) += A (M, N) @ B (K, N).T, each sum as `dot` makes it."""
    if C.shape[0] and C.shape[1]:
        grid = blocks(C.shape[1], COLUMNS), blocks(C.shape[0], ROWS)
        add_transposed[grid, ALL_LANES, stream](A, B, C)


def launch_rows(A: Any, c: Any, stream: Any) -> None:
    """c (N,) += the sum of the rows of A (M, N), first row first."""
    if 0 not in A.shape:
        add_rows[blocks(c.shape[0], TILE), TILE, stream](A, c)


@device_kernel
def add_product(A, B, C):
    """Tiles of A and B go through shared memory; the last one may have fewer terms, and none are put in their place."""
    a = cuda.shared.array((TILE, TILE_ROOM), float32)
    b = cuda.shared.array((TILE, TILE), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    top, left = cuda.blockIdx.y * TILE, cuda.blockIdx.x * TILE
    M, K, N = A.shape[0], A.shape[1], B.shape[1]
    m0, m1, n0, n1 = top + y, top + y + SIDE, left + x, left + x + SIDE
    s00 = C[m0, n0] if m0 < M and n0 < N else ZERO
    s01 = C[m0, n1] if m0 < M and n1 < N else ZERO
    s10 = C[m1, n0] if m1 < M and n0 < N else ZERO
    s11 = C[m1, n1] if m1 < M and n1 < N else ZERO
    for start in range(0, K, TILE):
        for i in range(y, TILE, SIDE):
            for j in range(x, TILE, SIDE):
                if top + i < M and start + j < K:
                    a[i, j] = A[top + i, start + j]
                if start + i < K and left + j < N:
                    b[i, j] = B[start + i, left + j]
        cuda.syncthreads()
        for k in range(min(TILE, K - start)):
            a0, a1, b0, b1 = a[y, k], a[y + SIDE, k], b[k, x], b[k, x + SIDE]
            s00, s01 = fma(a0, b0, s00), fma(a0, b1, s01)
            s10, s11 = fma(a1, b0, s10), fma(a1, b1, s11)
        cuda.syncthreads()
    if m0 < M and n0 < N:
        C[m0, n0] = s00
    if m0 < M and n1 < N:
        C[m0, n1] = s01
    if m1 < M and n0 < N:
        C[m1, n0] = s10
    if m1 < M and n1 < N:
        C[m1, n1] = s11


@device_kernel
def add_transposed(A, B, C):
    """ALL_LANES threads make ROWS x COLUMNS sums: each a lane of all of them, then one thread each folds a sum's lanes.

    Of rows and columns beyond the last, the last is computed again and left out.
    """
    lanes = cuda.shared.array((SUMS, LANES_ROOM), float32)
    sums = cuda.local.array((ROWS, COLUMNS), float32)
    a, b = cuda.local.array(ROWS, float32), cuda.local.array(COLUMNS, float32)
    lane, N = cuda.threadIdx.x, A.shape[1]
    top, left = cuda.blockIdx.y * ROWS, cuda.blockIdx.x * COLUMNS
    last_row, last_column = C.shape[0] - 1, C.shape[1] - 1
    for i in range(ROWS):
        for j in range(COLUMNS):
            sums[i, j] = ZERO
    whole, vectors = N - N % ALL_LANES, N - N % LANES
    for part in range(2):  # what is left of whole vectors goes to the first lanes
        start, step = (lane, ALL_LANES) if part == 0 else (whole + lane, LANES)
        stop = whole if part == 0 else (vectors if lane < LANES else 0)
        for n in range(start, stop, step):
            for i in range(ROWS):
                a[i] = A[min(top + i, last_row), n]
            for j in range(COLUMNS):
                b[j] = B[min(left + j, last_column), n]
            for i in range(ROWS):
                for j in range(COLUMNS):
                    sums[i, j] = fma(a[i], b[j], sums[i, j])
    for i in range(ROWS):
        for j in range(COLUMNS):
            lanes[i * COLUMNS + j, lane] = sums[i, j]
    cuda.syncthreads()
    row, column = top + lane // COLUMNS, left + lane % COLUMNS
    if lane < SUMS and row <= last_row and column <= last_column:
        total = folded(lanes[lane])
        for n in range(vectors, N):
            total = fma(A[row, n], B[column, n], total)
        C[row, column] += total


@device_function
def folded(lanes):
    """The sum of ALL_LANES lanes, pairwise all the way; overwrites them."""
    for k in range(LANES):
        lanes[k] = (lanes[k] + lanes[LANES + k]) + (lanes[2 * LANES + k] + lanes[3 * LANES + k])
    width = LANES // 2
    while width > 0:
        for k in range(width):
            lanes[k] = lanes[k] + lanes[width + k]
        width //= 2
    return lanes[0]


@device_kernel
def add_rows(A, c):
    """A thread for each column."""
    j = cuda.grid(1)
    if j < c.shape[0]:
        total = c[j]
        for m in range(A.shape[0]):
            total += A[m, j]
        c[j] = total
