"""Kafka, from librdkafka's own cluster: each record once, in its partition's order; what was deleted is said."""

import json
import math
from importlib.util import find_spec

import confluent_kafka
import msgspec
import pytest
from daemon import wait_for
from taking import frames, killed_now_and_then, read, values

from benchmarks.shared.brokers import Kafka
from streamrnn.model.tables import Input
from streamrnn.sources import SourceError, table_of
from streamrnn.sources.brokers import messages
from streamrnn.sources.kafka import KafkaConfig

INPUT = Input(kind="vector", size=1)


@pytest.fixture
def cluster():
    with Kafka() as cluster:
        cluster.topic("t")
        yield cluster


@pytest.fixture
def opened():
    """Opens sources of one column `x` and the topic `t`, unless told otherwise, and closes them at the end."""
    sources = []

    def open(cluster, position=None, **keys):
        table = KafkaConfig(**{"servers": [cluster.servers], "topics": ["t"], "columns": ["x"], **keys})
        sources.append(table_of(msgspec.to_builtins(table)).open())  # as the gate does
        if position is not None:
            sources[-1].go_to(position)
        return sources[-1]

    yield open
    for source in sources:
        source.close()


def produce(cluster: Kafka, payloads, topic: str = "t", partition: int = 0, key=None, timestamp: int = 0) -> None:
    cluster.produce(
        topic,
        [(partition, key, payload if payload is None else str(payload).encode()) for payload in payloads],
        timestamp,
    )


def numbers(count: int, start: int = 0) -> list[float]:
    return [float(number) for number in range(start, start + count)]


def test_every_record_comes_once_and_in_order(cluster, opened):
    produce(cluster, range(1000))
    source = opened(cluster)
    assert values(frames(source, 1000, limit=7)) == numbers(1000)
    assert source.position == {"t/0": 1000}
    produce(cluster, range(1000, 1010))
    assert values(frames(source, 10)) == numbers(10, 1000)
    assert (source.delay(), source.trouble, source.lost, source.refused) == (math.inf, "", "", 0)


def test_it_goes_on_at_the_offsets_of_a_position(cluster, opened):
    produce(cluster, range(100))
    source = opened(cluster)
    frames(source, 30, limit=30)
    position = json.loads(json.dumps(source.position))
    source.close()
    assert position == {"t/0": 30}
    assert values(frames(opened(cluster, position), 70)) == numbers(70, 30)


def test_partitions_come_as_they_come_and_each_in_order(cluster, opened):
    cluster.topic("two", 2)
    records = [(number % 2, None, str(number).encode()) for number in range(200)]
    cluster.produce("two", records)
    source = opened(cluster, topics=["t", "two"], key="record:partition")
    produce(cluster, range(1000, 1010))
    taken = frames(source, 210)
    for partition in (0, 1):
        found = [x for (x,), _, key in taken if key == str(partition) and x < 1000]
        assert found == [float(number) for number in range(partition, 200, 2)]
    assert source.position == {"t/0": 10, "two/0": 100, "two/1": 100}


def test_partitions_may_be_chosen(cluster, opened):
    cluster.topic("two", 2)
    cluster.produce("two", [(number % 2, None, str(number).encode()) for number in range(20)])
    source = opened(cluster, topics=["two"], partitions=[1])
    assert values(frames(source, 10)) == [float(number) for number in range(1, 20, 2)]
    assert source.position == {"two/1": 10}
    wrong = opened(cluster, topics=["two"], partitions=[1, 7])
    wrong.delay()
    wait_for(lambda: wrong.trouble)
    assert wrong.trouble == f"kafka {cluster.servers}, two: two has no partition 7; tries again"


def test_with_latest_what_was_there_before_is_left_out(cluster, opened):
    produce(cluster, range(5))
    source = opened(cluster, start="latest")
    source.delay()
    wait_for(lambda: source.position == {"t/0": 5})  # which counts from then on, read or not
    produce(cluster, range(5, 10))
    assert values(frames(source, 5)) == numbers(5, 5)
    source.close()
    produce(cluster, range(10, 15))
    assert values(frames(opened(cluster, {"t/0": 8}, start="latest"), 7)) == numbers(7, 8)


def test_a_topic_may_come_later(cluster, opened):
    source = opened(cluster, topics=["later"])
    source.delay()
    wait_for(lambda: source.trouble)
    assert source.trouble.startswith(f"kafka {cluster.servers}, later: later: ")
    cluster.topic("later")
    produce(cluster, [1], "later")
    assert values(frames(source, 1)) == [1]
    assert source.trouble == ""


def test_brokers_may_go_and_come_back(cluster, opened):
    produce(cluster, range(10))
    source = opened(cluster)
    assert values(frames(source, 10)) == numbers(10)
    cluster.down()
    wait_for(lambda: source.trouble)
    assert source.trouble.startswith(f"kafka {cluster.servers}, t: ")
    assert source.trouble.endswith("tries again")
    cluster.up()
    wait_for(lambda: not source.trouble)  # although nothing comes
    produce(cluster, range(10, 20))
    assert values(frames(source, 10)) == numbers(10, 10)


def test_brokers_may_be_away_at_the_start(cluster, opened):
    produce(cluster, range(10))
    cluster.down()
    source = opened(cluster)
    source.delay()
    wait_for(lambda: source.trouble)
    cluster.up()
    assert values(frames(source, 10)) == numbers(10)
    assert source.trouble == ""


def test_what_was_deleted_before_it_was_read_is_said_and_not_passed_over(cluster, opened):
    cluster.topic("two", 2)
    cluster.produce("two", [(number % 2, None, str(number).encode()) for number in range(40)])
    cluster.delete("two", 0, before=15)
    source = opened(cluster, {"two/0": 5, "two/1": 5}, topics=["two"])
    source.delay()
    wait_for(lambda: "deleted" in source.trouble)
    said = source.trouble
    assert said.startswith("two/0: records 5 to 14 were deleted before they were read; to go on without them, set gaps")
    while read(source, patience=0.1):
        pass
    position = source.position
    assert position["two/0"] == 5
    assert read(source, patience=0.3) == []
    assert source.trouble == said
    source.close()
    source = opened(cluster, position, topics=["two"], gaps="jump", key="record:partition")
    taken = frames(source, 5 + 20 - position["two/1"])
    assert [x for (x,), _, key in taken if key == "0"] == [30, 32, 34, 36, 38]
    assert [x for (x,), _, key in taken if key == "1"] == [float(x) for x in range(2 * position["two/1"] + 1, 40, 2)]
    assert source.lost == "two/0: records 5 to 14 were deleted before they were read"
    assert source.trouble == ""


def test_a_topic_that_was_made_anew_is_said(cluster, opened):
    produce(cluster, range(10))
    source = opened(cluster, {"t/0": 50})
    source.delay()
    wait_for(lambda: source.trouble)
    assert source.trouble.startswith("t/0: record 50 should come next, and it ends at 10: it was made anew")
    source = opened(cluster, {"t/0": 50}, gaps="jump")
    assert values(frames(source, 10)) == numbers(10)


def test_the_group_is_told_what_is_durable_and_no_more(cluster, opened):
    produce(cluster, range(20))
    source = opened(cluster, group="lags")
    frames(source, 5, limit=5)
    durable = source.position
    frames(source, 15)
    asking = confluent_kafka.Consumer({"bootstrap.servers": cluster.servers, "group.id": "lags"})
    partitions = [confluent_kafka.TopicPartition("t", 0)]
    assert asking.committed(partitions, 10)[0].offset == confluent_kafka.OFFSET_INVALID
    source.durable(durable)
    wait_for(lambda: asking.committed(partitions, 10)[0].offset == 5)
    assert values(frames(opened(cluster, group="lags"), 20)) == numbers(20)  # and it does not go by that
    asking.close()


def test_keys_and_times_may_be_those_of_records(cluster, opened):
    produce(cluster, ['{"x": 1, "name": "b"}'], key=b"a", timestamp=1_700_000_000_123)
    source = opened(cluster, key="record:key", time="record:timestamp")
    assert frames(source, 1) == [((1.0,), 1_700_000_000_123_000_000, "a")]
    source = opened(cluster, key="name")
    assert frames(source, 1) == [((1.0,), None, "b")]
    produce(cluster, ["2"], timestamp=1_700_000_001_000)
    source = opened(cluster, time="record:timestamp")
    assert frames(source, 2)[1] == ((2.0,), 1_700_000_001_000_000_000, None)


def test_what_is_no_frame_is_counted_and_passed_over(cluster, opened):
    produce(cluster, [1, None, "hot", '{"y": 1}', 2])
    source = opened(cluster)
    assert values(frames(source, 2)) == [1, 2]
    assert (source.refused, source.refusal) == (3, "t/0 at 3: has none of the fields x")
    assert source.position == {"t/0": 5}


def test_killed_and_started_again_it_loses_nothing_and_takes_nothing_twice(cluster, tmp_path):
    count = 3000
    produce(cluster, range(count))
    table = KafkaConfig(servers=[cluster.servers], topics=["t"], columns=["x"])
    lines = killed_now_and_then(table, tmp_path, count)
    assert [value for line in lines for value in line["values"]] == numbers(count)
    assert lines[-1]["position"] == {"t/0": count}


def test_a_source_is_closed_at_once_whatever_it_is_doing(cluster, opened):
    produce(cluster, range(10_000))
    source = opened(cluster)
    frames(source, 1, limit=1)
    wait_for(lambda: len(source._reader.inbox) == source._reader.inbox._size)  # the thread waits for room
    source.close()
    assert not source._reader._thread.is_alive()
    opened(cluster).close()  # which had not begun


@pytest.mark.parametrize(
    ("changed", "key", "problem"),
    [
        ({"options": {"auto.offset.reset": "earliest"}}, "options", "which this source sets itself"),
        ({"options": {"group.id": "mine"}}, "options", "which this source sets itself"),
        ({"options": {"sasl.password": "open sesame"}}, "options", "put a password into a password_file"),
        ({"topics": ["t", "t"]}, "topics", "has a topic twice"),
        ({"key": "record:topic"}, "key", 'must be a field, "record:key" or "record:partition"'),
        ({"columns": None}, "columns", "must name the fields"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(changed, key, problem):
    table = KafkaConfig(**{"servers": ["127.0.0.1:9092"], "topics": ["t"], "columns": ["x"], **changed})
    ((found, said),) = table.misfits(INPUT)
    assert found == f"source.{key}"
    assert problem in said


def test_options_that_the_library_does_not_know_are_refused(tmp_path):
    table = KafkaConfig(servers=["127.0.0.1:9092"], topics=["t"], columns=["x"])
    with pytest.raises(SourceError, match="No such configuration property"):
        msgspec.structs.replace(table, options={"no.such": "1"}).open()
    password = tmp_path / "password"
    password.write_text("open sesame")
    password.chmod(0o644)
    with pytest.raises(SourceError, match=f"chmod 600 {password}"):
        msgspec.structs.replace(table, password_file=str(password)).open()
    password.chmod(0o600)
    options = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "plant"}
    msgspec.structs.replace(table, options=options, password_file=str(password)).open().close()


def test_without_the_extra_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(messages, "find_spec", lambda name: None if name == "confluent_kafka" else find_spec(name))
    table = KafkaConfig(servers=["127.0.0.1:9092"], topics=["t"], columns=["x"])
    assert list(table.misfits(INPUT)) == [
        ("source.kind", '"kafka" needs more than is installed: pip install streamrnn[kafka]')
    ]
