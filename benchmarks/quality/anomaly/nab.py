"""Alarms on NAB's files, scored as NAB does: `python -m benchmarks.nab FOLDER`.

FOLDER holds `data/*/*.csv`, `combined_windows.json` and `profiles.json`. Every file is a stream of its own, in one
pass, from scratch, with the same settings. Scores are of the files that are there: with fewer than NAB's 58 they are
not comparable with its published totals.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.quality.anomaly import files as nab_files
from benchmarks.quality.anomaly.detector import Detection, detect
from benchmarks.quality.anomaly.distort import DISTORTIONS, distorted
from benchmarks.quality.anomaly.files import File
from benchmarks.quality.anomaly.peers import out_of_range, timer
from benchmarks.quality.anomaly.scorer import Profile, best_threshold, counts, score
from benchmarks.quality.anomaly.vus import vus_pr

STANDARD = "standard"
ASKED = 0.05, 0.1, 0.3, 1.0  # alarms a day


class Found(NamedTuple):
    """What was said of each file."""

    files: list[File]
    detections: list[Detection]

    def scores(self, profiles: Iterable[Profile]) -> list[float]:
        """Of the alarms as they were raised."""
        return [score([file.truth for file in self.files], self.alarms, each) for each in profiles]

    @property
    def alarms(self) -> list[np.ndarray]:
        """Of each file."""
        return [said.alarm for said in self.detections]


def found_in(files: list[File], what: str, console: Console, rate: float | None = None) -> Found:
    """Of one pass over each file, with as many alarms a day as asked for, if any are."""
    every = track(files, what, console=console, transient=True, disable=not console.is_terminal)
    return Found(files, [detect(file.values[:, None], file.day, alarms_per_day=rate) for file in every])


def by_file(found: Found) -> Table:
    """What the alarms of each file hit, after the rows that NAB does not score."""
    table = Table(*["file", "windows", "found", "alarms in them", "outside", "alarms/day"], title="alarms")
    for file, said in zip(*found, strict=True):
        rate = said.alarm.sum() / days([file])
        table.add_row(file.name[:40], *(str(count) for count in counts(file.truth, said.alarm)), f"{rate:.2f}")
    totals = np.sum([counts(file.truth, said.alarm) for file, said in zip(*found, strict=True)], axis=0)
    rate = sum(alarm.sum() for alarm in found.alarms) / days(found.files)
    table.add_section()
    table.add_row("all", *(str(total) for total in totals), f"{rate:.2f}")
    return table


def days(files: list[File]) -> float:
    """That all rows together take."""
    return sum(len(file.values) / file.day for file in files)


def by_profile(found: Found, profiles: dict[str, Profile]) -> Table:
    """The scores, and those of what looks at less."""
    truths = [file.truth for file in found.files]
    scores = [said.score for said in found.detections]
    ranges = [out_of_range(file.values) for file in found.files]
    clock = [timer(len(file.values)) for file in found.files]
    every = profiles.values()
    rows = {
        "alarms as raised": found.scores(every),
        "score of each row, best threshold": [best_threshold(truths, scores, each)[1] for each in every],
        "out of range, best threshold": [best_threshold(truths, ranges, each)[1] for each in every],
        "a timer, each 600 rows": [score(truths, clock, each) for each in every],
    }
    table = Table("NAB's score", *profiles, title=f"{len(truths)} files, {sum(len(t.windows) for t in truths)} windows")
    for name, row in rows.items():
        table.add_row(name, *(f"{each:.2f}" for each in row))
    return table


def by_distortion(files: list[File], profiles: dict[str, Profile], console: Console) -> Table:
    """The scores on the same files after distortions, with the same settings."""
    table, rows = Table("files distorted", *profiles, title="alarms as raised"), []
    for name in DISTORTIONS:
        found = found_in([distorted(file, name) for file in files], name, console)
        rows.append(found.scores(profiles.values()))
        table.add_row(name, *(f"{each:.2f}" for each in rows[-1]))
    table.add_section()
    table.add_row("mean", *(f"{each:.2f}" for each in np.mean(rows, axis=0)))
    return table


def volume(found: Found, scores: Callable[[File, Detection], np.ndarray], console: Console) -> float:
    """VUS-PR, mean of the files that have a window."""
    every = [pair for pair in zip(*found, strict=True) if pair[0].spans]
    bar = track(every, "VUS-PR", console=console, transient=True, disable=not console.is_terminal)
    return float(np.mean([vus_pr(label(file), scores(file, said)) for file, said in bar]))


def label(file: File) -> np.ndarray:
    """Whether each row is in a window (n,) bool."""
    inside = np.zeros(len(file.values), bool)
    for first, last in file.truth.windows:
        inside[first : last + 1] = True
    return inside


def by_rate(files: list[File], console: Console) -> Table:
    """What came of asking for that many alarms a day, on all files together."""
    table = Table("alarms/day asked", "came", "in windows", "outside", title="a rate instead of a threshold")
    for rate in ASKED:
        found = found_in(files, f"{rate} alarms a day", console, rate)
        came = sum(alarm.sum() for alarm in found.alarms) / days(files)
        hits = np.sum([counts(file.truth, said.alarm) for file, said in zip(*found, strict=True)], axis=0)
        table.add_row(f"{rate}", f"{came:.3f}", str(hits[2]), str(hits[3]))
    return table


def main(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help=f"NAB's, with {', '.join(nab_files.NEEDED)}.")],
    quick: Annotated[bool, typer.Option("--quick", help="The files as they are, and no more.")] = False,
) -> None:
    """Alarms on NAB's files: what they hit, NAB's scores, and the same on distorted files."""
    console = Console(width=None if Console().is_terminal else 120)
    missing = [name for name in nab_files.NEEDED if not any(folder.glob(name))]
    if missing:
        raise typer.BadParameter(f"there is no {' and no '.join(missing)} in {folder}", param_hint="FOLDER")
    files, profiles = nab_files.read(folder), nab_files.profiles(folder)
    found = found_in(files, "files", console)
    console.print(by_file(found))
    console.print(by_profile(found, profiles))
    if quick:
        return
    console.print(by_distortion(files, profiles, console))
    ours = volume(found, lambda _, said: said.score, console)
    ranges = volume(found, lambda file, _: np.minimum(out_of_range(file.values), np.finfo(float).max), console)
    console.print(f"VUS-PR, mean of files with a window: {ours:.3f}; out of range {ranges:.3f}")
    console.print(by_rate(files, console))


if __name__ == "__main__":
    typer.run(main)
