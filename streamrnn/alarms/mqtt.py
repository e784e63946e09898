"""MQTT: each message in JSON on one topic, QoS 1; the broker answers by confirming it."""

import sys
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from streamrnn.alarms.outbox import Message
from streamrnn.alarms.table import Carrier, ReceiverTable, Surroundings
from streamrnn.protocol import mqtt
from streamrnn.sinks.sink import Problems, SinkError
from streamrnn.tables import NonEmpty

if TYPE_CHECKING:
    from paho.mqtt.client import Client


class MqttCarrier(Carrier):
    """Sends with a thread of paho's, which connects again by itself, and sends again what was not confirmed."""

    def __init__(self, table: "MqttAlarmConfig") -> None:
        self._table = table
        self._under_way = ""  # the message that paho has: its ID
        self._confirmed = threading.Event()
        self._trouble = self._refusal = ""
        try:
            self._client = mqtt.client_for(table, table.client_id or "")
        except OSError as error:
            raise SinkError(str(error)) from None
        client = self._client
        client.on_connect, client.on_connect_fail = self._on_connect, self._on_connect_fail
        client.on_disconnect, client.on_publish = self._on_disconnect, self._on_publish
        client.connect_async(*mqtt.address(table.url), mqtt.KEEPALIVE)
        client.loop_start()

    def deliver(self, message: Message) -> None:
        if self._under_way != message["id"]:
            self._confirmed.clear()
            self._under_way = message["id"]
            self._client.publish(self._table.topic, msgspec.json.encode(message), qos=1)
        if not self._confirmed.wait(self._table.timeout):
            raise SinkError(self._trouble or f"{self._table.line}: confirms nothing for {self._table.timeout:g} s")
        self._under_way = ""
        if self._refusal:
            raise SinkError(self._refusal)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    # by paho's thread

    def _on_connect(self, _: "Client", __: Any, ___: Any, reason: Any, ____: Any) -> None:
        self._trouble = f"{self._table.url}: {reason}; tries again" if reason.is_failure else ""

    def _on_connect_fail(self, _: "Client", __: Any) -> None:
        self._trouble = f"{self._table.url}: {sys.exc_info()[1]}; tries again"

    def _on_disconnect(self, _: "Client", __: Any, ___: Any, reason: Any, ____: Any) -> None:
        self._trouble = self._trouble or f"{self._table.url}: the connection broke ({reason}); tries again"

    def _on_publish(self, _: "Client", __: Any, ___: int, reason: Any, ____: Any) -> None:
        self._refusal = f"{self._table.url}: refuses a message: {reason}" if reason.is_failure else ""
        self._confirmed.set()


class MqttAlarmConfig(ReceiverTable, frozen=True, kw_only=True, tag="mqtt"):
    paths: ClassVar[tuple[str, ...]] = mqtt.PATHS

    url: NonEmpty  # mqtt://HOST or mqtts://HOST (TLS), and :PORT where it is not 1883 or 8883
    topic: NonEmpty
    client_id: NonEmpty | None = None  # by which the broker knows this client; default: as it likes
    user: NonEmpty | None = None
    password_file: NonEmpty | None = None  # of mode 600
    ca: NonEmpty | None = None  # file of the certificates to trust; default: the system's
    certificate: NonEmpty | None = None  # file of one to be shown to the broker
    certificate_key: NonEmpty | None = None  # file of its key; default: in the same file

    @property
    def place(self) -> str:
        return f"mqtt {self.url} {self.topic}"

    @property
    def line(self) -> str:
        return f"{self.url}, {self.topic}"

    def problems(self) -> Problems:
        if find_spec("paho") is None:
            yield "kind", '"mqtt" needs more than is installed: pip install streamrnn[mqtt]'
        yield from mqtt.problems(self)
        if set(self.topic) & set("+#\0"):
            yield "topic", 'cannot have "+" or "#" in it'

    def carrier(self, about: Surroundings) -> MqttCarrier:
        return MqttCarrier(self)
