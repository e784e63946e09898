"""How fast a table is read, and in how much memory: `python -m benchmarks.speed.tables [--rows N]`.

A CSV of a time and eight channels, and the same as JSON Lines, are read to their end: no network learns from them.
"""

from benchmarks.shared import measure

# isort: split
import resource
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import typer

from streamrnn.sources import Source
from streamrnn.sources.csv import CsvConfig
from streamrnn.sources.jsonl import JsonlConfig

ROWS = 10_000_000
CHANNELS = 8
BLOCK = 10_000  # rows that are written at once, over and over, each time under later times
START = np.datetime64("2024-01-01T00:00:00")
TAKEN = 512  # rows at once


def write_csv(path: Path, rows: int) -> None:
    """A header, and so many rows, one a second."""
    block = [",".join(f"{value:.3f}" for value in row) for row in values()]
    with path.open("w") as file:
        file.write("time," + ",".join(f"channel {number}" for number in range(CHANNELS)) + "\n")
        for start in range(0, rows, BLOCK):
            times = (START + np.arange(start, min(start + BLOCK, rows))).astype(str)
            file.writelines(f"{time},{row}\n" for time, row in zip(times, block, strict=False))


def write_json(path: Path, rows: int) -> None:
    """As many objects."""
    block = ["".join(f', "channel {number}": {value:.3f}' for number, value in enumerate(row)) for row in values()]
    with path.open("w") as file:
        for start in range(0, rows, BLOCK):
            times = (START + np.arange(start, min(start + BLOCK, rows))).astype(str)
            file.writelines(f'{{"time": "{time}"{row}}}\n' for time, row in zip(times, block, strict=False))


def values() -> np.ndarray:
    """(BLOCK, CHANNELS)"""
    return np.random.default_rng(0).normal(20, 5, (BLOCK, CHANNELS))


def read(source: Source) -> tuple[int, float]:
    """Rows in a source, and seconds until its end."""
    start, count = perf_counter(), 0
    while not source.ended:
        count += len(source.read(TAKEN))
        source.position  # noqa: B018  the gate asks for it as often
    source.close()
    return count, perf_counter() - start


def memory() -> float:
    """The most that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(rows: Annotated[int, typer.Option(help="In the CSV; a tenth in the JSON Lines.")] = ROWS) -> None:
    """Rows a second, and the most memory."""
    print(f"{measure.processor()}")
    with tempfile.TemporaryDirectory() as folder:
        for kind, write, config, count in (
            ("csv", write_csv, CsvConfig, rows),
            ("jsonl", write_json, JsonlConfig, rows // 10),
        ):
            path = Path(folder, f"table.{kind}")
            write(path, count)
            before = memory()
            found, seconds = read(config(path=str(path)).open())
            assert found == count, f"{found:,} rows of {count:,} were read"
            grown = memory() - before
            print(
                f"{kind:6} {count:>12,} rows, {path.stat().st_size / 1e6:,.0f} MB: {count / seconds:>9,.0f} rows/s, ",
                end="",
            )
            print(f"{memory():.0f} MB of memory at most, {grown:.0f} MB of them for reading")
            path.unlink()


if __name__ == "__main__":
    typer.run(main)
