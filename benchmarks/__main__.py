"""All the speed benchmarks, one after the other: `python -m benchmarks [TEXT]`.

Each in a process of its own; the rows of all go to benchmarks/results.json, and the pictures beside it.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import draw, measure
from benchmarks.daemon import TEXT, learn
from benchmarks.measure import Row, more

PROGRAMS = "step", "learn", "deep_river", "streams", "pipeline", "text", "memory", "start"
BYTES, BYTES_QUICK = 1_000_000, 100_000
LSTM_COMPRESS, MUST = 14_500, 3  # bytes a second that it takes in on an EPYC of 2024 (Zen 5)
RESULTS = Path(__file__).parent / "results.json"


def run(program: str, quick: bool) -> list[Row]:
    """The rows of a program, which prints its table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        options = ["--quick"] if quick else []
        subprocess.run([sys.executable, "-m", f"benchmarks.{program}", "--json", str(path), *options], check=True)
        return measure.read(path)[1][program]


def text_rows(path: Path | None, quick: bool) -> list[Row]:
    """configs/text.toml over that text, or over the one that comes with Python."""
    count = BYTES_QUICK if quick else path.stat().st_size if path else BYTES
    source = ["--source", str(path)] if path else []
    options = *source, "--max-frames", str(count)
    learn(TEXT.read_text(), "--max-frames", "1000")  # compiles what is not compiled yet
    rate = learn(TEXT.read_text(), *options)["frames_per_second"]
    what = f"one pass over {path.name}" if path else "one pass over Python's help"
    rows = [more(what, 128, rate, "lstm-compress, an earlier figure", LSTM_COMPRESS, "bytes/s", MUST)]
    measure.show("the whole daemon on text", rows)
    return rows


def main(
    text: Annotated[Path | None, typer.Argument(help="Such as tinyshakespeare; without, Python's own help.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A short run, whose figures are rough.")] = False,
    json: Annotated[Path, typer.Option(metavar="FILE", help="Where the rows go; the pictures lie beside.")] = RESULTS,
) -> None:
    """Measure everything, ours and the peers'."""
    json.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Row]] = {}
    for program in PROGRAMS:
        found[program] = text_rows(text, quick) if program == "text" else run(program, quick)
        measure.write(json, found)
    draw.draw(json)


if __name__ == "__main__":
    typer.run(main)
