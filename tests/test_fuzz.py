"""Broken inputs, to the code and to a running daemon: nothing falls through, and nothing changes."""

import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from random import Random

import numpy as np
import psutil
import pytest
import zmq
from daemon import VECTOR, Daemon, layers, wait_for

import streamrnn as sr
from benchmarks.reliability.fuzz import feed
from benchmarks.reliability.fuzz.feed import fuzz, replay
from benchmarks.reliability.fuzz.messages import letters
from benchmarks.reliability.fuzz.mutate import mutated
from benchmarks.reliability.fuzz.targets import TARGETS, decoder
from benchmarks.reliability.fuzz.targets.control import QUESTIONS
from streamrnn.kernels.frames import COLUMNS, INPUT
from streamrnn.kernels.messages import BARRIER, CREDIT, FRAMES, NAME, OUTPUT, RATE
from streamrnn.protocol.wire import Message, WireError, as_text, pack, unpack

INPUTS = {kind.name: 2000 for kind in TARGETS} | {"config": 300, "checkpoint": 200}


@pytest.mark.parametrize("name", INPUTS)
def test_every_input_is_taken_or_refused(name):
    tally = fuzz(name, INPUTS[name], seed=1)
    assert tally.case is None
    assert tally.inputs == INPUTS[name]
    assert 0.02 < tally.accepted / tally.inputs < 0.98
    assert tally.growth <= feed.GROWTH


def test_what_falls_through_is_found_cut_short_and_found_again(monkeypatch):
    def careless(data):
        return unpack(data) if len(data) != 64 else 1 / 0

    monkeypatch.setattr(decoder, "unpack", careless)
    tally = fuzz("frame decoder", 1000, seed=1)
    assert not tally.good
    assert "ZeroDivisionError" in tally.case.fault
    assert [len(parts[0]) for parts in tally.case.inputs] == [64]
    with pytest.raises(ZeroDivisionError):
        replay(tally.case)


def test_what_hangs_is_found(monkeypatch):
    def waiting(data):
        while True:
            pass

    monkeypatch.setattr(feed, "LIMIT", 0.05)
    monkeypatch.setattr(decoder, "unpack", waiting)
    assert "Hang" in fuzz("frame decoder", 1000, seed=1).case.fault


# --- a running daemon ------------------------------------------------------------------------------------------------

XS, TS = np.random.default_rng(5).standard_normal((2, 60, 4)).astype(np.float32)
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)  # of ZMTP 3.0
SOCKETS = {"gate": b"DEALER", "control": b"DEALER", "state/command": b"DEALER", "outputs": b"SUB"}  # whom they hear
ENOUGH = 100  # messages of nonsense
MORE = 8 << 20  # bytes that a process may grow by the last time


def framed(body: bytes, flags: int = 0) -> bytes:
    """A frame of ZMTP."""
    return bytes([flags, len(body)]) + body


def ready(kind: bytes) -> bytes:
    """The second half of a handshake, of a peer with that type of socket."""
    return framed(b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind, 4)


@contextmanager
def plain(path: str, kind: bytes = b"") -> Iterator[socket.socket]:
    """A plain socket, behind the handshake of a peer of that kind if one is given."""
    with closing(socket.socket(socket.AF_UNIX)) as line:
        line.settimeout(20)
        line.connect(path)
        if kind:
            line.sendall(GREETING + ready(kind))
            while b"READY" not in line.recv(1000):
                pass
        yield line


def talk(line: socket.socket, data: bytes) -> None:
    """Send it, as far as it is taken, and wait until the other end is closed too."""
    with suppress(BrokenPipeError, ConnectionResetError):
        line.sendall(data)
        line.shutdown(socket.SHUT_WR)
        while line.recv(1000):
            pass


def break_rules(path: str, kind: bytes, random: Random) -> None:
    """No ZMTP, parts of a handshake, and behind a whole one noise, strange commands, lengths beyond all bounds."""
    noise = [random.randbytes(count) for count in (1, 9, 10, 64, 1000, 100_000)]
    halves = [GREETING[:10], GREETING[:40], GREETING, GREETING + framed(b"\x05REA", 4), GREETING + ready(b"XYZ")]
    for data in [b"GET / HTTP/1.1\r\n\r\n", *noise, *halves]:
        with plain(path) as line:
            talk(line, data)
    huge = [b"\2" + struct.pack(">Q", length) + b"x" * 100 for length in (2**33, 2**62, 2**64 - 1)]
    for data in [noise[3], *huge, framed(b"\x04PING", 4), framed(b"\x09", 4), framed(b"")]:
        with plain(path, kind) as line:
            talk(line, data)


def end_subscriptions(path: str) -> None:
    """Those of others, as no library would."""
    with plain(path, b"SUB") as line:
        line.sendall(b"".join([framed(b"\0a\0"), framed(b"\0")] * 3 + [framed(b"\1me")]))
        assert b"me" in line.recv(1000)  # the answer


def nonsense(random: Random) -> list[bytes]:
    """What is no message, and messages that are not for who gets them."""
    seeds, found = letters(), []
    while len(found) < ENOUGH:
        data = mutated(random, random.choice(seeds), seeds)
        with suppress(WireError):
            unpack(data)
            continue
        found.append(data)
    wrong = [Message(kind, 0, 1, extra=as_text("x")) for kind in (OUTPUT, NAME, BARRIER, CREDIT, RATE, -1, 2**62)]
    token = Message(FRAMES, 0, 2**62, np.full((1, COLUMNS), INPUT))
    return [*found, *map(pack, [*wrong, token]), *QUESTIONS[-2:], bytes(2 << 20)]


def garbage(daemon: Daemon, random: Random) -> None:
    """All of that, on every socket that others can reach."""
    for name, kind in SOCKETS.items():
        break_rules(f"{daemon.folder}/{name}", kind, random)
    end_subscriptions(f"{daemon.folder}/outputs")
    context = zmq.Context()
    context.linger = 1000
    for name in SOCKETS:
        for kind in (zmq.DEALER, zmq.XSUB, zmq.PUSH, zmq.PAIR, zmq.REQ, zmq.SUB):
            line = context.socket(kind)
            line.connect(f"ipc://{daemon.folder}/{name}")
            with suppress(zmq.ZMQError):  # whoever has nobody to speak to, or cannot
                for data in nonsense(random):
                    line.send(data, zmq.DONTWAIT)
                    if name == "gate":
                        line.send_multipart([b"a", data], zmq.DONTWAIT)
    context.destroy()


def sizes(daemon: Daemon) -> dict[str, tuple[int, int]]:
    """Descriptors and bytes of each process."""
    processes = {"supervisor": psutil.Process(daemon.process.pid)} | daemon.workers()
    return {name: (process.num_fds(), process.memory_info().rss) for name, process in processes.items()}


def grown(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]], what: int, by: int = 0) -> list[str]:
    """Processes that have more of that than before."""
    return [name for name in after if after[name][what] > before[name][what] + by]


def test_garbage_on_every_socket_of_a_daemon_changes_nothing_and_is_counted():
    net, random = sr.Network([sr.LSTM(4, 8)], sr.Linear(2), sr.Adam(0.002), window=8), Random(6)
    with Daemon(**VECTOR, layers=layers("lstm 8")) as daemon:
        daemon.start()
        with daemon.client() as client, client.subscribe("a", timeout=20) as heard:
            for k, (x, target) in enumerate(zip(XS, TS[:, :2], strict=True)):
                if k in (20, 40):
                    before = sizes(daemon)
                    garbage(daemon, random)
                    wait_for(lambda: not grown(before, sizes(daemon), 0))  # noqa: B023
                out, loss = client.step(x, target, stream="a"), net.learn(x, target)
                assert next(heard).y.tobytes() == out.y.tobytes()
                assert (out.seq, out.loss) == (k, loss)
            wait_for(lambda: client.status()["frames"] == len(XS))
            status = client.status()
            assert grown(before, sizes(daemon), 1, MORE) == []
        assert status["refused"] > 5 * ENOUGH
        assert status["bad"] > ENOUGH
        assert status["rejected"] > len(SOCKETS)
        assert (status["frames"], status["recoveries"], status["state"]) == (len(XS), 0, "running")
        daemon.stop()
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()
