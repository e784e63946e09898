"""The MQTT sink with a real broker: every output, whatever dies; and what Home Assistant finds."""

import json
import threading

import pytest
from daemon import wait_for
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from test_sinks import PARTS, STREAMS, Sinking, feed

from benchmarks.shared.brokers import Mosquitto, passwords
from streamrnn.model.tables import Anomaly, Forecast, Linear, Softmax
from streamrnn.sinks import About
from streamrnn.sinks.discovery import announcement
from streamrnn.sinks.mqtt import output_topic
from streamrnn.sinks.records import Records


class Listener:
    """Hears what is published on some topics, in order; a context manager."""

    def __init__(self, broker, *topics, user=None, password=None):
        self.heard, self.ready = [], threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, "listener", protocol=MQTTv5)
        if user:
            self.client.username_pw_set(user, password)
        self.client.on_connect = lambda client, *_: client.subscribe([(topic, 1) for topic in topics])
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = lambda _, __, message: self.heard.append(message)
        self.client.reconnect_delay_set(1, 1)
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 3600
        self.client.connect("127.0.0.1", broker.port, clean_start=False, properties=kept)
        self.client.loop_start()

    def __enter__(self):
        assert self.ready.wait(30)
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()

    def records(self):
        return [json.loads(message.payload) for message in self.heard if message.topic.endswith("/output")]

    def says(self, status):
        """Whether that is the newest one."""
        return [message.payload for message in self.heard if message.topic == "test/status"][-1:] == [status]


def seqs(listener):
    """Without what came again."""
    return sorted({record["seq"] for record in listener.records()})


@pytest.fixture
def broker(tmp_path):
    with Mosquitto() as broker:
        yield broker


def test_each_output_is_published_on_the_topic_of_its_stream(broker):
    sinks = [("mqtt", f'url = "{broker.url}"'), ("jsonl", 'path = "out.jsonl"')]
    with Listener(broker, "#") as listener, Sinking(sinks) as daemon:
        daemon.start()
        with daemon.client() as client:
            feed(client, 90)
        wait_for(lambda: listener.says(b"online"))
        daemon.stop()
        wait_for(lambda: listener.says(b"offline"))
        written = [json.loads(line) for line in (daemon.folder / "out.jsonl").read_text().splitlines()]
        assert listener.records() == written
        for message in listener.heard:
            if message.topic != "test/status":
                assert message.topic == output_topic("test", json.loads(message.payload)["stream"])
    with Listener(broker, "test/status") as again:
        wait_for(lambda: again.heard)
        assert (again.heard[0].payload, again.heard[0].retain) == (b"offline", True)


@pytest.mark.long
def test_deaths_of_daemon_sinks_and_broker_lose_nothing(broker):
    with Listener(broker, "#") as listener, Sinking([("mqtt", f'url = "{broker.url}"')]) as daemon:
        daemon.start()
        for k in range(6):
            with daemon.client() as client:
                feed(client, 50, 50 * k)
                if k == 1:
                    daemon.sink_process().kill()
                if k == 2:
                    broker.kill()
            if k == 3:
                with daemon.client() as client:
                    wait_for(lambda: broker.url in client.status()["sinks"][0]["trouble"])
                broker.start()
            if k == 4:
                wait_for(lambda: not daemon.sinks()[0]["trouble"])  # connected again
                daemon.kill()
                wait_for(lambda: listener.says(b"offline"))  # the last will
                daemon.start()
        wait_for(lambda: len(seqs(listener)) == 300)
        assert not daemon.sinks()[0]["missed"]
        daemon.stop()
        records = {}
        for record in listener.records():
            assert records.setdefault(record["seq"], record) == record
        assert sorted(records) == list(range(300))


def test_home_assistant_finds_a_device_for_each_stream(broker):
    parts = {**PARTS, "readout": 'kind = "forecast"\nsize = 2', "learning": "window = 1"}
    table = f'url = "{broker.url}"\nprefix = "plant"\ndiscovery = "homeassistant"\nevery = 0.05'
    with Sinking([("mqtt", table)], "\n[anomaly]\nday = 144\n", **parts) as daemon:
        daemon.start()
        with daemon.client() as client:
            feed(client, 300)
            wait_for(lambda: daemon.sinks()[0]["written"] >= 3)
        daemon.stop()
        assert daemon.sinks
    with Listener(broker, "homeassistant/#") as listener:
        wait_for(lambda: len(listener.heard) == len(STREAMS))
        found = {message.topic: json.loads(message.payload) for message in listener.heard}
        assert all(message.retain for message in listener.heard)
    for stream in STREAMS:
        payload = next(each for each in found.values() if each["dev"]["name"] == f"plant {stream}")
        assert payload["state_topic"] == output_topic("plant", stream)
        assert payload["availability_topic"] == "plant/status"
        assert {"flow_value", "flow_prediction", "heat_value", "surprise", "score", "alarm"} <= payload["cmps"].keys()
        assert payload["cmps"]["alarm"]["p"] == "binary_sensor"
    assert found["homeassistant/device/streamrnn_plant_a/config"]["cmps"]["flow_prediction"] == {
        "p": "sensor",
        "name": "flow prediction",
        "value_template": '{{ value_json["channels"]["flow"].prediction }}',
        "state_class": "measurement",
        "unique_id": "streamrnn_plant_a_flow_prediction",
    }
    assert len({part["unique_id"] for each in found.values() for part in each["cmps"].values()}) == 3 * 9


def test_what_is_announced_names_each_thing_once_and_has_units():
    records = Records(Forecast(size=3, anomaly=Anomaly(day=144)), ["a b", "a_b", "a+b"], {"a b": "°C"})
    topic, payload = announcement("ha", About("test", records), "p", "käse/1", "p/x/output", "p/status")
    assert topic.startswith("ha/device/streamrnn_p_k_se_1_")
    assert len(payload["cmps"]) == 3 * 3 + 3
    assert sum(part.get("unit_of_measurement") == "°C" for part in payload["cmps"].values()) == 3
    for readout, name in ((Softmax(size=4), "token"), (Linear(size=1), "surprise")):
        assert name in announcement("ha", About("test", Records(readout, None)), "p", "s", "o", "t")[1]["cmps"]


def test_a_rate_lets_the_newest_through(broker):
    table = f'url = "{broker.url}"\nevery = 1000.0\nstreams = ["a"]'
    with Listener(broker, "#") as listener, Sinking([("mqtt", table)]) as daemon:
        daemon.start()
        with daemon.client() as client:
            feed(client, 90)
        daemon.stop()
        wait_for(lambda: len(listener.records()) == 2)
        assert seqs(listener) == [0, 87]


@pytest.mark.long
def test_a_password_is_shown_and_a_wrong_one_is_trouble(tmp_path):
    with Mosquitto("allow_anonymous false", passwords(tmp_path, ann="secret")) as broker:
        daemon = Sinking([("mqtt", f'url = "{broker.url}"\nuser = "ann"\npassword_file = "password"')])
        secret = daemon.folder / "password"
        secret.touch(0o600)
        secret.write_text("wrong\n")
        with Listener(broker, "#", user="ann", password="secret") as listener, daemon:
            daemon.start()
            with daemon.client() as client:
                feed(client, 3)
                wait_for(lambda: "ot authorized" in daemon.sinks()[0]["trouble"])
            daemon.stop()
            secret.write_text("secret\n")
            daemon.start()
            wait_for(lambda: len(listener.records()) == 3)
            daemon.stop()
