"""Strangers at a real daemon's sockets, over tcp with CURVE: none gets in, hears anything, or changes anything."""

import json
import os
import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
import zmq
from daemon import Daemon, wait_for
from typer.testing import CliRunner
from zmq.utils.monitor import recv_monitor_message

import streamrnn as sr
from streamrnn.cli.main import app
from streamrnn.client import core as clients
from streamrnn.protocol.keys import Key, Keys, connect_with, load
from streamrnn.workers.admission.connections import LARGEST_READ
from streamrnn.workers.publisher import LARGEST_SUBSCRIPTION
from streamrnn.workers.supervision.control_protocol import LARGEST_QUESTION

DOORS = {"gate": zmq.DEALER, "outputs": zmq.SUB, "control": zmq.DEALER}
LARGEST = {"gate": LARGEST_READ, "outputs": LARGEST_SUBSCRIPTION, "control": LARGEST_QUESTION}
MAGIC = b"srnn\x03"  # every message to and from the gate begins with it
LINES = 6  # of a client with two subscriptions: control, gate, to each subscription, and to the history for each
NAME = "plain text for an eavesdropper"


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    return ports


class Guarded(Daemon):
    """A daemon on tcp, which asks for keys if `curve`; "ann" and "bob" have one."""

    def __init__(self, curve: bool = True) -> None:
        super().__init__(source=f'kind = "none"\n[security]\ncurve = {str(curve).lower()}')
        text = self.config.read_text()
        self.addresses = {}
        for name, port in zip(DOORS, free_ports(3), strict=True):
            self.addresses[name] = f"tcp://127.0.0.1:{port}"
            text = text.replace(f"ipc://{self.folder}/{name}", self.addresses[name])
        self.config.write_text(text)
        self.keys = Keys(self.folder / "state" / "keys")
        for name in ("ann", "bob"):
            self.keys.new(name, self.file(name))

    def file(self, name: str):
        return self.folder / f"{name}.key"

    def client(self, name: str = "ann", timeout: float = 20.0) -> sr.Client:
        return sr.Client(self.addresses["control"], timeout, self.file(name) if self.keys else None)

    def revoke(self, name: str) -> None:
        assert CliRunner().invoke(app, ["keys", "revoke", str(self.config), name]).exit_code == 0


@pytest.fixture(scope="module")
def daemon():
    with Guarded() as made:
        made.start()
        made.keys.new("dan", made.file("dan"))
        made.revoke("dan")
        yield made
        made.stop()


@pytest.fixture
def ann(daemon):
    with daemon.client("ann") as client:
        yield client


@contextmanager
def knocking(daemon: Daemon, key: Key | None):
    """Plain sockets to all doors, each with something to say."""
    with zmq.Context() as context:
        sockets = {name: context.socket(kind) for name, kind in DOORS.items()}
        for name, each in sockets.items():
            each.linger = 0
            if key:
                connect_with(each, key)
            each.connect(daemon.addresses[name])
        sockets["outputs"].subscribe(b"")
        sockets["control"].send(b'{"ask": "status"}')
        sockets["gate"].send_multipart([b"x", b"garbage that the gate would refuse and answer"])
        try:
            yield sockets
        finally:
            for each in sockets.values():
                each.close()


def knock(daemon: Daemon, ann: sr.Client) -> None:
    """See that a key opens all doors, and that the garbage behind them is counted."""
    refused = ann.status()["refused"]
    with knocking(daemon, load(daemon.file("bob"))) as sockets:
        wait_for(lambda: heard(sockets) == list(DOORS))
        wait_for(lambda: ann.status()["refused"] > refused)
    assert ann.status()["refused"] == refused + 1


def heard(sockets) -> list[str]:
    return [name for name, each in sockets.items() if each.poll(0)]


def test_a_client_with_a_key_gets_in(daemon, ann):
    with ann.subscribe("mine", 20.0) as outputs:
        out = ann.step(7, stream="mine")
        assert next(outputs).y.tolist() == out.y.tolist()
    assert ann.outputs("mine", out.seq - 1, out.seq + 1)[0].y.tolist() == out.y.tolist()
    words = ["--control", daemon.addresses["control"], "--key", str(daemon.file("ann")), "--json"]
    assert json.loads(CliRunner().invoke(app, ["status", *words]).output)["state"] == ann.status()["state"] == "running"
    knock(daemon, ann)  # what rejected must not get


def new_key(daemon: str) -> Key:
    public, secret = zmq.curve_keypair()
    return Key(public.decode(), secret.decode(), daemon)


def strange_keys(daemon: Daemon) -> dict[str, Key | None]:
    known = load(daemon.file("ann"))
    return {
        "plain": None,
        "unknown": new_key(known.daemon),
        "revoked": load(daemon.file("dan")),
        "wrong server": Key(known.public, known.secret, new_key("").public),
    }


@pytest.mark.parametrize("kind", ["plain", "unknown", "revoked", "wrong server"])
def test_a_stranger_gets_nothing_changes_nothing_and_is_counted(daemon, ann, kind):
    first, before = ann.step(0).seq, ann.status()
    with knocking(daemon, strange_keys(daemon)[kind]) as sockets:
        wait_for(lambda: ann.status()["rejected"] >= before["rejected"] + len(DOORS))
        assert ann.step(1).seq == first + 1
        assert heard(sockets) == []
    assert ann.status()["refused"] == before["refused"]


def test_a_revoked_client_is_out_at_once_and_the_others_stay(daemon, ann):
    daemon.keys.new("eve", daemon.file("eve"))
    rejected = ann.status()["rejected"]
    with (
        daemon.client("eve", 1.0) as eve,
        eve.subscribe("ann", timeout=20.0) as outputs,
        daemon.client("bob") as bob,
        ThreadPoolExecutor(1) as thread,
    ):
        eve.step(1, stream="eve")
        assert ann.step(2, stream="ann").seq == next(outputs).seq
        written = thread.submit(bob.generate, b"The ", max_length=2500, temperature=1.0, seed=1)
        daemon.revoke("eve")
        wait_for(lambda: ann.status()["rejected"] >= rejected + LINES)
        for action in (eve.status, lambda: eve.step(2, stream="eve")):
            with pytest.raises(sr.DaemonGone):
                action()
        ann.step(3, stream="ann")
        outputs.timeout = 0.1
        with pytest.raises(sr.DaemonGone):
            next(outputs)
        assert len(written.result(timeout=60)) == 2500  # which went on all the while


def test_an_oversized_message_gets_no_further_than_the_socket(daemon, ann):
    knock(daemon, ann)
    refused = ann.status()["refused"] + 1  # with what knocks now
    with knocking(daemon, load(daemon.file("bob"))) as sockets:
        wait_for(lambda: heard(sockets) == list(DOORS))
        for name, each in sockets.items():
            events = each.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            send = each.subscribe if name == "outputs" else each.send
            send(bytes(LARGEST[name] + 1))
            assert events.poll(20_000), name
            assert recv_monitor_message(events)["event"] == zmq.EVENT_DISCONNECTED
            each.disable_monitor()
    wait_for(lambda: ann.status()["refused"] == refused)
    knock(daemon, ann)
    assert ann.step(5).y.sum() == pytest.approx(1, abs=1e-4)


class Eavesdropper:
    """Between a client and an address: passes on what comes, both ways, and keeps it."""

    def __init__(self, endpoint: str) -> None:
        host, port = endpoint.removeprefix("tcp://").split(":")
        self.target = host, int(port)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self.server.getsockname()[1]}"
        self.there, self.back = bytearray(), bytearray()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with self.server.accept()[0] as near, socket.create_connection(self.target) as far:
            other = threading.Thread(target=self.copy, args=(far, near, self.back))
            other.start()
            self.copy(near, far, self.there)
            other.join()

    @staticmethod
    def copy(source: socket.socket, to: socket.socket, kept: bytearray) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                kept += data
                to.sendall(data)
        with suppress(OSError):
            to.shutdown(socket.SHUT_WR)


def overheard(daemon: Guarded, monkeypatch) -> tuple[bytes, bytes]:
    """What passes between a client and the gate, there and back, as the client says something."""
    ear = Eavesdropper(daemon.addresses["gate"])
    monkeypatch.setattr(
        clients, "as_seen_with", lambda _, address: ear.endpoint if address == daemon.addresses["gate"] else address
    )
    with ear.server, daemon.client() as client:
        client.step(65, stream=NAME)
        return bytes(ear.there), bytes(ear.back)


def test_an_eavesdropper_hears_no_plain_text(daemon, monkeypatch):
    there, back = overheard(daemon, monkeypatch)
    assert len(there) > len(NAME)
    for text in (NAME.encode(), MAGIC):
        assert text not in there + back
    assert b"CURVE" in there


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_without_keys_it_would_be_heard_and_files_are_the_users_alone(monkeypatch):
    with Guarded(curve=False) as daemon:
        daemon.keys = None
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace(daemon.addresses["outputs"], f"ipc://{daemon.folder}/outputs"))
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)  # then the inner sockets are in the state folder
        before = os.umask(0)
        try:
            daemon.start()
        finally:
            os.umask(before)
        there, back = overheard(daemon, monkeypatch)
        assert NAME.encode() in there
        assert MAGIC in there
        assert MAGIC in back
        state = daemon.folder / "state"
        inner = state / "sockets"
        within = [path for path in inner.iterdir() if path.is_dir()]
        assert within
        folders = {path: mode(path) for path in (state, state / "checkpoints", inner, *within)}
        assert set(folders.values()) == {0o700}, folders
        sockets = {path: mode(path) for path in (daemon.folder / "outputs", state / "command")}
        assert set(sockets.values()) == {0o600}, sockets
        daemon.stop()
        state.chmod(0o777)
        done = daemon.attempt("--quiet")
        assert (done.returncode, done.stderr) == (1, f"streamrnn: others may write to {state}: chmod 700 {state}\n")


def test_a_daemon_that_other_machines_could_reach_asks_for_keys():
    with Guarded(curve=False) as daemon:
        text = daemon.config.read_text().replace("127.0.0.1", "0.0.0.0")
        daemon.config.write_text(text)
        checked, ran = CliRunner().invoke(app, ["check", str(daemon.config)]), daemon.attempt()
        assert checked.exit_code == ran.returncode == 2
        assert ran.stderr.count("\n") == 1
        assert '"sockets.gate" is open to other machines' in ran.stderr
        daemon.config.write_text(text.replace("curve = false", "curve = true"))
        assert CliRunner().invoke(app, ["check", str(daemon.config)]).exit_code == 0
        for name in ("ann", "bob"):
            daemon.keys.revoke(name)
        ran = daemon.attempt()
        assert ran.returncode == 1
        assert ran.stderr.startswith("streamrnn: no client has a key, so nobody could come in: make one with")
