"""Where a daemon's own frames come from.

A kind of source is a file here, with its table of the config, and a name in the union below.
"""

from typing import Any, get_args

import msgspec

from streamrnn.sources.csv import CsvConfig
from streamrnn.sources.frames import NO_TIME, Frames, joined
from streamrnn.sources.jsonl import JsonlConfig
from streamrnn.sources.none import NoSource
from streamrnn.sources.sensors import SensorsConfig
from streamrnn.sources.source import Position, Problems, Rereadable, Source, SourceError, SourceTable
from streamrnn.sources.text import TextConfig, reading

__all__ = [
    "KINDS",
    "NO_TIME",
    "AnySource",
    "Frames",
    "NoSource",
    "Position",
    "Problems",
    "Rereadable",
    "Source",
    "SourceError",
    "SourceTable",
    "joined",
    "reading",
    "table_of",
]

AnySource = TextConfig | CsvConfig | JsonlConfig | SensorsConfig | NoSource
KINDS: tuple[type[SourceTable], ...] = get_args(AnySource)


def table_of(plain: dict[str, Any]) -> SourceTable:
    """The table that describes a source, from plain values."""
    return msgspec.convert(plain, AnySource)
