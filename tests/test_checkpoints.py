"""What operators do with a daemon's checkpoints: list, show, verify, keep, and go back."""

import json
import os
import shutil
from types import SimpleNamespace

import pytest
from daemon import Daemon, layers
from disk import contents
from typer.testing import CliRunner

import streamrnn as sr
from streamrnn import config
from streamrnn.cli import checkpoints
from streamrnn.cli.main import app
from streamrnn.storage import checkpoint, files
from streamrnn.storage.manifest import FORMAT, MANIFEST, Manifest, read_manifest, write_manifest
from streamrnn.workers.admission.journal import Journal
from streamrnn.workers.supervision import runs
from streamrnn.workers.supervisor import Supervisor
from streamrnn.workers.worker import Failure

PARTS = {"layers": layers("gru 6", "lstm 4"), "learning": "window = 8\ngradient_delay = 1\nclip_norm = 1.0"}
TEXT = b"Whoever goes back forgets what came after. " * 2
FIRST, SECOND = 45, 75  # frames in the two checkpoints
ONE, TWO = "00000001", "00000002"


def network():
    settings = {"window": 8, "gradient_delay": 1, "clip_norm": 1.0, "predict": "next"}
    return sr.Network([sr.GRU(256, 6), sr.LSTM(6, 4)], sr.Softmax(256), sr.Adam(0.002), **settings)


@pytest.fixture(scope="module")
def lived():
    """A daemon that has been stopped twice."""
    with Daemon(**PARTS) as daemon:
        for part, options in ((TEXT[:FIRST], []), (TEXT[FIRST:SECOND], ["--resume"])):
            daemon.start(*options)
            with daemon.client() as client:
                for token in part:
                    client.step(token)
            daemon.stop()
        yield daemon


class Place:
    """A copy of what the daemon left: its config and its state folder."""

    def __init__(self, daemon, folder):
        self.config, self.state = folder / "test.toml", folder / "state"
        self.config.write_text(daemon.config.read_text().replace(str(daemon.folder), str(folder)))
        shutil.copytree(daemon.folder / "state", self.state, ignore=shutil.ignore_patterns("command"))  # a socket
        self.checkpoints = self.state / "checkpoints"

    def do(self, command, *what, code=0):
        """What a command prints."""
        done = CliRunner().invoke(app, ["checkpoints", command, str(self.config), *map(str, what)])
        assert done.exit_code == code, done.output
        assert "Traceback" not in done.output
        return done.output

    def objects(self, command, *what, code=0):
        return [json.loads(line) for line in self.do(command, *what, "--json", code=code).splitlines()]

    def refused(self, command, *what):
        """The one line with which a command that must change nothing declines."""
        before = contents(self.checkpoints), (self.state / "run").read_text()
        (line,) = self.do(command, *what, code=1).splitlines()
        assert (contents(self.checkpoints), (self.state / "run").read_text()) == before
        return line

    def damage(self, name, file="stage-1.safetensors"):
        path = self.checkpoints / name / file
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)


@pytest.fixture
def place(lived, tmp_path):
    return Place(lived, tmp_path)


def test_the_list_begins_with_the_newest(place):
    found = place.objects("list")
    assert [(entry["name"], entry["frames"], entry["complete"]) for entry in found] == [
        (TWO, SECOND, True),
        (ONE, FIRST, True),
    ]
    assert found[0]["bytes"] == sum(map(len, contents(place.checkpoints / TWO).values()))
    lines = place.do("list").splitlines()
    assert [line.split()[0] for line in lines[1:]] == [TWO, ONE]
    assert all("complete" in line for line in lines[1:])


def test_what_is_damaged_or_not_complete_is_listed_as_that(place):
    (place.checkpoints / ONE / "manifest.json").write_text("{")
    (place.checkpoints / TWO / "stage-2.safetensors").unlink()
    (place.checkpoints / "00000003").mkdir()
    files.temporary_folder(place.checkpoints / "00000004")
    faults = {entry["name"]: entry["fault"] for entry in place.objects("list") if not entry["complete"]}
    assert "manifest.json: damaged" in faults[ONE]
    assert faults[TWO] == "damaged: stage-2.safetensors missing"
    assert "no checkpoint to read there" in faults["00000003"]
    assert faults["00000004.writing"] == "not complete"
    assert "damaged" in place.do("list")
    assert "damaged" in place.refused("show", 1)


def test_show_tells_what_the_newest_one_holds_or_another(place):
    (found,) = place.objects("show")
    assert found["name"] == TWO
    assert found["network"] == config.network_line(config.load(place.config))
    assert (found["frames"], found["streams"]) == (SECOND, ["main"])
    assert set(found["files"]) == set(contents(place.checkpoints / TWO))
    assert found["parameters_sha256"] == sr.load(place.checkpoints / TWO).parameters_sha256()
    assert found["run"] == (place.state / "run").read_text().split()[0]
    assert place.objects("show", 1)[0]["frames"] == FIRST
    assert found["network"] in " ".join(place.do("show", TWO).split())


def test_verify_says_which_are_damaged(place):
    assert place.objects("verify") == [{"name": name, "good": True, "fault": ""} for name in (ONE, TWO)]
    place.damage(TWO)
    assert [entry["good"] for entry in place.objects("verify", code=1)] == [True, False]
    assert "stage-1.safetensors: damaged" in place.do("verify", 2, code=1)
    assert place.do("verify", 1) == f"{ONE}  good\n"


def test_what_is_kept_stays(place):
    place.do("keep", 1, "good-1.x")
    checkpoint.prune(place.checkpoints, place.objects("show")[0]["run"], 1, 0.0)
    assert sorted(path.name for path in place.checkpoints.iterdir()) == [TWO, "good-1.x"]
    net = network()
    for token in TEXT[:FIRST]:
        net.step(token, "main")
    kept = sr.load(place.checkpoints / "good-1.x")
    assert kept.step(9, "main").tobytes() == net.step(9, "main").tobytes()
    assert [entry["name"] for entry in place.objects("verify")] == [TWO, "good-1.x"]
    assert "is there already" in place.refused("keep", TWO, "good-1.x")


@pytest.mark.parametrize("name", ["", "7", ".x", "a/b", "..", "a b", "x.writing", "x.old", "ä", "²", "x" * 101, "a\n"])
def test_a_name_that_cannot_be_one_is_refused(place, name):
    assert "cannot be a name" in place.refused("keep", ONE, name)


def test_a_damaged_checkpoint_is_neither_kept_nor_gone_back_to(place):
    place.damage(ONE)
    for command in (("keep", 1, "one"), ("rollback", 1, "--yes")):
        assert "damaged" in place.refused(*command)


def test_what_is_not_there_is_said_with_what_is(place):
    for which in ("7", "best", "../checkpoints/00000001", "00000001.writing"):
        assert f"there is no checkpoint '{which}'; there are {ONE}, {TWO}" in place.refused("rollback", which, "--yes")
    shutil.rmtree(place.checkpoints)
    assert "there are no checkpoints yet" in place.do("list", code=1)


def test_a_rollback_to_another_network_is_refused(place):
    place.config.write_text(place.config.read_text().replace("units = 4", "units = 5"))
    assert "the config differs in layers" in place.refused("rollback", 1, "--yes")


def test_a_rollback_asks_first(place, monkeypatch):
    assert "say --yes" in place.refused("rollback", 1)
    run = place.objects("show")[0]["run"]
    monkeypatch.setattr(checkpoints, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    before = contents(place.state)
    for answer, code in (("n\n", 1), ("y\n", 0)):
        done = CliRunner().invoke(app, ["checkpoints", "rollback", str(place.config), "1"], input=answer)
        assert f"Go back to {ONE} (45 frames)? Run {run} stays as it is." in done.output
        assert done.exit_code == code
        assert (contents(place.state) == before) == (answer == "n\n")


def test_where_the_copy_is_lost_too_nothing_begins_anew(place):
    """The run before must not be gone on with, nor a new network take what was sent to the old one."""
    place.do("rollback", 1, "--yes")
    settings, (run, _) = config.load(place.config), runs.run_of(place.state)
    newest = place.checkpoints / "00000003"
    first = read_manifest(newest).journal + 1
    shutil.rmtree(newest)
    for resume in (True, False):
        with pytest.raises(Failure, match="nothing to resume"):
            Supervisor(settings, resume=resume)
    Journal(runs.journal_of(place.state, run), run, first).close()  # a daemon was started in between
    journal = Journal(runs.journal_of(place.state, run), run, 1)
    assert journal.begins > 1
    journal.close()


def test_after_a_rollback_the_daemon_goes_on_from_there_to_the_bit(place):
    """While it runs, nobody goes back."""
    net, other = network(), b"Nothing of that has been."
    for token in TEXT[:FIRST]:
        net.step(token, "main")
    with Daemon(**PARTS) as daemon:
        place.do("rollback", ONE, "--yes")
        shutil.move(place.state, daemon.folder / "state")
        place.config, place.state = daemon.config, daemon.folder / "state"
        place.checkpoints = place.state / "checkpoints"
        daemon.start()
        with daemon.client() as client:
            for token in other:
                assert client.step(token).y.tobytes() == net.step(token, "main").tobytes()
        assert "another daemon runs with it; stop it first" in place.refused("rollback", ONE, "--yes")
        place.do("keep", ONE, "running")
        daemon.stop()
        (found,) = place.objects("show", 4)
    assert found["frames"] == FIRST + len(other)
    assert found["parameters_sha256"] == net.parameters_sha256()


def test_frequent_checkpoints_leave_some_that_are_older(tmp_path):
    """One every four seconds, four kept, a minute apart."""
    manifest = Manifest(FORMAT, {}, [], [], {}, 0, {}, "", run="a")
    ages = []
    for number in range(1, 100):
        folder = tmp_path / checkpoint.number_name(number)
        folder.mkdir()
        write_manifest(folder, manifest)
        os.utime(folder / MANIFEST, (4 * number, 4 * number))
        oldest = checkpoint.prune(tmp_path, "a", 4, 60.0)
        kept = checkpoint.numbers(tmp_path)
        assert kept[-2:] == [number - 1, number][-len(kept) :]
        assert oldest.name == checkpoint.number_name(kept[0])
        assert len(kept) <= 4
        ages.append(4 * (number - kept[0]))
    assert min(ages[30:]) >= 60
    assert max(ages) <= 130
