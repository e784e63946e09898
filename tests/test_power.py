"""The power may go at any file call: what is on the disk then is the state before or the new one, and never a mixture.

Each call of writing checkpoints, run names and copies is a point at which it goes (see `disk`); what of the calls that
were not flushed is left is all, nothing, and what hypothesis thinks of.
"""

import os
import shutil
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest
from daemon import CONFIG, TEXT, layers
from disk import Recorder, contents, contents_of, lay_out, replay
from hypothesis import given, settings
from hypothesis import strategies as st

import streamrnn as sr
from streamrnn import checkpoint, config
from streamrnn.workers import state
from streamrnn.workers.gate import NOTES_FILE, OUTPUTS_FILE
from streamrnn.workers.gate import kept as kept_by_gate
from streamrnn.workers.journal import Journal
from streamrnn.workers.member import Failure
from streamrnn.workers.plan import GATE, PUBLISHER
from streamrnn.workers.publisher import SCORE_FILE
from streamrnn.workers.supervisor import Supervisor

FATES = {"all is lost": lambda: 0.0, "nothing is lost": lambda: 1 - 1e-9}
FRAMES = 100  # from one checkpoint to the next; as many records of the journal


def config_for(folder):
    """A config with that state folder."""
    parts = {
        **TEXT,
        "layers": layers("rnn 2"),
        "optimizer": 'kind = "sgd"\nlearning_rate = 0.1',
        "folder": folder.parent,
    }
    text = CONFIG.format(**parts, learning="", pipeline="", source='kind = "none"')
    made = config.parse(text, "test.toml")
    return msgspec.structs.replace(made, state=config.State(folder=str(folder), keep=2))


def tensors(generation):
    return {"params.b_y": np.full(50, generation, np.float32)}


class Daemon(Supervisor):
    """A supervisor whose workers are played by `checkpoint`; what it orders is marked."""

    def __init__(self, folder, mark=lambda *_: None, **options):
        self.mark = mark
        super().__init__(config_for(folder), **options)

    def order(self, name, kind, **facts):
        if kind == "cut":
            self.mark("cut", facts["number"])

    def checkpoint(self, generation):
        """Write one, as when the workers have been told to."""
        count = generation * FRAMES
        self.mark("begun", count)
        self.save(last=False)
        temporary = checkpoint.temporary_name(self.saving.folder)
        hashes = {checkpoint.stage_file(k): checkpoint.write_stage(temporary, k, tensors(count)) for k in range(2)}
        gate = {"frames": count, "names": [], "fresh": [], "position": 0, "last": {}, "left": None}
        gate |= {"journal": count, "rate": 0.1}
        gate["sha256"] = {
            NOTES_FILE: checkpoint.write_bytes(temporary / NOTES_FILE, b'{"requests": [%d]}' % count),
            OUTPUTS_FILE: checkpoint.write_tensors(temporary / OUTPUTS_FILE, {"rows": np.full(3, count)}),
        }
        score = checkpoint.write_tensors(temporary / SCORE_FILE, tensors(count))
        self.saving.reports = {
            **{name: {} for name in self.workers},
            GATE: gate,
            "stages-0": {"sha256": hashes},
            PUBLISHER: {"inputs": count, "recent_loss": None, "sha256": {SCORE_FILE: score}},
        }
        self.complete()
        self.mark("done", count)


def found(folder):
    """Where a daemon goes on from in a state folder: the checkpoint, its manifest, the run and its epoch."""
    with closing(Daemon(folder, resume=True)) as daemon:
        return daemon.resumed, daemon.manifest, daemon.run, daemon.epoch


def marks(log, name):
    return [call[2] for call in log if call[:2] == ("mark", name)]


def check_whole(folder, manifest):
    """All of a checkpoint is of one generation."""
    checkpoint.verify(folder, manifest)
    notes, outputs = kept_by_gate(str(folder))
    assert notes == {"requests": [manifest.frames]}
    assert (outputs["rows"] == manifest.frames).all()
    for number in range(2):
        kept = checkpoint.read_stage(folder, number, manifest)
        assert np.array_equal(kept["params.b_y"], tensors(manifest.frames)["params.b_y"])


def check(log, fate):
    """The power goes after those calls: go on from what is left, and once more with the newest checkpoint damaged."""
    done, cut = marks(log, "done"), max(marks(log, "cut"), default=0)
    with tempfile.TemporaryDirectory(prefix="sr-") as name:
        folder = Path(name, "disk")
        lay_out(replay(log), folder, fate)
        folder = folder / "state"
        for kept in marks(log, "kept"):
            named = folder / "checkpoints" / kept
            check_whole(named, checkpoint.read_manifest(named))
        if not done and not checkpoint.numbers(folder / "checkpoints"):
            with pytest.raises(Failure, match="nothing to resume"):
                found(folder)
            return
        resumed, manifest, run, epoch = found(folder)
        assert manifest.frames in {*done[-1:], *marks(log, "begun")[-1:]}
        assert epoch > max(marks(log, "epoch"))
        assert run in marks(log, "run")
        assert manifest.journal >= cut
        check_whole(resumed, manifest)
        if len(done) > 1:
            shutil.rmtree(resumed)
            resumed, manifest, *_ = found(folder)
            assert manifest.journal >= cut
            check_whole(resumed, manifest)


def points(log):
    """Wherever it may go, by how many calls have been made."""
    return [k + 1 for k, call in enumerate(log) if call[0] != "mark"]


def life(root, recorder):
    """What a daemon writes in its life: a new state folder, checkpoints, one kept by name, the start after that."""
    for resume in (False, True):
        with closing(Daemon(root / "state", recorder.mark, resume=resume)) as daemon:
            recorder.mark("run", daemon.run)
            recorder.mark("epoch", daemon.epoch)
            for generation in (3, 4) if resume else (1, 2):
                daemon.checkpoint(generation)
        if not resume:
            state.keep(daemon.resumed, "best")
            recorder.mark("kept", "best")


@pytest.fixture(scope="module")
def lived():
    """The calls of a life."""
    with pytest.MonkeyPatch.context() as patch:
        yield recorded(patch, life)


def recorded(patch, body):
    with tempfile.TemporaryDirectory(prefix="sr-") as name:
        recorder = Recorder(Path(name), patch)
        body(Path(name), recorder)
        patch.undo()
        assert contents_of(replay(recorder.log)) == contents(Path(name))  # no call was missed
        return recorder.log


def test_a_daemon_goes_on_from_the_last_checkpoint_or_the_one_in_hand(lived):
    for fate in FATES.values():
        for point in points(lived):
            check(lived[:point], fate)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_whatever_part_of_the_last_calls_is_lost(lived, data):
    point = data.draw(st.sampled_from(points(lived)))
    check(lived[:point], data.draw(st.randoms(use_true_random=False)).random)


def lose_all_in(log):
    for point in points(log):
        check(log[:point], FATES["all is lost"])


@pytest.mark.parametrize("missing", ["of files", "of folders"])
def test_a_flush_that_is_missing_is_found(missing, monkeypatch):
    """That these tests can fail."""
    if missing == "of files":
        monkeypatch.setattr(checkpoint, "write_file", lambda path, data: path.write_bytes(data))
    else:
        monkeypatch.setattr(checkpoint, "flush_folder", lambda folder: None)
    with pytest.MonkeyPatch.context() as patch:
        log = recorded(patch, life)
    with pytest.raises((AssertionError, Failure)):
        lose_all_in(log)


def going_back(root, recorder):
    """Two checkpoints, a journal, and a rollback to the first of them."""
    with closing(Daemon(root / "state", recorder.mark)) as daemon:
        for generation in (1, 2):
            daemon.checkpoint(generation)
    checkpoint.write_file(root / "state" / "journal", b"of the run before")
    checkpoint.flush_folder(root / "state")
    recorder.mark("run", daemon.run)
    recorder.mark("epoch", daemon.epoch)
    state.rollback(root / "state", root / "state" / "checkpoints" / "00000001")
    recorder.mark("back")


@pytest.mark.parametrize("fate", FATES)
def test_a_rollback_is_done_or_not_begun(fate, monkeypatch):
    log = recorded(monkeypatch, going_back)
    runs = set()
    for point in range(log.index(("mark", "epoch", 1)), len(log) + 1):
        with tempfile.TemporaryDirectory(prefix="sr-") as name:
            lay_out(replay(log[:point]), Path(name, "disk"), FATES[fate])
            folder = Path(name, "disk", "state")
            cuts: list[tuple] = []
            journal = (folder / "journal").exists()
            with closing(Daemon(folder, lambda *what, cuts=cuts: cuts.append(what), resume=True)) as daemon:
                old = daemon.run == marks(log, "run")[0]
                runs.add(daemon.run)
                assert not (old and ("mark", "back") in log[:point])
                assert daemon.manifest.frames == (2 if old else 1) * FRAMES
                assert daemon.epoch > 1
                assert journal or not old
                check_whole(daemon.resumed, daemon.manifest)
                daemon.checkpoint(5)
            shutil.rmtree(daemon.resumed)
            resumed, manifest, *_ = found(folder)
            assert manifest.journal >= max(count for name, count in cuts if name == "cut")
            check_whole(resumed, manifest)
    assert len(runs) == 2


def network(value):
    net = sr.Network([sr.RNN(2, 2)], sr.Linear(1), sr.SGD(0.1))
    net.readout.params["b_y"][:] = value
    return net


def saving(root, recorder):
    """A network is saved in a folder that is to be made, and in place of what was saved before."""
    for value in (1, 2, 3):
        recorder.mark("begun", value)
        network(value).save(root / "deep" / "net")
        if value == 2:  # the power went while the next one was to take its place
            os.rename(root / "deep" / "net", root / "deep" / "net.old")
            checkpoint.flush_folder(root / "deep")
        recorder.mark("done", value)


@pytest.mark.parametrize("fate", FATES)
def test_a_network_that_takes_another_one_s_place_is_saved_or_the_other_is_there(fate, monkeypatch):
    log = recorded(monkeypatch, saving)
    for point in points(log):
        with tempfile.TemporaryDirectory(prefix="sr-") as name:
            lay_out(replay(log[:point]), Path(name, "disk"), FATES[fate])
            folder = Path(name, "disk", "deep", "net")
            done = marks(log[:point], "done")
            if done or folder.exists():
                value = sr.load(folder).readout.params["b_y"][0]
                assert value in {*done[-1:], marks(log[:point], "begun")[-1]}
            network(9).save(folder)
            assert sr.load(folder).readout.params["b_y"][0] == 9
            assert [path.name for path in folder.parent.iterdir()] == ["net"]


class Flushed:
    """A journal's two files: what is on the disk for sure, and what may be there.

    SQLite flushes the WAL before it writes to the database, that before it begins the WAL anew, and the new header.
    """

    def __init__(self, path):
        self.path = path
        self.database, self.wal = self.files()
        self.before, self.safe = self.database, self.wal

    def files(self):
        return self.path.read_bytes(), Path(f"{self.path}-wal").read_bytes()

    def look(self, flushed):
        """After each call of the journal's."""
        database, wal = self.files()
        if wal[:32] != self.wal[:32]:
            self.safe = wal[:32] + self.wal[32:]
        if flushed or database != self.database:
            self.safe = wal
        self.before, self.database, self.wal = self.database, database, wal

    def lay_out(self, path, fate):
        """What is left when the power goes, perhaps in the middle of the last call."""
        path.write_bytes(sectors(self.before, self.database, fate))
        Path(f"{path}-wal").write_bytes(sectors(self.safe, self.wal, fate))


def sectors(safe, new, fate):
    """What was written last up to some place, and from there each sector of that or as it was; of any length."""
    length, place = len(safe) + round(fate() * (len(new) - len(safe))), fate() * len(new)
    left = bytearray(safe[:length].ljust(length, b"\0"))
    for k in range(0, length, 512):
        if k < place or fate() >= 0.5:
            left[k : k + 512] = new[k : min(k + 512, length)]
    return bytes(left)


def check_journal(path, written, cuts, flushed):
    """Whole records in order, none missing among those that were flushed and not cut."""
    journal = Journal(path, "a", 1)
    there = [(number, data) for number, data, _ in journal.after(0)]
    journal.close()
    begins = journal.begins
    assert begins - 1 in cuts
    assert there == [(k, written[k - 1]) for k in range(begins, begins + len(there))]
    assert not there or there[-1][0] >= flushed
    assert there or begins > flushed


@settings(max_examples=40, deadline=None)
@given(
    calls=st.lists(st.one_of(st.integers(0, 9000), st.just("cut"), st.just("flush")), min_size=1, max_size=30),
    random=st.randoms(use_true_random=False),
)
def test_what_of_the_journal_was_flushed_is_there_whatever_else_is_lost(calls, random):
    flushes = []

    def flush(_):
        if threading.current_thread() is threading.main_thread():
            flushes.append(True)

    with tempfile.TemporaryDirectory(prefix="sr-") as name, pytest.MonkeyPatch.context() as patch:
        journal = Journal(Path(name, "journal"), "a", 1)
        patch.setattr(os, "fdatasync", flush)
        journal._connection.execute("PRAGMA wal_autocheckpoint = 6")  # pages: the WAL begins anew often
        assert journal._connection.execute("PRAGMA synchronous").fetchone() == (1,)  # what `Flushed` relies on
        disk = Flushed(journal.path)
        disk.look(True)
        written, cuts, flushed, copies = [], [0], 0, 0
        for call in calls:
            if call == "cut":
                cuts.append(journal.last // 2)
                journal.cut(cuts[-1])
            elif call == "flush":
                journal.flush()
                flushed, cuts = journal.last, cuts[-1:]
            else:
                written.append(bytes([len(written) + 1]) * call)
                journal.append(written[-1])
            disk.look(bool(flushes))
            flushes.clear()
            for fate in (*FATES.values(), random.random):
                copies += 1
                copy = Path(name, f"copy-{copies}")
                disk.lay_out(copy, fate)
                check_journal(copy, written, cuts, flushed)
        journal.close()
