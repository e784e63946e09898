"""A config for a table of readings: its columns, and a network that is ready for any."""

import json
from pathlib import Path
from typing import Any, NamedTuple

DAY = 86_400.0  # seconds
MOST = 100_000  # frames of a season that are kept
FEWEST = 24  # frames in a day, where days are watched for

TEXT = """# A table of readings: forecasts the next of every channel, with an interval, and watches for what is unusual.
#     streamrnn run {file}
name = {name}
predict = "next"

[input]
kind = "vector"
size = {size}
channels = {channels}
{units}standardize = true         # each channel is scaled online to mean 0 and deviation 1
missing = "fill"           # a reading that is not there is the one before, decaying to the mean; it is not scored

[[layers]]
cell = "gru"
units = 32

[readout]
kind = "forecast"
size = {size}
{seasons}
{anomaly}[optimizer]
kind = "adam"
learning_rate = 2e-3

[learning]
window = 1                 # learn from every reading at once

[pipeline]
placement = [2]            # layer and readout in one process: their messages would cost more than they do
block = 1024               # rows in a message where they come fast
in_flight = 4096

[source]
kind = {kind}
{source}"""


class Readings(NamedTuple):
    """What is known of a table."""

    kind: str  # of source
    channels: list[str]
    units: dict[str, str]  # of those that have one
    step: float | None  # seconds from one reading to the next, where they have times
    source: dict[str, Any]  # the other keys of [source]

    @property
    def day(self) -> int:
        """Readings in a day; 0 where there are no times, too few readings, or more than are kept."""
        day = round(DAY / self.step) if self.step else 0
        return day if 1 < day <= MOST else 0


def table_config(readings: Readings, name: str, file: str = "FILE.toml") -> str:
    """The text of a config; name: the daemon's; file: what the config is to be called."""
    day = readings.day
    seasons = (
        f"seasons = [{day}]            # readings in a day: what came at this time yesterday is one of the experts\n"
    )
    anomaly = f"[anomaly]\nday = {day}\nalarms_per_day = 0.1       # in the long run, of all channels together\n\n"
    units = ", ".join(f"{toml(name)} = {toml(unit)}" for name, unit in readings.units.items())
    return TEXT.format(
        file=file,
        name=toml(name),
        size=len(readings.channels),
        channels=toml(readings.channels),
        units=f"units = {{{units}}}\n" if readings.units else "",
        seasons=seasons if day else "",
        anomaly=anomaly if day >= FEWEST else "",
        kind=toml(readings.kind),
        source="".join(f"{key} = {toml(value)}\n" for key, value in readings.source.items() if value),
    )


def toml(value: Any) -> str:
    """A value as TOML writes it: strings, numbers, booleans and lists are as in JSON, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def name_of(path: str) -> str:
    """A daemon's name from that of a file."""
    stem = Path(path).name.split(".")[0] if path != "-" else "input"
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "-" for letter in stem)
    return kept[:64] or "table"
