"""What the first layer sees of a vector x (n,) from outside, and what must be remembered of the stream for that.

    values (n,)    x, standardised; what is missing is filled in
    mask (n,)      if it is asked for: 1 where x is missing, else 0
    calendar (2c,) sine and cosine of the frame's time in each of c periods; 0 where its time is not known
    elapsed (1,)   if it is asked for: ln of the time since the frame before, in parts of what that is on the average

Whatever else the first layer is to see lies behind these, in an order that is given here. The settings of the stage say
what of the last two there is: whether `elapsed`, then the periods in nanoseconds; none where there is neither.

What is missing is taken to be the value last seen, decayed to the mean with the time since: rho^k z, z being that value
in scales from the mean, k frames ago, and 0 before any was seen. This is the best linear forecast of an autoregression
of order 1 whose coefficient is rho: found by least squares, from 0 to 1, on every two frames in a row in which the
channel was there, old ones being forgotten as in the standardisation; 1 before there are two. It takes the place of the
decay that GRU-D learns by gradient (Che, Purushotham, Cho, Sontag and Liu 2018). Behind the statistics of the stream,
see `standardize`, lie for each channel

    gap                  frames in a row in which it has been missing
    shown                its value as it was seen last, filled in or not
    products, squares    sums of z of then and now, and of z of then twice, over two frames in a row

Of `elapsed` a row of its own (STEPS,) is remembered: the time of the frame before, the mean time from frame to frame,
and how many had one. Nothing of all this is forgotten where a sequence begins, as nothing is of the statistics.
"""

from math import factorial, floor, isnan

from numba import float32, float64, int64

from streamrnn.kernels import standardize
from streamrnn.kernels.activations import log
from streamrnn.kernels.columns import NO_TIME
from streamrnn.kernels.instructions import matrix
from streamrnn.kernels.jit import inlined, kernel

MEMORY = 4  # numbers for each channel, behind the statistics
STEPS = 3  # numbers for all, of times
KEPT = 1.0 - standardize.SLOWEST  # of a sum, with each frame
ONE, NONE = float32(1), float32(0)
LONGEST, SHORTEST = 8.0, 1e-3  # of the logarithm at most; parts of the mean, at least
TURN = 6.283185307179586
SINE = tuple((-1.0) ** k / factorial(2 * k + 1) for k in range(8, -1, -1))  # of x² in sin x / x


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
def tell_time(steps, time, settings, row):
    """Put the calendar and what has elapsed at the end of what the first layer sees, row (I,); steps: of the stream."""
    out = row[row.shape[0] - 2 * (settings.shape[0] - 1) - (1 if settings[0] > 0.0 else 0) :]
    for k in range(settings.shape[0] - 1):
        period = int64(settings[1 + k])
        out[2 * k], out[2 * k + 1] = NONE, NONE
        if time != NO_TIME:
            turns = float64(time % period) / period
            out[2 * k], out[2 * k + 1] = float32(sine(turns)), float32(sine(turns + 0.25))
    if settings[0] > 0.0:
        out[2 * (settings.shape[0] - 1)] = float32(elapsed(steps, time))


@kernel
def elapsed(steps, time):
    """ln of the time since the frame before in parts of the mean, from -LONGEST to LONGEST; 0 where it is unknown."""
    if time == NO_TIME:
        return 0.0
    last, mean, count = steps[0], steps[1], steps[2]
    gap = max(float64(time) - last, 0.0)
    said = 0.0
    if count > 1.0 and mean > 0.0:
        said = max(-LONGEST, min(log(max(gap / mean, SHORTEST)), LONGEST))
    if count > 0.0:
        steps[1] = mean + max(1.0 / count, standardize.SLOWEST) * (gap - mean)
    steps[0], steps[2] = float64(time), count + 1.0
    return said


@kernel
def sine(turns):
    """sin(2 pi turns), to 1e-11: its Taylor series in the quarter of a turn around 0."""
    t = turns - floor(turns + 0.5)
    t = 0.5 - t if t > 0.25 else t
    t = -0.5 - t if t < -0.25 else t
    x = TURN * t
    square, series = x * x, 0.0
    for coefficient in SINE:
        series = series * square + coefficient
    return x * series


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
