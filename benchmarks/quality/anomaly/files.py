"""NAB's files, their labelled windows, and its profiles."""

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.quality.anomaly.scorer import Profile, Truth

DAY = 86400.0  # seconds
SERIES, WINDOWS, PROFILES = NEEDED = "data/*/*.csv", "combined_windows.json", "profiles.json"
FIRST = 50  # rows that the spacing is taken from


class File(NamedTuple):
    """A series of one channel, and the windows in which something is wrong."""

    name: str
    times: np.ndarray  # (n,) seconds
    values: np.ndarray  # (n,) float64
    spans: list[tuple[float, float]]  # first and last second of each window

    @property
    def day(self) -> int:
        """Rows in a day."""
        return max(1, round(DAY / float(np.median(np.diff(self.times[:FIRST])))))

    @property
    def truth(self) -> Truth:
        """The rows of its windows."""
        rows = [(int(np.argmax(self.times >= first)), last_row(self.times, last)) for first, last in self.spans]
        return Truth(len(self.times), rows)


def last_row(times: np.ndarray, last: float) -> int:
    """The row of that second, or the last one before."""
    return int(np.argmax(times == last)) if (times == last).any() else int(np.flatnonzero(times <= last)[-1])


def read(folder: Path) -> list[File]:
    """All files of NAB's folder, with `data/*/*.csv` and `combined_windows.json`."""
    windows = json.loads((folder / WINDOWS).read_text())
    files = []
    for path in sorted(folder.glob(SERIES)):
        with path.open() as lines:
            rows = list(csv.DictReader(lines))
        times = np.array([seconds(row["timestamp"]) for row in rows])
        values = np.array([float(row["value"]) for row in rows])
        spans = [(seconds(first), seconds(last)) for first, last in windows[f"{path.parent.name}/{path.name}"]]
        files.append(File(path.stem, times, values, spans))
    return files


def seconds(timestamp: str) -> float:
    """Since 1970, as if all clocks were UTC's."""
    return (datetime.fromisoformat(timestamp) - datetime(1970, 1, 1)).total_seconds()


def profiles(folder: Path) -> dict[str, Profile]:
    """By name, from `profiles.json`."""
    costs = {name: each["CostMatrix"] for name, each in json.loads((folder / PROFILES).read_text()).items()}
    return {name: Profile(cost["tpWeight"], cost["fpWeight"], cost["fnWeight"]) for name, cost in costs.items()}
