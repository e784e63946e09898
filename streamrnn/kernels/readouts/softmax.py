"""Probabilities of classes; cross-entropy against the index of the class that came."""

from numba import float64

from streamrnn.kernels.activations import ONE, exp, log
from streamrnn.kernels.jit import kernel
from streamrnn.kernels.linear import copy
from streamrnn.kernels.readouts import LOSS

SMALLEST_PROBABILITY = 1e-37  # the loss of a target that was held impossible stays finite


@kernel
def activate(y):
    """y (K,): exp(y) / sum(exp(y))."""
    highest = y[0]
    for j in range(1, y.shape[0]):
        highest = y[j] if y[j] > highest else highest
    for j in range(y.shape[0]):
        y[j] = exp(y[j] - highest)
    total = y[0]
    for j in range(1, y.shape[0]):
        total += y[j]
    for j in range(y.shape[0]):
        y[j] /= total


@kernel
def score(y, token, target, scales, floors, most, d, losses):
    """-ln y[token]; d (K,) = y - onehot(token)."""
    copy(y, d)
    d[token] -= ONE
    p = float64(y[token])
    losses[LOSS] = -log(SMALLEST_PROBABILITY if p < SMALLEST_PROBABILITY else p)
