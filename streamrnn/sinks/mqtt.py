"""MQTT: the record of each output on a topic of its stream, at least once, and whether the daemon is there.

    PREFIX/STREAM/output    a record in JSON, see `streamrnn.sinks.records`; QoS 1
    PREFIX/status           "online" or "offline", retained; the broker says the latter where the daemon dies

After a death what the broker had not confirmed comes again: `run` and `seq` of a record tell. With `discovery` each
stream appears in Home Assistant as a device, see `streamrnn.sinks.discovery`.
"""

import re
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from streamrnn.protocol import mqtt
from streamrnn.sinks.sink import About, Problems, Sink, SinkError, SinkTable
from streamrnn.tables import NonEmpty

if TYPE_CHECKING:
    from paho.mqtt.client import Client

    from streamrnn.sinks.records import Record

MOST_UNCONFIRMED = 1000  # messages
PATIENCE = 5.0  # seconds until there is room for another; then it is tried from the beginning
CLOSING = 1.0  # seconds that the last messages may take
MOST_STREAMS = 10_000  # that are kept in mind
ONLINE, OFFLINE = "online", "offline"
EVENTS = ("begins", "ends")  # that no rate holds back
# what a level of a topic cannot have, and what brokers do not take: control characters, and what Unicode says is none
NO_CHARACTERS = "".join(chr(plane + k) for plane in range(0, 0x110000, 0x10000) for k in (0xFFFE, 0xFFFF))
REPLACED = re.compile(f"[+#/\\x00-\\x1f\\x7f-\\x9f\\ufdd0-\\ufdef{NO_CHARACTERS}]")


class MqttSink(Sink):
    """Sends with a thread of paho's, which connects again by itself."""

    def __init__(self, table: "MqttConfig", about: About) -> None:
        self._table, self._about = table, about
        self._prefix = table.prefix or about.name
        self._status = f"{self._prefix}/status"
        self._unconfirmed = 0  # messages
        self._refusal = ""  # why the broker does not take them
        self._changed = threading.Condition()
        self._sent: dict[str, float] = {}  # when a stream's newest record was
        self._held: dict[str, Record] = {}  # newest records of streams that came too soon
        self._announced: dict[str, tuple[str, bytes]] = {}  # discovery of streams: topic and payload
        try:
            self._client = mqtt.client_for(table, table.client_id or "")
        except OSError as error:
            raise SinkError(str(error)) from None
        self._connect()

    def write(self, records: "Sequence[Record]") -> int:
        before = len(self._sent)
        count = 0
        for record in records:
            stream, now = record["stream"], time.monotonic()
            self._announce(stream)
            if record.get("event") in EVENTS or now - self._sent.get(stream, -1e9) >= self._table.pause:
                count += self._publish(record, now)
            else:
                self._held[stream] = record
        now = time.monotonic()
        for stream in [each for each in self._held if now - self._sent.get(each, -1e9) >= self._table.pause]:
            count += self._publish(self._held[stream], now)
        if before > MOST_STREAMS:
            self._forget()
        return count

    def flush(self, seconds: float) -> bool:
        with self._changed:
            confirmed = self._changed.wait_for(lambda: not self._unconfirmed, seconds)
        if self._refusal:
            raise SinkError(self._refusal)
        return confirmed

    def close(self) -> None:
        with suppress(SinkError):
            for record in list(self._held.values()):
                self._publish(record, time.monotonic())
            self._send(self._status, OFFLINE.encode(), retain=True)
            self.flush(CLOSING)
        self._client.disconnect()
        self._client.loop_stop()

    def _connect(self) -> None:
        client = self._client
        client.will_set(self._status, OFFLINE, qos=1, retain=True)
        client.on_connect, client.on_connect_fail = self._on_connect, self._on_connect_fail
        client.on_disconnect, client.on_publish = self._on_disconnect, self._on_publish
        host, port = mqtt.address(self._table.url)
        client.connect_async(host, port, mqtt.KEEPALIVE)
        client.loop_start()

    def _publish(self, record: "Record", now: float) -> int:
        """Send a record, in the place of one that was held back."""
        stream = record["stream"]
        self._held.pop(stream, None)
        self._sent[stream] = now
        self._send(output_topic(self._prefix, stream), msgspec.json.encode(record))
        return 1

    def _announce(self, stream: str) -> None:
        """Have a stream that is new appear in Home Assistant."""
        if self._table.discovery and stream not in self._announced:
            from streamrnn.sinks.discovery import announcement

            topics = output_topic(self._prefix, stream), self._status
            topic, payload = announcement(self._table.discovery, self._about, self._prefix, stream, *topics)
            self._announced[stream] = topic, msgspec.json.encode(payload)
            self._send(*self._announced[stream], retain=True)

    def _send(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Send a message as soon as not too many are unconfirmed. Raises SinkError where that takes too long."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._unconfirmed < MOST_UNCONFIRMED, PATIENCE):
                raise SinkError(self.trouble or f"{self._table.url}: confirms nothing for {PATIENCE:.0f} s")
        self._post(topic, payload, retain)

    def _post(self, topic: str, payload: bytes, retain: bool) -> None:
        with self._changed:
            self._unconfirmed += 1
        self._client.publish(topic, payload, qos=1, retain=retain)  # without the lock: paho has its own

    def _forget(self) -> None:
        """What is oldest of each stream."""
        for known in (self._sent, self._announced):
            while len(known) > MOST_STREAMS:
                known.pop(next(iter(known)))

    # by paho's thread

    def _on_connect(self, _: "Client", __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if reason.is_failure:
            self.trouble = f"{self._table.url}: {reason}; tries again"
            return
        self.trouble = ""
        self._post(self._status, ONLINE.encode(), retain=True)
        for topic, payload in list(self._announced.values()):  # the broker may have begun anew
            self._post(topic, payload, retain=True)

    def _on_connect_fail(self, _: "Client", __: Any) -> None:
        self.trouble = f"{self._table.url}: {sys.exc_info()[1]}; tries again"

    def _on_disconnect(self, _: "Client", __: Any, ___: Any, reason: Any, ____: Any) -> None:
        self.trouble = self.trouble or f"{self._table.url}: the connection broke ({reason}); tries again"

    def _on_publish(self, _: "Client", __: Any, ___: int, reason: Any, ____: Any) -> None:
        if reason.is_failure:
            self._refusal = f"{self._table.url}: refuses a message: {reason}"
        with self._changed:
            self._unconfirmed -= 1
            self._changed.notify_all()


class MqttConfig(SinkTable, frozen=True, kw_only=True, tag="mqtt"):
    paths: ClassVar[tuple[str, ...]] = mqtt.PATHS

    url: NonEmpty  # mqtt://HOST or mqtts://HOST (TLS), and :PORT where it is not 1883 or 8883
    prefix: NonEmpty | None = None  # of topics; default: the daemon's name
    discovery: NonEmpty | None = None  # prefix of Home Assistant's topics, mostly "homeassistant"; default: none
    every: Annotated[float, Meta(ge=0, le=1e6)] | None = None  # seconds between two records of a stream, at least; the
    # newest counts, and an alarm that begins or ends goes out at once; default: 0 = all records, 1 with discovery
    client_id: NonEmpty | None = None  # by which the broker knows this client; default: as it likes
    user: NonEmpty | None = None
    password_file: NonEmpty | None = None  # of mode 600
    ca: NonEmpty | None = None  # file of the certificates to trust; default: the system's
    certificate: NonEmpty | None = None  # file of one to be shown to the broker
    certificate_key: NonEmpty | None = None  # file of its key; default: in the same file

    @property
    def origin(self) -> str:
        return f"mqtt {self.url} {self.prefix or ''}".strip()

    @property
    def line(self) -> str:
        return f"{self.url}{f', {self.prefix}/#' if self.prefix else ''}"

    @property
    def pause(self) -> float:
        """Seconds between two records of a stream, at least."""
        return float(self.every if self.every is not None else bool(self.discovery))

    def problems(self) -> Problems:
        if find_spec("paho") is None:
            yield "kind", '"mqtt" needs more than is installed: pip install streamrnn[mqtt]'
        yield from mqtt.problems(self)
        for key in ("prefix", "discovery"):
            if set(getattr(self, key) or "") & set("+#\0"):
                yield key, 'cannot have "+" or "#" in it'

    def open(self, about: About) -> MqttSink:
        return MqttSink(self, about)


def output_topic(prefix: str, stream: str) -> str:
    """Where the records of a stream are: what its name cannot have in a topic is replaced."""
    return f"{prefix}/{REPLACED.sub('_', stream)}/output"
