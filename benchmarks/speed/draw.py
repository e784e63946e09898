"""Pictures and a table of the rows that `python -m benchmarks` wrote: `python -m benchmarks.speed.draw [FILE]`.

The pictures lie beside FILE; of benchmarks/results/speed.json, the default, the table goes into benchmarks/README.md.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.shared import measure
from benchmarks.shared.measure import RESULTS, Row, digits, told
from benchmarks.speed.pipeline import GAIN_WORKERS, gain

OURS = "streamrnn"
README = Path(__file__).parents[1] / "README.md"
MARKS = "<!-- what benchmarks.speed.draw writes begins -->", "<!-- and ends -->"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": OURS,  # the same file for the same figures
    "font.family": "sans-serif",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "0.9",
    "axes.spines.top": False,
    "axes.spines.right": False,
}

Curves = dict[str, dict[int, float]]  # name -> x -> y


def latencies(rows: list[Row], what: str) -> Curves:
    """Microseconds by units: ours and every peer's."""
    curves: Curves = defaultdict(dict)
    for row in rows:
        if row.what == what and row.size:
            curves[OURS][row.size] = row.ours
            curves[row.against][row.size] = row.peer
    return curves


def rates(rows: list[Row]) -> Curves:
    """Frames a second by workers, for each size of layer."""
    curves: Curves = defaultdict(dict)
    for row in rows:
        for workers in GAIN_WORKERS:
            if row.what == gain(workers):
                curve = curves[f"2 × LSTM-{row.size}"]
                curve[1], curve[workers] = row.peer, row.ours
    return curves


def plot(path: Path, title: str, x: str, y: str, curves: Curves, powers_of_two: bool) -> None:
    """One picture; the vertical axis is logarithmic."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for name, points in sorted(curves.items(), key=lambda curve: -max(curve[1].values())):
        style = {"color": "black", "linewidth": 2.5} if name == OURS else {}
        axes.plot(*zip(*sorted(points.items()), strict=True), marker="o", label=name, **style)
    axes.set_yscale("log")
    if powers_of_two:
        axes.set_xscale("log", base=2)
    ticks = sorted({k for points in curves.values() for k in points})
    axes.set_xticks(ticks, map(str, ticks), minor=False)
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_formatter=NullFormatter())
    axes.yaxis.set_major_formatter("{x:,g}")
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def markdown(machine: dict[str, Any], programs: dict[str, list[Row]]) -> str:
    """The machine, and all rows in one table."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    text = f"{machine['processor']}; {machine['cores']} cores; Python {machine['python']}, {versions}.\n\n"
    text += "| | | units | ours | peer | | against | ratio | must | |\n|---|---|--:|--:|--:|---|---|--:|--:|---|\n"
    for program, rows in programs.items():
        for row in rows:
            figures = digits(row.ours), digits(row.peer), row.unit, row.against, digits(row.ratio)
            must = "" if row.must is None else digits(row.must)
            cells = f"`{program}`", row.what, str(row.size or ""), *figures, must, told(row)
            text += f"| {' | '.join(cells)} |\n"
    return text


def draw(path: Path) -> None:
    """All pictures, beside the file, and the table."""
    machine, programs = measure.read(path)
    if path.resolve() == RESULTS:
        begin, end = MARKS
        table = f"{begin}\n{markdown(machine, programs)}{end}"
        README.write_text(re.sub(f"{begin}.*{end}", lambda _: table, README.read_text(), flags=re.DOTALL))
    where = machine["processor"].split(",")[0]
    with plt.rc_context(STYLE):
        steps, frames = latencies(programs["step"], "LSTM step"), latencies(programs["learn"], "LSTM, step and learn")
        units, time = "units (as many inputs)", "µs a frame"
        plot(path.with_name("step.svg"), f"one LSTM step, batch 1 ({where})", units, time, steps, True)
        plot(path.with_name("learn.svg"), f"step and learn, batch 1 ({where})", units, time, frames, True)
        by_workers = rates(programs["pipeline"])
        title = f"a daemon learns text: 1 worker on 1 core, several on 2 ({where})"
        plot(path.with_name("workers.svg"), title, "workers", "frames/s", by_workers, False)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS)
