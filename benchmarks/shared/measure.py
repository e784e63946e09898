"""What the speed benchmarks share: one thread, runs in turn, rows with a target, a table, a file.

Import it before NumPy and PyTorch, which read the number of threads when they are loaded.
"""

import json as json_format
import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parents[1] / "results" / "speed.json"
THREADS = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"
HELD_BACK = "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"  # would let OpenBLAS use an older processor's kernels
PACKAGES = "streamrnn", "numba", "llvmlite", "numpy", "pyzmq", "torch", "onnxruntime", "deep-river", "river"

os.environ |= dict.fromkeys(THREADS, "1")
for name in HELD_BACK:
    os.environ.pop(name, None)


class Row(NamedTuple):
    """A figure of ours beside a peer's, or beside a limit."""

    what: str
    size: int | None  # units of the layers
    ours: float
    peer: float
    unit: str
    against: str  # the peer or the limit
    ratio: float  # how many times better ours is
    must: float | None  # that the ratio reaches; None where the row is only there to know


def faster(what: str, size: int | None, ours: float, against: str, peer: float, must: float | None = None) -> Row:
    """Of two times in seconds, the shorter is better."""
    unit, scale = ("µs", 1e6) if ours < 0.1 else ("s", 1.0)
    return Row(what, size, scale * ours, scale * peer, unit, against, peer / ours, must)


def more(what: str, size: int | None, ours: float, against: str, peer: float, unit: str, must: float | None) -> Row:
    """Of two rates, the higher is better."""
    return Row(what, size, ours, peer, unit, against, ours / peer, must)


def less(what: str, size: int | None, ours: float, against: str, peer: float, unit: str, must: float | None) -> Row:
    """Of two amounts, the smaller is better."""
    return Row(what, size, ours, peer, unit, against, peer / ours, must)


def seconds_each(runs: dict[str, Callable[[int], Any]], quick: bool) -> dict[str, float]:
    """Median seconds of a piece of work, each run being called with how many pieces to do.

    The runs take turns, A, B, A, B, ..., and about as long as each other, so that what disturbs hits all of them.
    """
    span, repeats = (0.02, 3) if quick else (0.1, 15)
    counts = {name: pieces(run, span) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(seconds(run, counts[name]) / counts[name])
    return {name: median(values) for name, values in times.items()}


def pieces(run: Callable[[int], Any], span: float) -> int:
    """How many take about that many seconds; the run is warm then."""
    for _ in range(3):
        run(1)
    count = 1
    while (took := seconds(run, count)) < span / 2:
        count *= 2
    return max(1, round(count * span / took))


def seconds(run: Callable[[int], Any], count: int) -> float:
    """That one run takes."""
    start = perf_counter()
    run(count)
    return perf_counter() - start


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except ImportError:
            continue
    python = platform.python_version()
    return {"processor": processor(), "cores": os.cpu_count(), "python": python, "versions": versions}


def processor() -> str:
    """Its name, its family and model where the name does not tell, and the cache of a core."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return "{model name}, family {cpu family}, model {model}, cache {cache size}".format_map(facts)


def show(title: str, rows: list[Row]) -> None:
    """The table of a program."""
    table = Table(title=title, title_justify="left")
    for column in ("", "units", "ours", "peer", "", "against", "ratio", "must", ""):
        table.add_column(column, justify="left" if column in ("", "against") else "right")
    for row in rows:
        must = "" if row.must is None else digits(row.must)
        size = "" if row.size is None else str(row.size)
        figures = digits(row.ours), digits(row.peer), row.unit
        table.add_row(row.what, size, *figures, row.against, digits(row.ratio), must, told(row))
    Console(width=None if Console().is_terminal else 140).print(table)


def told(row: Row) -> str:
    """Whether it is what it must be."""
    return "" if row.must is None else "reached" if row.ratio >= row.must else "MISSED"


def digits(value: float) -> str:
    """Three significant ones, or all of a large number."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write(path: Path, programs: dict[str, list[Row]]) -> None:
    """The rows of each program, and the machine."""
    rows = {name: [row._asdict() for row in found] for name, found in programs.items()}
    path.write_text(json_format.dumps({"machine": machine(), "programs": rows}, indent=1, ensure_ascii=False) + "\n")


def read(path: Path) -> tuple[dict[str, Any], dict[str, list[Row]]]:
    """What `write` wrote: the machine, and the rows of each program."""
    found = json_format.loads(path.read_text())
    return found["machine"], {name: [Row(**row) for row in rows] for name, rows in found["programs"].items()}


def report(name: str, title: str, rows: list[Row], path: Path | None) -> None:
    """Show what a program found, and write it if there is a file to write it to."""
    show(title, rows)
    if path:
        write(path, {name: rows})


def main(name: str, title: str, measure: Callable[[bool], list[Row]]) -> None:
    """The command line of a program."""

    def command(
        quick: Annotated[bool, typer.Option("--quick", help="A short run, whose figures are rough.")] = False,
        json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rows.")] = None,
    ) -> None:
        report(name, title, measure(quick), json)

    command.__doc__ = f"{title[0].upper()}{title[1:]}."
    typer.run(command)
