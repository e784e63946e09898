"""Adagrad (Duchi et al. 2011): v += g²;  p -= learning_rate g / (sqrt(v) + epsilon)."""

from math import sqrt

from numba import float32

from streamrnn.kernels.jit import kernel
from streamrnn.kernels.optimizers import EPSILON

LARGEST = float32(1e38)  # beyond, the sum would become infinite and the parameter never change again


@kernel
def step(p, g, moments, hyper, scale, rate, t):
    v, epsilon, rate = moments[0], float32(hyper[EPSILON]), float32(rate)
    for j in range(p.shape[0]):
        gradient = scale * g[j]
        v[j] = min(v[j] + gradient * gradient, LARGEST)
        p[j] -= rate * gradient / (sqrt(v[j]) + epsilon)
        g[j] = 0
