"""What the outputs of a forecast say, by name."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from streamrnn.kernels.readouts import FORECASTS


class Horizon(NamedTuple):
    """A forecast so many frames ahead, in the units of the stream; of outputs (..., K) each is an array (..., size)."""

    mean: np.ndarray
    spread: np.ndarray  # about a standard deviation: how far values lie from the mean
    lower: np.ndarray  # the ends of the interval that holds the share `band` of the values
    upper: np.ndarray
    weights: dict[str, np.ndarray]  # of the experts, which add up to 1


def read(y: np.ndarray, size: int, horizons: Sequence[int], experts: Sequence[str]) -> dict[int, Horizon]:
    """What outputs (..., K) say of each horizon, by its frames: views of them."""
    numbers = FORECASTS + len(experts)
    by_horizon = y.reshape(*y.shape[:-1], len(horizons), numbers, size)
    found = {}
    for k, frames in enumerate(horizons):
        mean, spread, lower, upper, *weights = (by_horizon[..., k, number, :] for number in range(numbers))
        found[frames] = Horizon(mean, spread, lower, upper, dict(zip(experts, weights, strict=True)))
    return found
