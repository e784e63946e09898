"""What is said of each channel, and the newest alarms, for the live view."""

import math
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from streamrnn.cli.sparkline import sparkline
from streamrnn.workers.supervision.wording import printable

COLUMNS = "value", "forecast", "prediction", "lower", "upper"
# naive forecasts: what was forecast of the same values, and what they are called
NAIVE = {"same_again": ("forecast", "same again"), "season": ("season_forecast", "yesterday")}
CURVES = {"recent": ("lately", "cyan"), "surprise": ("surprise", "red")}  # by key: what they are called
RECENT = 60  # values in a curve, at most
CURVE, BESIDE = 12, 20  # letters that one takes at least, and beside another
GAP, NAME = 2, 24  # letters between columns, and of a name, at most
DISPENSABLE = ("lower", "upper"), ("forecast", "prediction")  # where there is little room, in this order
LONG = 10  # letters of a number
ALARM_LINES = 2  # of one alarm, at most


def channel_table(channels: Mapping[str, Any], rows: int, width: int) -> Table:
    """`channels` of a status, so many rows at most: name, newest value, what is said of the next one, and curves.

    Where the width is too little for all, it goes without the ends of the interval, and then without what is said.
    """
    there = len(channels["name"])
    count = channels.get("count", there)  # of the network
    shown = count if count <= min(rows, there) else max(min(rows - 1, there), 1)
    named = _names(channels, shown)
    numbers = {name: [number(value) for value in channels[name][:shown]] for name in COLUMNS if name in channels}
    left = width - max(cell.cell_len for cell in named) - GAP
    room = _room(numbers, left)
    for unwanted in DISPENSABLE:
        if room < CURVE:
            numbers = {name: column for name, column in numbers.items() if name not in unwanted}
            room = _room(numbers, left)
    curves = _curves(channels, room)
    table = Table.grid(padding=(0, GAP, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis")
    for _ in numbers:
        table.add_column(justify="right", no_wrap=True, overflow="ellipsis")
    for _ in curves:
        table.add_column(no_wrap=True, overflow="crop")
    table.add_row(named[0], *numbers, *(CURVES[key][0] for key in curves), style="dim")
    for k in range(shown):
        cells = [Text(column[k], "bold" if name == "value" else "") for name, column in numbers.items()]
        drawn = [Text(curve(channels[key][k][-most:]), CURVES[key][1]) for key, most in curves.items()]
        table.add_row(named[k + 1], *cells, *drawn)
    if shown < count:
        table.add_row(f"and {count - shown} more", style="dim")
    return table


def _names(channels: Mapping[str, Any], shown: int) -> list[Text]:
    """Of the stream, and of so many channels with their units; what is too long is cut."""
    stream = printable(channels["stream"] or "")
    units = channels.get("unit", [""] * shown)
    named = [Text(f"stream {stream}" if stream else "")]
    for name, unit in zip(channels["name"][:shown], units, strict=False):
        named.append(Text.assemble(printable(name), (f" {printable(unit)}" if unit else "", "dim")))
    for cell in named:
        cell.truncate(NAME, overflow="ellipsis")
    return named


def _room(numbers: Mapping[str, list[str]], left: int) -> int:
    """Letters that are left for curves beside columns of numbers."""
    return left - sum(max(map(len, [name, *column])) + GAP for name, column in numbers.items())


def _curves(channels: Mapping[str, Any], room: int) -> dict[str, int]:
    """How many of the newest values each curve has: one alone where there is too little room for two."""
    there = [key for key in CURVES if key in channels]
    if len(there) > 1 and room < GAP + len(there) * BESIDE:
        there = there[:1]
    each = (room - GAP * (len(there) - 1)) // max(len(there), 1)
    return {key: max(min(each, RECENT), 1) for key in there}


def score_line(channels: Mapping[str, Any]) -> Text:
    """How unusual the newest values are, beside what an alarm takes."""
    alarming = (channels["score"] or 0.0) >= (channels["threshold"] or math.inf)
    seen = number(channels["score"]), "bold red" if alarming else "bold"
    return Text.assemble(("score ", "dim"), seen, (f" of {number(channels['threshold'])}", "dim"), no_wrap=True)


def curve(values: Iterable[float | None]) -> str:
    """A line of bars, gaps where there is no number."""
    return sparkline([math.nan if value is None else value for value in values])[0]


def error_table(errors: Mapping[str, Any] | None) -> Table:
    """`errors` of a status: each channel's mean absolute error beside that of naive forecasts, and their ratios."""
    errors = errors or {"name": [], "scored": []}
    naive = [name for name in NAIVE if any(value is not None for value in errors.get(name, ()))]
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("mean error of", no_wrap=True, overflow="ellipsis")
    for column in ("scored", "forecast", *(column for name in naive for column in (NAIVE[name][1], "ratio"))):
        table.add_column(column, justify="right", no_wrap=True, overflow="fold")
    for k, name in enumerate(errors["name"]):
        cells: list[str | Text] = [f"{errors['scored'][k]:,}", number(errors["forecast"][k])]
        for other in naive:
            cells += [number(errors[other][k]), ratio(errors[NAIVE[other][0]][k], errors[other][k])]
        table.add_row(Text(printable(name)), *cells)
    return table


def ratio(own: float | None, other: float | None) -> Text:
    """Of two errors."""
    if own is None or not other:
        return Text("–")
    return Text(f"{own / other:.2f}", "green" if own < other else "yellow")


def alarm_lines(alarms: Iterable[Mapping[str, Any]], width: int) -> list[Text]:
    """The newest alarms, the newest last, in lines of that width."""
    lines = []
    for alarm in alarms:
        wrapped = textwrap.wrap(
            printable(alarm_ago(alarm)), width, max_lines=ALARM_LINES, placeholder=" …", subsequent_indent="  "
        )
        lines += [Text(line, "yellow", no_wrap=True, overflow="ellipsis") for line in wrapped]
    return lines


def alarm_ago(alarm: Mapping[str, Any]) -> str:
    """An alarm of a status: its stream, how long ago, and its words."""
    frames = alarm["frames_ago"]
    return f"{alarm['stream']}, {frames:,} frame{'' if frames == 1 else 's'} ago: {alarm['words']}"


def number(value: float | None) -> str:
    """Four digits, two of one with a long exponent; a dash where there is no number."""
    if value is None:
        return "–"
    four = f"{value:.4g}"
    return four if len(four) <= LONG else f"{value:.2g}"
