"""Readouts: a linear map of the last hidden vector, what it means as an output, and the loss of that output.

Raw output = h W_hy + b_y. Losses are in nats.
"""

from math import log, pi

import numpy as np
from numba import float64

from streamrnn.activations import ONE, exp
from streamrnn.buffers import GAUSSIAN, LINEAR, SOFTMAX, Sizes, allocate
from streamrnn.jit import kernel
from streamrnn.linear import copy
from streamrnn.parameters import Parameters, glorot

SMALLEST_PROBABILITY = 1e-37  # the loss of a target that was held impossible stays finite
HALF_LOG_2_PI = 0.5 * log(2 * pi)


@kernel
def activate(kind, y):
    """From the raw output to what it stands for, in place: probabilities, values, or means and spreads."""
    if kind == SOFTMAX:
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
    elif kind == GAUSSIAN:
        for j in range(y.shape[0] // 2, y.shape[0]):
            y[j] = exp(y[j])


@kernel
def score(kind, y, token, target, d):
    """Loss of output y against a token or target (size,); d becomes its gradient with respect to the raw output."""
    loss = 0.0
    if kind == SOFTMAX:
        copy(y, d)
        d[token] -= ONE
        p = float64(y[token])
        loss = -log(SMALLEST_PROBABILITY if p < SMALLEST_PROBABILITY else p)
    elif kind == LINEAR:
        for j in range(y.shape[0]):
            d[j] = y[j] - target[j]
            loss += 0.5 * float64(d[j]) ** 2
    else:
        size = y.shape[0] // 2
        for j in range(size):
            spread = y[size + j]
            deviation = (target[j] - y[j]) / spread
            d[j] = -deviation / spread
            d[size + j] = ONE - deviation * deviation
            loss += log(float64(spread)) + 0.5 * float64(deviation) ** 2 + HALF_LOG_2_PI
    return loss


class Readout:
    """The end of a network: turns the last hidden vector (I,) into an output and scores it against a target."""

    kind: int

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"{type(self).__name__} needs a size of at least 1, not {size}")
        self.size = size

    @property
    def output_size(self) -> int:
        """Numbers in an output."""
        return self.size

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size})"

    def build(self, input_size: int, rng: np.random.Generator) -> None:
        """Make the parameters W_hy (input_size, output_size) and b_y (output_size,)."""
        self.input_size = input_size
        self.parameters = Parameters({"W_hy": (input_size, self.output_size), "b_y": (self.output_size,)})
        glorot(rng, self.parameters.views["W_hy"], self.output_size)

    def allocate(self, sizes: Sizes, moments: int, standardize: bool = False, needs_dx: bool = True) -> None:
        """Make the buffers; the parameters stay."""
        width = self.output_size
        self.stage = allocate(
            self.kind,
            self.input_size,
            width,
            width,
            self.parameters.flat,
            gates=width,
            state=0,
            tape=sizes.window * (self.input_size + 2 * width),
            stats=1 + 2 * self.size if standardize else 0,
            moments=moments,
            sizes=sizes,
            own_output=False,
            needs_dx=needs_dx,
        )

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Live views: W_hy (H, K), b_y (K,)."""
        return self.parameters.views


class Softmax(Readout):
    """Probabilities of `size` classes; cross-entropy against the index of the class that came."""

    kind = SOFTMAX


class Linear(Readout):
    """`size` values; half the squared error, ½‖y − t‖²."""

    kind = LINEAR


class Gaussian(Readout):
    """Mean and standard deviation of `size` values, output (2 size,): negative log-likelihood.

    The raw output holds the means and the logarithms of the standard deviations.
    """

    kind = GAUSSIAN

    @property
    def output_size(self) -> int:
        return 2 * self.size
