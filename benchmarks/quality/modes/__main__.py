"""Five ways of processing a sequence, learned live on real tasks: `python -m benchmarks.quality.modes [DATA]`."""

import json as json_format
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.quality.modes.captions import Captions
from benchmarks.quality.modes.digits import Digits
from benchmarks.quality.modes.highlight import Highlight
from benchmarks.quality.modes.reviews import Reviews
from benchmarks.quality.modes.task import Task, daemon
from benchmarks.quality.modes.translate import Translate

TASKS: dict[str, type[Task]] = {
    "digits": Digits,
    "captions": Captions,
    "reviews": Reviews,
    "translate": Translate,
    "highlight": Highlight,
}


def run(name: str, task: Task, seed: int, console: Console) -> dict:
    """Learn and examine; what it came to."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with daemon(task.config) as client, Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        total = task.passes * len(task.pairs)
        row = bar.add_task(f"{name}: {task.passes} passes over {len(task.pairs):,} sequences", total=total)
        start = time.monotonic()
        task.teach(client, seed, lambda count: bar.advance(row, count))
        while client.status()["scored"] < task.passes * task.targets:
            time.sleep(0.05)
        seconds, frames = time.monotonic() - start, client.status()["frames"]
        bar.update(row, description=f"{name}: examining")
        figures = task.examine(client)
    return {
        "task": name,
        "mode": task.mode,
        "passes": task.passes,
        "sequences": len(task.pairs),
        "frames": frames,
        "seconds": seconds,
        "figures": [figure._asdict() for figure in figures],
        "others": task.others(),
    }


def show(results: list[dict], console: Console) -> None:
    """The table: what was reached on held-out examples, beside what must be and what others reach."""
    table = Table(title="five modes, held-out examples", show_lines=True)
    for column in ("task", "passes", "learned", "reached", "must", "others on the same examples"):
        table.add_column(column)
    for result in results:
        reached = [
            f"{value(figure['reached'])} {figure['name']}" + ("" if figure["reached"] >= figure["must"] else "  MISSED")
            for figure in result["figures"]
        ]
        table.add_row(
            f"{result['task']}\n{result['mode']}",
            str(result["passes"]),
            f"{result['frames']:,} frames\n{result['seconds']:.0f} s",
            "\n".join(reached),
            "\n".join(value(figure["must"]) for figure in result["figures"]),
            "\n".join(result["others"]),
        )
    console.print(table)


def value(number: float) -> str:
    """A share as per cent, a score as it is."""
    return f"{number:.1%}" if number <= 1 else f"{number:.1f}"


def main(
    data: Annotated[Path | None, typer.Argument(help="Folder with sentences-polarity.tsv and eng-fra.tsv.")] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="TASK", help=f"One of {', '.join(TASKS)}.")] = None,
    seed: Annotated[int, typer.Option(help="Of the order in which examples are taught.")] = 0,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results.")] = None,
) -> None:
    """The five ways of processing a sequence, each on a real task, learned live by a daemon of its own."""
    console, results = Console(), []
    for name in only or TASKS:
        if name not in TASKS:
            sys.exit(f"there is no task {name}: choose among {', '.join(TASKS)}")
        made = TASKS[name]
        if made.file and not (data and (data / made.file).is_file()):
            console.print(f"{name}: left out, it needs a folder with {made.file}: make modes DATA=FOLDER")
            continue
        results.append(run(name, made(data or Path()), seed, console))
        console.print("{task}: {frames:,} frames in {seconds:.0f} s".format(**results[-1]))
    show(results, console)
    if json:
        json.write_text(json_format.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
