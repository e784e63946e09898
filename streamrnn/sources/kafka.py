"""Records of Kafka topics: each once, partition by partition in order, over any death of the daemon or the brokers.

The position is the daemon's own, as is usual where offsets are kept beside the results: of each partition the offset
that comes next. What is committed to the group follows what is on the disk, for tools that show how far behind it is,
and is never read back.

Records that were deleted before they were read are said, and not passed over unless the config says so.
"""

import math
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Meta

from streamrnn.model.tables import Input
from streamrnn.protocol.secrets import secret
from streamrnn.sources.brokers.kafka_reader import KafkaReader, Record
from streamrnn.sources.brokers.messages import MessageTable, Readings
from streamrnn.sources.fields import Fields
from streamrnn.sources.frames import Frames
from streamrnn.sources.source import Position, Problems, Source, SourceError
from streamrnn.tables import NonEmpty

KEY, PARTITION, TIMESTAMP = "record:key", "record:partition", "record:timestamp"  # beside what is in a record
FETCHED = 16_384  # kilobytes of records that the library holds

FIXED = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",  # any other passes over what is gone, and says nothing
    "isolation.level": "read_committed",
    "allow.auto.create.topics": False,
    "queued.max.messages.kbytes": FETCHED,
}


class KafkaSource(Source):
    """Made, it does nothing until it is asked for its `delay`."""

    def __init__(self, table: "KafkaConfig", settings: dict[str, Any]) -> None:
        self._readings = Readings(table.fields(), (KEY, PARTITION, TIMESTAMP))
        self.names = tuple(self._readings.fields.channels)
        self._reader = KafkaReader(table, settings, self)
        self._next: dict[str, int] = {}  # by topic/partition

    @property
    def position(self) -> Position:
        return {**self._reader.starts, **self._next}

    def go_to(self, position: Position) -> None:
        self._next = dict(position or {})
        self._reader.starts = dict(self._next)

    def delay(self) -> float:
        self._reader.start()
        return 0.0 if len(self._reader.inbox) else math.inf

    def fileno(self) -> int:
        return self._reader.inbox.fileno()

    def read(self, limit: int) -> Frames:
        readings = []
        for record in self._reader.inbox.take(limit):
            reading = self._readings.read(f"{record.place} at {record.offset}", record.value, _about(record))
            self._next[record.place] = record.offset + 1
            if reading:
                readings.append(reading)
        self.refused, self.refusal = self._readings.refused, self._readings.refusal
        return self._readings.fields.frames(readings)

    def durable(self, position: Position) -> None:
        self._reader.durable = position

    def close(self) -> None:
        self._reader.close()


class KafkaConfig(MessageTable, frozen=True, kw_only=True, tag="kafka"):
    module = "confluent_kafka"
    paths = ("password_file",)

    servers: Annotated[list[NonEmpty], Meta(min_length=1)]  # HOST:PORT of some of the brokers
    topics: Annotated[list[NonEmpty], Meta(min_length=1)]
    partitions: list[Annotated[int, Meta(ge=0)]] | None = None  # of each topic; default: all at the start
    start: Literal["earliest", "latest"] = "earliest"  # where nothing has been read yet
    gaps: Literal["stop", "jump"] = "stop"  # what to do where records were deleted before they were read
    group: NonEmpty | None = None  # to which is committed, for tools that show lags; default: streamrnn-NAME
    password_file: NonEmpty | None = None  # of mode 600; that of the option "sasl.username"
    options: dict[str, str] = msgspec.field(default_factory=dict)  # of librdkafka, as "sasl.username" = "me"

    @property
    def origin(self) -> str:
        return f"kafka {', '.join(self.servers)}"

    @property
    def line(self) -> str:
        return f"kafka {', '.join(self.servers)}, {', '.join(self.topics)}"

    def completed(self, name: str, input: Input) -> Self:
        table = super().completed(name, input)
        return msgspec.structs.replace(table, group=self.group or f"streamrnn-{name}")

    def fields(self) -> Fields:
        if self.time == TIMESTAMP:
            return Fields(self.columns or [], self.time, self.key, time_format="ms")
        return super().fields()

    def misfits(self, input: Input) -> Problems:
        yield from super().misfits(input)
        for key in self.options:
            if key in FIXED or key in ("bootstrap.servers", "group.id"):
                yield "source.options", f'cannot have "{key}", which this source sets itself'
            elif "password" in key or "secret" in key:
                yield "source.options", f'cannot have "{key}": put a password into a password_file'
        if len(set(self.topics)) < len(self.topics):
            yield "source.topics", "has a topic twice"
        if (self.key or "").startswith("record:") and self.key not in (KEY, PARTITION):
            yield "source.key", f'must be a field, "{KEY}" or "{PARTITION}", not "{self.key}"'

    def open(self) -> KafkaSource:
        settings: dict[str, Any] = {"bootstrap.servers": ",".join(self.servers), "group.id": self.group or "streamrnn"}
        if self.password_file:
            try:
                settings["sasl.password"] = secret(self.password_file)
            except OSError as error:
                raise SourceError(str(error)) from None
        return KafkaSource(self, {**self.options, **settings, **FIXED})


def _about(record: Record) -> dict[str, str | int | None]:
    """What is said of a record beside its value."""
    key = record.key.decode(errors="replace") if record.key else None
    return {KEY: key, PARTITION: str(record.partition), TIMESTAMP: record.milliseconds}
