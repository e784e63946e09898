"""RMSprop (Hinton 2012): v = decay v + (1 - decay) g²;  p -= learning_rate g / (sqrt(v) + epsilon)."""

from math import sqrt

from numba import float32

from streamrnn.kernels.jit import kernel
from streamrnn.kernels.optimizers import EPSILON, FIRST


@kernel
def step(p, g, moments, hyper, scale, rate, t):
    """hyper[FIRST]: decay."""
    v, decay, epsilon, rate = moments[0], float32(hyper[FIRST]), float32(hyper[EPSILON]), float32(rate)
    fresh = float32(1.0 - hyper[FIRST])  # close to 1, float32(decay) is too coarse to be taken from 1
    for j in range(p.shape[0]):
        gradient = scale * g[j]
        v[j] = decay * v[j] + fresh * gradient * gradient
        p[j] -= rate * gradient / (sqrt(v[j]) + epsilon)
        g[j] = 0
