"""Predict and learn beside deep-river, called from Python: `python -m benchmarks.speed.deep_river`.

An LSTM-64 and a window of 30. deep-river runs its whole window anew for every prediction and for every sample it learns
from. Ours carries its state on and learns from each window once, when it is full; it answers the same calls with the
same window of gradients.
"""

from benchmarks.shared import measure

# isort: split
from collections.abc import Callable

import numpy as np
import torch
from deep_river.forecasting import DeepForecaster
from deep_river.regression import RollingRegressor

import streamrnn as sr
from benchmarks.shared.measure import Row, more, seconds_each

UNITS, WINDOW, FEATURES, RATE, CLIP_NORM = 64, 30, 8, 1e-3, 1.0
SAMPLES = 1000  # different ones, over and over
MUST = 150

torch.set_num_threads(1)


class Module(torch.nn.Module):
    """The network that deep-river is given: what it says of the newest frame of a window."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.lstm, self.readout = torch.nn.LSTM(features, UNITS), torch.nn.Linear(UNITS, 1)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.lstm(window)
        return self.readout(outputs[-1])


def network(features: int, predict: str) -> sr.Network:
    layers = [sr.LSTM(features, UNITS)]
    return sr.Network(layers, sr.Linear(1), sr.Adam(RATE), window=WINDOW, clip_norm=CLIP_NORM, predict=predict)


def settings(features: int) -> dict:
    """Of an estimator of deep-river."""
    return {
        "module": Module(features),
        "loss_fn": "mse",
        "optimizer_fn": "adam",
        "lr": RATE,
        "window_size": WINDOW,
        "gradient_clip_value": CLIP_NORM,
    }


def our_forecasts(series: np.ndarray) -> Callable[[int], None]:
    """`step` learns that this value followed those before, and says which comes next."""
    net, values = network(1, "next"), list(series[:, None])

    def run(count: int) -> None:
        for k in range(count):
            net.step(values[k % SAMPLES])

    return run


def their_forecasts(series: np.ndarray) -> Callable[[int], None]:
    model, values = DeepForecaster(is_sequence_model=True, **settings(1)), series.tolist()

    def run(count: int) -> None:
        for k in range(count):
            model.forecast(1)
            model.learn_one(values[k % SAMPLES])

    return run


def our_regression(X: np.ndarray, series: np.ndarray) -> Callable[[int], None]:
    """`learn` predicts, scores and learns."""
    net, frames, targets = network(FEATURES, "target"), list(X), list(series[:, None])

    def run(count: int) -> None:
        for k in range(count):
            net.learn(frames[k % SAMPLES], targets[k % SAMPLES])

    return run


def their_regression(X: np.ndarray, series: np.ndarray) -> Callable[[int], None]:
    model, targets = RollingRegressor(**settings(FEATURES)), series.tolist()
    samples = [dict(enumerate(x)) for x in X.tolist()]

    def run(count: int) -> None:
        for k in range(count):
            model.predict_one(samples[k % SAMPLES])
            model.learn_one(samples[k % SAMPLES], targets[k % SAMPLES])

    return run


def rows(quick: bool) -> list[Row]:
    """Forecasting a series from itself, and regression on several features."""
    rng = np.random.default_rng(0)
    X, series = rng.standard_normal((SAMPLES, FEATURES), np.float32), rng.standard_normal(SAMPLES, np.float32)
    pairs = {
        ("forecast the next value, learn", "DeepForecaster"): (our_forecasts(series), their_forecasts(series)),
        ("predict from features, learn", "RollingRegressor"): (our_regression(X, series), their_regression(X, series)),
    }
    found = []
    for (what, peer), (ours, theirs) in pairs.items():
        took = seconds_each({"ours": ours, "theirs": theirs}, quick)
        found.append(more(what, UNITS, 1 / took["ours"], f"deep-river {peer}", 1 / took["theirs"], "/s", MUST))
    return found


if __name__ == "__main__":
    measure.main("deep_river", "predict and learn, called from Python, window 30", rows)
