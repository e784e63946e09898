"""Stochastic gradient descent with momentum: m = momentum m + g;  p -= learning_rate m."""

from numba import float32

from streamrnn.kernels.jit import kernel
from streamrnn.kernels.optimizers import FIRST


@kernel
def step(p, g, moments, hyper, scale, rate, t):
    """hyper[FIRST]: momentum."""
    m, momentum, rate = moments[0], float32(hyper[FIRST]), float32(rate)
    for j in range(p.shape[0]):
        m[j] = momentum * m[j] + scale * g[j]
        p[j] -= rate * m[j]
        g[j] = 0
