"""Feed broken inputs to everything that reads what comes from outside: `python -m benchmarks.reliability.fuzz`.

Good messages, configs and checkpoints are mutated, or nothing but noise is made up, and fed to the real code in this
process. Each must be taken or refused as documented: any other exception, five seconds without an answer, or memory
that grows is a fault. What led to it is written to a file, which --replay feeds again.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.reliability.fuzz.feed import Case, Tally, fuzz, replay
from benchmarks.reliability.fuzz.targets import TARGETS

INPUTS = 1_000_000


def table(found: dict[str, Tally]) -> Table:
    """What came of all."""
    made = Table(title="fuzzing", title_justify="left")
    for column in ("", "inputs", "accepted", "refused", "per second", "MiB more", ""):
        made.add_column(column, justify="right" if column else "left")
    for name, tally in found.items():
        counts = tally.inputs, tally.accepted, tally.inputs - tally.accepted, round(tally.inputs / tally.seconds)
        verdict = "good" if tally.good else "FAULT" if tally.case else "GROWS"
        made.add_row(name, *(f"{count:,}" for count in counts), f"{tally.growth:.1f}", verdict)
    return made


def main(
    inputs: Annotated[int, typer.Option(min=1000, help="How many, over all targets.")] = INPUTS,
    seed: Annotated[int, typer.Option(help="Other inputs with another one.")] = 0,
    again: Annotated[Path | None, typer.Option("--replay", metavar="FILE", help="Feed what led to a fault.")] = None,
) -> None:
    """Feed broken inputs to all that reads from outside; exit code 1 if anything but the documented came of one."""
    if again:
        case = msgspec.json.decode(again.read_bytes(), type=Case)
        replay(case)
        print(f"{case.target}: {len(case.inputs)} inputs, no fault")
        return
    found: dict[str, Tally] = {}
    with Progress(console=Console(stderr=True)) as progress:
        for kind in TARGETS:
            count = inputs * kind.share // 1000
            task = progress.add_task(kind.name, total=count)
            found[kind.name] = fuzz(kind.name, count, seed, partial(progress.advance, task))
    Console().print(table(found))
    for name, tally in found.items():
        if tally.case:
            path = Path(f"fuzz-{name.replace(' ', '-')}.json")
            path.write_bytes(msgspec.json.encode(tally.case))
            print(f"{name}: {tally.case.fault}{path} holds what led to it: --replay {path}", file=sys.stderr)
    raise typer.Exit(0 if all(tally.good for tally in found.values()) else 1)


if __name__ == "__main__":
    typer.run(main)
