"""MQTT from a real mosquitto: each message once and in order, whatever dies, acknowledged when it is on the disk."""

import json
import math
import subprocess
import sys
from importlib.util import find_spec

import msgspec
import paho.mqtt.client as paho
import pytest
import trustme
from daemon import wait_for
from taking import frames, killed_now_and_then, read, values

from benchmarks.shared.brokers import Mosquitto, passwords
from streamrnn import config as configuration
from streamrnn.model.tables import Input
from streamrnn.sources import SourceError, table_of
from streamrnn.sources.brokers import messages
from streamrnn.sources.brokers.window import LIMIT
from streamrnn.sources.mqtt import MqttConfig

INPUT = Input(kind="vector", size=1)


@pytest.fixture
def broker():
    with Mosquitto() as broker:
        yield broker


@pytest.fixture
def opened():
    """Opens sources of one column `x` and the topic `t`, unless told otherwise, and closes them at the end."""
    sources = []

    def open(url: str, position=None, **keys):
        table = MqttConfig(**{"url": url, "topics": ["t"], "columns": ["x"], "client_id": "daemon", **keys})
        sources.append(table_of(msgspec.to_builtins(table)).open())  # as the gate does
        if position is not None:
            sources[-1].go_to(position)
        return sources[-1]

    yield open
    for source in sources:
        source.close()


def subscribed(broker: Mosquitto, source):
    """The same, once it has subscribed: what is published from then on comes."""
    before = {topic: broker.subscriptions("daemon", topic) for topic in source._table.topics}
    source.delay()
    wait_for(lambda: all(broker.subscriptions("daemon", topic) > count for topic, count in before.items()))
    return source


def publish(broker: Mosquitto, payloads, topic: str = "t", qos: int = 1, retain: bool = False, **login) -> None:
    """Until the broker has acknowledged them all."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(1000)
    if login:
        client.username_pw_set(**login)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    for information in [client.publish(topic, payload, qos, retain) for payload in payloads]:
        information.wait_for_publish(30)
        assert information.is_published()
    client.disconnect()
    client.loop_stop()


def numbers(count: int, start: int = 0) -> list[float]:
    return [float(number) for number in range(start, start + count)]


def test_every_message_comes_once_and_in_order(broker, opened):
    source = subscribed(broker, opened(broker.url))
    publish(broker, range(LIMIT))
    assert values(frames(source, LIMIT, limit=7)) == numbers(LIMIT)
    assert (source.delay(), source.trouble, source.lost, source.refused) == (math.inf, "", "", 0)


def test_no_more_comes_than_may_be_under_way_until_some_of_it_is_durable(broker, opened):
    source = subscribed(broker, opened(broker.url))
    publish(broker, range(3 * LIMIT))
    taken = frames(source, LIMIT)
    assert read(source, patience=0.2) == []
    source.durable(source.position)
    taken += frames(source, 2 * LIMIT, durable=True)
    assert values(taken) == numbers(3 * LIMIT)


def test_what_is_not_durable_comes_again_and_what_is_does_not(broker, opened):
    source = subscribed(broker, opened(broker.url))
    publish(broker, range(50))
    frames(source, 20)
    durable = source.position
    frames(source, 30)
    source.durable(durable)
    source.close()
    broker.wait_until_gone("daemon")
    again = opened(broker.url)  # of a new run, which knows of nothing
    assert values(frames(again, 30)) == numbers(30, 20)


def test_what_is_written_down_is_known_when_it_comes_again_and_acknowledged_then(broker, opened):
    source = subscribed(broker, opened(broker.url))
    publish(broker, range(50))
    frames(source, 20)
    written = source.position
    frames(source, 30)
    source.close()  # before any of it was said to be durable
    broker.wait_until_gone("daemon")
    again = opened(broker.url, json.loads(json.dumps(written)))
    assert values(frames(again, 30)) == numbers(30, 20)
    again.close()
    broker.wait_until_gone("daemon", 2)
    assert values(frames(opened(broker.url), 30)) == numbers(30, 20)  # the first 20 are acknowledged


def test_killed_and_started_again_it_loses_nothing_and_takes_nothing_twice(broker, opened, tmp_path):
    count = 2000
    source = subscribed(broker, opened(broker.url))
    source.close()
    publish(broker, range(count))
    lines = killed_now_and_then(source._table, tmp_path, count)
    assert [value for line in lines for value in line["values"]] == numbers(count)
    last = opened(broker.url, lines[-1]["position"])
    assert read(last) == read(last, patience=0.2) == []


def test_a_broker_may_be_killed_and_come_back(broker, opened):
    source = subscribed(broker, opened(broker.url))
    publish(broker, [*range(3 * LIMIT), "123456789"])
    taken = frames(source, 50)
    source.durable(source.position)
    taken += read(source)
    wait_for(lambda: b"123456789" in broker.state.read_bytes())  # it writes down what it has a while after it says so
    broker.kill()
    wait_for(lambda: source.trouble)
    assert source.trouble.startswith(broker.url)
    assert "tries again" in source.trouble
    broker.start()
    taken += frames(source, 3 * LIMIT + 1 - len(taken), durable=True)
    assert values(taken) == [*numbers(3 * LIMIT), 123456789]
    assert read(source, patience=0.2) == []
    assert (source.trouble, source.lost) == ("", "")


def test_a_broker_may_come_later(broker, opened):
    broker.kill()
    source = opened(broker.url)
    source.delay()
    wait_for(lambda: source.trouble)
    assert "Connection refused; tries again" in source.trouble
    broker.start()
    wait_for(lambda: broker.subscriptions("daemon", "t") == 1)
    assert read(source) == []
    assert source.trouble == ""
    publish(broker, ["6"])
    assert values(frames(source, 1)) == [6]


def test_a_session_that_the_broker_has_lost_is_said(broker, opened):
    source = subscribed(broker, opened(broker.url))
    assert source.lost == ""
    broker.kill()
    broker.state.unlink()
    broker.start()
    wait_for(lambda: broker.subscriptions("daemon", "t") == 2)
    wait_for(lambda: source.lost or read(source))
    assert source.lost == f"{broker.url} did not know this session any more: what came while it was away is lost"
    publish(broker, ["5"])
    assert values(frames(source, 1)) == [5]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ('{"x": 1.5, "y": -2}', (1.5, -2.0)),
        ('{"y": "7", "z": [1], "x": true}', (1.0, 7.0)),
        ('{"x": 1}', (1.0, math.nan)),
        ('{"x": null, "y": NaN}', (math.nan, math.nan)),
        ("[3, 4]", (3.0, 4.0)),
        (" 3, 4e1\n", (3.0, 40.0)),
        (",4", (math.nan, 4.0)),
    ],
)
def test_payloads_are_objects_lists_or_numbers(broker, opened, payload, expected):
    source = subscribed(broker, opened(broker.url, columns=["x", "y"], topics=["t", "n"]))
    publish(broker, [payload])
    ((found, time, key),) = frames(source, 1)
    assert found == pytest.approx(expected, nan_ok=True)
    assert (time, key) == (None, None)


def test_times_and_keys_are_fields(broker, opened):
    source = subscribed(broker, opened(broker.url, time="at", key="device.id"))
    publish(broker, ['{"x": 1, "at": "2026-11-27T00:00:01Z", "device": {"id": "a"}}', '{"x": 1, "at": 2, "device": 3}'])
    assert frames(source, 1) == [((1.0,), 1_795_737_601_000_000_000, "a")]
    assert read(source) == []
    assert (source.refused, source.refusal) == (1, "t: device.id: has no key")


def test_a_list_has_its_time_first(broker, opened):
    source = subscribed(broker, opened(broker.url, time="at"))
    publish(broker, ["1000,5", "[2000, 6]"])
    assert frames(source, 2) == [((5.0,), 1000 * 10**9, None), ((6.0,), 2000 * 10**9, None)]


def test_a_level_of_the_topic_may_be_the_key(broker, opened):
    source = subscribed(broker, opened(broker.url, topics=["plant/+/temperature", "hall/#"], key="topic:2"))
    for topic in ("plant/a/temperature", "plant/a/pressure", "hall/b/c/d", "plant/e/temperature", "hall"):
        publish(broker, ["1"], topic)
    assert [key for _, _, key in frames(source, 3)] == ["a", "b", "e"]
    assert read(source) == []
    assert source.refusal == "hall: topic:2: has no key"


def test_the_whole_topic_may_be_the_key(broker, opened):
    source = subscribed(broker, opened(broker.url, topics=["plant/#"], key="topic:*"))
    publish(broker, ["1"], "plant/a/b")
    assert frames(source, 1) == [((1.0,), None, "plant/a/b")]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("", "is empty"),
        ("hot", 'x: "hot" is no number'),
        ("1,2", '"1,2" has 2 values, not 1 (x)'),
        ('{"x": 1', "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('{"x": [1]}', "x: [1] is no number"),
        ('{"y": 1}', "has none of the fields x"),
        ("1e999", 'x: "1e999" is no number'),
        (b"\xff\xfe", "utf-8"),
    ],
)
def test_what_is_no_frame_is_counted_and_passed_over(broker, opened, payload, reason):
    source = subscribed(broker, opened(broker.url))
    publish(broker, [payload, "8"])
    assert values(frames(source, 1)) == [8]
    assert source.refused == 1
    assert source.refusal.startswith("t: ")
    assert reason in source.refusal
    assert "\n" not in source.refusal


def test_any_number_of_what_is_no_frame_is_acknowledged_although_nothing_of_it_is_written_down(broker, opened):
    source = subscribed(broker, opened(broker.url))
    count = 5 * LIMIT
    publish(broker, ["no number"] * count + ["8"])
    assert values(frames(source, 1)) == [8]
    assert source.refused == count


def test_messages_of_qos_0_and_2_come_too(broker, opened):
    source = subscribed(broker, opened(broker.url))
    for qos in (0, 1, 2):
        publish(broker, range(10 * qos, 10 * qos + 10), qos=qos)
    assert values(frames(source, 30)) == numbers(30)


def test_with_qos_0_nothing_waits_while_the_daemon_is_away(broker, opened):
    source = subscribed(broker, opened(broker.url, qos=0))
    publish(broker, ["1"])
    assert values(frames(source, 1)) == [1]
    source.close()
    broker.wait_until_gone("daemon")
    publish(broker, ["2"])
    source = subscribed(broker, opened(broker.url, qos=0))
    publish(broker, ["3"])
    assert values(frames(source, 1)) == [3]


def test_retained_messages_are_not_taken(broker, opened):
    publish(broker, ["1"], retain=True)
    source = subscribed(broker, opened(broker.url))
    publish(broker, ["2"], retain=True)
    assert values(frames(source, 1)) == [2]


def test_topics_that_are_no_longer_asked_for_do_not_come(broker, opened):
    source = subscribed(broker, opened(broker.url, topics=["a", "b"]))
    source.close()
    source = subscribed(broker, opened(broker.url, source.position, topics=["b", "c"]))
    for number, topic in enumerate("abc"):
        publish(broker, [number], topic)
    assert values(frames(source, 2)) == [1, 2]


def test_users_and_passwords(tmp_path, opened):
    (tmp_path / "right").write_text("open sesame\n")
    (tmp_path / "wrong").write_text("open barley\n")
    for name in ("right", "wrong"):
        (tmp_path / name).chmod(0o600)
    settings = passwords(tmp_path, plant="open sesame"), "allow_anonymous false"
    with Mosquitto(*settings) as broker:
        source = opened(broker.url, user="plant", password_file=str(tmp_path / "wrong"))
        source.delay()
        wait_for(lambda: source.trouble)
        assert source.trouble == f"{broker.url}: Not authorized; tries again"
        source.close()
        source = subscribed(broker, opened(broker.url, user="plant", password_file=str(tmp_path / "right")))
        publish(broker, ["1"], username="plant", password="open sesame")
        assert values(frames(source, 1)) == [1]
        assert source.trouble == ""


def test_a_password_that_others_may_read_is_refused(tmp_path, opened):
    path = tmp_path / "password"
    path.write_text("open sesame")
    path.chmod(0o644)
    with pytest.raises(SourceError, match=rf"others may read {path}, which is a secret: chmod 600 {path}"):
        opened("mqtt://127.0.0.1", user="plant", password_file=str(path))
    with pytest.raises(SourceError, match="missing: No such file"):
        opened("mqtt://127.0.0.1", user="plant", password_file=str(tmp_path / "missing"))


def test_tls_with_certificates_of_both(tmp_path, opened):
    ca, other = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca")
    other.cert_pem.write_to_path(tmp_path / "other")
    server, client = ca.issue_cert("127.0.0.1"), ca.issue_cert("daemon@plant")
    server.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server")
    client.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client")
    files = {"cafile": "ca", "certfile": "server", "keyfile": "server"}
    settings = [f"{key} {tmp_path}/{name}" for key, name in files.items()]
    with Mosquitto(*settings, "require_certificate true") as broker:
        url = broker.url.replace("mqtt:", "mqtts:")
        subscribed(broker, opened(url, ca=str(tmp_path / "ca"), certificate=str(tmp_path / "client")))
        source = opened(url, ca=str(tmp_path / "other"), client_id="other")
        source.delay()
        wait_for(lambda: source.trouble)
        assert "certificate verify failed" in source.trouble
    with pytest.raises(SourceError, match="no certificates that can be used"):
        opened("mqtts://127.0.0.1", ca=__file__)


@pytest.mark.parametrize(
    ("changed", "key", "problem"),
    [
        ({"qos": 2}, "qos", "would be lost for good"),
        ({"url": "http://127.0.0.1"}, "url", "must be mqtt://HOST:PORT"),
        ({"url": "mqtt://me@127.0.0.1"}, "url", "must be mqtt://HOST:PORT"),
        ({"url": "mqtt://127.0.0.1:99999"}, "url", "must be mqtt://HOST:PORT"),
        ({"topics": ["a/b+"]}, "topics", "must have + as a level of its own"),
        ({"topics": ["a/#/b"]}, "topics", "must have # as its last level"),
        ({"topics": ["$share/a/b"]}, "topics", "cannot be shared"),
        ({"topics": ["a/+", "b", "a/c"]}, "topics", 'a/+" and "a/c" choose the same topics'),
        ({"topics": ["a", "a/#"]}, "topics", "choose the same topics"),
        ({"key": "topic:x"}, "key", 'must be "topic:2"'),
        ({"ca": "ca.pem"}, "url", "must begin with mqtts://"),
        ({"password_file": "secret"}, "user", "must be given"),
        ({"columns": None}, "columns", "must name the fields"),
        ({"columns": ["x", "y"]}, "columns", "must be as many names as there are inputs, 1, not 2"),
        ({"time_format": "seconds"}, "time_format", "is no format of times"),
        ({"zone": "Mars/Olympus"}, "time_format", "is no zone"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(changed, key, problem):
    table = MqttConfig(**{"url": "mqtt://127.0.0.1", "topics": ["t"], "columns": ["x"], **changed})
    ((found, said),) = table.misfits(INPUT)
    assert found == f"source.{key}"
    assert problem in said


def test_without_the_extra_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(messages, "find_spec", lambda name: None if name == "paho" else find_spec(name))
    table = MqttConfig(url="mqtt://127.0.0.1", topics=["t"], columns=["x"])
    assert list(table.misfits(INPUT)) == [
        ("source.kind", '"mqtt" needs more than is installed: pip install streamrnn[mqtt]')
    ]


CONFIG = """
name = "boiler"
[input]
kind = "vector"
size = {size}
{input}
[[layers]]
cell = "gru"
units = 4
[readout]
kind = "linear"
size = {size}
[optimizer]
kind = "sgd"
learning_rate = 0.1
[source]
kind = "mqtt"
url = "mqtt://127.0.0.1"
topics = ["plant/#"]
user = "me"
password_file = "secret"
{source}
"""


def test_a_config_says_the_columns_once_and_is_completed(tmp_path):
    path = tmp_path / "boiler.toml"
    for input, source in (('channels = ["flow", "pump"]', ""), ("", 'columns = ["flow", "pump"]')):
        for size in (0, 2) if source else (2,):
            path.write_text(CONFIG.format(size=size, input=input, source=source))
            config = configuration.load(path)
            assert config.input.size == config.readout.size == 2
            assert config.input.channels == config.source.columns == ["flow", "pump"]
            assert config.source.client_id == "streamrnn-boiler"
            assert config.source.password_file == str(tmp_path / "secret")
    both = CONFIG.format(size=2, input='channels = ["flow", "pump"]', source='columns = ["pump", "flow"]')
    with pytest.raises(configuration.ConfigError, match="must be the same as source"):
        configuration.parse(both)


def test_nothing_of_brokers_is_imported_for_other_sources():
    program = "import sys, streamrnn.config; print({'paho', 'confluent_kafka', 'ssl'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
