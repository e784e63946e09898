"""All the speed benchmarks, one after the other: `python -m benchmarks [FILE]`.

Each in a process of its own; the rows of all go to benchmarks/results/speed.json, and the pictures beside it.
"""

import ast
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.shared import measure
from benchmarks.shared.measure import RESULTS, Row

PROGRAMS = "step", "learn", "run", "deep_river", "streams", "pipeline", "text", "memory", "start"
PLACES = "speed", "quality", "reliability"


def run(program: str, *options: str) -> list[Row]:
    """The rows of a program, which prints its table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        call(program, "--json", str(path), *options)
        return measure.read(path)[1][program]


def call(program: str, *options: str) -> None:
    """Run it to its end, which must be a good one."""
    subprocess.run([sys.executable, "-m", f"benchmarks.speed.{program}", *options], check=True)


def first_lines(place: str) -> list[str]:
    """What each program of a place does, as the first line of its file says; the line names its command."""
    paths = sorted((Path(__file__).parent / place).rglob("*.py"))
    lines = [(ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0] for path in paths]
    return [line for line in lines if "`python -m" in line]


def programs() -> str:
    """All of them by place."""
    return "\n\n".join("\n\n".join([f"{place}:", *first_lines(place)]) for place in PLACES)


def main(
    text: Annotated[Path | None, typer.Argument(metavar="FILE", help="A text; without, Python's own help.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A short run, whose figures are rough.")] = False,
    json: Annotated[
        Path, typer.Option(metavar="FILE", show_default=False, help="Where the rows go; the pictures lie beside.")
    ] = RESULTS,
) -> None:
    json.parent.mkdir(parents=True, exist_ok=True)
    options = ["--quick"] if quick else []
    found: dict[str, list[Row]] = {}
    for program in PROGRAMS:
        source = [str(text)] if program == "text" and text else []
        found[program] = run(program, *source, *options)
        measure.write(json, found)
    call("draw", str(json))


main.__doc__ = f"Run {', '.join(PROGRAMS)}, ours and the peers', one after the other.\n\n{programs()}"

if __name__ == "__main__":
    typer.run(main)
