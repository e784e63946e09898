"""What a forecast says of each channel, and the newest alarms, for the live view."""

import math
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from streamrnn.cli.sparkline import sparkline
from streamrnn.workers.supervision.wording import printable

COLUMNS = "value", "forecast", "lower", "upper"
# naive forecasts: what was forecast of the same values, and what they are called
NAIVE = {"same_again": ("forecast", "same again"), "season": ("season_forecast", "yesterday")}
CURVES = {"recent": ("lately", "cyan"), "surprise": ("surprise", "red")}  # by key: what they are called
ALARM_LINES = 2  # of one alarm, at most


def channel_table(channels: Mapping[str, Any], rows: int) -> Table:
    """`channels` of a status, so many at most: name, newest value, forecast of the next with its ends, and curves."""
    curves = {name: style for name, style in CURVES.items() if name in channels}
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis")
    for _ in COLUMNS:
        table.add_column(justify="right", no_wrap=True, overflow="ellipsis")
    for _ in curves:
        table.add_column(no_wrap=True, overflow="crop")
    stream = printable(channels["stream"] or "")
    table.add_row(f"stream {stream}" if stream else "", *COLUMNS, *(name for name, _ in curves.values()), style="dim")
    count = len(channels["name"])
    shown = count if count <= rows else max(rows - 1, 1)
    for k in range(shown):
        numbers = [number(channels[column][k]) for column in COLUMNS]
        drawn = [Text(curve(channels[key][k]), style) for key, (_, style) in curves.items()]
        unit = channels.get("unit", [""] * count)[k]
        name = Text.assemble(printable(channels["name"][k]), (f" {printable(unit)}" if unit else "", "dim"))
        table.add_row(name, Text(numbers[0], "bold"), *numbers[1:], *drawn)
    if shown < count:
        table.add_row(f"and {count - shown} more", style="dim")
    if "score" in channels:
        table.add_row("score", score(channels), "of", number(channels["threshold"]), style="dim")
    return table


def curve(values: Iterable[float | None]) -> str:
    """A line of bars, gaps where there is no number."""
    return sparkline([math.nan if value is None else value for value in values])[0]


def score(channels: Mapping[str, Any]) -> Text:
    """How unusual the newest values are, beside what an alarm takes."""
    alarming = (channels["score"] or 0.0) >= (channels["threshold"] or math.inf)
    return Text(number(channels["score"]), "bold red" if alarming else "bold")


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
    """Four digits; a dash where there is no number."""
    return "–" if value is None else f"{value:.4g}"
