"""Our networks on a series."""

from typing import Any

import numpy as np

import streamrnn as sr

UNITS = 32


def forecasts(X: np.ndarray, network: bool = True, **options: Any) -> tuple[np.ndarray, np.ndarray, sr.Network]:
    """Outputs and losses of the forecasts of vectors (n, size); network=False: without one, its outputs stay 0."""
    size = X.shape[1]
    layer = sr.GRU(size, UNITS if network else 1)
    readout = sr.Forecast(size, **options)
    net = sr.Network([layer], readout, sr.Adam(2e-3), window=1, predict="next", standardize=True)
    if not network:
        layer.parameters.flat[:] = 0
    return *net.run(X), net


def gaussian(x: np.ndarray) -> np.ndarray:
    """Forecasts of the network that sensors were predicted by before there were forecasts."""
    net = sr.Network([sr.GRU(1, UNITS)], sr.Gaussian(1), sr.Adam(1e-3), window=16, predict="next", standardize=True)
    return net.run(x[:, None])[0][:-1, 0]
