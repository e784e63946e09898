"""What a forecaster has to beat, in plain NumPy, each from the rows before: forecasts of rows 2, 3, ..."""

import numpy as np

CUT, ERROR = 12.0, 8.0  # standard deviations: of a forecast, of an error


def season(x: np.ndarray, period: int) -> np.ndarray:
    """The value one period before, the newest one where there is none."""
    rows = np.arange(1, len(x))
    return np.where(rows >= period, x[rows - min(period, len(x) - 1)], x[rows - 1]) if period else x[:-1]


def rls_ar(x: np.ndarray, ahead: int = 1, lags: int = 20, forgetting: float = 0.9999) -> np.ndarray:
    """An autoregression by recursive least squares, started at persistence, on values scaled by all so far."""
    w, P, said = np.eye(lags + 1)[1], np.eye(lags + 1), np.zeros(len(x) - ahead)
    mean = squares = 0.0
    for t, value in enumerate(x):
        before = value - mean
        mean += before / (t + 1)
        squares += before * (value - mean)
        scale = np.sqrt(squares / (t + 1)) if squares > 0 else 1.0
        if t >= ahead:
            f = features(x, t - ahead, lags, mean, scale)
            gain = P @ f / (forgetting + f @ P @ f)
            w = w + gain * np.clip((value - mean) / scale - w @ f, -ERROR, ERROR)
            P = (P - np.outer(gain, f @ P)) / forgetting
            P = (P + P.T) / 2
        if t < len(said):
            said[t] = mean + scale * np.clip(w @ features(x, t, lags, mean, scale), -CUT, CUT)
    return said


def features(x: np.ndarray, t: int, lags: int, mean: float, scale: float) -> np.ndarray:
    """1 and the newest values at row t, newest first, 0 for those that there are not."""
    past = (x[max(0, t - lags + 1) : t + 1][::-1] - mean) / scale
    return np.concatenate([[1.0], past, np.zeros(lags - len(past))])
