"""The same files, distorted in seven ways: what was fitted to the files as they are does worse on these."""

import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks.quality.anomaly.files import File

STEEP, POWER = 10.0, 1.7
NOISE, SHARE = 0.1, 0.1  # standard deviations of the values; of each value
SPIKES, HEAVY = 0.002, 1.5  # share of rows; Pareto's exponent
ROWS = 3  # that become one


class Series(NamedTuple):
    """What is distorted: values, times, and random numbers that are a file's own."""

    values: np.ndarray  # (n,)
    times: np.ndarray  # (n,) seconds
    rng: np.random.Generator


def unit(x: np.ndarray) -> np.ndarray:
    """From 0 to 1."""
    return (x - x.min()) / (np.ptp(x) or 1.0)


def log(series: Series) -> Series:
    """What was high is squeezed."""
    return series._replace(values=np.log1p(STEEP * unit(series.values)))


def power(series: Series) -> Series:
    """What was low is squeezed."""
    return series._replace(values=unit(series.values) ** POWER)


def noise(series: Series) -> Series:
    """As much everywhere."""
    spread = NOISE * series.values.std()
    return series._replace(values=series.values + spread * series.rng.standard_normal(rows(series)))


def multiplied(series: Series) -> Series:
    """More noise where values are large."""
    return series._replace(values=series.values * (1 + SHARE * series.rng.standard_normal(rows(series))))


def spikes(series: Series) -> Series:
    """Single rows that are off, a few of them by much."""
    size = series.values.std() * series.rng.pareto(HEAVY, rows(series)) * series.rng.choice([-1, 1], rows(series))
    return series._replace(values=series.values + np.where(series.rng.random(rows(series)) < SPIKES, size, 0.0))


def means(series: Series) -> Series:
    """Of three rows each, at the time of the last one."""
    whole = rows(series) // ROWS * ROWS
    values = series.values[:whole].reshape(-1, ROWS).mean(axis=1)
    return series._replace(values=values, times=series.times[ROWS - 1 : whole : ROWS])


def thinned(series: Series) -> Series:
    """Every third row."""
    return series._replace(values=series.values[::ROWS], times=series.times[::ROWS])


def rows(series: Series) -> int:
    """How many."""
    return len(series.values)


DISTORTIONS: dict[str, Callable[[Series], Series]] = {
    "log": log,
    f"power {POWER}": power,
    "noise": noise,
    "multiplied noise": multiplied,
    "Pareto spikes": spikes,
    "means of 3": means,
    "every third row": thinned,
}


def distorted(file: File, name: str) -> File:
    """One file in one of the ways, the same each time; its windows are the rows of the same times."""
    rng = np.random.default_rng(zlib.crc32(f"{name} {file.name}".encode()))
    after = DISTORTIONS[name](Series(file.values, file.times, rng))
    return file._replace(values=after.values, times=after.times)
