"""Where a daemon's own frames come from.

A kind of source is a file here, with its table of the config, and a name in the union below.
"""

from typing import Any, get_args

import msgspec

from streamrnn.sources.csv import CsvConfig
from streamrnn.sources.frames import NO_TIME, Frames
from streamrnn.sources.jsonl import JsonlConfig
from streamrnn.sources.kafka import KafkaConfig
from streamrnn.sources.mqtt import MqttConfig
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
    "open_source",
    "reading",
]

AnySource = TextConfig | CsvConfig | JsonlConfig | MqttConfig | KafkaConfig | SensorsConfig | NoSource
KINDS: tuple[type[SourceTable], ...] = get_args(AnySource)


def open_source(table: dict[str, Any]) -> Source | None:
    """The source that [source] describes, in plain values; None = frames come only from clients. Raises SourceError."""
    return msgspec.convert(table, AnySource).open()
