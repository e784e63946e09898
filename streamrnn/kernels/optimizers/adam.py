"""Adam (Kingma and Ba 2015, algorithm 1): bias-corrected first and second moments."""

from math import sqrt

from numba import float32

from streamrnn.kernels.activations import power
from streamrnn.kernels.jit import kernel
from streamrnn.kernels.optimizers import EPSILON, FIRST, SECOND


@kernel
def step(p, g, moments, hyper, scale, rate, t):
    """hyper[FIRST], hyper[SECOND]: beta1, beta2."""
    m, v = moments[0], moments[1]
    beta1, beta2, epsilon = float32(hyper[FIRST]), float32(hyper[SECOND]), float32(hyper[EPSILON])
    # close to 1, float32(beta) is too coarse to be taken from 1
    fresh1, fresh2 = float32(1.0 - hyper[FIRST]), float32(1.0 - hyper[SECOND])
    corrected = float32(rate / (1.0 - power(hyper[FIRST], t)))
    root = float32(1.0 / sqrt(1.0 - power(hyper[SECOND], t)))
    for j in range(p.shape[0]):
        gradient = scale * g[j]
        m[j] = beta1 * m[j] + fresh1 * gradient
        v[j] = beta2 * v[j] + fresh2 * gradient * gradient
        p[j] -= corrected * m[j] / (sqrt(v[j]) * root + epsilon)
        g[j] = 0
