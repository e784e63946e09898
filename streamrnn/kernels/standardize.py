"""Online standardisation: running mean and deviation of each channel of each stream, in float64.

A row of statistics is the number of frames seen, then blocks of one number for each channel:

    mean, rest      the mean is their sum: twice the digits of a float64, so that an offset costs none
    deviation       standard deviation
    newest, step    the newest value, and the smallest difference of two values in a row that were not equal
    missed          frames in which it was missing, NaN; only where the network takes what is missing

The first frames weigh equally (Welford); from 1 / SLOWEST frames on, old ones are forgotten exponentially, so that a
channel that drifts stays standardised. A channel's **scale** is its deviation, at least that of what is rounded to its
smallest step; a channel that has never moved has none, 0. No number is compared with one that has a unit, so what comes
of a + b x is what comes of x, whatever a and b. What is missing changes nothing of its channel.
"""

from math import isnan, sqrt

from numba import float32, float64

from streamrnn.kernels.jit import inlined, kernel

BLOCKS = 5  # numbers for each channel, without `missed`
SLOWEST = 1e-3
LIMIT = 8.0  # scales; what lies further from the mean is cut there
UNIFORM = sqrt(1 / 12)  # deviation of what is anywhere within one step
ROUNDING = 2.0**-52  # of float64, relative
TINIEST = 1e-300
ZERO = float32(0)


def numbers(size: int, fills: bool) -> int:
    """In a row of statistics; fills: what is missing is taken."""
    return 1 + (BLOCKS + fills) * size


@inlined
def blocks(stats, size):
    """mean, rest, deviation, newest and step, each (size,), as views."""
    return (
        stats[1 : 1 + size],
        stats[1 + size : 1 + 2 * size],
        stats[1 + 2 * size : 1 + 3 * size],
        stats[1 + 3 * size : 1 + 4 * size],
        stats[1 + 4 * size : 1 + 5 * size],
    )


@inlined
def missed(stats, size):
    """(size,), as a view; (0,) where nothing may be missing."""
    return stats[1 + BLOCKS * size : 1 + (BLOCKS + 1) * size]


@inlined
def filling(stats, size):
    """Whether what is missing is taken."""
    return stats.shape[0] > 1 + BLOCKS * size


@inlined
def seen(stats, size, j):
    """Frames in which channel j was there."""
    return stats[0] - missed(stats, size)[j] if filling(stats, size) else stats[0]


@inlined
def scale_of(deviation, step):
    """Of a channel; 0 for one that has never moved."""
    return max(deviation, UNIFORM * step)


@inlined
def cut(value, most):
    """value, not beyond ± most."""
    value = -most if value < -most else value
    return most if value > most else value


@kernel
def observe(stats, x):
    """Take x (size,) into the statistics."""
    size = x.shape[0]
    mean, rest, deviation, newest, step = blocks(stats, size)
    stats[0] += 1.0
    for j in range(size):
        if isnan(x[j]) and filling(stats, size):
            missed(stats, size)[j] += 1.0
            continue
        frames = seen(stats, size, j)
        rate = max(1.0 / frames, SLOWEST)
        difference, scale = x[j] - mean[j] - rest[j], scale_of(deviation[j], step[j])
        if scale > 0.0:
            difference = cut(difference, LIMIT * scale)
        change = abs(x[j] - newest[j])
        if frames > 1.0 and change > 0.0 and (step[j] == 0.0 or change < step[j]):
            step[j] = change
        newest[j] = x[j]
        move(mean, rest, j, rate * difference)
        deviation[j] = updated(deviation[j], difference, rate)


@kernel
def move(mean, rest, j, by):
    """Add a number to a mean and keep what rounding leaves (two-sum, Knuth 1969)."""
    before, more = mean[j], rest[j] + by
    mean[j] = before + more
    part = mean[j] - before
    rest[j] = (before - (mean[j] - part)) + (more - part)


@kernel
def updated(deviation, difference, rate):
    """sqrt((1 - rate) (deviation² + rate difference²)), of numbers of any size."""
    largest = max(deviation, abs(difference))
    if largest == 0.0:
        return 0.0
    a, b = deviation / largest, difference / largest
    return largest * sqrt((1.0 - rate) * (a * a + rate * b * b))


@kernel
def forward(stats, x, out):
    """out (size,) = (x - mean) / scale, cut at ± LIMIT, 0 for a channel that has never moved."""
    size = x.shape[0]
    mean, rest, deviation, _, step = blocks(stats, size)
    for j in range(size):
        scale = scale_of(deviation[j], step[j])
        out[j] = cut((x[j] - mean[j] - rest[j]) / scale, LIMIT) if scale > 0.0 else 0.0


@kernel
def target(stats, x, out, scales, floors):
    """The same for x (size,) that has not been observed, with what its loss is made of, all (size,).

    scales: of the channels; 0 for one of which nothing is known, as it has never moved. One that moves for the first
    time is judged by that very step, and what is missing is not judged, its scale is 0. floors: a channel's smallest
    deviation, in scales.
    """
    size = x.shape[0]
    mean, rest, deviation, newest, step = blocks(stats, size)
    for j in range(size):
        smallest, scale = UNIFORM * step[j], scale_of(deviation[j], step[j])
        if isnan(x[j]):
            scale = 0.0
        elif scale == 0.0 and seen(stats, size, j) > 0.0:
            scale = smallest = UNIFORM * abs(x[j] - newest[j])
        known = scale > 0.0
        scales[j], floors[j] = scale, smallest / scale if known else 0.0
        out[j] = cut((x[j] - mean[j] - rest[j]) / scale, LIMIT) if known else 0.0


@kernel
def backward(stats, size, y, out):
    """[means (size,), deviations (size,) or nothing] in the units of the stream: y, float32, becomes out, float64."""
    mean, rest, deviation, _, step = blocks(stats, size)
    for j in range(y.shape[0]):
        k = j % size
        smallest, scale = UNIFORM * step[k], scale_of(deviation[k], step[k])
        if scale == 0.0:
            scale = max(abs(mean[k]) * ROUNDING, TINIEST)
        if j < size:
            out[j] = mean[k] + (rest[k] + scale * float64(y[j]))
        else:
            out[j] = scale * float64(max(y[j], float32(smallest / scale)))
