"""Messages of a broker, while everything dies now and then: `python -m benchmarks.reliability.chaos_brokers mqtt`.

A daemon learns what is published. The daemon, one of its workers, and the broker are killed in turn, at random moments.
In the end each message must have been taken once and in order: the parameters are those of a network that was given the
same values in one go. (Of Kafka, whose brokers here live in this process, the broker is cut off instead.)
"""

import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import psutil
import typer
from rich.console import Console

import streamrnn as sr
from benchmarks.shared.brokers import Kafka, Mosquitto, wait_for
from benchmarks.shared.daemon import Kept, kept

NAME, TOPIC = "chaos", "readings"
PATIENCE = 120.0  # seconds without a frame
CONFIG = """
name = "chaos"
predict = "next"
[input]
kind = "vector"
size = 2
channels = ["a", "b"]
standardize = true
[[layers]]
cell = "gru"
units = 8
[readout]
kind = "forecast"
size = 2
lags = 3
[optimizer]
kind = "adam"
learning_rate = 2e-3
[learning]
window = 1
[state]
[source]
{source}
"""


class Mqtt:
    """A real mosquitto. source: keys of [source]."""

    def __init__(self) -> None:
        import paho.mqtt.client as paho

        self.server = Mosquitto()
        self.server.start()
        self.source = f'kind = "mqtt"\nurl = "{self.server.url}"\ntopics = ["{TOPIC}"]'
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.max_inflight_messages_set(1000)
        self.client.connect("127.0.0.1", self.server.port)
        self.client.loop_start()
        wait_for(self.client.is_connected)

    def wait_for_daemon(self) -> None:
        """Until it has subscribed: only what is published from then on comes."""
        wait_for(lambda: self.server.subscriptions(f"streamrnn-{NAME}", TOPIC) > 0)

    def publish(self, rows: np.ndarray) -> None:
        """Until the broker has them all."""
        for message in [self.client.publish(TOPIC, payload(row), qos=1) for row in rows]:
            message.wait_for_publish(PATIENCE)

    def fail(self) -> None:
        """All that was published has been acknowledged: what the broker loses is its own fault."""
        self.server.kill()
        wait_for(lambda: not self.client.is_connected())
        self.server.start()
        wait_for(self.client.is_connected)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.server.__exit__()


class KafkaTopic:
    """The brokers that librdkafka has."""

    def __init__(self) -> None:
        self.cluster = Kafka()
        self.cluster.topic(TOPIC)
        self.source = f'kind = "kafka"\nservers = ["{self.cluster.servers}"]\ntopics = ["{TOPIC}"]'

    def wait_for_daemon(self) -> None:
        """It reads from the oldest record on."""

    def publish(self, rows: np.ndarray) -> None:
        self.cluster.produce(TOPIC, [(0, None, payload(row)) for row in rows])

    def fail(self) -> None:
        self.cluster.down()
        time.sleep(0.5)
        self.cluster.up()

    def close(self) -> None:
        self.cluster.__exit__()


BROKERS = {"mqtt": Mqtt, "kafka": KafkaTopic}


def payload(row: np.ndarray) -> bytes:
    """A reading as JSON."""
    a, b = row.tolist()
    return f'{{"a": {a!r}, "b": {b!r}}}'.encode()


def readings(count: int) -> np.ndarray:
    """(count, 2)"""
    rng = np.random.default_rng(0)
    return np.sin(np.arange(count) / 9)[:, np.newaxis] * [1.0, 3.0] + rng.normal(0, 0.1, (count, 2))


@contextmanager
def broker_of(kind: str) -> Iterator[Any]:
    broker = BROKERS[kind]()
    try:
        yield broker
    finally:
        broker.close()


def chaos(kind: str, messages: int, kills: int, seed: int = 0) -> dict[str, Any]:
    """Publish so many, with so many deaths; what came of it."""
    x, random_ = readings(messages), random.Random(seed)
    deaths: dict[str, int] = dict.fromkeys(("daemon", "worker", "broker"), 0)
    start = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        broker = stack.enter_context(broker_of(kind))
        config = CONFIG.format(source=broker.source)
        daemon = stack.enter_context(kept(folder / "daemon", config, "checkpoint_frames = 5000\n"))
        broker.wait_for_daemon()
        for k, part in enumerate(np.array_split(x, kills + 1)):
            publisher = threading.Thread(target=broker.publish, args=(part,))
            publisher.start()
            if k < kills:
                victim = ("daemon", "worker", "broker")[k % 3]
                deaths[victim] += 1
                if victim == "broker":
                    publisher.join()
                    broker.fail()
                else:
                    time.sleep(random_.uniform(0.05, 1.0))
                    kill(daemon, victim, random_)
            publisher.join()
        wait_for_frames(daemon, messages)
        status = status_of(daemon)
        daemon.stop()
        manifest, found = daemon.manifest(), sr.load(daemon.checkpoint()).parameters_sha256()
    net = sr.Network([sr.GRU(2, 8)], sr.Forecast(2, lags=3), sr.Adam(2e-3), window=1, predict="next", standardize=True)
    net.run(x, stream="source")
    return {
        "broker": kind,
        "messages": messages,
        "deaths": deaths,
        "frames": manifest["frames"],
        "lost": [source["lost"] for source in status["sources"] if source["lost"]],
        "same": found == net.parameters_sha256(),
        "seconds": time.monotonic() - start,
    }


def kill(daemon: Kept, victim: str, random_: random.Random) -> None:
    """All of the daemon's processes at once, or one of its workers."""
    if victim == "daemon":
        daemon.signal(signal.SIGKILL)
        daemon.start()
    else:
        worker = random_.choice(status_of(daemon)["workers"])
        psutil.Process(worker["pid"]).kill()


def status_of(daemon: Kept) -> dict[str, Any]:
    with daemon.client() as client:
        return client.status()


def wait_for_frames(daemon: Kept, count: int) -> None:
    """Until so many were taken through. Raises RuntimeError where it stands still before."""
    before, until = -1, 0.0
    while (frames := status_of(daemon)["frames"]) < count:
        if frames != before:
            before, until = frames, time.monotonic() + PATIENCE
        elif time.monotonic() > until:
            raise RuntimeError(f"{frames} of {count} frames have come: {status_of(daemon)['sources']}")
        time.sleep(0.1)


def main(
    kind: Annotated[Literal["mqtt", "kafka"], typer.Argument(help="The broker.")],
    messages: Annotated[int, typer.Option(help="That are published.")] = 50_000,
    kills: Annotated[int, typer.Option(help="Of the daemon, its workers and the broker, in turn.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Publish, kill, and compare."""
    row = chaos(kind, messages, kills, seed)
    taken = row["frames"] - row["messages"]
    how = "the same parameters as undisturbed" if row["same"] else "OTHER PARAMETERS than undisturbed"
    Console().print(
        f"{kind}: {messages:,} messages, {kills} deaths {row['deaths']}: lost {max(-taken, 0)}, twice {max(taken, 0)}, "
        f"{how}, in {row['seconds']:.0f} s {row['lost'] or ''}",
        highlight=False,
    )
    raise typer.Exit(0 if row["same"] and not taken else 1)


if __name__ == "__main__":
    typer.run(main)
