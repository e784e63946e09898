"""Where a daemon's own frames come from.

A kind of source is a file here, with its table of the config, and a name in the union below.
"""

from typing import Any, get_args

import msgspec

from streamrnn.kernels.columns import NO_TIME
from streamrnn.sources.csv import CsvConfig
from streamrnn.sources.frames import Frames, joined
from streamrnn.sources.jsonl import JsonlConfig
from streamrnn.sources.kafka import KafkaConfig
from streamrnn.sources.mqtt import MqttConfig
from streamrnn.sources.none import NoSource
from streamrnn.sources.sensors import SensorsConfig
from streamrnn.sources.source import LastingError, Position, Problems, Rereadable, Source, SourceError, SourceTable
from streamrnn.sources.table import TableConfig
from streamrnn.sources.text import TextConfig

__all__ = [
    "KINDS",
    "NO_TIME",
    "AnySource",
    "Frames",
    "LastingError",
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

AnySource = TextConfig | CsvConfig | JsonlConfig | MqttConfig | KafkaConfig | SensorsConfig | NoSource
FIELDS = "columns", "time", "time_format", "zone", "key", "bad_rows"  # of a source's records
TABLES = {(".csv", ".tsv"): "csv", (".jsonl", ".ndjson"): "jsonl"}  # by how the names of files end
KINDS: tuple[type[SourceTable], ...] = get_args(AnySource)


def table_of(plain: dict[str, Any]) -> SourceTable:
    """The table that describes a source, from plain values."""
    return msgspec.convert(plain, AnySource)


def reading(path: str, instead_of: SourceTable) -> AnySource:
    """What `--source PATH` and `--backfill PATH` mean: that file once through, its fields those of another source.

    A name that ends as those of tables do, or another source that has fields, makes it a table; else it is a text.
    """
    named = {name: getattr(instead_of, name) for name in FIELDS if getattr(instead_of, name, None) is not None}
    kind = next((kind for endings, kind in TABLES.items() if path.removesuffix(".gz").lower().endswith(endings)), None)
    if kind or named:
        kind = kind or (instead_of.kind if isinstance(instead_of, TableConfig) else "csv")
        return msgspec.convert({"kind": kind, "path": path, **named}, AnySource)
    return TextConfig(path=path, passes=1)
