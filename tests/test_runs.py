"""Runs: a plain start goes on from what was learned, a new one leaves it as it is, and nothing of it gets lost."""

import json
import os
import re
import shutil
import signal

import pytest
from daemon import TIMEOUT, Daemon, layers, wait_for
from typer.testing import CliRunner

import streamrnn as sr
from streamrnn.cli.main import app

PARTS = {"layers": layers("gru 6"), "learning": "window = 8\nclip_norm = 1.0"}
TEXT = b"What was learned yesterday is known tomorrow, whoever stops or starts it. "


def network():
    return sr.Network([sr.GRU(256, 6)], sr.Softmax(256), sr.Adam(0.002), window=8, clip_norm=1.0, predict="next")


@pytest.fixture
def daemon():
    with Daemon(**PARTS) as made:  # it saves only when it ends, however slow the machine is
        text = made.config.read_text()
        made.config.write_text(text.replace("[state]", "[state]\ncheckpoint_seconds = 1e9\nrecovery_seconds = 1e9"))
        yield made


def step(daemon, net, text):
    """Send a text and compare each output with the network's."""
    with daemon.client() as client:
        for token in text:
            assert client.step(token).y.tobytes() == net.step(token, "main").tobytes()


def started(daemon, *options):
    """Start it; what the banner says of where it goes on from."""
    daemon.lines.clear()
    daemon.start(*options)
    (line,) = (line for line in daemon.lines if line.startswith("state"))
    return line.removeprefix("state").strip()


def do(daemon, command, *what, code=0):
    """What `streamrnn checkpoints` prints."""
    done = CliRunner().invoke(app, ["checkpoints", command, str(daemon.config), *map(str, what)])
    assert done.exit_code == code, done.output
    return done.output


def listed(daemon):
    return [json.loads(line) for line in do(daemon, "list", "--json").splitlines()]


def run_name(daemon):
    return (daemon.folder / "state" / "run").read_text().split()[0]


@pytest.mark.long
def test_plain_starts_in_a_row_are_one_life_however_each_ended(daemon):
    net = network()
    states = []
    for start, end in enumerate((daemon.stop, daemon.kill, daemon.kill, daemon.stop, daemon.stop)):
        states.append(started(daemon))
        with daemon.client() as client:
            wait_for(lambda client=client, start=start: client.status()["frames"] == start * len(TEXT))
        step(daemon, net, TEXT)
        end()
    n = len(TEXT)
    assert states == [
        "new",
        f"goes on from checkpoint 00000001, {n} frames",
        f"goes on from checkpoint 00000001 and the journal, {2 * n} frames",
        f"goes on from checkpoint 00000001 and the journal, {3 * n} frames",
        f"goes on from checkpoint 00000002, {4 * n} frames",
    ]
    assert [entry["frames"] for entry in listed(daemon)] == [5 * n, 4 * n, n]
    assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()


@pytest.mark.long
def test_a_new_run_leaves_the_one_before_as_it_was_and_one_can_go_back_to_it_and_return(daemon):
    old, new = network(), network()
    daemon.start()
    step(daemon, old, TEXT)
    daemon.stop()
    daemon.start()
    step(daemon, old, TEXT)
    daemon.kill()  # the journal alone has the second half
    first = run_name(daemon)
    assert started(daemon, "--new") == "new"
    step(daemon, new, TEXT)
    daemon.stop()
    second = run_name(daemon)
    assert [(entry["frames"], entry["run"], entry["present"]) for entry in listed(daemon)] == [
        (len(TEXT), second, True),
        (len(TEXT), first, False),
    ]
    assert f"back in run {first}" in do(daemon, "rollback", first, "--yes")
    assert started(daemon) == f"goes on from checkpoint 00000001 and the journal, {2 * len(TEXT)} frames"
    step(daemon, old, TEXT)
    daemon.stop()
    do(daemon, "rollback", second, "--yes")
    daemon.start()
    step(daemon, new, TEXT)
    daemon.stop()
    do(daemon, "rollback", 1, "--yes")  # of the first run, from a third one on
    third = network()
    for token in TEXT:
        third.step(token, "main")
    daemon.start()
    step(daemon, third, TEXT)
    daemon.stop()
    assert {entry["run"] for entry in listed(daemon)} == {first, second, run_name(daemon)}
    for name in ("verify", "show"):
        do(daemon, name, 1)


def test_epochs_never_come_again_whatever_run_is_gone_back_to(daemon):
    epochs = []
    for options in ((), ("--new",), ()):
        daemon.start(*options)
        with daemon.client() as client:
            epochs.append(client.status()["epoch"])
            client.step(65)
        daemon.stop()
        if options:
            do(daemon, "rollback", listed(daemon)[1]["run"], "--yes")
    assert epochs == sorted(set(epochs))


def test_a_run_without_a_checkpoint_yet_is_listed_too_and_can_be_gone_back_to(daemon):
    net = network()
    daemon.start()
    step(daemon, net, TEXT)
    daemon.kill()
    run = run_name(daemon)
    daemon.start("--new")
    daemon.stop()
    (entry,) = (entry for entry in listed(daemon) if not entry["present"])
    assert (entry["name"], entry["fault"]) == (run, "journal only")
    assert run in do(daemon, "list")
    do(daemon, "rollback", run, "--yes")
    assert started(daemon) == f"goes on from the journal, {len(TEXT)} frames"
    step(daemon, net, TEXT)
    daemon.stop()


@pytest.mark.long
def test_checkpoints_of_a_new_run_push_out_none_of_another(daemon):
    daemon.config.write_text(daemon.config.read_text().replace("[state]", "[state]\nkeep = 2"))
    for options in ((), (), (), ("--new",), (), (), ()):
        daemon.start(*options)
        with daemon.client() as client:
            client.step(65)
        daemon.stop()
    found = [(entry["name"], entry["present"]) for entry in listed(daemon)]
    own = [(f"0000000{number}", True) for number in (7, 6)]
    assert found == [*own, *((f"0000000{number}", False) for number in (3, 2))]


def test_a_config_that_does_not_fit_any_more_names_what_differs_and_both_ways_out(daemon):
    daemon.start()
    with daemon.client() as client:
        client.step(65)
    daemon.stop()
    before = daemon.config.read_text()
    daemon.config.write_text(before.replace("gru", "lstm").replace("window = 8", "window = 9"))
    done = daemon.attempt()
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"streamrnn: {daemon.checkpoint()} is of another network: the config differs in layers, learning.window; set "
        "them back to what they were, or begin anew with streamrnn run --new, which keeps what is there"
    ]
    assert started(daemon, "--new") == "new"
    daemon.stop()
    daemon.config.write_text(before)
    assert "another network" in daemon.attempt().stderr  # the present one is the new one
    do(daemon, "rollback", 1, "--yes")
    assert started(daemon) == "goes on from checkpoint 00000003, 1 frames"
    daemon.stop()


def test_a_run_is_removed_only_by_name_and_never_the_present_one(daemon):
    daemon.start()
    with daemon.client() as client:
        client.step(65)
    daemon.stop()
    do(daemon, "keep", 1, "best")
    first = run_name(daemon)
    daemon.start("--new")
    state = daemon.folder / "state"
    assert "stop it first" in do(daemon, "rollback", first, "--yes", code=1)
    assert "say --yes" in do(daemon, "remove", first, code=1)
    assert f"{run_name(daemon)} is the present run" in do(daemon, "remove", run_name(daemon), "--yes", code=1)
    do(daemon, "remove", first, "--yes")  # while another one runs
    daemon.stop()
    assert [(entry["name"], entry["run"] == first) for entry in listed(daemon)] == [("00000001", False), ("best", True)]
    assert not list((state / "journals").glob(f"{first}*"))
    do(daemon, "remove", 1, "--yes")
    do(daemon, "remove", "best", "--yes")
    assert "there is no checkpoint 'best'" in do(daemon, "remove", "best", "--yes", code=1)
    assert not list((state / "checkpoints").iterdir())


def test_the_present_run_s_checkpoint_is_not_removed_under_a_daemon(daemon):
    daemon.start()
    with daemon.client() as client:
        client.step(65)
    daemon.stop()
    daemon.start()
    assert "stop it first" in do(daemon, "remove", 1, "--yes", code=1)
    assert "stop it first" in do(daemon, "remove", "00000001", "--yes", code=1)
    daemon.stop()
    assert [entry["name"] for entry in listed(daemon)] == ["00000002", "00000001"]
    do(daemon, "remove", 1, "--yes")
    assert [entry["name"] for entry in listed(daemon)] == ["00000002"]


@pytest.mark.parametrize("option", ["--resume", "--resume-if-any"])
def test_who_begins_anew_does_not_resume(daemon, option):
    done = daemon.attempt("--new", option)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "give one of them" in done.stderr


def test_installed_units_that_say_resume_if_any_keep_working(daemon):
    for frames in (1, 2):
        daemon.start("--resume-if-any")
        with daemon.client() as client:
            client.step(65)
        daemon.stop()
        assert listed(daemon)[0]["frames"] == frames
    helped = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200"}).output
    assert "--new" in helped
    assert "if-any" not in helped


def test_a_checkpoint_put_into_an_empty_state_folder_is_gone_on_from(daemon):
    net = network()
    daemon.start()
    step(daemon, net, TEXT)
    daemon.stop()
    with Daemon(**PARTS) as other:
        shutil.copytree(daemon.checkpoint(), other.folder / "state" / "checkpoints" / "00000001")
        for _ in range(2):  # killed before it has a checkpoint of its own
            other.start()
            step(other, net, TEXT)
            other.kill()
        assert run_name(other) != run_name(daemon)


def test_what_was_saved_by_the_library_is_gone_on_from(daemon):
    net = network()
    for token in TEXT:
        net.step(token, "main")
    net.save(daemon.folder / "state" / "checkpoints" / "00000001")
    daemon.start()
    step(daemon, net, TEXT)
    with daemon.client() as client:
        wait_for(lambda: client.status()["frames"] == len(TEXT))
    daemon.stop()
    started(daemon, "--new")
    step(daemon, network(), TEXT)
    daemon.stop()


def test_the_journal_of_an_earlier_version_s_run_is_gone_on_with(daemon):
    net = network()
    daemon.start()
    step(daemon, net, TEXT)
    daemon.kill()
    state = daemon.folder / "state"
    for path in (state / "journals").iterdir():  # where they lay
        path.rename(state / path.name.replace(run_name(daemon), "journal"))
    daemon.start()
    step(daemon, net, TEXT)
    daemon.stop()
    assert not list(state.glob("journal-wal")) + list(state.glob("journal"))


def test_a_damaged_name_of_the_run_is_said_with_a_way_out(daemon):
    daemon.start()
    with daemon.client() as client:
        client.step(65)
    daemon.stop()
    (daemon.folder / "state" / "run").write_text("?")
    assert re.search("run: damaged, .* begin anew with --new", daemon.attempt().stderr)
    daemon.start("--new")
    os.killpg(daemon.process.pid, signal.SIGTERM)
    assert daemon.process.wait(TIMEOUT) == 0
    assert [entry["name"] for entry in listed(daemon)] == ["00000002", "00000001"]


def test_another_text_is_read_from_its_beginning_and_the_same_one_on_from_where_it_was(daemon):
    first, second = daemon.folder / "first.txt", daemon.folder / "second.txt"
    first.write_bytes(TEXT * 3)
    second.write_bytes(bytes(reversed(TEXT)))
    net, read = network(), []

    def run(path, *options):
        result = daemon.attempt("--source", str(path), "--quiet", "--json", str(daemon.folder / "out.json"), *options)
        assert result.returncode == 0
        read.append(json.loads((daemon.folder / "out.json").read_text())["new_frames"])
        return result.stderr

    assert run(first, "--max-frames", "100") == ""
    assert run(first) == ""
    assert "has been read to its end before" in run(first)
    assert run(second) == ""
    assert read == [100, 3 * len(TEXT) - 100, 0, len(TEXT)]
    for token in TEXT * 3 + bytes(reversed(TEXT)):
        net.step(token, "source")
    assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()
