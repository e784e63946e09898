"""The power may go at any file call: what is on the disk then is the state before or the new one, and never a mixture.

Each call of writing checkpoints, run names and copies is a point at which it goes (see `disk`); what of the calls that
were not flushed is left is all, nothing, and what hypothesis thinks of.
"""

import os
import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pytest
from daemon import CONFIG, TEXT, layers
from disk import Recorder, contents, contents_of, lay_out, replay
from hypothesis import given, settings
from hypothesis import strategies as st

import streamrnn as sr
from streamrnn import config
from streamrnn.storage import checkpoint, files
from streamrnn.storage.manifest import CheckpointError, read_manifest
from streamrnn.workers.admission import journal as journal_module
from streamrnn.workers.admission.checkpoint_part import NOTES_FILE, OUTPUTS_FILE
from streamrnn.workers.admission.checkpoint_part import kept as kept_by_gate
from streamrnn.workers.admission.journal import Journal
from streamrnn.workers.publisher import SCORE_FILE
from streamrnn.workers.supervision import runs
from streamrnn.workers.supervision.placement import GATE, PUBLISHER
from streamrnn.workers.supervisor import Supervisor
from streamrnn.workers.worker import Failure

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
        temporary = files.temporary_name(self.saving.folder)
        hashes = {checkpoint.stage_file(k): checkpoint.write_stage(temporary, k, tensors(count)) for k in range(2)}
        gate = {"frames": count, "names": [], "fresh": [], "position": 0, "last": {}, "left": None}
        gate |= {"journal": count, "rate": 0.1}
        gate["sha256"] = {
            NOTES_FILE: files.write_bytes(temporary / NOTES_FILE, b'{"requests": [%d]}' % count),
            OUTPUTS_FILE: checkpoint.write_tensors(temporary / OUTPUTS_FILE, {"rows": np.full(3, count)}),
        }
        score = checkpoint.write_tensors(temporary / SCORE_FILE, tensors(count))
        self.saving.reports = {
            **{name: {} for name in self.workers},
            GATE: gate,
            "stages-0": {"sha256": hashes},
            PUBLISHER: {"inputs": count, "recent_loss": None, "relative_loss": None, "sha256": {SCORE_FILE: score}},
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
            check_whole(named, read_manifest(named))
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
            runs.keep(daemon.resumed, "best")
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
        for module in (files, checkpoint):
            monkeypatch.setattr(module, "write_file", lambda path, data: path.write_bytes(data))
    else:
        monkeypatch.setattr(checkpoint, "flush_folder", lambda folder: None)
    with pytest.MonkeyPatch.context() as patch:
        log = recorded(patch, life)
    with pytest.raises((AssertionError, Failure, CheckpointError)):
        lose_all_in(log)


def journal(folder, run):
    """Something as the journal of a run."""
    path = runs.journal_of(folder, run)
    files.write_file(path, run.encode())
    files.flush_folder(path.parent)


def going_back(root, recorder):
    """Two checkpoints, a journal, and a rollback to the first of them."""
    with closing(Daemon(root / "state", recorder.mark)) as daemon:
        for generation in (1, 2):
            daemon.checkpoint(generation)
    journal(root / "state", daemon.run)
    recorder.mark("run", daemon.run)
    recorder.mark("epoch", daemon.epoch)
    runs.rollback(root / "state", root / "state" / "checkpoints" / "00000001")
    recorder.mark("back")


@pytest.mark.parametrize("fate", FATES)
def test_a_rollback_is_done_or_not_begun(fate, monkeypatch):
    log = recorded(monkeypatch, going_back)
    present = set()
    for point in range(log.index(("mark", "epoch", 1)), len(log) + 1):
        with tempfile.TemporaryDirectory(prefix="sr-") as name:
            lay_out(replay(log[:point]), Path(name, "disk"), FATES[fate])
            folder = Path(name, "disk", "state")
            cuts: list[tuple] = []
            with closing(Daemon(folder, lambda *what, cuts=cuts: cuts.append(what), resume=True)) as daemon:
                old = daemon.run == marks(log, "run")[0]
                present.add(daemon.run)
                assert not (old and ("mark", "back") in log[:point])
                assert daemon.manifest.frames == (2 if old else 1) * FRAMES
                assert daemon.epoch > 1
                assert runs.journal_of(folder, marks(log, "run")[0]).read_bytes() == marks(log, "run")[0].encode()
                check_whole(daemon.resumed, daemon.manifest)
                daemon.checkpoint(5)
            shutil.rmtree(daemon.resumed)
            resumed, manifest, *_ = found(folder)
            assert manifest.journal >= max(count for name, count in cuts if name == "cut")
            check_whole(resumed, manifest)
    assert len(present) == 2


def beginning_anew(root, recorder):
    """A run with two checkpoints and a journal, a new one with three, and back to the first."""
    for new in (False, True):
        with closing(Daemon(root / "state", recorder.mark, new=new)) as daemon:
            for generation in (5, 6, 7) if new else (1, 2):
                daemon.checkpoint(generation)
        journal(root / "state", daemon.run)
        recorder.mark("run", daemon.run)
    runs.return_to(root / "state", marks(recorder.log, "run")[0])
    recorder.mark("back")


@pytest.mark.parametrize("fate", [*FATES.values(), Random(1).random, Random(2).random])
def test_a_new_run_begins_or_not_and_the_one_before_is_whole_all_the_while(anew, fate):
    first, second = marks(anew, "run")
    for point in range(anew.index(("mark", "run", first)), len(anew) + 1):
        with tempfile.TemporaryDirectory(prefix="sr-") as name:
            lay_out(replay(anew[:point]), Path(name, "disk"), fate)
            folder = Path(name, "disk", "state")
            run, epoch = runs.run_of(folder)
            assert run in (first, second)
            assert epoch >= 1
            assert run == first or ("mark", "back") not in anew[:point]
            if ("mark", "run", second) in anew[:point]:
                assert runs.journal_of(folder, second).read_bytes() == second.encode()
                assert len(runs.runs(folder)[second]) >= 2  # as many as are to be kept; a removal may be lost
            assert runs.journal_of(folder, first).read_bytes() == first.encode()
            kept = runs.runs(folder)[first]
            for place, generation in zip(kept, (1, 2), strict=True):
                manifest = read_manifest(place)
                check_whole(place, manifest)
                assert manifest.frames == generation * FRAMES


@pytest.fixture(scope="module")
def anew():
    with pytest.MonkeyPatch.context() as patch:
        yield recorded(patch, beginning_anew)


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
            files.flush_folder(root / "deep")
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


def journaling(calls):
    """Records of those sizes, flushes, new segments, and cuts of what has been flushed, of a journal of small ones."""

    def body(root, recorder):
        journal, flushed = Journal(root / "journal", "a", 1), 0
        recorder.mark("open")
        for call in calls:
            if call == "cut":
                recorder.mark("cut", flushed // 2)
                journal.cut(flushed // 2)
            elif call == "flush":
                journal.flush()
                flushed = journal.last
                recorder.mark("flushed", flushed)
            elif call == "turn":
                journal.turn()
            else:
                recorder.mark("appended", journal.append(record(journal.last + 1, call)))
        journal.close()

    return body


def record(number, size):
    return b"%d " % number + np.random.default_rng(number).bytes(size)


def check_journal(log, fate):
    """Whole records in order, none missing among those that were flushed and not cut; and it goes on."""
    if ("mark", "open") not in log:
        return
    sizes = dict(enumerate(SIZES, 1))
    cut, flushed = max(marks(log, "cut"), default=0), max(marks(log, "flushed"), default=0)
    with tempfile.TemporaryDirectory(prefix="sr-") as name:
        lay_out(replay(log), Path(name, "disk"), fate)
        for _ in range(2):
            with closing(Journal(Path(name, "disk", "journal"), "a", cut + 1)) as journal:
                there = list(journal.after(cut))
                assert there == [(k, record(k, sizes[k])) for k in range(cut + 1, cut + 1 + len(there))]
                assert journal.last >= flushed
                assert journal.last - cut == len(there)
                assert journal.begins <= cut + 1
                sizes[journal.append(record(journal.last + 1, 10))] = 10


SIZES = [10, 700, 3000, 1, 1, 9000, 50, 400, 2000, 30, 5, 1200]  # of records
CALLS = [*SIZES[:2], "flush", SIZES[2], "cut", "turn", *SIZES[3:5], "flush", "cut", *SIZES[5:8], "flush", "cut"]
CALLS += ["turn", *SIZES[8:10], "flush", SIZES[10], "cut", SIZES[11]]


@pytest.fixture
def journaled(monkeypatch):
    """The file calls of that, with segments of 2,500 bytes, and no flushes but those that are asked for."""
    monkeypatch.setattr(journal_module, "LARGEST", 2500)
    monkeypatch.setattr(Journal, "_flush_behind", lambda _: None)

    def log():
        with pytest.MonkeyPatch.context() as patch:
            return recorded(patch, journaling(CALLS))

    return log


def test_what_of_the_journal_was_flushed_is_there_whatever_else_is_lost(journaled):
    lose_parts_of(journaled())


def lose_parts_of(log):
    random = Random(0)
    for point in points(log):
        for fate in (*FATES.values(), random.random, random.random, random.random):
            check_journal(log[:point], fate)


@pytest.mark.parametrize("missing", ["of records", "of folders"])
def test_a_flush_of_the_journal_that_is_missing_is_found(missing, journaled, monkeypatch):
    """That this test can fail."""
    if missing == "of records":
        monkeypatch.setattr(Journal, "flush", lambda self: None)
    else:
        monkeypatch.setattr(journal_module, "flush_folder", lambda folder: None)
    log = journaled()
    with pytest.raises((AssertionError, Failure, FileNotFoundError)):
        lose_parts_of(log)
