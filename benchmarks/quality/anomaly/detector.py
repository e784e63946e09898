"""The engine's detectors, on a file from its first row to its last: each row is scored before it is learned from."""

from typing import Any, NamedTuple

import numpy as np

UNITS = 32  # of the network, the one of `configs/sensors.toml`
THRESHOLD = 2.4  # where no rate is asked for


class Detection(NamedTuple):
    """How unusual each row is, and where an alarm was raised."""

    score: np.ndarray  # (n,) float64
    alarm: np.ndarray  # (n,) bool


def detect(values: np.ndarray, day: int, alarms_per_day: float | None = None) -> Detection:
    """Of values (n, channels) with that many rows a day."""
    asked = {"threshold": THRESHOLD} if alarms_per_day is None else {"alarms_per_day": alarms_per_day}
    seen = watch(values, day=day, **asked)
    from streamrnn.kernels.anomaly import BEGINS

    return Detection(seen.score, seen.event == BEGINS)


def departed(values: np.ndarray, day: int, normal: int) -> Detection:
    """How far each row is from the state of the first `normal` ones, and whether it has left that."""
    seen = watch(values, day=day, threshold=THRESHOLD, normal=normal)
    return Detection(seen.departure, seen.departed)


def watch(values: np.ndarray, **anomaly: Any) -> Any:
    """What the detectors of a network see in values (n, channels)."""
    import streamrnn as sr  # here, so that --help need not load Numba

    size = values.shape[1]
    readout = sr.Forecast(size, anomaly=anomaly)
    net = sr.Network([sr.GRU(size, UNITS)], readout, sr.Adam(2e-3), window=1, predict="next", standardize=True)
    Y, _ = net.run(np.ascontiguousarray(values, np.float64))
    return readout.anomalies(Y)
