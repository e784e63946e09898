"""The pipeline in a line or a few: what each worker does, and the share of the last seconds that it was busy."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from streamrnn.cli.sparkline import LEVELS
from streamrnn.workers.supervision.wording import printable

LATE = 2.0  # seconds without a report
FULL = 0.9  # a share from which on a worker is what the others wait for
LINES = 3  # at most
ARROW = " → "


def pipeline_lines(workers: Sequence[Mapping[str, Any]], width: int) -> list[Text]:
    """The `workers` of a status, each with its `share` of time, in lines of that width, as many as there may be."""
    lines: list[Text] = []
    for k, worker in enumerate(workers):
        part = _worker(worker)
        part.truncate(width - len(ARROW), overflow="ellipsis")
        if lines and lines[-1].cell_len + len(ARROW) + part.cell_len <= width:
            lines[-1].append(ARROW, "dim").append_text(part)
        elif len(lines) < LINES:
            lines.append(Text("→ " if k else "", "dim", no_wrap=True, overflow="ellipsis").append_text(part))
        else:
            lines[-1] = Text(f"→ and {len(workers) - k + 1} more workers", "dim", no_wrap=True, overflow="ellipsis")
            break
    return lines


def _worker(worker: Mapping[str, Any]) -> Text:
    place = f" on {worker['device']}" if worker.get("device", "cpu") != "cpu" else ""
    return Text.assemble(printable(f"{worker['does']}{place} "), _how(worker))


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
    return f"{bar} {share:.0%}", "bold yellow" if share >= FULL else "bold green"
