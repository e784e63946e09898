"""Rows flagged in a water circuit's eight sensors, SKAB: `python -m benchmarks.quality.anomaly.skab FOLDER`.

FOLDER holds folders of `*.csv` with the columns of sensors, `anomaly` and `changepoint`. By SKAB's protocol the first
400 rows of each file are known to be normal, rows are taken one after the other, and those of all files are counted
together: F1, false alarms of the normal rows (FAR), and missed ones of the anomalous rows (MAR).
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.quality.anomaly.detector import THRESHOLD, Detection, departed, detect
from benchmarks.quality.anomaly.vus import vus_pr

SERIES = "*/*.csv"
KNOWN = 400  # rows known to be normal
USUAL = 570  # the row at which most files' anomaly begins: flags from there on look at no data
NOT_SENSORS = "datetime", "anomaly", "changepoint"
DAY = 86400  # rows
MUST = 0.78


class File(NamedTuple):
    """A run of the water circuit."""

    folder: str
    name: str
    values: np.ndarray  # (n, sensors) float64
    label: np.ndarray  # (n,) bool


class Counts(NamedTuple):
    """Rows."""

    found: int
    false: int
    missed: int
    quiet: int


def read(folder: Path) -> list[File]:
    """All files that have an anomaly."""
    files = []
    for path in sorted(folder.glob(SERIES)):
        with path.open() as lines:
            rows = list(csv.DictReader(lines, delimiter=";"))
        if "anomaly" not in rows[0]:
            continue
        values = np.array([[float(row[name]) for name in row if name not in NOT_SENSORS] for row in rows])
        label = np.array([float(row["anomaly"]) > 0 for row in rows])
        files.append(File(path.parent.name, path.stem, values, label))
    return files


def left(file: File) -> Detection:
    """Rows while the channels together have left the normal state."""
    return departed(file.values, DAY, KNOWN)


def unusual(file: File) -> Detection:
    """Rows whose score is high."""
    score = detect(file.values, DAY).score
    return Detection(score, score >= THRESHOLD)


def late(file: File) -> Detection:
    """Rows from a certain one on, whatever they are."""
    flag = np.arange(len(file.label)) >= USUAL
    return Detection(flag.astype(np.float64), flag)


RULES: dict[str, Callable[[File], Detection]] = {
    "departure from the normal state": left,
    "score": unusual,
    f"all rows from {USUAL} on": late,
}


def counts(file: File, flag: np.ndarray) -> Counts:
    """Of flags (n,) bool."""
    right = flag == file.label
    return Counts(*(int(rows.sum()) for rows in (flag & right, flag & ~right, ~flag & ~right, ~flag & right)))


def f1(count: Counts) -> float:
    """The harmonic mean of precision and recall."""
    return count.found / max(count.found + (count.false + count.missed) / 2, 0.5)


def by_folder(name: str, files: list[File], said: list[Detection]) -> Table:
    """Each folder's figures, and those of all rows."""
    table = Table("folder", "files", "F1", "FAR %", "MAR %", "VUS-PR", title=name)
    for folder in (*dict.fromkeys(file.folder for file in files), "all"):
        pairs = [pair for pair in zip(files, said, strict=True) if folder in (pair[0].folder, "all")]
        total = Counts(*(int(rows) for rows in np.sum([counts(file, each.alarm) for file, each in pairs], axis=0)))
        far = 100 * total.false / max(total.false + total.quiet, 1)
        mar = 100 * total.missed / max(total.missed + total.found, 1)
        volume = np.mean([vus_pr(file.label, each.score) for file, each in pairs])
        table.add_row(folder, str(len(pairs)), f"{f1(total):.3f}", f"{far:.1f}", f"{mar:.1f}", f"{volume:.3f}")
    return table


def main(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help=f"SKAB's, with {SERIES}.")],
    each: Annotated[bool, typer.Option("--each", help="Every file's F1 too.")] = False,
) -> None:
    """Rows flagged in SKAB's files by a few rules: F1, false alarms, missed ones, and VUS-PR."""
    console = Console(width=None if Console().is_terminal else 120)
    if not any(folder.glob(SERIES)):
        raise typer.BadParameter(f"there is no {SERIES} in {folder}", param_hint="FOLDER")
    files = read(folder)
    for name, rule in RULES.items():
        bar = track(files, name, console=console, transient=True, disable=not console.is_terminal)
        said = [rule(file) for file in bar]
        console.print(by_folder(name, files, said))
        if each:
            pairs = zip(files, said, strict=True)
            figures = [f"{file.folder}/{file.name} {f1(counts(file, one.alarm)):.2f}" for file, one in pairs]
            console.print(", ".join(figures))
    console.print(f"F1 of all must be at least {MUST}")


if __name__ == "__main__":
    typer.run(main)
