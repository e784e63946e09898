"""One-step forecasts of real, artificial and made series: `python -m benchmarks.quality.forecast FOLDER`.

FOLDER holds `nab/data` and, for the last tables, `series/ETTh1.csv` and `series/santafe_laser.npy`. Everything is in
one pass, from scratch, with the same settings for all; rows are scored from the third on. Days and weeks are in rows.
"""

import csv
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.quality.forecast import ours, peers
from benchmarks.quality.forecast.series import REAL, Series, made, nab

MUST = {"ours": 0.69, "all experts": 0.67}  # x persistence, geometric mean of the real files
WORST, AS_RLS, BAND = 1.02, 1.01, (0.88, 0.92)


def errors_of(series: Series) -> tuple[dict[str, float], dict[str, float]]:
    """Mean absolute errors by forecaster as shares of persistence's, and what is known of ours besides."""
    x = series.values
    start = perf_counter()
    Y, losses, net = ours.forecasts(x[:, None])
    seconds = perf_counter() - start
    seasons = [series.day, series.week] if series.day else []
    said = net.readout.read(Y[:-1])[1]
    forecasts = {
        "season": peers.season(x, series.day),
        "RLS-AR": peers.rls_ar(x),
        "gaussian": ours.gaussian(x),
        "no network": ours.forecasts(x[:, None], network=False)[0][:-1, 0],
        "ours": said.mean[:, 0],
        "all experts": ours.forecasts(x[:, None], seasons=seasons)[0][:-1, 0],
    }
    unit = np.abs(np.diff(x))[1:].mean()
    errors = {name: float(np.abs(x[1:] - each)[1:].mean() / unit) for name, each in forecasts.items()}
    half = len(x) // 2
    inside = (x[1:] >= said.lower[:, 0]) & (x[1:] <= said.upper[:, 0])
    width = float((said.upper - said.lower)[half:].mean() / (3.29 * np.std((x[1:] - said.mean[:, 0])[half:])))
    nll = float(np.nanmean(losses[2:]) - np.log(x.std()))
    return errors, {"coverage": float(inside[half:].mean()), "width": width, "nll": nll, "us": 1e6 * seconds / len(x)}


def mean_of(values: list[float]) -> float:
    """Geometric."""
    return float(np.exp(np.mean(np.log(values))))


def files(console: Console, every: list[Series]) -> None:
    """A line each, the means, and what must be reached."""
    found = [(series, *errors_of(series)) for series in every]
    names = list(found[0][1])
    table = Table(
        *["error / persistence's", *names, "band", "width", "nll", "µs"], title="one step ahead, mean absolute errors"
    )
    for series, errors, more in found:
        row = [f"{errors[name]:.3f}" for name in names] + [f"{more[name]:.3f}" for name in ("coverage", "width", "nll")]
        table.add_row(series.name[:40], *row, f"{more['us']:.1f}")
    for kind in dict.fromkeys(series.kind for series in every):
        of_kind = [errors for series, errors, _ in found if series.kind == kind]
        table.add_row(f"{kind}, geometric mean", *(f"{mean_of([e[name] for e in of_kind]):.3f}" for name in names))
        table.add_row(f"{kind}, worst", *(f"{max(e[name] for e in of_kind):.3f}" for name in names))
    console.print(table)
    real = [(errors, more) for series, errors, more in found if series.kind == REAL]
    for name, most in MUST.items():
        console.print(f"{name}, real files: {mean_of([e[name] for e, _ in real]):.4f} (must be at most {most})")
    console.print(f"the worst: {max(e['ours'] for e, _ in real):.3f} (must be at most {WORST})")
    as_good = [e["ours"] <= AS_RLS * e["RLS-AR"] for _, e, _ in found]
    console.print(f"at most {AS_RLS} x RLS-AR: {sum(as_good)} of {len(as_good)} series")
    held = [BAND[0] <= more["coverage"] <= BAND[1] for _, more in real]
    console.print(f"interval of 0.9 between {BAND[0]} and {BAND[1]} over the second half: {sum(held)} of {len(held)}")


def transformer(console: Console, file: Path) -> None:
    """ETTh1: seven channels, 1 and 24 hours ahead; errors in standard deviations of each."""
    with file.open() as lines:
        X = np.array([[float(value) for value in row[1:]] for row in list(csv.reader(lines))[1:]])
    deviation = X.std(axis=0)
    table = Table("ETTh1", "persistence", "RLS-AR", "ours", "ours, day", title="mean absolute error, in deviations")
    outputs = [ours.forecasts(X, horizons=[1, 24], seasons=seasons) for seasons in ([], [24])]
    for ahead in (1, 24):
        rls = np.stack([peers.rls_ar(x, ahead) for x in X.T], axis=1)
        every = [X[:-ahead], rls, *(net.readout.read(Y)[ahead].mean[:-ahead] for Y, _, net in outputs)]
        scores = [np.abs((X[ahead:] - each) / deviation)[24:].mean() for each in every]
        table.add_row(f"{ahead} h ahead", *(f"{score:.4f}" for score in scores))
    console.print(table)


def laser(console: Console, file: Path) -> None:
    """Where the network adds much: Santa Fe's laser, normalised squared error of the last half."""
    x = np.load(file).astype(np.float64).reshape(-1)
    half = len(x) // 2
    table = Table("Santa Fe laser", "squared error / variance", title="last half")
    every = {"RLS-AR": peers.rls_ar(x), "no network": ours.forecasts(x[:, None], network=False)[0][:-1, 0]}
    every["ours"] = ours.forecasts(x[:, None])[0][:-1, 0]
    for name, said in every.items():
        table.add_row(name, f"{np.mean((x[1:] - said)[half:] ** 2) / x[half:].var():.4f}")
    console.print(table)


def taxi(console: Console, series: Series) -> None:
    """Five half-hours ahead, day and week as seasons: sum of absolute errors / sum of values."""
    x = series.values
    Y, _, net = ours.forecasts(x[:, None], horizons=[1, 5], seasons=[series.day, series.week])
    errors = np.abs(x[5:] - net.readout.read(Y)[5].mean[:-5, 0])
    shares = [f"{100 * errors[start:].sum() / x[5:][start:].sum():.2f} % from row {start}" for start in (2000, 5000)]
    console.print(f"NYC taxi, 5 rows ahead: {', '.join(shares)}")


def main(folder: Annotated[Path, typer.Argument(help="With nab/data in it.")]) -> None:
    """Forecasts beside those of simple forecasters."""
    console = Console(width=190)
    ours.forecasts(np.arange(9.0)[:, None])  # has everything compiled
    real = nab(folder / "nab" / "data")
    files(console, [*real, *made()])
    taxi(console, next(series for series in real if series.name == "nyc_taxi"))
    if (folder / "series").is_dir():
        transformer(console, folder / "series" / "ETTh1.csv")
        laser(console, folder / "series" / "santafe_laser.npy")


if __name__ == "__main__":
    typer.run(main)
