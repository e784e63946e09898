"""Figures and names in words that fit on a line, in the log as on the screen."""

import unicodedata
from collections.abc import Mapping
from typing import Any


def left_line(left: Mapping[str, Any]) -> str:
    """What is left of catching up: `frames`, and `seconds` or None where that is not known yet."""
    seconds = "" if left["seconds"] is None else f", about {left['seconds']:.0f} s"
    return f"{left['frames']:,} frames to go through again{seconds}"


def alarm_line(alarm: Mapping[str, Any]) -> str:
    """An alarm: of which `stream`, at which frame (`seq`), and its `words`."""
    return f"stream {alarm['stream']}, frame {alarm['seq']:,}: {alarm['words']}"


def sink_line(sink: Mapping[str, Any]) -> str:
    """How a sink is: `kind`, `line`, how many outputs it has `written` and `missed`, and its `trouble`."""
    missed = f", {sink['missed']:,} missed" if sink["missed"] else ""
    trouble = f"  {sink['trouble']}" if sink["trouble"] else ""
    return f"{sink['kind']}  {sink['line']}  {sink['written']:,} written{missed}{trouble}"


def receiver_line(receiver: Mapping[str, Any]) -> str:
    """How a receiver of alarms is: `kind`, `line`, how many it was `sent`, how many are `waiting`, its `trouble`."""
    waiting = f", {receiver['waiting']:,} waiting" if receiver["waiting"] else ""
    missed = f", {receiver['missed']:,} outputs missed" if receiver["missed"] else ""
    trouble = f"  {receiver['trouble']}" if receiver["trouble"] else ""
    return f"{receiver['kind']}  {receiver['line']}  {receiver['sent']:,} alarms sent{waiting}{missed}{trouble}"


def printable(text: str) -> str:
    """On one line, and nothing that a terminal would obey: ↵ for a new line, · for what cannot be shown."""
    return "".join(_visible(letter) for letter in text)


def displayable(text: str) -> str:
    """The same on many lines, with tabs."""
    return "".join(letter if letter in "\n\t" else _visible(letter) for letter in text)


def _visible(letter: str) -> str:
    if letter == "\n":
        return "↵"
    return letter if letter == " " or not unicodedata.category(letter).startswith(("C", "Z")) else "·"


def duration(seconds: float) -> str:
    """`12.3 s`, `04:05` or `1:02:03`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes:02}:{rest:02}"


def short(count: int) -> str:
    """A count in a few characters: `950`, `12.3k`, `4.5M`."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)
