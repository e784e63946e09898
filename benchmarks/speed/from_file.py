"""How fast a daemon learns from a CSV, beside the library in memory: `python -m benchmarks.speed.from_file`.

Eight channels and a time, GRU-32, learning from every row; each readout in turn, placed as `streamrnn watch` does
it. The daemon reads and checks the rows, journals their places, and publishes every output.
"""

from benchmarks.shared import measure  # noqa: F401

# isort: split
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

import streamrnn as sr
from benchmarks.shared.daemon import learn

CHANNELS, UNITS, WINDOW = 8, 32, 16
LEAST = 0.7  # of the speed in memory
CONFIG = """
name = "from-file"
predict = "next"
[input]
kind = "vector"
size = 0
standardize = true
[[layers]]
cell = "gru"
units = {units}
[readout]
kind = "{readout}"
size = 0
[optimizer]
kind = "adam"
learning_rate = 2e-3
[learning]
window = {window}
[pipeline]
placement = [2]
block = 1024
in_flight = 4096
[sockets]
[state]
[source]
kind = "csv"
path = "{path}"
"""
READOUTS: dict[str, Any] = {"gaussian": sr.Gaussian, "forecast": sr.Forecast}


def write(path: Path, rows: int) -> np.ndarray:
    """Rows of a minute each; their values (rows, CHANNELS)."""
    t = np.arange(rows)[:, np.newaxis]
    noise = np.random.default_rng(0).normal(0, 0.3, (rows, CHANNELS))
    X = np.round(20 + 5 * np.sin(t / (40 + 9 * np.arange(CHANNELS))) + noise, 3)
    times = (np.datetime64("2024-01-01T00:00:00") + np.arange(rows) * np.timedelta64(60, "s")).astype(str)
    lines = (f"{time},{','.join(map(str, row))}\n" for time, row in zip(times, X.tolist(), strict=True))
    path.write_text(f"time,{','.join(f'channel {k}' for k in range(CHANNELS))}\n" + "".join(lines))
    return X


def in_memory(X: np.ndarray, readout: str) -> float:
    """Rows a second of `Network.run`."""
    layers, optimizer = [sr.GRU(CHANNELS, UNITS)], sr.Adam(2e-3)
    net = sr.Network(layers, READOUTS[readout](CHANNELS), optimizer, window=WINDOW, predict="next", standardize=True)
    net.run(X[:100], stream="warm")
    start = perf_counter()
    net.run(X, stream="source")
    return len(X) / (perf_counter() - start)


def main(
    rows: Annotated[int, typer.Option(help="Of the file; a fifth of them for the forecast.")] = 200_000,
    rounds: Annotated[int, typer.Option(help="In each, one after the other.")] = 3,
) -> None:
    """Print rows a second of both, and the ratio."""
    missed = False
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for readout, count in (("gaussian", rows), ("forecast", rows // 5)):
            path = Path(name) / f"{readout}.csv"
            X = write(path, count)
            config = CONFIG.format(units=UNITS, readout=readout, window=WINDOW, path=path)
            pairs = [(learn(config)["frames_per_second"], in_memory(X, readout)) for _ in range(rounds)]
            ratio = median(file / memory for file, memory in pairs)
            file, memory = (median(each) for each in zip(*pairs, strict=True))
            missed |= ratio < LEAST
            Console().print(
                f"GRU-{UNITS}, {readout}: {file:,.0f} rows/s from a CSV of {CHANNELS} channels, "
                f"{memory:,.0f} in memory: {ratio:.2f} (must {LEAST})",
                highlight=False,
                soft_wrap=True,
            )
    raise typer.Exit(1 if missed else 0)


if __name__ == "__main__":
    typer.run(main)
