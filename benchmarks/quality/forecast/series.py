"""The series: real and artificial ones of NAB, and those that are made or named after their equations."""

import csv
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

REAL, ARTIFICIAL, MADE = "real", "artificial", "made"
DAY = 86400.0  # seconds
ROWS = 4000  # of what is made
FLAT = "art_flatline"  # left out: nothing to forecast


class Series(NamedTuple):
    """One channel, and how many rows a day and a week have, where there is a clock."""

    name: str
    kind: str
    values: np.ndarray  # (n,)
    day: int = 0
    week: int = 0


def nab(folder: Path) -> list[Series]:
    """The files of NAB's `data` folder, real ones first."""
    files = sorted(folder.glob("*/*.csv"), key=lambda file: (file.parent.name.startswith("art"), file))
    return [read(file) for file in files if file.stem != FLAT]


def read(file: Path) -> Series:
    """A file with the columns timestamp and value."""
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    times = [datetime.fromisoformat(row["timestamp"]).timestamp() for row in rows[:50]]
    step = float(np.median(np.diff(times)))
    kind = ARTIFICIAL if file.parent.name.startswith("art") else REAL
    values = np.array([float(row["value"]) for row in rows])
    return Series(file.stem, kind, values, round(DAY / step), round(7 * DAY / step))


def made() -> list[Series]:
    """Mackey-Glass, NARMA-10 and Lorenz."""
    return [
        Series("Mackey-Glass", MADE, mackey_glass(ROWS)),
        Series("NARMA-10", MADE, narma(ROWS)),
        Series("Lorenz", MADE, lorenz(ROWS)),
    ]


def mackey_glass(rows: int, delay: int = 17, step: float = 1.0, within: int = 10) -> np.ndarray:
    """x' = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x, by Euler's method, a row each `step` (Mackey and Glass 1977)."""
    h, lag = step / within, delay * within
    x = np.full(lag + (rows + 500) * within, 1.2)
    for t in range(lag, len(x)):
        x[t] = x[t - 1] + h * (0.2 * x[t - lag] / (1 + x[t - lag] ** 10) - 0.1 * x[t - 1])
    return x[lag + 500 * within :: within]


def narma(rows: int, order: int = 10, seed: int = 0) -> np.ndarray:
    """y' = 0.3 y + 0.05 y (sum of the last 10) + 1.5 u(t - 9) u(t) + 0.1, u in [0, 0.5] (Atiya and Parlos 2000)."""
    u = np.random.default_rng(seed).uniform(0, 0.5, rows + 200)
    y = np.zeros(rows + 200)
    for t in range(order - 1, len(y) - 1):
        y[t + 1] = 0.3 * y[t] + 0.05 * y[t] * y[t - order + 1 : t + 1].sum() + 1.5 * u[t - order + 1] * u[t] + 0.1
    return y[200:]


def lorenz(rows: int, step: float = 0.05, within: int = 20) -> np.ndarray:
    """The first coordinate of Lorenz' system (10, 28, 8/3), a row each 0.05, by Runge and Kutta (Lorenz 1963)."""

    def slope(p: np.ndarray) -> np.ndarray:
        x, y, z = p
        return np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    h, p, out = step / within, np.array([1.0, 1.0, 1.0]), []
    for t in range((rows + 100) * within):
        a = slope(p)
        b = slope(p + h / 2 * a)
        c = slope(p + h / 2 * b)
        p = p + h / 6 * (a + 2 * b + 2 * c + slope(p + h * c))
        if t % within == 0:
            out.append(p[0])
    return np.array(out[100:])
