"""Forecast and learn on every frame, beside River: `python -m benchmarks.speed.forecast`.

A GRU-32 with the readout `forecast` and window 1: arrays in one call, and frame by frame. River, on the first of the
channels: SNARIMAX with 20 lags, and linear regression on the same lags, standardised. Their errors stand beside.
"""

from benchmarks.shared import measure

# isort: split
from collections.abc import Callable, Iterator

import numpy as np
from river import linear_model, preprocessing, time_series

import streamrnn as sr
from benchmarks.shared.measure import Row, faster, less, seconds_each

UNITS, LAGS, ROWS, MUST = 32, 20, 2000, 100
CHANNELS = 1, 8, 64


def waves(size: int) -> np.ndarray:
    """Channels (n, size) of sines that drift, and noise."""
    rng, t = np.random.default_rng(0), np.arange(ROWS)[:, None]
    drift, noise = rng.normal(size=(2, ROWS, size))
    return np.sin(t / (5 + np.arange(size))) + 0.02 * drift.cumsum(axis=0) + 0.1 * noise


def network(size: int) -> sr.Network:
    layers = [sr.GRU(size, UNITS)]
    return sr.Network(layers, sr.Forecast(size), sr.Adam(2e-3), window=1, predict="next", standardize=True)


def in_one_call(X: np.ndarray) -> Callable[[int], None]:
    net = network(X.shape[1])
    net.run(X)  # has everything compiled

    def run(count: int) -> None:
        for start in range(0, count, ROWS):
            net.run(X[: min(ROWS, count - start)])

    return run


def one_by_one(X: np.ndarray) -> Callable[[int], None]:
    net, frames = network(X.shape[1]), list(X)

    def run(count: int) -> None:
        for k in range(count):
            net.step(frames[k % ROWS])

    return run


def rivers(model: str, x: list[float]) -> Iterator[tuple[float, float]]:
    """What River's model says of each value, and the value, which it then learns; for ever."""
    arima = time_series.SNARIMAX(p=LAGS, d=0, q=0)
    regression = preprocessing.StandardScaler() | linear_model.LinearRegression()
    past = dict.fromkeys(range(LAGS), 0.0)
    while True:
        for value in x:
            if model == "SNARIMAX":
                yield arima.forecast(horizon=1)[0], value
                arima.learn_one(value)
            else:
                yield regression.predict_one(past), value
                regression.learn_one(past, value)
                past = {0: value} | {lag + 1: past[lag] for lag in range(LAGS - 1)}


def theirs(model: str, x: list[float]) -> Callable[[int], None]:
    stream = rivers(model, x)

    def run(count: int) -> None:
        for _ in range(count):
            next(stream)

    return run


def our_error(x: np.ndarray) -> float:
    """Mean absolute error over the second half."""
    Y, _ = network(1).run(x[:, None])
    return float(np.abs(x[1:] - Y[:-1, 0])[ROWS // 2 :].mean())


def their_error(model: str, x: np.ndarray) -> float:
    stream = rivers(model, x.tolist())
    found = [abs(value - said) for said, value in (next(stream) for _ in range(ROWS))]
    return float(np.mean(found[ROWS // 2 :]))


def rows(quick: bool) -> list[Row]:
    """All channels of ours, then the first one beside River."""
    found = []
    X = {size: waves(size) for size in CHANNELS}
    times = seconds_each({f"{size}": in_one_call(X[size]) for size in CHANNELS}, quick)
    for size in CHANNELS:
        time = times[f"{size}"]
        found.append(faster(f"a frame of {size} channels", UNITS, time, "-", time))
    x = X[1][:, 0]
    for model in ("SNARIMAX", "LinearRegression"):
        runs = {"array": in_one_call(X[1]), "step": one_by_one(X[1]), "theirs": theirs(model, x.tolist())}
        times = seconds_each(runs, quick)
        found.append(faster("a frame, arrays", UNITS, times["array"], f"River's {model}", times["theirs"], MUST))
        found.append(faster("a frame, one by one", UNITS, times["step"], f"River's {model}", times["theirs"]))
        found.append(
            less("mean absolute error", UNITS, our_error(x), f"River's {model}", their_error(model, x), "", None)
        )
    return found


if __name__ == "__main__":
    measure.main("forecast", "forecasts on every frame, beside River", rows)
