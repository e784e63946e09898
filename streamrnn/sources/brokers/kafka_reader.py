"""A thread that reads partitions of Kafka's topics, from offsets that it is given."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from streamrnn.sources.brokers.inbox import Inbox
from streamrnn.sources.source import Source, SourceError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, KafkaException, TopicPartition

    from streamrnn.sources.kafka import KafkaConfig

BACKLOG = 4096  # records that wait for the gate
AT_ONCE = 500  # records taken from the library at a time
PATIENCE = 0.1  # seconds for which the thread waits for records before it looks whether it is to end
ANSWER = 2.0  # seconds within which brokers must answer a question
COMMIT = 1.0  # seconds from one commit to the next, at least


class Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    milliseconds: int | None  # since 1970, its timestamp

    @property
    def place(self) -> str:
        """See `place`."""
        return place(self.topic, self.partition)


class KafkaReader:
    """Fills `inbox` with records, from `starts` on; says of `source` what trouble there is, and what is lost.

    After a gap it has stopped for good, unless the config says that it shall jump.
    """

    def __init__(self, table: "KafkaConfig", settings: dict[str, Any], source: Source) -> None:
        """Raises SourceError where the settings are none that Kafka's library knows."""
        from confluent_kafka import Consumer, KafkaException

        self._table, self._source = table, source
        self.inbox: Inbox[Record] = Inbox(BACKLOG)
        self.starts: dict[str, int] = {}  # the offsets that come first, by topic/partition, where they are known
        self.durable: Mapping[str, int] = {}  # the offsets behind all that is on the disk
        self._next: dict[str, int] = {}  # the offsets behind what was put into the inbox
        self._committed: Mapping[str, int] = self.durable
        self._commit_at = 0.0  # not before
        self._stopped, self._closed = False, False
        self._thread = threading.Thread(target=self._run, name="kafka", daemon=True)
        silent = logging.Logger("kafka", logging.CRITICAL + 1)  # what it would write is told to `_on_error` as well
        try:
            self._consumer = Consumer({**settings, "error_cb": self._on_error}, logger=silent)
        except KafkaException as error:
            raise SourceError(f"{table.line}: {_reason(error)}") from None

    def start(self) -> None:
        """Begin, if it has not begun."""
        if self._thread.ident is None:
            self._thread.start()

    def close(self) -> None:
        """End, within moments where brokers answer."""
        self._closed = True
        self.inbox.close()
        if self._thread.ident is None:
            self._consumer.close()
        else:
            self._thread.join(ANSWER)

    # by the thread

    def _run(self) -> None:
        try:
            self._begin()
            while not self._closed:
                self._receive()
                self._commit()
        except Exception as error:  # of the library, and else nobody would hear of it
            self._source.trouble = f"{self._table.line}: {error}"
        finally:
            self._consumer.close()

    def _begin(self) -> None:
        """Read all partitions, as soon as brokers answer."""
        resumed = bool(self.starts)  # then a partition that is not known is new, and nothing of it has been read
        while not self._closed:
            try:
                partitions = list(self._partitions())
                if self._table.start == "latest" and not resumed:
                    self.starts = {place(each.topic, each.partition): self._bounds(each)[1] for each in partitions}
            except SourceError as error:
                self._source.trouble = str(error)
                self._consumer.poll(PATIENCE)
            else:
                self._source.trouble = ""
                self._next = dict(self.starts)
                return self._read(partitions)

    def _partitions(self) -> "Iterator[TopicPartition]":
        """All that are to be read. Raises SourceError."""
        from confluent_kafka import KafkaException, TopicPartition

        for topic in self._table.topics:
            try:
                found = self._consumer.list_topics(topic, ANSWER).topics[topic]
            except KafkaException as error:
                raise self._trouble(_reason(error)) from None
            if found.error:
                raise self._trouble(f"{topic}: {found.error.str()}")
            wanted = sorted(found.partitions) if self._table.partitions is None else self._table.partitions
            if missing := [str(number) for number in wanted if number not in found.partitions]:
                raise self._trouble(f"{topic} has no partition {', '.join(missing)}")
            yield from (TopicPartition(topic, number) for number in wanted)

    def _bounds(self, partition: "TopicPartition") -> tuple[int, int]:
        """The oldest offset that is there, and the one that comes next. Raises SourceError."""
        from confluent_kafka import KafkaException

        try:
            low, high = self._consumer.get_watermark_offsets(partition, ANSWER)
        except KafkaException as error:
            raise self._trouble(_reason(error)) from None
        return low, high

    def _read(self, partitions: "list[TopicPartition]") -> None:
        """Have these come, each from behind what has come of it."""
        from confluent_kafka import OFFSET_BEGINNING

        for each in partitions:
            each.offset = self._next.get(place(each.topic, each.partition), OFFSET_BEGINNING)
        self._consumer.assign(partitions)

    def _receive(self) -> None:
        """Put what has come into the inbox."""
        first = self._consumer.poll(PATIENCE)
        if first is None:
            return self._look()
        for message in [first, *self._consumer.consume(AT_ONCE, 0)]:
            record, error = _record(message), message.error()
            if error is None:
                self.inbox.put(record)
                self._next[record.place] = record.offset + 1
                self._source.trouble = ""
            elif error.code() == error._AUTO_OFFSET_RESET:
                return self._gap(record)  # what is left of these comes again
            else:
                self._source.trouble = str(self._trouble(f"{record.place}: {error.str()}"))

    def _look(self) -> None:
        """Nothing comes: if there was trouble, see whether it is over."""
        if not self._source.trouble or self._stopped:
            return
        try:
            list(self._partitions())
            self._source.trouble = ""
        except SourceError as error:
            self._source.trouble = str(error)

    def _gap(self, wanted: Record) -> None:
        """The record that comes next is not there any more: stop, or go on with the oldest that is there."""
        from confluent_kafka import TopicPartition

        try:
            low, high = self._bounds(TopicPartition(wanted.topic, wanted.partition))
        except SourceError as error:
            self._source.trouble = str(error)
            return self._read(self._consumer.assignment())
        said = f"{wanted.place}: records {wanted.offset} to {low - 1} were deleted before they were read"
        if wanted.offset >= low:
            said = f"{wanted.place}: record {wanted.offset} should come next, and it ends at {high}: it was made anew"
        if self._table.gaps == "jump":
            self._source.lost = said
            self._next[wanted.place] = low
            return self._read(self._consumer.assignment())
        self._stopped = True
        self._source.trouble = f'{said}; to go on without them, set gaps = "jump" in the source'
        self._consumer.unassign()

    def _commit(self) -> None:
        """Tell the group what is on the disk, now and then. It does not matter whether that arrives."""
        from confluent_kafka import KafkaException, TopicPartition

        offsets, now = self.durable, time.monotonic()
        if offsets is self._committed or now < self._commit_at:
            return
        self._committed, self._commit_at = offsets, now + COMMIT
        split = [(*where.rpartition("/"), offset) for where, offset in offsets.items()]
        with suppress(KafkaException):
            self._consumer.commit(offsets=[TopicPartition(topic, int(number), at) for topic, _, number, at in split])

    def _on_error(self, error: "KafkaError") -> None:
        if not self._stopped:
            self._source.trouble = str(self._trouble(error.str()))

    def _trouble(self, what: str) -> SourceError:
        return SourceError(f"{self._table.line}: {what}; tries again")


def place(topic: str, partition: int) -> str:
    """By which a partition is called in a position."""
    return f"{topic}/{partition}"


def _record(message: Any) -> Record:
    """What the library gives, be it a record or an error."""
    kind, milliseconds = message.timestamp()
    where = message.topic(), message.partition(), message.offset()
    return Record(*where, message.key(), message.value(), milliseconds if kind else None)


def _reason(error: "KafkaException") -> str:
    return str(error.args[0].str())
