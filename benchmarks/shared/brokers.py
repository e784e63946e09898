"""Real brokers, on loopback ports of their own: a mosquitto, and the Kafka cluster that librdkafka has."""

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import confluent_kafka

BESIDE = Path(sys.prefix) / "mosquitto"  # where tests/debian.sh puts it
PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", f"{BESIDE}/usr/sbin"])
PATIENCE = 60.0  # seconds
Data = bytes | None
LIBRARIES = os.pathsep.join(map(str, sorted(BESIDE.glob("**/*-linux-*"))))


def wait_for(holds: Callable[[], bool]) -> None:
    """Until that is so, within a deadline."""
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


def free_port() -> int:
    """One of the loopback interface that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def tool(name: str) -> tuple[list[str], dict[str, str]]:
    """The command of one of mosquitto's programs, and its environment."""
    places = os.pathsep.join([PLACES, f"{BESIDE}/usr/bin"])
    path = shutil.which(name, path=places)
    assert path, f"no {name} here: make test, or tests/debian.sh {BESIDE} mosquitto, brings it along"
    return [path], {**os.environ, "LD_LIBRARY_PATH": LIBRARIES} if path.startswith(str(BESIDE)) else dict(os.environ)


class Mosquitto:
    """A mosquitto that saves its state with each change; it may be killed, and started again where it was.

    A context manager; `settings` are further lines of its configuration.
    """

    def __init__(self, *settings: str) -> None:
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # it writes its state down with each acknowledgement
        self.folder = folder = Path(tempfile.mkdtemp(prefix="mosquitto-", dir=memory))
        self.port, self.process = free_port(), None
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self.state, self.config, self.log = (folder / f"mosquitto.{end}" for end in ("db", "conf", "log"))
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"user {os.environ.get('USER', 'root')}" if os.geteuid() == 0 else "",
            "persistence true",
            f"persistence_location {folder}/",
            "autosave_interval 1",
            "autosave_on_changes true",
            "max_queued_messages 0",
            *(f"log_type {kind}" for kind in ("error", "warning", "notice", "information", "subscribe")),
            *settings,
        ]
        if not any(line.startswith("allow_anonymous") for line in settings):
            lines.append("allow_anonymous true")
        self.config.write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        command, environment = tool("mosquitto")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*command, "-c", str(self.config)], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_for(lambda: self.process.poll() is not None or listens(self.port))
        assert self.process.poll() is None, self.log.read_text()

    def kill(self) -> None:
        """As a power cut does."""
        self.process.kill()
        self.process.wait()

    def subscriptions(self, client: str, topic: str) -> int:
        """How often a client has asked for a topic."""
        return self.log.read_text().count(f" {client} 1 {topic}\n") + self.log.read_text().count(
            f" {client} 0 {topic}\n"
        )

    def wait_until_gone(self, client: str, times: int = 1) -> None:
        """Until it has taken all that a client had sent before it disconnected, for the so many-th time."""
        wait_for(lambda: self.log.read_text().count(f"Client {client} disconnected.") >= times)

    def __enter__(self) -> "Mosquitto":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder)


def passwords(folder: Path, **users: str) -> str:
    """A line of a configuration: these users, and their passwords."""
    path = folder / "users"
    path.touch(0o600)
    command, environment = tool("mosquitto_passwd")
    for user, password in users.items():
        subprocess.run([*command, "-b", str(path), user, password], env=environment, check=True)
    return f"password_file {path}"


class Kafka:
    """A cluster of one broker, in this process; other processes may connect to `servers`. A context manager.

    See `rdkafka_mock.h`.
    """

    def __init__(self) -> None:
        (library,) = (Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka-*.so*")
        self._library = ctypes.CDLL(str(library))
        for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
            getattr(self._library, name).restype = ctypes.c_void_p
        self._library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        reason = ctypes.create_string_buffer(512)
        owner = self._library.rd_kafka_new(0, ctypes.c_void_p(self._library.rd_kafka_conf_new()), reason, 512)
        assert owner, reason.value.decode()
        self._owner = ctypes.c_void_p(owner)
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._owner, 1))
        self.servers = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def topic(self, name: str, partitions: int = 1) -> None:
        """Make a topic."""
        self._ask("topic_create", name.encode(), partitions, 1)

    def down(self) -> None:
        """Take the broker away; what it has stays."""
        self._ask("broker_set_down", 1)

    def up(self) -> None:
        self._ask("broker_set_up", 1)

    def delete(self, topic: str, partition: int, before: int) -> None:
        """Delete the records before that offset, as retention does."""
        self._ask("partition_delete_records", topic.encode(), partition, ctypes.c_int64(before))

    def produce(self, topic: str, records: Iterable[tuple[int, Data, Data]], timestamp: int = 0) -> None:
        """Append records (partition, key, value), in order. `timestamp` is in milliseconds since 1970, 0: now."""
        failures = []
        producer = confluent_kafka.Producer({"bootstrap.servers": self.servers, "queue.buffering.max.messages": 10**6})
        for partition, key, value in records:
            producer.produce(
                topic,
                value,
                key,
                partition,
                timestamp=timestamp,
                on_delivery=lambda error, _: failures.append(error) if error else None,
            )
            producer.poll(0)
        assert producer.flush(60) == 0
        assert not failures, failures[0]

    def _ask(self, name: str, *arguments: object) -> None:
        error = getattr(self._library, f"rd_kafka_mock_{name}")(self._cluster, *arguments)
        assert error == 0, f"{name}: error {error}"

    def __enter__(self) -> "Kafka":
        return self

    def __exit__(self, *_: object) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._owner)
