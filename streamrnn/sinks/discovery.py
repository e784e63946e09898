"""Home Assistant's MQTT discovery: what makes a stream appear there as a device with its sensors.

See https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload. Each channel has its value and what is
predicted; the stream its surprise, and with [anomaly] its score and whether there is an alarm.
"""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import version
from typing import Any

from streamrnn.sinks.sink import About

ALARM = "{{ 'ON' if value_json.event in ('begins', 'goes on') else 'OFF' }}"


def announcement(
    discovery: str, about: About, prefix: str, stream: str, output: str, status: str
) -> tuple[str, dict[str, Any]]:
    """Topic and payload for a stream, whose records are on the topic `output`."""
    device = identifier(f"streamrnn_{prefix}_{stream}")
    release = version("streamrnn")
    payload = {
        "dev": {
            "ids": [device],
            "name": f"{prefix} {stream}",
            "mf": "streamrnn",
            "mdl": about.records.readout.kind,
            "sw": release,
        },
        "o": {"name": "streamrnn", "sw": release},
        "cmps": {name: {**part, "unique_id": f"{device}_{name}"} for name, part in components(about)},
        "state_topic": output,
        "availability_topic": status,
        "qos": 1,
    }
    return f"{discovery}/device/{device}/config", payload


def components(about: About) -> Iterator[tuple[str, dict[str, Any]]]:
    """The sensors of a stream, by identifier."""
    records = about.records
    if records.readout.classes:
        yield "token", sensor("Likeliest token", "value_json.likeliest[0].token")
    for channel in records.names:
        at = f'value_json["channels"][{json.dumps(channel)}]'
        unit = records.units.get(channel)
        yield identifier(f"{channel}_value"), sensor(channel, f"{at}.value", unit)
        yield identifier(f"{channel}_prediction"), sensor(f"{channel} prediction", f"{at}.prediction", unit)
        if "spread" in records.parts:
            yield identifier(f"{channel}_spread"), sensor(f"{channel} spread", f"{at}.spread", unit)
    yield "surprise", sensor("Surprise", "value_json.loss", "nats")
    if records.anomaly:
        yield "score", sensor("Anomaly score", "value_json.score")
        alarm = {"p": "binary_sensor", "name": "Alarm", "device_class": "problem", "value_template": ALARM}
        yield "alarm", alarm


def sensor(name: str, value: str, unit: str | None = None) -> dict[str, Any]:
    """A number of a record."""
    about = {"p": "sensor", "name": name, "value_template": f"{{{{ {value} }}}}", "state_class": "measurement"}
    return about if unit is None else {**about, "unit_of_measurement": unit}


def identifier(name: str) -> str:
    """Of letters, digits, - and _; another one for each name."""
    plain = re.sub("[^A-Za-z0-9_-]", "_", name)
    return plain if plain == name else f"{plain[:64]}_{sha256(name.encode()).hexdigest()[:8]}"
