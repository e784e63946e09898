"""What a sink costs the pipeline: `python -m benchmarks.speed.sinks`.

Daemons that learn as fast as they can, on all cores, with outputs written to JSON lines and without: text with two
LSTM-128, and a CSV of eight channels with a GRU-32. And how much of the outputs is in the file: a sink that is too slow
misses some, and says so. The figures are medians of runs in turn.
"""

from benchmarks.shared import measure

# isort: split
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.shared.daemon import learn, text_config
from benchmarks.shared.measure import Row, more

MUST = 0.8  # of the frames a second without a sink
FRAMES = {"text, LSTM-128 twice": 60_000, "8 channels of CSV, GRU-32": 100_000}
RUNS = 3
CHANNELS = 8

TABLE = """
name = "table"
[input]
kind = "vector"
size = {size}
standardize = true
[[layers]]
cell = "gru"
units = 32
[readout]
kind = "gaussian"
size = {size}
[optimizer]
kind = "adam"
learning_rate = 0.002
[source]
kind = "csv"
path = "{path}"
"""


def configs(folder: Path, quick: bool) -> dict[str, tuple[str, int]]:
    """The configs, and how many frames each is to take."""
    path = folder / "table.csv"
    values = np.random.default_rng(0).normal(size=(max(FRAMES.values()), CHANNELS)).cumsum(0)
    names = ",".join(f"c{k}" for k in range(CHANNELS))
    np.savetxt(path, values, "%.3f", ",", header=names, comments="")
    made = text_config(128, [1, 2]), TABLE.format(size=CHANNELS, path=path)
    return {
        name: (config, count // (10 if quick else 1))
        for config, (name, count) in zip(made, FRAMES.items(), strict=True)
    }


def rate(config: str, frames: int, sink: Path | None) -> float:
    """Frames a second, with that file of outputs or without."""
    tables = f'[[sinks]]\nkind = "jsonl"\npath = "{sink}"\nrotate = 0\n' if sink else ""
    return float(learn(config, "--max-frames", str(frames), state=tables)["frames_per_second"])


def rows(quick: bool) -> list[Row]:
    """Each config with a sink beside without."""
    found = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for what, (config, frames) in configs(Path(name), quick).items():
            rate(config, 1000, None)  # compiles
            beside, alone, written = [], [], []
            for k in range(1 if quick else RUNS):
                path = Path(name) / f"{len(found)}-{k}.jsonl"
                beside.append(rate(config, frames, path))
                alone.append(rate(config, frames, None))
                with open(path, "rb") as file:
                    written.append(sum(1 for _ in file))
            found.append(more(f"{what}, learning", None, median(beside), "no sink", median(alone), "/s", MUST))
            found.append(more(f"{what}, written", None, median(written), "outputs", frames, "", None))
    return found


if __name__ == "__main__":
    measure.main("sinks", "the pipeline with a sink beside without", rows)
