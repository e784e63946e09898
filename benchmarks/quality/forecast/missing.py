"""One-step forecasts where readings are missing: `python -m benchmarks.quality.forecast.missing FOLDER`.

FOLDER holds `series/ETTh1.csv`, `skab/anomaly-free/anomaly-free.csv` and `nab/data`: the two recorded files of several
channels that are at hand, and the first real file of the third collection, which has one. Of each a share of the
readings is taken out at random, channel by channel. Every way gets the same readings and is judged by those that are
there, from row FIRST on: the mean absolute error of what was forecast for a reading before it came, as a share of that
of the value last seen in its channel, both in standard deviations of their channel.

    fill, mask    a network that takes what is missing, without and with a mask as further inputs
    drop          rows with anything missing are left out; the newest forecast stands until the next whole row
    last value    the value last seen is put where one is missing, and counts as any other
    zeros         so does a zero
"""

import csv
import json as json_format
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import streamrnn as sr
from benchmarks.quality.forecast.ours import UNITS
from benchmarks.quality.forecast.series import nab

SHARES, FIRST, SEED = (0.1, 0.3, 0.5), 200, 1


def network(size: int, **settings: bool | str) -> sr.Network:
    """The same for all, but for how it takes what is missing."""
    layer = sr.GRU(size * (2 if settings.get("mask") else 1), UNITS)
    options = {"window": 1, "predict": "next", "standardize": True}
    return sr.Network([layer], sr.Forecast(size), sr.Adam(2e-3), **options, **settings)


def forecasts(X: np.ndarray, **settings: bool | str) -> np.ndarray:
    """Of rows 1, 2, ..., each (n - 1, size), from the rows before."""
    net = network(X.shape[1], **settings)
    Y, _ = net.run(X)
    return net.readout.read(Y)[1].mean[:-1]


def last_seen(X: np.ndarray) -> np.ndarray:
    """Each row (n, size) with the newest value of each channel; its first one before that."""
    there = ~np.isnan(X)
    first = np.argmax(there, axis=0)
    newest = np.maximum.accumulate(np.where(there, np.arange(len(X))[:, None], first), axis=0)
    return np.take_along_axis(X, newest, axis=0)


def dropped(X: np.ndarray) -> np.ndarray:
    """From whole rows alone; before the second of them, the value last seen."""
    whole = np.flatnonzero(~np.isnan(X).any(axis=1))
    said = last_seen(X)[:-1].copy()
    if len(whole) > 1:
        net = network(X.shape[1])
        means = net.readout.read(net.run(X[whole])[0])[1].mean
        newest = np.searchsorted(whole, np.arange(len(X) - 1), side="right") - 1
        said[newest > 0] = means[newest[newest > 0]]
    return said


WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "fill": lambda X: forecasts(X, missing="fill"),
    "mask": lambda X: forecasts(X, missing="fill", mask=True),
    "drop": dropped,
    "last value": lambda X: forecasts(last_seen(X)),
    "zeros": lambda X: forecasts(np.nan_to_num(X)),
}


def errors_of(X: np.ndarray, share: float) -> dict[str, float]:
    """By way, where that share of the readings (n, size) is missing."""
    gappy = np.where(np.random.default_rng(SEED).random(X.shape) < share, np.nan, X)
    deviation, truth = np.std(X, axis=0), gappy[1:]

    def error(said: np.ndarray) -> float:
        return float(np.nanmean((np.abs(truth - said) / deviation)[FIRST:]))

    unit = error(last_seen(gappy)[:-1])
    return {name: error(way(gappy)) / unit for name, way in WAYS.items()}


def columns(file: Path, delimiter: str) -> np.ndarray:
    """The numbers (n, size) of a file whose first column is a time."""
    with file.open() as lines:
        return np.array(
            [[float(value) for value in row[1:]] for row in list(csv.reader(lines, delimiter=delimiter))[1:]]
        )


def series(folder: Path) -> dict[str, np.ndarray]:
    """By name, (n, size)."""
    first = nab(folder / "nab" / "data")[0]
    return {
        "ETTh1": columns(folder / "series" / "ETTh1.csv", ","),
        "SKAB anomaly-free": columns(folder / "skab" / "anomaly-free" / "anomaly-free.csv", ";"),
        f"NAB {first.name}": first.values[:, None],
    }


def main(
    folder: Annotated[Path, typer.Argument(help="With series, skab and nab in it.")],
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results.")] = None,
) -> None:
    """Forecasts where readings are missing, beside other ways."""
    title = "one step ahead, mean absolute error / that of the value last seen, on the same readings"
    table = Table("series", "channels", "rows", "missing", *WAYS, title=title)
    found = []
    for name, X in series(folder).items():
        for share in SHARES:
            errors = errors_of(X, share)
            found.append({"series": name, "channels": X.shape[1], "rows": len(X), "missing": share, "errors": errors})
            figures = (f"{error:.3f}" for error in errors.values())
            table.add_row(name, str(X.shape[1]), f"{len(X):,}", f"{share:.0%}", *figures)
    Console(width=120).print(table)
    if json:
        json.write_text(json_format.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
