"""Mean and standard deviation of each value, y (2K,): negative log-likelihood of a normal distribution.

The raw output holds the means and the logarithms of the standard deviations.
"""

from numba import float32, float64

from streamrnn.kernels.activations import ONE, exp, log
from streamrnn.kernels.jit import kernel
from streamrnn.kernels.readouts import CHANNELS, LOSS, RELATIVE
from streamrnn.kernels.standardize import ZERO, cut

HALF_LOG_2_PI = 0.9189385332046727  # ln(2 pi) / 2


@kernel
def activate(y):
    """The upper half becomes exp(y)."""
    for j in range(y.shape[0] // 2, y.shape[0]):
        y[j] = exp(y[j])


@kernel
def score(y, token, target, scales, floors, most, d, losses):
    """ln s + ½((t - m) / s)² + ½ ln 2 pi of each value, in the stream's units; d (2K,) with respect to m and ln s.

    s is at least its floor, and (t - m) / s is cut at ± most.
    """
    size = y.shape[0] // 2
    losses[:] = 0.0
    d[:] = ZERO
    for j in range(size):
        if scales[j] > 0.0:
            floor = float32(floors[j])
            spread = max(y[size + j], floor)
            deviation = cut((target[j] - y[j]) / spread, most)
            d[j] = -deviation / spread
            rise = ONE - deviation * deviation
            d[size + j] = ZERO if spread > y[size + j] and rise > ZERO else rise
            loss = log(float64(spread)) + 0.5 * float64(deviation) ** 2 + HALF_LOG_2_PI
            losses[RELATIVE] += loss
            losses[CHANNELS + j] = loss + log(scales[j])
            losses[LOSS] += losses[CHANNELS + j]
