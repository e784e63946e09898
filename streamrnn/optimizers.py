"""Optimisers: each one a single loop that changes parameters and moments in place and zeroes the gradient.

Formulas and defaults are PyTorch's. A step whose gradient is not finite is left out and counted.
"""

from dataclasses import dataclass, field
from math import inf, isfinite, sqrt
from typing import Any

from numba import float32, float64

from streamrnn.buffers import OPTIMIZER, SKIPPED, UPDATES, stage_at
from streamrnn.jit import kernel
from streamrnn.tiles import dot

SGD_KIND, RMSPROP_KIND, ADAGRAD_KIND, ADAM_KIND = range(4)
RATE, FIRST, SECOND, EPSILON, CLIP, DECAY_STEPS = range(6)  # columns of a stage's `hyper`


@dataclass(frozen=True)
class Optimizer:
    """The settings of an optimiser; `update` applies them to a layer that belongs to no network.

    After `decay_steps` updates the learning rate has halved, after twice as many it is a third, and so on (inverse time
    decay, Robbins and Monro 1951); 0 keeps it as it is.
    """

    learning_rate: float
    decay_steps: int = field(default=0, kw_only=True)

    kind = SGD_KIND
    moments = 1  # float32 per parameter

    def __post_init__(self) -> None:
        if not (isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate must be a positive number, not {self.learning_rate!r}")
        if self.decay_steps < 0:
            raise ValueError(f"decay_steps must not be negative, and is {self.decay_steps!r}")
        first, second, epsilon = self._constants()
        if not (0 <= first < 1 and 0 <= second < 1 and 0 <= epsilon < 1):
            raise ValueError(f"{self}: momentum, decay, beta and epsilon lie in [0, 1)")

    def hyper(self, clip_norm: float | None) -> list[float]:
        """RATE, FIRST, SECOND, EPSILON, CLIP, DECAY_STEPS; no clipping and no decay are written as infinity."""
        return [self.learning_rate, *self._constants(), clip_norm or inf, self.decay_steps or inf]

    def _constants(self) -> tuple[float, float, float]:
        raise NotImplementedError

    def update(self, layer: Any, clip_norm: float | None = None) -> None:
        """Apply `layer.grads`, clipped to that norm, to `layer.params` and zero them."""
        layer._set_optimizer(self, clip_norm)
        update(layer.table, 0, 0, 1)


@dataclass(frozen=True)
class SGD(Optimizer):
    """m = momentum m + g;  p -= learning_rate m."""

    momentum: float = 0.0

    kind = SGD_KIND

    def _constants(self) -> tuple[float, float, float]:
        return self.momentum, 0.0, 0.0


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """v = decay v + (1 - decay) g²;  p -= learning_rate g / (sqrt(v) + epsilon)."""

    decay: float = 0.99
    epsilon: float = 1e-8

    kind = RMSPROP_KIND

    def _constants(self) -> tuple[float, float, float]:
        return self.decay, 0.0, self.epsilon


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """v += g²;  p -= learning_rate g / (sqrt(v) + epsilon)."""

    epsilon: float = 1e-10

    kind = ADAGRAD_KIND

    def _constants(self) -> tuple[float, float, float]:
        return 0.0, 0.0, self.epsilon


@dataclass(frozen=True)
class Adam(Optimizer):
    """Kingma and Ba 2015, algorithm 1: bias-corrected first and second moments."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    kind = ADAM_KIND
    moments = 2

    def _constants(self) -> tuple[float, float, float]:
        return self.beta1, self.beta2, self.epsilon


@kernel
def sgd(p, g, m, scale, rate, momentum):
    for j in range(p.shape[0]):
        m[j] = momentum * m[j] + scale * g[j]
        p[j] -= rate * m[j]
        g[j] = 0


@kernel
def rmsprop(p, g, v, scale, rate, decay, fresh, epsilon):
    for j in range(p.shape[0]):
        gradient = scale * g[j]
        v[j] = decay * v[j] + fresh * gradient * gradient
        p[j] -= rate * gradient / (sqrt(v[j]) + epsilon)
        g[j] = 0


@kernel
def adagrad(p, g, v, scale, rate, epsilon):
    for j in range(p.shape[0]):
        gradient = scale * g[j]
        v[j] += gradient * gradient
        p[j] -= rate * gradient / (sqrt(v[j]) + epsilon)
        g[j] = 0


@kernel
def adam(p, g, m, v, scale, rate, beta1, fresh1, beta2, fresh2, epsilon, root):
    """fresh = 1 - beta; rate = learning_rate / (1 - beta1^t) and root = 1 / sqrt(1 - beta2^t) correct the bias."""
    for j in range(p.shape[0]):
        gradient = scale * g[j]
        m[j] = beta1 * m[j] + fresh1 * gradient
        v[j] = beta2 * v[j] + fresh2 * gradient * gradient
        p[j] -= rate * m[j] / (sqrt(v[j]) * root + epsilon)
        g[j] = 0


@kernel
def length(g):
    """Euclidean norm, also of a vector whose squares overflow float32."""
    square = float64(dot(g, g))
    if not isfinite(square):
        square = 0.0
        for j in range(g.shape[0]):
            square += float64(g[j]) * float64(g[j])
    return sqrt(square)


@kernel
def update(stages, i, group, windows):
    """Apply gradient buffer `group` of stage i, the sum over that many windows, clipped by its norm; zero it."""
    s = stage_at(stages, i)
    kind, hyper, p, g = s.config[OPTIMIZER], s.hyper, s.params, s.grads[group]
    norm = length(g) / windows
    if not isfinite(norm):
        g[:] = 0
        s.counters[SKIPPED] += 1
        return
    scale = float32(min(1.0, hyper[CLIP] / norm) / windows if norm > 0 else 1.0 / windows)
    rate = hyper[RATE] / (1.0 + s.counters[UPDATES] / hyper[DECAY_STEPS])
    s.counters[UPDATES] += 1
    first, second, epsilon = float32(hyper[FIRST]), float32(hyper[SECOND]), float32(hyper[EPSILON])
    # in float64: close to 1, float32(beta) is too coarse to be taken from 1
    fresh1, fresh2 = float32(1.0 - hyper[FIRST]), float32(1.0 - hyper[SECOND])
    if kind == SGD_KIND:
        sgd(p, g, s.moments[0], scale, float32(rate), first)
    elif kind == RMSPROP_KIND:
        rmsprop(p, g, s.moments[0], scale, float32(rate), first, fresh1, epsilon)
    elif kind == ADAGRAD_KIND:
        adagrad(p, g, s.moments[0], scale, float32(rate), epsilon)
    else:
        t = s.counters[UPDATES]
        corrected = float32(rate / (1.0 - hyper[FIRST] ** t))
        root = float32(1.0 / sqrt(1.0 - hyper[SECOND] ** t))
        adam(p, g, s.moments[0], s.moments[1], scale, corrected, first, fresh1, second, fresh2, epsilon, root)
