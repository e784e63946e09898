"""The daemon's inner sockets: a short private folder, found again, made anew, and left clean."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from daemon import TIMEOUT, Daemon, have_come, layers
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import streamrnn as sr
from streamrnn.cli.main import app
from streamrnn.workers.supervision.socket_folder import folder_for, make_anew
from streamrnn.workers.worker import Failure

TEXT = b"Systems clean their temporary folders. "


def network():
    return sr.Network([sr.GRU(256, 6)], sr.Softmax(256), sr.Adam(0.002), window=8, predict="next")


@pytest.fixture
def runtime(monkeypatch):
    """A folder for XDG_RUNTIME_DIR."""
    with tempfile.TemporaryDirectory(prefix="sr-") as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name)


def test_they_lie_in_the_runtime_folder_if_that_is_ours_alone(runtime, tmp_path, monkeypatch):
    found = folder_for(tmp_path)
    assert found.parent == runtime
    assert folder_for(tmp_path / "." / "x" / "..") == found
    assert folder_for(tmp_path / "x") != found
    runtime.chmod(0o770)
    assert folder_for(tmp_path) == tmp_path / "sockets"
    runtime.chmod(0o700)
    for wrong in ("", "relative", f"{runtime}/gone", __file__, "/"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", wrong)
        assert folder_for(tmp_path) == tmp_path / "sockets" or (wrong == "/" and os.geteuid() == 0)


@given(st.integers(1, 300), st.integers(1, 2**31))
def test_every_path_in_it_is_one_that_a_socket_can_have(length, epoch):
    state = Path("/" + "/".join(["d" * 20] * 20)[:length].rstrip("/"))
    found = folder_for(state)
    assert len(os.fsencode(found / str(epoch) / "gradients-1000")) <= 107
    assert found == state / "sockets" or (found.parent == Path("/tmp") and length > 50)


def test_it_is_made_anew_and_what_was_there_is_gone(tmp_path):
    folder = tmp_path / "sockets"
    make_anew(folder, 1)
    (folder / "1" / "frames-0").touch()
    assert make_anew(folder, 2) == folder / "2"
    assert [path.name for path in folder.iterdir()] == ["2"]
    assert {path.stat().st_mode & 0o777 for path in (folder, folder / "2")} == {0o700}


def test_what_stands_in_its_place_is_said(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(Failure, match=r"no folder for the daemon's sockets: .*XDG_RUNTIME_DIR can name another"):
            make_anew(tmp_path / name, 1)


@pytest.mark.long
def test_a_daemon_whose_sockets_were_cleaned_away_recovers(runtime):
    net = network()
    with Daemon(layers=layers("gru 6")) as daemon:
        daemon.start()
        (sockets,) = runtime.iterdir()
        with daemon.client(60.0) as client:
            for worker in ("gate", "stages-0"):
                for token in TEXT:
                    assert client.step(token).y.tobytes() == net.step(token, "main").tobytes()
                assert list(sockets.rglob("frames-0"))
                workers = daemon.workers()
                shutil.rmtree(sockets)
                workers[worker].kill()
            for token in TEXT:
                assert client.step(token).y.tobytes() == net.step(token, "main").tobytes()
            assert client.status()["recoveries"] == 2
        daemon.stop()
        assert not list(runtime.iterdir())


def test_what_a_killed_daemon_left_is_found_by_the_next_one(runtime):
    with Daemon(layers=layers("gru 6")) as daemon:
        for epoch in (1, 2):
            daemon.start()
            names = sorted(path.name for path in runtime.glob("*/*"))
            assert names[0] == str(epoch)
            assert [name.partition("-")[0] for name in names[1:]] == ["listener"]
            daemon.kill()


def test_a_long_path_of_the_state_folder_and_a_long_tmpdir_are_no_matter(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with Daemon(layers=layers("gru 6")) as daemon:
        long = daemon.folder / ("a" * 90) / ("b" * 90)
        long.mkdir(parents=True)
        monkeypatch.setenv("TMPDIR", str(long))
        daemon.config.write_text(daemon.config.read_text().replace(f"{daemon.folder}/state", f"{long}/state"))
        made = folder_for(long / "state")
        assert made.parent == Path("/tmp")
        daemon.start()
        assert made.stat().st_mode & 0o777 == 0o700
        assert (long / "state" / "command").is_socket()
        with daemon.client() as client:
            client.step(65)
        ends = daemon.ends()
        runner = CliRunner()
        assert runner.invoke(app, ["checkpoints", "take", str(daemon.config)]).output == "checkpoint 1\n"
        assert runner.invoke(app, ["stop", str(daemon.config)]).exit_code == 0
        assert (daemon.process.wait(TIMEOUT), have_come(ends)) == (0, True)
        assert not made.exists()


def test_with_short_paths_nothing_is_put_into_the_temporary_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Daemon(layers=layers("gru 6")) as daemon:
        (daemon.folder / "text").write_bytes(TEXT)
        daemon.start()
        assert list((daemon.folder / "state" / "sockets" / "1").iterdir())
        daemon.stop(signal.SIGINT)
        assert not (daemon.folder / "state" / "sockets").exists()
