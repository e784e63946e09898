"""Messages of an MQTT broker: each once and in order, over any death of the daemon or the broker.

Version 5 with a session that the broker keeps (see `brokers.session`); a message is acknowledged when it is
on the disk. What was published with QoS 0 comes too, and what of that was not yet on the disk is lost with the daemon.

Messages that the broker retains are not taken: such a one is as old as its topic has been silent, and would come again
with each new session.
"""

import math
import re
import sys
import threading
from itertools import combinations
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import TYPE_CHECKING, Annotated, Any, Self

import msgspec
from msgspec import Meta

from streamrnn.model.tables import Input
from streamrnn.protocol import mqtt
from streamrnn.sources.brokers import topics as filters
from streamrnn.sources.brokers.inbox import Inbox
from streamrnn.sources.brokers.messages import MessageTable, Readings
from streamrnn.sources.brokers.session import Session
from streamrnn.sources.brokers.window import LIMIT, Message, Window
from streamrnn.sources.fields import Reading
from streamrnn.sources.frames import Frames
from streamrnn.sources.source import Position, Problems, Source, SourceError
from streamrnn.tables import NonEmpty

if TYPE_CHECKING:
    from paho.mqtt.client import Client

SESSION = 7 * 86_400  # seconds for which a broker is asked to keep a session that nobody uses
LARGEST = 1 << 20  # bytes of a packet; a broker leaves out what is larger
BACKLOG = 1000  # messages of QoS 0 that wait for the gate
QUESTION = "$streamrnn/acknowledged"  # a topic that nobody has asked for: that it is not wanted any more is answered

WHOLE, LEVEL = "topic:*", re.compile(r"topic:([1-9][0-9]{0,3})")  # as a key: the whole topic, or a level of it


class MqttSource(Source):
    """Reads with a thread of paho's. Made, it does nothing until it is asked for its `delay`."""

    acknowledges = True

    def __init__(self, table: "MqttConfig", client: "Client") -> None:
        """client: of paho's, not connected yet."""
        self._table, self._client = table, client
        self._readings = Readings(table.fields())
        self.names = tuple(self._readings.fields.channels)
        self._session = Session()
        self._window = Window()
        self._inbox: Inbox[Message | bool] = Inbox()  # True, False: connected, and the session is there or not
        self._lock = threading.Lock()
        self._connection = 0  # number of that which the newest message read has come over
        self._live = 0  # number of the present one; 0 = none
        self._connections = 0
        self._question: int | None = None  # number of the packet that asked the newest question
        self._topics = table.topics  # that the broker's session has, as far as is known
        self._begun = False

    @property
    def position(self) -> Position:
        return {**self._session.position, "topics": self._table.topics}

    def go_to(self, position: Position) -> None:
        if position is not None:
            self._session.go_to(position)
            self._topics = position["topics"]

    def delay(self) -> float:
        if not self._begun:
            self._begin()
        return 0.0 if len(self._inbox) else math.inf

    def fileno(self) -> int:
        return self._inbox.fileno()

    def read(self, limit: int) -> Frames:
        readings = []
        with self._lock:
            for item in self._inbox.take(limit):
                if isinstance(item, bool):
                    self._connected(item)
                elif reading := self._reading(item):
                    readings.append(reading)
            self._acknowledge()
        self.refused, self.refusal = self._readings.refused, self._readings.refusal
        return self._readings.fields.frames(readings)

    def durable(self, position: Position) -> None:
        with self._lock:
            self._session.durable(position)
            self._acknowledge()

    def close(self) -> None:
        self._inbox.close()
        self._client.disconnect()

    def _begin(self) -> None:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        self._begun = True
        client, wanted = self._client, Properties(PacketTypes.CONNECT)
        wanted.ReceiveMaximum, wanted.SessionExpiryInterval = LIMIT, SESSION
        wanted.MaximumPacketSize = LARGEST
        client.on_connect, client.on_connect_fail = self._on_connect, self._on_connect_fail
        client.on_subscribe, client.on_disconnect = self._on_subscribe, self._on_disconnect
        client.on_socket_open = self._on_socket_open
        client.on_message, client.on_unsubscribe = self._on_message, self._on_unsubscribe
        host, port = mqtt.address(self._table.url)
        client.connect_async(host, port, mqtt.KEEPALIVE, clean_start=False, properties=wanted)
        client.loop_start()

    # by the gate's thread, with the lock

    def _connected(self, present: bool) -> None:
        self._connection += 1
        if self._session.connected(present):
            self.lost = f"{self._table.url} did not know this session any more: what came while it was away is lost"

    def _reading(self, message: Message) -> Reading | None:
        """What a message says, if it comes for the first time and is a frame."""
        packet, dup, topic, payload = message
        if packet and not self._session.is_new(packet, dup, topic.encode(), payload):
            return None
        reading = self._readings.read(topic, payload, self._table.about(topic))
        if packet:
            self._session.took(packet, reading is not None)
        return reading

    def _acknowledge(self) -> None:
        """Only over the connection that a message has come over: over another one its number may be another's."""
        packets = self._session.acknowledged()
        if self._live == self._connection:
            for packet in packets:
                self._client.ack(packet, 1)
            self._window.acknowledged(len(packets))
            self._ask()

    # by either

    def _ask(self) -> None:
        if self._window.must_ask():
            self._question = self._client.unsubscribe(QUESTION)[1]

    # by paho's thread

    def _on_socket_open(self, _: "Client", __: Any, socket: Any) -> None:
        socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # acknowledgements are small, and each would wait for the last

    def _on_connect(self, client: "Client", _: Any, flags: Any, reason: Any, __: Any) -> None:
        if reason.is_failure:
            self.trouble = f"{self._table.url}: {reason}; tries again"
            return
        self.trouble = ""
        with self._lock:
            self._connections += 1
            self._live = self._connections
            self._window.begin()
            self._inbox.put(bool(flags.session_present))
        gone = [topic for topic in self._topics if topic not in self._table.topics]
        if gone:
            client.unsubscribe(gone)
        client.subscribe([(topic, _options(self._table.qos)) for topic in self._table.topics])

    def _on_connect_fail(self, _: "Client", __: Any) -> None:
        self.trouble = f"{self._table.url}: {sys.exc_info()[1]}; tries again"

    def _on_subscribe(self, _: "Client", __: Any, ___: int, reasons: list[Any], ____: Any) -> None:
        refused = [f"{t}: {r}" for t, r in zip(self._table.topics, reasons, strict=False) if r.is_failure]
        if refused:
            self.trouble = f"{self._table.url} refuses topics: {'; '.join(refused)}"

    def _on_disconnect(self, _: "Client", __: Any, ___: Any, reason: Any, ____: Any) -> None:
        with self._lock:
            self._live = 0
        self.trouble = self.trouble or f"{self._table.url}: the connection broke ({reason}); tries again"

    def _on_message(self, _: "Client", __: Any, message: Any) -> None:
        with self._lock:
            if not message.mid and len(self._inbox) + len(self._window.waiting) >= BACKLOG:
                self.lost = f"{self._table.url}: messages of QoS 0 come faster than they are learned from"
                return
            self._window.waiting.append(Message(message.mid, message.dup, message.topic, message.payload))
            self._let_in()

    def _on_unsubscribe(self, _: "Client", __: Any, question: int, ___: Any, ____: Any) -> None:
        with self._lock:
            if question == self._question:
                self._window.answered()
                self._ask()
                self._let_in()

    def _let_in(self) -> None:
        for message in self._window.let_in():
            self._inbox.put(message)


class MqttConfig(MessageTable, frozen=True, kw_only=True, tag="mqtt"):
    module = "paho"
    paths = mqtt.PATHS

    url: NonEmpty  # mqtt://HOST or mqtts://HOST (TLS), and :PORT where it is not 1883 or 8883
    topics: Annotated[list[NonEmpty], Meta(min_length=1)]  # with + for one level and # for all that follow
    qos: Annotated[int, Meta(ge=0, le=2)] = 1  # 0: the broker keeps nothing while the daemon is away
    client_id: NonEmpty | None = None  # by which the broker knows the session; default: streamrnn-NAME
    user: NonEmpty | None = None
    password_file: NonEmpty | None = None  # of mode 600
    ca: NonEmpty | None = None  # file of the certificates to trust; default: the system's
    certificate: NonEmpty | None = None  # file of one to be shown to the broker
    certificate_key: NonEmpty | None = None  # file of its key; default: in the same file

    @property
    def line(self) -> str:
        return f"{self.url}, {', '.join(self.topics)}"

    @property
    def origin(self) -> str:
        return f"{self.url} as {self.client_id}"

    @property
    def level(self) -> int | None:
        """That of the topic which names the stream, counted from 1; 0 = the whole topic does, None = it does not."""
        found = LEVEL.fullmatch(self.key or "")
        return 0 if self.key == WHOLE else int(found[1]) if found else None

    def about(self, topic: str) -> dict[str, str | int | None]:
        """The field that is in the topic of a message."""
        return {} if self.key is None or self.level is None else {self.key: filters.level(topic, self.level)}

    def completed(self, name: str, input: Input) -> Self:
        table = super().completed(name, input)
        return msgspec.structs.replace(table, client_id=self.client_id or f"streamrnn-{name}")

    def misfits(self, input: Input) -> Problems:
        yield from super().misfits(input)
        yield from ((f"source.{key}", problem) for key, problem in mqtt.problems(self))
        if self.qos == 2:
            reason = "what had been taken but was not yet on the disk would be lost for good with the daemon; 1 is not"
            yield "source.qos", f"must be 1, which gives each message once too: with 2, {reason}"
        for topic in self.topics:
            if problem := filters.problem(topic):
                yield "source.topics", f'"{topic}" {problem}'
        for one, other in combinations(self.topics, 2):
            if filters.overlap(one, other):
                yield "source.topics", f'"{one}" and "{other}" choose the same topics, which would come twice'
        if (self.key or "").startswith("topic:") and self.level is None:
            yield "source.key", f'must be "topic:2" for the second level of the topic, or "{WHOLE}", not "{self.key}"'

    def open(self) -> MqttSource:
        try:
            return MqttSource(self, mqtt.client_for(self, self.client_id or "", manual_ack=True))
        except OSError as error:
            raise SourceError(str(error)) from None


def _options(qos: int) -> Any:
    from paho.mqtt.subscribeoptions import SubscribeOptions

    return SubscribeOptions(qos, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
