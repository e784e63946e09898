"""Online standardisation: running mean and variance of each channel of each stream.

A row of statistics is [frames seen, means (size,), variances (size,)]. The first frames weigh equally (Welford); from
1 / SLOWEST frames on, old ones are forgotten exponentially, so that a channel that drifts stays standardised.
"""

from math import sqrt

from numba import float32

from streamrnn.activations import ONE
from streamrnn.jit import kernel

SLOWEST = float32(1e-3)
SMALLEST = float32(1e-12)  # a channel with less variance counts as constant: its spread is taken as 1
LIMIT = float32(8.0)  # standard deviations; what lies further out is cut there
LARGEST = float32(1e18)  # its square is still a float32


@kernel
def observe(stats, x):
    """Take x (size,) into the statistics."""
    size = x.shape[0]
    mean, variance = stats[1 : 1 + size], stats[1 + size :]
    stats[0] += ONE
    rate = max(ONE / stats[0], SLOWEST)
    for j in range(size):
        most = LIMIT * sqrt(variance[j]) if variance[j] > SMALLEST else LARGEST
        difference = min(max(x[j] - mean[j], -most), most)
        mean[j] += rate * difference
        variance[j] = (ONE - rate) * (variance[j] + rate * difference * difference)


@kernel
def spread(variance):
    """Standard deviation, 1 for a constant channel."""
    return sqrt(variance) if variance > SMALLEST else ONE


@kernel
def forward(stats, x, out):
    """out (size,) = (x - mean) / spread, cut at ± LIMIT; out may be x."""
    size = x.shape[0]
    mean, variance = stats[1 : 1 + size], stats[1 + size :]
    for j in range(size):
        value = (x[j] - mean[j]) / spread(variance[j])
        value = -LIMIT if value < -LIMIT else value
        out[j] = LIMIT if value > LIMIT else value


@kernel
def backward(stats, distribution, size):
    """Bring [means (size,), spreads (size,) or nothing] back to the units of the stream, in place."""
    mean, variance = stats[1 : 1 + size], stats[1 + size :]
    for j in range(distribution.shape[0]):
        scale = spread(variance[j % size])
        distribution[j] *= scale
        if j < size:
            distribution[j] += mean[j]
