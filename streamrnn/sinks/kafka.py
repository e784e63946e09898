"""Kafka: a record for each output, once: the key is its stream, the headers `run` and `seq` say which it is.

After a death it goes on behind the last record of each partition, which it reads back. The producer is idempotent, so
what it sends again within its life is known to the brokers.
"""

import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from streamrnn.protocol.secrets import secret
from streamrnn.sinks.sink import About, Problems, Sink, SinkError, SinkTable
from streamrnn.tables import NonEmpty

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message, Producer

    from streamrnn.sinks.records import Record

TAIL = 100  # records of a partition among which the last of a run is looked for: others may write there too
PATIENCE = 10.0  # seconds for an answer
FULL = 5.0  # seconds until there is room for another record; then it is tried from the beginning
QUEUE = 65_536  # kilobytes of records that wait to be sent

FIXED: dict[str, Any] = {
    "enable.idempotence": True,
    "message.timeout.ms": 0,  # a record that is given up would be missing among the others
    "queue.buffering.max.kbytes": QUEUE,
}
READING: dict[str, Any] = {
    "group.id": "streamrnn-sink",  # the library asks for one; nothing is committed to it
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "enable.partition.eof": True,
}


class KafkaSink(Sink):
    def __init__(self, table: "KafkaConfig", settings: Mapping[str, Any]) -> None:
        self._table, self._settings = table, settings
        self._producer: Producer | None = None
        self._partitions = 0
        self._last: dict[int, int] = {}  # SEQ of the last record in each partition
        self._refusal = ""  # why a record was not taken

    def last(self, run: str) -> int | None:
        from confluent_kafka import Consumer, Producer

        with self._errors(), closing(Consumer({**self._settings, **READING})) as consumer:
            partitions = self._find_partitions(consumer)
            self._last = {k: seq for k in partitions if (seq := self._last_in(consumer, k, run)) is not None}
            self._producer = Producer({**self._settings, **FIXED, "error_cb": self._on_error})
        return self._last.get(partitions[0]) if len(partitions) == 1 else None

    def write(self, records: "Sequence[Record]") -> int:
        count = 0
        for record in records:
            partition = self._partition(record["stream"])
            if record["seq"] > self._last.get(partition, -1):
                self._send(record, partition)
                self._last[partition] = record["seq"]
                count += 1
        assert self._producer
        self._producer.poll(0)
        self._see_refusal()
        return count

    def flush(self, seconds: float) -> bool:
        assert self._producer
        sent = self._producer.flush(seconds) == 0
        self._see_refusal()
        self.trouble = "" if sent else self.trouble or f"{self._table.line}: confirms nothing"
        return sent

    def close(self) -> None:
        if self._producer:
            self._producer.purge()
            self._producer.flush(0)

    def _find_partitions(self, consumer: "Consumer") -> list[int]:
        """Those that are written to."""
        topic = consumer.list_topics(self._table.topic, PATIENCE).topics[self._table.topic]
        if topic.error or not topic.partitions:
            raise SinkError(f"{self._table.line}: {topic.error or 'there is no such topic'}")
        self._partitions = len(topic.partitions)
        if self._table.partition is None:
            return list(range(self._partitions))
        if self._table.partition >= self._partitions:
            raise SinkError(f"{self._table.line}: the topic has no partition {self._table.partition}")
        return [self._table.partition]

    def _partition(self, stream: str) -> int:
        fixed = self._table.partition
        return zlib.crc32(stream.encode()) % self._partitions if fixed is None else fixed

    def _last_in(self, consumer: "Consumer", partition: int, run: str) -> int | None:
        """SEQ of the last record of that run in a partition."""
        from confluent_kafka import KafkaError, TopicPartition

        low, high = consumer.get_watermark_offsets(TopicPartition(self._table.topic, partition), PATIENCE)
        consumer.assign([TopicPartition(self._table.topic, partition, max(low, high - TAIL))])
        found, until = None, time.monotonic() + PATIENCE
        while high > low:
            for message in consumer.consume(TAIL, 1.0):
                if error := message.error():
                    if error.code() == KafkaError._PARTITION_EOF:
                        return found
                    raise SinkError(f"{self._table.line}: {error}")
                seq = seq_of(message, run)
                found = found if seq is None else seq
            if time.monotonic() > until:
                raise SinkError(f"{self._table.line}: its last records cannot be read")
        return found

    def _send(self, record: "Record", partition: int) -> None:
        assert self._producer
        headers = [("run", record["run"].encode()), ("seq", str(record["seq"]).encode())]
        value, key = msgspec.json.encode(record), record["stream"].encode()
        until = time.monotonic() + FULL
        while True:
            try:
                self._producer.produce(
                    self._table.topic, value, key, partition, headers=headers, on_delivery=self._on_delivery
                )
                return
            except BufferError:
                self._producer.poll(0.1)
                if time.monotonic() > until:
                    text = self.trouble or f"{self._table.line}: confirms nothing for {FULL:.0f} s"
                    raise SinkError(text) from None

    def _see_refusal(self) -> None:
        if self._refusal:
            raise SinkError(f"{self._table.line}: {self._refusal}")

    def _on_delivery(self, error: Any, _: "Message") -> None:
        if error:
            self._refusal = str(error)

    def _on_error(self, error: Any) -> None:
        self.trouble = f"{self._table.line}: {error.str()}; tries again"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of the library as those of a sink."""
        from confluent_kafka import KafkaException

        try:
            yield
        except KafkaException as error:
            raise SinkError(f"{self._table.line}: {error.args[0].str()}") from None


class KafkaConfig(SinkTable, frozen=True, kw_only=True, tag="kafka"):
    paths: ClassVar[tuple[str, ...]] = ("password_file",)

    servers: Annotated[list[NonEmpty], Meta(min_length=1)]  # HOST:PORT of some of the brokers
    topic: NonEmpty  # which no other daemon writes to
    partition: Annotated[int, Meta(ge=0)] | None = None  # default: each stream has one of them all
    password_file: NonEmpty | None = None  # of mode 600; that of the option "sasl.username"
    options: dict[str, str] = msgspec.field(default_factory=dict)  # of librdkafka, as "sasl.username" = "me"

    @property
    def origin(self) -> str:
        return f"kafka {','.join(self.servers)} {self.topic}"

    @property
    def line(self) -> str:
        return f"{', '.join(self.servers)}, {self.topic}"

    def problems(self) -> Problems:
        if find_spec("confluent_kafka") is None:
            yield "kind", '"kafka" needs more than is installed: pip install streamrnn[kafka]'
        for key in self.options:
            if key in FIXED or key in READING or key == "bootstrap.servers":
                yield "options", f'cannot have "{key}", which this sink sets itself'
            elif "password" in key or "secret" in key:
                yield "options", f'cannot have "{key}": put a password into a password_file'

    def open(self, about: About) -> KafkaSink:
        settings = {"log_level": "0", **self.options, "bootstrap.servers": ",".join(self.servers)}
        try:
            if self.password_file:
                settings["sasl.password"] = secret(self.password_file)
        except OSError as error:
            raise SinkError(str(error)) from None
        return KafkaSink(self, settings)


def seq_of(message: "Message", run: str) -> int | None:
    """The SEQ that a record's headers say, None where it is not of that run."""
    headers = dict(message.headers() or ())
    seq = headers.get("seq")
    return int(seq) if isinstance(seq, bytes) and headers.get("run") == run.encode() else None
