"""Where a daemon's alarms go.

A kind of receiver is a file here, with its table of the config, and a name in the union below.
"""

from typing import Any

import msgspec

from streamrnn.alarms.command import CommandConfig
from streamrnn.alarms.log import LogConfig
from streamrnn.alarms.mqtt import MqttAlarmConfig
from streamrnn.alarms.table import Carrier, ReceiverTable, Surroundings
from streamrnn.alarms.webhook import WebhookConfig

__all__ = ["AnyReceiver", "Carrier", "ReceiverTable", "Surroundings", "receiver_of"]

AnyReceiver = WebhookConfig | MqttAlarmConfig | CommandConfig | LogConfig


def receiver_of(plain: dict[str, Any]) -> ReceiverTable:
    """The table that describes a receiver, from plain values."""
    return msgspec.convert(plain, AnyReceiver)
