"""The Kafka sink with librdkafka's cluster: every output once, whatever dies."""

import json

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition
from daemon import wait_for
from test_sinks import Sinking, feed, jsonl, made

from benchmarks.shared.brokers import Kafka
from streamrnn.sinks import About, SinkError, table_of


@pytest.fixture
def kafka():
    with Kafka() as kafka:
        kafka.topic("out", 3)
        yield kafka


def table(kafka, keys=""):
    return [("kafka", f'servers = ["{kafka.servers}"]\ntopic = "out"\n{keys}'), ("jsonl", 'path = "out.jsonl"')]


def messages(kafka, partitions=3):
    """All that is in the topic, partition by partition."""
    settings = {"bootstrap.servers": kafka.servers, "group.id": "test", "enable.partition.eof": True}
    consumer = confluent_kafka.Consumer(settings)
    found = []
    for partition in range(partitions):
        consumer.assign([TopicPartition("out", partition, 0)])
        while not (message := consumer.poll(60.0)).error():
            found.append(message)
        assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
    consumer.close()
    return found


def records(found):
    for message in found:
        record, headers = json.loads(message.value()), dict(message.headers())
        assert message.key().decode() == record["stream"]
        assert (headers["run"].decode(), int(headers["seq"])) == (record["run"], record["seq"])
        yield record


@pytest.mark.long
@pytest.mark.parametrize("keys", ["", "partition = 1"])
def test_deaths_of_daemon_sinks_and_broker_lose_nothing_and_say_nothing_twice(kafka, keys):
    with Sinking(table(kafka, keys)) as daemon:
        daemon.start()
        for k in range(8):
            with daemon.client() as client:
                feed(client, 50, 50 * k)
            if k in (1, 5):
                daemon.sink_process().kill()
            if k == 2:
                kafka.down()
            if k == 3:
                wait_for(lambda: daemon.sinks()[0]["trouble"])
                kafka.up()
            if k in (4, 6):
                daemon.kill()
                daemon.start()
        daemon.stop()
        found, written = messages(kafka), jsonl(daemon.folder / "out.jsonl")
        assert [record["seq"] for record in written] == list(range(400))
        assert sorted(records(found), key=lambda record: record["seq"]) == written
        by_stream = {}
        for message in found:
            by_stream.setdefault(message.key(), []).append((message.partition(), message.offset()))
        assert all(len({partition for partition, _ in places}) == 1 for places in by_stream.values())
        if keys:
            assert {message.partition() for message in found} == {1}


@pytest.mark.long
def test_it_goes_on_behind_the_last_record_of_each_partition(kafka):
    about, plain = About("test", None), {"kind": "kafka", "servers": [kafka.servers], "topic": "out"}
    every = [record for k in range(4) for record in made(3, f"stream {k}", first=10 * k)[1]]
    for count in (5, 12, 12):
        sink = table_of(plain).open(about)
        sink.last("r")
        sink.write(every[:count])
        assert sink.flush(60.0)
        sink.close()
        assert sorted(record["seq"] for record in records(messages(kafka))) == [each["seq"] for each in every[:count]]
    kafka.produce("out", [(k, b"other", b"other") for k in range(3)])
    one = table_of({**plain, "partition": 2}).open(about)
    last = max([record["seq"] for record in records(m for m in messages(kafka) if m.partition() == 2 and m.headers())])
    assert one.last("r") == last
    assert table_of({**plain, "partition": 2}).open(about).last("another") is None


def test_what_cannot_be_is_said(kafka):
    plain = {"kind": "kafka", "servers": [kafka.servers], "topic": "out", "partition": 7}
    with pytest.raises(SinkError, match="no partition 7"):
        table_of(plain).open(About("test", None)).last("r")
    assert list(table_of({**plain, "options": {"sasl.password": "x"}}).problems())
    assert list(table_of({**plain, "options": {"enable.idempotence": "false"}}).problems())
