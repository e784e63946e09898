"""Optimisers: their settings, as a network and a config take them. What they do: `streamrnn.kernels.optimizers`.

A step whose gradient is not finite is left out and counted.
"""

from math import inf, isfinite
from typing import Annotated, Any, get_args

from msgspec import Meta

from streamrnn.kernels.optimizers import MOMENTS
from streamrnn.tables import Epsilon, Fraction, Positive, Tagged


class Decaying(Tagged, frozen=True, kw_only=True):
    """After `decay_steps` updates the learning rate has halved, after twice as many it is a third, and so on (inverse
    time decay, Robbins and Monro 1951); 0 keeps it as it is."""

    decay_steps: Annotated[int, Meta(ge=0, le=2**40)] = 0


class Optimizer(Decaying, frozen=True):
    """The settings of an optimiser; `update` applies them to a layer that belongs to no network.

    Raises ValueError where a setting is out of range.
    """

    learning_rate: Positive

    def __post_init__(self) -> None:
        if not (isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate must be a positive number, not {self.learning_rate!r}")
        if self.decay_steps < 0:
            raise ValueError(f"decay_steps must not be negative, and is {self.decay_steps!r}")
        first, second, epsilon = self._constants()
        if not (0 <= first < 1 and 0 <= second < 1 and 0 <= epsilon < 1):
            raise ValueError(f"{self}: momentum, decay, beta and epsilon lie in [0, 1)")

    @property
    def number(self) -> int:
        """Its place in the table of optimisers, by which kernels know it."""
        return [*MOMENTS].index(type(self).__name__)

    @property
    def moments(self) -> int:
        """float32 numbers that it keeps for each parameter."""
        return MOMENTS[type(self).__name__]

    def hyper(self, clip_norm: float | None) -> list[float]:
        """RATE, FIRST, SECOND, EPSILON, CLIP, DECAY_STEPS; no clipping and no decay are written as infinity."""
        return [self.learning_rate, *self._constants(), clip_norm or inf, self.decay_steps or inf]

    def _constants(self) -> tuple[float, float, float]:
        raise NotImplementedError

    def update(self, layer: Any, clip_norm: float | None = None) -> None:
        """Apply `layer.grads`, clipped to that norm, to `layer.params` and zero them."""
        from streamrnn.kernels.optimizers.update import update  # a config needs no compiler

        with layer._lock:
            layer._set_optimizer(self, clip_norm)
            update(layer.table, 0, 0, 1)


class SGD(Optimizer, frozen=True):
    """See `streamrnn.kernels.optimizers.sgd`."""

    momentum: Fraction = 0.0

    def _constants(self) -> tuple[float, float, float]:
        return self.momentum, 0.0, 0.0


class RMSprop(Optimizer, frozen=True):
    """See `streamrnn.kernels.optimizers.rmsprop`."""

    decay: Fraction = 0.99
    epsilon: Epsilon = 1e-8

    def _constants(self) -> tuple[float, float, float]:
        return self.decay, 0.0, self.epsilon


class Adagrad(Optimizer, frozen=True):
    """See `streamrnn.kernels.optimizers.adagrad`."""

    epsilon: Epsilon = 1e-10

    def _constants(self) -> tuple[float, float, float]:
        return 0.0, 0.0, self.epsilon


class Adam(Optimizer, frozen=True):
    """See `streamrnn.kernels.optimizers.adam`."""

    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Epsilon = 1e-8

    def _constants(self) -> tuple[float, float, float]:
        return self.beta1, self.beta2, self.epsilon


AnyOptimizer = SGD | RMSprop | Adagrad | Adam
OPTIMIZERS: dict[str, type[Optimizer]] = {kind.__name__: kind for kind in get_args(AnyOptimizer)}
