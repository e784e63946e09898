"""Named streams make room for others and come back to the bit; a network that evicts nothing says what is right."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest
from daemon import TIMEOUT, VECTOR, Daemon, have_come, layers, wait_for
from disk import Flushed
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

import streamrnn as sr
from streamrnn.kernels.frames import SEQ
from streamrnn.kernels.messages import EVICT, NAME, RESTORE
from streamrnn.model.feedback import Last
from streamrnn.model.layers import CELLS as LAYERS
from streamrnn.protocol.wire import Message, as_numbers, bytes_of, pack, unpack
from streamrnn.storage import stream_state
from streamrnn.workers.admission import eviction
from streamrnn.workers.admission import stream_store as evicted
from streamrnn.workers.admission.eviction import Eviction, Leaving
from streamrnn.workers.admission.intake import Intake, Refused
from streamrnn.workers.admission.stream_store import StreamStore, adopt
from streamrnn.workers.stages import stream_buffer
from streamrnn.workers.worker import Failure

FEW = "max_streams = 2"
TEXT = bytes(range(32, 122))
CELLS = {name.lower(): cell for name, cell in LAYERS.items()}


# --- what stages keep of a stream ------------------------------------------------------------------------------------


def networks(cell, delay, standardize):
    """Two of the same, for vectors."""
    return [
        sr.Network(
            [CELLS[cell](3, 5), sr.GRU(5, 4, 2)],
            sr.Gaussian(3),
            sr.Adam(0.01),
            window=5,
            accumulate=2,
            gradient_delay=delay,
            predict="next",
            standardize=standardize,
        )
        for _ in range(2)
    ]


@pytest.mark.parametrize(("cell", "delay", "standardize"), [("rnn", 0, False), ("lstm", 1, True), ("gru", 2, True)])
def test_a_stream_goes_and_comes_back_under_any_number_and_no_bit_changes(cell, delay, standardize):
    one, other = networks(cell, delay, standardize)
    chance, rng, away = Random(1), np.random.default_rng(2), {}
    for net in (one, other):
        for name in "abcd":
            net.step(np.zeros(3), name)
    free = [other._streams.used, other._streams.used + 1]
    for name in "xy":  # two numbers without a stream
        other._stream(name)
        del other.names[name]
    for _ in range(600):
        name = chance.choice("abcd")
        if name in away and chance.random() < 0.5:
            number = other.names[name] = free.pop(0)
            stream_state.put(away.pop(name), other.stages, other._schedule, number, 0)
            other._streams.fresh.discard(number)
        elif name not in away and chance.random() < 0.2 and len(away) < 3:
            number = other.names.pop(name)
            free.append(number)
            away[name] = stream_state.take(other.stages, other._schedule, number, 0)
        if name not in away:
            x = rng.standard_normal(3)
            assert one.step(x, name).tobytes() == other.step(x, name).tobytes()
    assert one.parameters_sha256() == other.parameters_sha256()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda kept: kept.pop("0.state"),
        lambda kept: kept.update({"0.state": kept["0.state"][1:]}),
        lambda kept: kept.update({"0.tape": kept["0.tape"][1:]}),
        lambda kept: kept.update({"1.tokens": kept["1.tokens"] + 100}),
        lambda kept: kept.update({"0.window": np.array([99, 1])}),
        lambda kept: kept.update({"0.window": np.array([1, 99])}),
        lambda kept: kept.update({"0.window": np.array([1])}),
    ],
)
def test_what_is_of_other_stages_is_refused(spoil):
    net, _ = networks("lstm", 0, True)
    for _ in range(3):
        net.step(np.ones(3))
    kept = stream_state.take(net.stages, net._schedule, 0, 0)
    spoil(kept)
    with pytest.raises((KeyError, ValueError)):
        stream_state.put(kept, net.stages, net._schedule, 0, 0)


# --- on the disk -----------------------------------------------------------------------------------------------------


class Plain:
    """What `StreamStore` keeps, as lists: (name, evicted, returned, state) of each run."""

    def __init__(self):
        self.rows = {}

    def there(self, run, place):
        return {
            name: state
            for name, evicted, returned, state in self.rows.get(run, [])
            if evicted <= place and (returned is None or place < returned)
        }


ENDLESS = 10**9


@given(st.lists(st.sampled_from(["evict", "evict", "return", "checkpoint", "back", "rollback", "prune"]), max_size=60))
def test_every_checkpoint_finds_the_streams_that_were_on_the_disk_then(tmp_path_factory, events):
    path, chance = tmp_path_factory.mktemp("evicted") / "streams", Random(len(events))
    plain, run, place, checkpoints = Plain(), "run 0", 0, []
    disk = StreamStore(path, run, place)
    for step, event in enumerate(events):
        rows, there = plain.rows.setdefault(run, []), plain.there(run, ENDLESS)
        if event == "evict":
            name, place, state = f"stream {step}" if chance.random() < 0.5 else "again", place + 1, bytes([step])
            if name not in there:
                disk.put(name, place, state)
                rows.append([name, place, None, state])
        elif event == "return" and there:
            name, place = chance.choice(sorted(there)), place + 1
            disk.end(name, place)
            next(row for row in rows if row[0] == name and row[2] is None)[2] = place
        elif event == "checkpoint":
            checkpoints.append((run, place, plain.there(run, place)))
        elif event in ("back", "rollback") and checkpoints:
            disk.close()
            chosen = chance.choice(checkpoints)
            if event == "rollback":
                adopt(path, *chosen[:2], f"run {step}")
                plain.rows[f"run {step}"] = [[name, 0, None, state] for name, state in chosen[2].items()]
                run, place = f"run {step}", chosen[1]
            elif chosen[0] == run:
                place = chosen[1]
                rows[:] = [row for row in rows if row[1] <= place]
                for row in rows:
                    row[2] = None if row[2] is not None and row[2] > place else row[2]
                checkpoints = [kept for kept in checkpoints if kept[0] != run or kept[1] <= place]
            disk = StreamStore(path, run, place)
        elif event == "prune":
            disk.prune([kept[:2] for kept in checkpoints], place)
        there = plain.there(run, ENDLESS)
        assert disk.count == len(there)
        assert {name: disk.get(name) for name in there} == there
        assert not disk.has("nobody")
    while disk.prune([kept[:2] for kept in checkpoints], place):
        pass
    disk.close()
    for kept_run, kept_place, there in sorted(checkpoints, key=lambda kept: -kept[1]):  # each forgets what came behind
        disk = StreamStore(path, kept_run, kept_place)
        assert {name: disk.get(name) for name in there} == there
        assert disk.count == len(there)
        disk.close()


def test_what_nobody_relies_on_leaves_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(evicted, "PRUNED", 3)
    disk = StreamStore(tmp_path / "streams", "run", 0)
    for number in range(20):
        disk.put(f"{number}", 2 * number + 1, bytes(100))
        if number % 2:
            disk.end(f"{number}", 2 * number + 2)
    while disk.prune([("run", 7)], 36):  # at which 3 was there, and 1 was back
        pass
    disk.flush()
    disk.close()
    rows = sqlite3.connect(tmp_path / "streams").execute("SELECT name FROM evictions JOIN states ON id = state")
    assert {int(name) for (name,) in rows} == {*range(0, 20, 2), 3, 19}


def test_a_damaged_state_is_none_and_a_damaged_file_is_said(tmp_path):
    path = tmp_path / "streams"
    disk = StreamStore(path, "run", 0)
    disk.put("a", 1, b"state of a")
    disk.close()
    other = sqlite3.connect(path)
    other.execute("UPDATE states SET data = ?", (b"state of b",))
    other.commit()
    other.close()
    disk = StreamStore(path, "run", 1)
    assert (disk.has("a"), disk.get("a")) == (True, None)
    disk.close()
    path.write_bytes(b"x" * 5000)
    with pytest.raises(Failure, match=r"damaged .* move it away"):
        StreamStore(path, "run", 1)


@settings(max_examples=30, deadline=None)
@given(
    calls=st.lists(st.one_of(st.integers(1, 9000), st.just("end"), st.just("flush")), min_size=1, max_size=20),
    random=st.randoms(use_true_random=False),
)
def test_what_was_flushed_is_there_whatever_is_lost_with_the_power(calls, random):
    flushes = []
    with tempfile.TemporaryDirectory(prefix="sr-") as name, pytest.MonkeyPatch.context() as patch:
        disk = StreamStore(Path(name, "streams"), "run", 0)
        patch.setattr(os, "fdatasync", flushes.append)
        disk.put("first", 1, b"first")
        disk.flush()
        disk._connection.execute("PRAGMA wal_autocheckpoint = 6")  # pages: the WAL begins anew often
        assert disk._connection.execute("PRAGMA synchronous").fetchone() == (1,)  # what `Flushed` relies on
        files = Flushed(disk.path)
        files.look(True)
        flushes.clear()
        there, safe, record = {"first": b"first"}, {"first": b"first"}, 1
        for number, call in enumerate(calls):
            record += 1
            if call == "flush":
                disk.flush()
                safe = dict(there)
            elif call != "end":
                there[str(record)] = bytes([record]) * call
                disk.put(str(record), record, there[str(record)])
            elif len(there) > 1:
                gone = next(iter(there))
                disk.end(gone, record)
                del there[gone]
                safe.pop(gone, None)  # it may be there or not
            files.look(bool(flushes))
            flushes.clear()
            for k, fate in enumerate((lambda: 0.0, lambda: 1 - 1e-9, random.random)):
                copy = Path(name, f"copy-{number}-{k}")
                files.lay_out(copy, fate)
                left = StreamStore(copy, "run", record)
                assert {name: left.get(name) for name in safe} == safe
                assert all(left.get(name) == state for name, state in there.items() if left.has(name))
                left.close()
        disk.close()


# --- the gate --------------------------------------------------------------------------------------------------------


class Pipeline:
    """An eviction of a gate with two workers behind it; `down` is what has been sent, `there` the clients that are."""

    def __init__(self, folder, streams=3, start=0, **order):
        self.order = {
            "predict": "target",
            "classes": 5,
            "target_classes": 5,
            "dismissals": 0,
            "input_size": 0,
            "target_size": 0,
            "largest": 1e30,
            "missing": "refuse",
            "evict": "idle",
            "max_streams": streams,
            "places": 2 * streams + 2,
            "epoch": 1,
            "frames": 0,
            "streams": [],
            "fresh": [],
            "kept": {},
            "last": {},
            "parts": 2,
            "run": "run",
            "evicted": str(folder / "streams"),
            "journal_start": start,
            **order,
        }
        self.down, self.there, self.busy, self.warnings, self.records = [], set(), set(), [], start
        self.intake = Intake(self.order)
        self.eviction = Eviction(
            self.order,
            self.intake,
            lambda: self.records + 1,
            self.write,
            lambda client: client in self.there,
            lambda name: name in self.busy,
            lambda number: None,
            lambda event, text: self.warnings.append(text),
        )

    def write(self, data, note=None, down=b""):
        self.records += 1
        self.down.append(unpack(down or data))

    def open(self, name, client=b""):
        """As a request does; whether it need not wait."""
        if name not in self.intake.names:
            if not self.eviction.admit(name):
                return False
            number, naming = self.intake.stream(name)
            if naming:
                self.write(naming)
                self.eviction.opened(number)
        self.eviction.use(self.intake.names[name], client)
        return True

    def send_parts(self, number=2):
        """The workers send what they keep of the streams that have gone."""
        for message in self.down:
            if message.kind == EVICT:
                record = int(message.frames[0, SEQ])
                for k in range(number):
                    state = {f"{k}.state": np.array([record], np.int64)}
                    self.eviction.hear(Message(EVICT, 1, record, extra=as_numbers(save(state))))
        self.down.clear()


def test_the_longest_idle_stream_whose_clients_are_gone_makes_room(tmp_path):
    gate = Pipeline(tmp_path, streams=5)
    gate.there = {b"here"}
    for name, client in (("a", b"here"), ("b", b"gone"), ("c", b"gone"), ("d", b"gone"), ("e", b"gone")):
        gate.open(name, client)
    gate.open("b", b"gone")
    gate.open("d", b"here")
    gate.busy = {"c"}
    for name in ("preview", "source", "~own"):
        gate.open(name, b"gone")
    went = []
    for name in ("f", "g"):
        before = set(gate.intake.names)
        gate.open(name, b"here")
        went += before - set(gate.intake.names)
        gate.send_parts()
    assert went == ["e", "b"]
    with pytest.raises(Refused, match="all 5 streams are in use"):
        gate.open("h", b"here")
    assert (gate.eviction.refused, gate.eviction.on_disk) == (1, 2)
    gate.there.clear()
    gate.eviction.forget_gone()
    assert not any(gate.eviction.clients.values())
    assert gate.open("h")


def test_who_comes_waits_until_the_state_is_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(eviction, "MOST_LEAVING", 2)
    gate = Pipeline(tmp_path, streams=2)
    for name in "abcd":
        assert gate.open(name)
    assert not gate.open("e")  # two are on their way
    assert not gate.open("a")
    gate.send_parts(1)
    assert not gate.open("a")
    assert not gate.eviction.are_kept(3)
    assert gate.eviction.are_kept(2)
    for record in list(gate.eviction.leaving):
        gate.eviction.hear(Message(EVICT, 1, record, extra=as_numbers(save({"1.state": np.zeros(1)}))))
    assert gate.eviction.are_kept(100)
    assert gate.open("a")
    restored = gate.down[-1]
    assert (restored.kind, restored.number) == (RESTORE, gate.intake.names["a"])
    assert load(bytes_of(restored))["0.state"] == [3]  # the record with which it went


def test_a_full_disk_is_waited_for(tmp_path, monkeypatch):
    gate = Pipeline(tmp_path, streams=1)
    for name in "ab":
        gate.open(name)

    def full(*_):
        raise OSError("full")

    with monkeypatch.context() as patched:
        patched.setattr(gate.eviction.disk, "put", full)
        gate.send_parts()
        assert not gate.open("a")
        assert not gate.eviction.are_kept(100)
    gate.eviction.tidy()
    with monkeypatch.context() as patched:
        patched.setattr(gate.eviction.disk, "end", full)
        assert not gate.open("a")
        gate.send_parts()
    assert gate.open("a")
    assert gate.down[-1].kind == RESTORE


def test_a_stream_that_is_lost_begins_anew_and_that_is_said(tmp_path):
    gate = Pipeline(tmp_path, streams=1)
    for name in "ab":
        gate.open(name)
        gate.send_parts()
    notes = gate.eviction.notes()
    assert notes["on_disk"] == 1
    other = sqlite3.connect(tmp_path / "streams")
    other.execute("UPDATE states SET data = ?", (b"x",))
    other.commit()
    other.close()
    assert gate.open("a")
    assert [message.kind for message in gate.down] == [EVICT, NAME]
    gate.eviction.disk.close()
    (tmp_path / "streams").unlink()
    again = Pipeline(tmp_path, streams=1, start=3, kept={"eviction": notes, **gate.intake.notes()})
    assert gate.warnings + again.warnings == [
        f'{tmp_path}/streams: the stream "a" is lost or damaged, it begins anew',
        f"1 evicted streams are not in {tmp_path}/streams: they begin anew",
    ]
    assert again.open("a")
    assert [message.kind for message in again.down] == [NAME]


def test_a_closed_stream_is_not_kept(tmp_path):
    gate = Pipeline(tmp_path, streams=1)
    for name in "ab":
        gate.open(name)
    gate.eviction.close("a", 4)  # on its way
    assert gate.eviction.on_disk == 0
    gate.send_parts()
    assert not gate.eviction.disk.has("a")
    gate.open("c")
    gate.send_parts()
    gate.eviction.close("b", 6)  # on the disk
    assert (gate.eviction.on_disk, gate.eviction.knows("b")) == (0, False)
    with pytest.raises(Refused, match='there is no stream "b"'):
        gate.eviction.close("b", 7)


@pytest.mark.parametrize("readout", ["gaussian", "softmax"])
def test_the_largest_state_fits_into_the_message_of_a_worker(readout):
    head = sr.Gaussian(300) if readout == "gaussian" else sr.Softmax(300)
    net = sr.Network(
        [sr.LSTM(300, 7), sr.GRU(7, 5, 3)],
        head,
        sr.SGD(0.1),
        window=6,
        predict="next",
        standardize=readout == "gaussian",
    )
    value = np.full(300, -1.2345678901234567e-290)
    for _ in range(6):
        net.step(value if readout == "gaussian" else 3)
    last = Last(value, np.concatenate([value, value])).plain()
    known = {"name": "\1" * 255, "last": last, "begun": True, "waiting": True, "stale": True}
    state = Leaving(known, 0).tensors | stream_state.take(net.stages, net._schedule, 0, 0) | {"newest": np.array([1])}
    message = pack(Message(RESTORE, 1, 0, np.zeros((1, 5), np.int64), extra=as_numbers(save(state))))
    assert state["0.window"][0] > 0
    assert len(message) <= stream_buffer(net).nbytes


# --- a daemon --------------------------------------------------------------------------------------------------------


def text_network(**settings):
    options = {"window": 8, "predict": "next"} | settings
    return sr.Network([sr.LSTM(256, 8)], sr.Softmax(256), sr.Adam(0.002), **options)


def visit(daemon, net, name, tokens):
    """A client comes, steps, and goes."""
    with daemon.client() as client:
        for token in tokens:
            assert client.step(token, stream=name).y.tobytes() == net.step(token, name).tobytes()


def test_any_number_of_clients_come_step_once_and_go():
    net = text_network()
    with Daemon() as daemon:
        daemon.start()
        for number in range(200):
            visit(daemon, net, f"stream {number}", [number])
        visit(daemon, net, "stream 3", [65, 66])
        with daemon.client() as client:
            wait_for(lambda: client.status()["streams_on_disk"] == 136)
            status = client.status()
        assert status["streams"] == 64
        assert (status["refused"], status["streams_refused"], status["recoveries"]) == (0, 0, 0)
        daemon.stop()
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()


def test_only_streams_in_use_are_refused_and_clients_own_ones_never():
    with Daemon(pipeline=FEW) as daemon:
        daemon.start()
        with daemon.client() as late, daemon.client() as client, daemon.client() as other:
            client.step(65, stream="one")
            late.step(65, stream="one")
            other.step(65, stream="two")
            for _ in range(2):
                with pytest.raises(sr.FrameRefused, match="all 2 streams are in use: their clients are connected"):
                    late.step(65, stream="three")
            for one in (late, client):
                assert one.classify("abc").shape == (256,)
            wait_for(lambda: client.status()["streams_refused"] == 2)
            client.close()
            with pytest.raises(sr.FrameRefused):  # one of two that wrote to it is still there
                late.step(65, stream="three")
            other.close()
            wait_for(lambda: gets_in(late, "three"))
            wait_for(lambda: late.status()["streams_on_disk"] == 1)
            wait_for(lambda: late.status()["streams"] == 3)  # "one", "three" and its own
        daemon.stop()


def gets_in(client, name):
    try:
        client.step(65, stream=name)
    except sr.FrameRefused:
        return False
    return True


VARIANTS = {
    "rnn, exact, piped": ("rnn", 0, False, "1, 1, 1"),
    "lstm, late, fused": ("lstm", 1, True, "3"),
    "gru, later, by hand": ("gru", 2, True, "1, 2"),
}


@pytest.mark.parametrize(("cell", "delay", "standardize", "placement"), VARIANTS.values(), ids=VARIANTS)
def test_streams_come_back_to_the_bit(cell, delay, standardize, placement):
    net = sr.Network(
        [CELLS[cell](4, 6), sr.LSTM(6, 5)],
        sr.Linear(2),
        sr.Adam(0.01),
        window=5,
        accumulate=2,
        gradient_delay=delay,
        standardize=standardize,
    )
    parts = VECTOR | {
        "input": f"{VECTOR['input']}\nstandardize = {str(standardize).lower()}",
        "layers": layers(f"{cell} 6", "lstm 5"),
        "optimizer": 'kind = "adam"\nlearning_rate = 0.01',
        "learning": f"window = 5\naccumulate = 2\ngradient_delay = {delay}",
        "pipeline": f"{FEW}\nplacement = [{placement}]",
    }
    chance, rng = Random(3), np.random.default_rng(4)
    with Daemon(**parts) as daemon:
        daemon.start()
        name = ""
        for turn in range(40):
            name = chance.choice([other for other in "abcde" if other != name])
            with daemon.client() as client:
                for _ in range(chance.randrange(1, 9)):
                    x, target, learns = rng.standard_normal(4), rng.standard_normal(2), chance.random() < 0.7
                    end = chance.random() < 0.1
                    out = client.step(x, target if learns else None, stream=name, end=end)
                    if learns:
                        net.learn(x, target, name, end=end)
                    assert out.seq >= 0
                    y = net._y[0] if learns else net.step(x, name, end=end)
                    assert out.y.tobytes() == y.tobytes()
            if turn == 25:
                daemon.process.kill()
                daemon.process.communicate(timeout=TIMEOUT)
                daemon.start("--resume")
        daemon.stop()
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()


@pytest.mark.long
def test_whatever_dies_while_streams_are_away_they_come_back_to_the_bit():
    net, chance = text_network(gradient_delay=1), Random(7)
    learning = "window = 8\ngradient_delay = 1"
    with Daemon(pipeline=FEW, learning=learning) as daemon:
        daemon.config.write_text(daemon.config.read_text().replace("[state]", "[state]\ncheckpoint_frames = 40"))
        daemon.start()
        for turn in range(30):
            name = "abcdef"[turn % 6]
            visit(daemon, net, name, chance.choices(TEXT, k=chance.randrange(1, 7)))
            if turn % 10 == 4:
                daemon.workers()[chance.choice(["gate", "stages-0", "stages-1", "publisher"])].kill()
            if turn in (9, 16, 17, 24):
                ends = daemon.ends()
                daemon.process.kill()
                daemon.process.communicate(timeout=TIMEOUT)
                assert have_come(ends)
                daemon.start("--resume")
        daemon.stop()
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()
        daemon.start("--resume")
        for name in "fedcba":
            visit(daemon, net, name, b"again")
        daemon.stop()
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()


def test_a_subscriber_hears_a_stream_that_was_away_without_a_gap():
    net = text_network()
    with Daemon(pipeline=FEW) as daemon:
        daemon.start()
        with daemon.client(60.0) as client, client.subscribe("a", timeout=60.0) as outputs:
            for name in "abcadcba":
                visit(daemon, net, name, name.encode() * 3)
            heard = list(islice(outputs, 9))
            assert outputs.missed == []
            assert [out.seq for out in heard] == [0, 1, 2, 9, 10, 11, 21, 22, 23]
            assert [out.seq for out in client.outputs("a", 11, 24)] == [21, 22, 23]
            assert client.outputs("a", -1, 12) == []  # what was before it came back is not known by its name any more
            assert client.status()["recoveries"] == 0
        daemon.stop()


def test_a_stream_is_forgotten_also_where_it_is_on_the_disk():
    net = text_network()
    with Daemon(pipeline=FEW) as daemon:
        daemon.start()
        for name in "abc":
            visit(daemon, net, name, b"first")
        with daemon.client() as client:
            wait_for(lambda: client.status()["streams_on_disk"] == 1)
            client.forget("a")
            wait_for(lambda: client.status()["streams_on_disk"] == 0)
            with pytest.raises(sr.FrameRefused, match='there is no stream "a"'):
                client.forget("a")
        daemon.process.kill()
        daemon.process.communicate(timeout=TIMEOUT)
        daemon.start("--resume")
        del net.names["a"]
        visit(daemon, net, "a", b"anew")
        daemon.stop()
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()


@pytest.mark.long
def test_a_rollback_has_the_streams_that_were_away_then_and_a_moved_checkpoint_begins_them_anew():
    nets = [text_network() for _ in range(3)]
    with Daemon(pipeline=FEW) as daemon:
        daemon.start()
        for net in nets:
            for name in "abcd":
                (visit if net is nets[0] else follow)(daemon, net, name, b"first")
        daemon.stop()
        kept = daemon.checkpoint()
        command(daemon, "keep", kept.name, "mine")
        daemon.start("--resume")
        for name in "ab":
            visit(daemon, nets[0], name, b"forgotten")
        daemon.stop()
        command(daemon, "rollback", "mine", "--yes")
        daemon.start("--resume")
        for name in "bacd":
            visit(daemon, nets[1], name, b"second")
        daemon.stop()
        assert sr.load(newest(daemon.folder / "state")).parameters_sha256() == nets[1].parameters_sha256()

        moved = daemon.folder / "moved"
        mine = daemon.folder / "state" / "checkpoints" / "mine"
        shutil.copytree(mine, moved / "checkpoints" / "00000001")
        daemon.config.write_text(daemon.config.read_text().replace(f"{daemon.folder}/state", str(moved)))
        daemon.lines.clear()
        command(daemon, "rollback", "1", "--yes")
        daemon.start("--resume")
        assert any("2 evicted streams are not in" in line and "they begin anew" in line for line in daemon.lines)
        for name in "ab":
            del nets[2].names[name]
        for name in "cdab":
            visit(daemon, nets[2], name, b"third")
        daemon.stop()
        assert sr.load(newest(moved)).parameters_sha256() == nets[2].parameters_sha256()


def newest(folder):
    """The newest checkpoint without a name."""
    return max((folder / "checkpoints").glob("0*"))


def follow(daemon, net, name, tokens):
    """The network alone takes those tokens."""
    for token in tokens:
        net.step(token, name)


def command(daemon, name, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "streamrnn", "checkpoints", name, str(daemon.config), *arguments],
        capture_output=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr.decode()
