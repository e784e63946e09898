"""What the first layer sees of a vector x (n,) from outside, and what must be remembered of the stream for that.

    values (n,)    x, standardised; what is missing is filled in
    mask (n,)      if it is asked for: 1 where x is missing, else 0

Whatever else the first layer is to see lies behind these, in an order that is given here.

What is missing is taken to be the value last seen, decayed to the mean with the time since: rho^k z, z being that value
in scales from the mean, k frames ago, and 0 before any was seen. This is the best linear forecast of an autoregression
of order 1 whose coefficient is rho: found by least squares, from 0 to 1, on every two frames in a row in which the
channel was there, old ones being forgotten as in the standardisation; 1 before there are two. It takes the place of the
decay that GRU-D learns by gradient (Che, Purushotham, Cho, Sontag and Liu 2018). Behind the statistics of the stream,
see `standardize`, lie for each channel

    gap                  frames in a row in which it has been missing
    shown                its value as it was seen last, filled in or not
    products, squares    sums of z of then and now, and of z of then twice, over two frames in a row

Nothing of it is forgotten where a sequence begins, as nothing is of the statistics.
"""

from math import isnan

from numba import float32, float64

from streamrnn.kernels import standardize
from streamrnn.kernels.instructions import matrix
from streamrnn.kernels.jit import inlined, kernel

MEMORY = 4  # numbers for each channel, behind the statistics
KEPT = 1.0 - standardize.SLOWEST  # of a sum, with each frame
ONE, NONE = float32(1), float32(0)


def numbers(size: int, fills: bool) -> int:
    """In a stream's row of statistics, and of what is remembered behind them."""
    return standardize.numbers(size, fills) + (MEMORY * size if fills else 0)


@inlined
def memory(stats, size):
    """gap, shown, products and squares, each (size,), as views."""
    rows = matrix(stats, 1 + (standardize.BLOCKS + 1) * size, MEMORY, size)
    return rows[0], rows[1], rows[2], rows[3]


@kernel
def enter(stats, x, mask, out):
    """Take x (n,), float64, into a stream's row, and make of it what the first layer sees, out (I,); mask: with one."""
    size = x.shape[0]
    standardize.observe(stats, x)
    standardize.forward(stats, x, out[:size])
    if standardize.filling(stats, size):
        fill(stats, x, out[:size])
    if mask:
        for j in range(size):
            out[size + j] = ONE if isnan(x[j]) else NONE


@kernel
def fill(stats, x, values):
    """Put what is missing in x (n,) into values (n,)."""
    size = x.shape[0]
    gap, shown, products, squares = memory(stats, size)
    for j in range(size):
        if isnan(x[j]):
            gap[j] += 1.0
            shown[j] *= decay(products[j], squares[j])
            values[j] = float32(shown[j])
            continue
        z = float64(values[j])
        if gap[j] == 0.0:
            products[j] = KEPT * products[j] + shown[j] * z
            squares[j] = KEPT * squares[j] + shown[j] * shown[j]
        gap[j], shown[j] = 0.0, z


@inlined
def decay(products, squares):
    """rho."""
    return max(0.0, min(products / squares, 1.0)) if squares > 0.0 else 1.0
