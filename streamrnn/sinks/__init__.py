"""Where a daemon's outputs go.

A kind of sink is a file here, with its table of the config, and a name in the union below.
"""

from typing import Any, get_args

import msgspec

from streamrnn.sinks.csv import CsvConfig
from streamrnn.sinks.jsonl import JsonlConfig
from streamrnn.sinks.kafka import KafkaConfig
from streamrnn.sinks.mqtt import MqttConfig
from streamrnn.sinks.sink import About, Destination, Problems, Sink, SinkError, SinkTable

__all__ = ["KINDS", "About", "AnySink", "Destination", "Problems", "Sink", "SinkError", "SinkTable", "table_of"]

AnySink = JsonlConfig | CsvConfig | MqttConfig | KafkaConfig
KINDS: tuple[type[SinkTable], ...] = get_args(AnySink)


def table_of(plain: dict[str, Any]) -> SinkTable:
    """The table that describes a sink, from plain values."""
    return msgspec.convert(plain, AnySink)
