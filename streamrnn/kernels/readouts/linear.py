"""Values as they are; half the squared error, ½‖y - t‖²."""

from numba import float64

from streamrnn.kernels.jit import kernel
from streamrnn.kernels.readouts import CHANNELS, LOSS, RELATIVE
from streamrnn.kernels.standardize import ZERO


@kernel
def activate(y):
    """Nothing: the raw output is the output."""


@kernel
def score(y, token, target, scales, floors, most, d, losses):
    """½(y - target)² of each value, in the stream's units; d (K,) = y - target."""
    losses[:] = 0.0
    for j in range(y.shape[0]):
        d[j] = y[j] - target[j] if scales[j] > 0.0 else ZERO
        loss = 0.5 * float64(d[j]) ** 2
        losses[RELATIVE] += loss
        losses[CHANNELS + j] = loss * scales[j] ** 2
        losses[LOSS] += losses[CHANNELS + j]
