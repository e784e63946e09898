"""The command line: `python -m benchmarks.cuda [--json FILE] [--simulate]`."""

from benchmarks.shared import measure

# isort: split
import json as json_format
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

NO_GPU = "there is no GPU that numba.cuda can use; --simulate runs the program through without one, at tiny sizes"
SIMULATOR = {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
REFERENCES = "STREAMRNN_CUDA_REFERENCES"  # for the simulated process: where the core's bits are
IDENTITY_SECONDS, SPEED_SECONDS = 150.0, 180.0  # after which no more is begun
COSTS = (1000, 128), (1, 512)  # streams and units
console = Console(width=None if Console().is_terminal else 140)


def main(
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all that was found.")] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Without a GPU: tiny sizes, figures mean nothing.")
    ] = False,
) -> None:
    """The GPU's bits beside the CPU's, and its speed beside PyTorch's. 8 minutes on an H100.

    Exit code 1: a bit differs, or a figure misses what it must reach; 2: there is no GPU.
    """
    if simulate and REFERENCES not in os.environ:
        raise typer.Exit(simulated(json))
    from streamrnn.cuda.compiler import cuda

    if not cuda.is_available():
        Console(stderr=True, width=200).print(NO_GPU)
        raise typer.Exit(2)
    raise typer.Exit(everything(simulate, json))


def simulated(json: Path | None) -> int:
    """Run the program again: the core's bits by compiled kernels, then the rest where kernels are plain Python."""
    with tempfile.TemporaryDirectory() as folder:
        references = Path(folder) / "references.npz"
        subprocess.run([sys.executable, "-m", "benchmarks.cuda.identity", str(references)], check=True)
        options = ["--json", str(json)] if json else []
        command = [sys.executable, "-m", "benchmarks.cuda", "--simulate", *options]
        return subprocess.run(command, env=os.environ | SIMULATOR | {REFERENCES: str(references)}).returncode


def everything(simulate: bool, json: Path | None) -> bool:
    """Whether something is not as it must be; all that was found is in the file after each part."""
    began, device = time.monotonic(), device_name(simulate)
    console.print(f"on {device}, beside {measure.processor()}")
    found: dict[str, Any] = {"machine": measure.machine() | {"device": device}, "simulated": simulate}
    for part in (identity, speed, costs, pipeline):
        found |= part(simulate)
        found["seconds"] = time.monotonic() - began
        if json:
            json.write_text(json_format.dumps(found, indent=1, ensure_ascii=False) + "\n")
    differ = [each for each in (*found["identity"]["cases"], *found["pipeline"]) if each["differs"]]
    missed = [f"{row['what']} x {row['size']}, {row['against']}" for row in found["speed"] if missed_by(row)]
    missed += found["not_measured"]
    console.print(
        f"\n{found['seconds']:.0f} s", f"BITS DIFFER: {len(differ)} times" if differ else "no bit differs", sep="\n"
    )
    if not simulate:
        console.print(f"MISSED: {'; '.join(missed)}" if missed else "what must be reached is reached")
    return bool(differ or (missed and not simulate))


def device_name(simulate: bool) -> str:
    """What numba.cuda computes on."""
    from streamrnn.cuda.compiler import cuda

    if simulate:
        return "a simulated device"
    name = cuda.get_current_device().name
    return name.decode() if isinstance(name, bytes) else str(name)


def missed_by(row: dict[str, Any]) -> bool:
    """Whether a row misses what it must reach."""
    return row["must"] is not None and not row["ratio"] >= row["must"]


def identity(simulate: bool) -> dict[str, Any]:
    """Bits of the device beside those of a core: each case that differs, and a summary."""
    from benchmarks.cuda.cases import TINY, WHOLE, cases, few
    from benchmarks.cuda.identity import verdicts

    scale = TINY if simulate else WHOLE
    chosen = few(scale) if simulate else list(cases(scale))
    references = Path(os.environ[REFERENCES]) if simulate else None
    table, taken = Table("case", "differs", title="bits that differ from a core's", title_justify="left"), []
    for verdict in verdicts(scale, chosen, references, IDENTITY_SECONDS):
        facts = verdict._asdict() | {"case": str(verdict.case)}
        taken.append(facts)
        if verdict.differs:
            table.add_row(str(verdict.case), "\n".join(verdict.differs))
        if verdict.updates == 0:
            console.print(f"{verdict.case}: no update came of it")
    if table.row_count:
        console.print(table)
    updates, seconds = (sum(each[key] for each in taken) for key in ("updates", "seconds"))
    console.print(
        f"{len(taken)} of {len(chosen)} cases of {scale.frames:,} frames, {updates:,} updates, {seconds:.0f} s"
    )
    left_out = [str(case) for case in chosen[len(taken) :]]
    return {"identity": {"cases": taken, "left_out": left_out}}


def speed(simulate: bool) -> dict[str, Any]:
    """Rows, what was left out, and what must reach something and was not measured."""
    from benchmarks.cuda import speed as program

    if program.peer is None:
        console.print("PyTorch is not here: ours is measured alone, beside one core")
    sizes, until = program.TINY if simulate else program.WHOLE, time.monotonic() + SPEED_SECONDS
    left_out: list[str] = []
    rows = list(program.rows(sizes, left_out, lambda: time.monotonic() > until))
    measure.show("a block of a frame of each stream, LSTM", rows)
    for line in left_out:
        console.print(f"left out: {line}")
    there = {(row.what, row.size, row.against) for row in rows}
    wanted = {(program.named(work, streams), units, against) for work, streams, units, against in program.MUST}
    missing = sorted(f"{what} x {units}, {against}: not measured" for what, units, against in wanted - there)
    return {"speed": [finite(row._asdict()) for row in rows], "left_out": left_out, "not_measured": missing}


def finite(row: dict[str, Any]) -> dict[str, Any]:
    """What is no number is None in JSON."""
    return {name: None if value != value else value for name, value in row.items()}


def costs(simulate: bool) -> dict[str, Any]:
    """Where the time of a block goes."""
    from benchmarks.cuda.costs import costs as spent

    found = []
    for streams, units in [(2, 4)] if simulate else COSTS:
        title = f"a block of {streams:,} streams x LSTM-{units}, learning; times in µs"
        table = Table("", "times", "bytes", "host", "device", title=title, title_justify="left")
        each = spent(streams, units)
        for cost in each:
            table.add_row(cost.what, *(measure.digits(value) for value in cost[1:]))
        total = [sum(column) for column in list(zip(*each, strict=True))[1:]]
        table.add_row("all", *(measure.digits(value) for value in total))
        console.print(table)
        found.append({"streams": streams, "units": units, "costs": [cost._asdict() for cost in each]})
    return {"costs": found}


def pipeline(simulate: bool) -> dict[str, Any]:
    """A daemon with one worker on the GPU and one on the CPU."""
    if simulate:
        console.print("a pipeline on the GPU and the CPU: not in the simulator, which is for one process")
        return {"pipeline": []}
    from benchmarks.cuda.pipeline import mixed

    found = mixed()
    for each in found:
        said = each.failure and f"could not run: {each.failure}"
        console.print(f"workers on {each.devices}: {said or '; '.join(each.differs) or 'the bits of the CPU'}")
    return {"pipeline": [each._asdict() for each in found]}


if __name__ == "__main__":
    typer.run(main)
