"""The pipeline in a line or a few: what each worker does, and the share of the last seconds that it was busy."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from streamrnn.cli.sparkline import LEVELS
from streamrnn.cuda.device import CPU
from streamrnn.workers.supervision.wording import printable

GATE = "gate"  # a worker's name
LATE = 2.0  # seconds without a report
FULL = 0.9  # a share from which on a worker is what the others wait for
LINES = 3  # at most
JOINT, INDENT = " ─ ", "busy  "


def pipeline_lines(workers: Sequence[Mapping[str, Any]], width: int) -> list[Text]:
    """The `workers` of a status, each with its `share` of time, in lines of that width, a few at most."""
    room = width - len(INDENT)
    lines: list[list[Text]] = []
    for worker in workers:
        part = _worker(worker, room)
        if lines and sum(len(JOINT) + each.cell_len for each in lines[-1]) + part.cell_len <= room:
            lines[-1].append(part)
        else:
            lines.append([part])
    left = sum(len(line) for line in lines[LINES - 1 :]) if len(lines) > LINES else 0
    if left:
        lines[LINES - 1 :] = [[Text(f"and {left} more workers", "dim")]]
    heads = [INDENT, *[JOINT.rjust(len(INDENT))] * (len(lines) - 1)]
    return [
        Text.assemble((head, "dim"), Text(JOINT, "dim").join(line)) for head, line in zip(heads, lines, strict=False)
    ]


def _worker(worker: Mapping[str, Any], room: int) -> Text:
    """What it does, where, if that is no core, and how it is."""
    how = Text(*_how(worker))
    place = "" if worker.get("device", CPU) == CPU else f" on {worker['device']}"
    name = Text(printable(f"{worker['does']}{place}"))
    name.truncate(room - how.cell_len - 1, overflow="ellipsis")
    return Text.assemble(name, " ", how)


def _how(worker: Mapping[str, Any]) -> tuple[str, str]:
    """How busy it is, or why that is not known, and the style for it."""
    heard, share = worker["heard"], worker.get("share")
    if heard is None or not worker["memory"]:  # it has not reported yet
        return "starting", "yellow"
    if heard > LATE:
        return f"silent {heard:.0f} s", "bold red"
    if share is None:
        return "–", "dim"
    bar = LEVELS[round(share * (len(LEVELS) - 1))]
    if share < FULL:
        return f"{bar} {100 * share:.0f} %", "bold green"
    waits = " or full" if worker["name"] == GATE else ""  # it waits for the others too
    return f"{bar} {100 * share:.0f} %{waits}", "bold yellow"
