"""Paths: what they are relative to, how long they may be, `~`, and what is left where writing fails."""

import errno
import os
import resource
import subprocess
import sys

import pytest
from daemon import TIMEOUT, Daemon

import streamrnn as sr
from streamrnn import config as configuration
from streamrnn.config import ConfigError
from streamrnn.config.checks import LONGEST_PATH
from streamrnn.storage import checkpoint
from streamrnn.workers.admission.stream_store import connect

pytestmark = pytest.mark.long

CONFIG = """
name = "test"
layers = [{ cell = "lstm", units = 4 }]
input = { kind = "tokens", size = 256 }
readout = { kind = "softmax", size = 256 }
optimizer = { kind = "sgd", learning_rate = 0.1 }
"""


def network():
    return sr.Network([sr.GRU(2, 3)], sr.Linear(1), sr.SGD(0.1))


def written(folder, more=""):
    path = folder / "test.toml"
    path.write_text(CONFIG + more)
    return path


def test_relative_paths_are_relative_to_the_configs_file(tmp_path, monkeypatch):
    more = """
[source]
kind = "text"
path = "../texts/fox.txt"
[state]
folder = "state"
[security]
keys = "./keys"
[sockets]
gate = "ipc://gate"
"""
    (tmp_path / "here").mkdir()
    written(tmp_path / "here", more)
    found = []
    for folder, path in (
        (tmp_path, "here/test.toml"),
        (tmp_path / "here", "test.toml"),
        ("/", tmp_path / "here/test.toml"),
    ):
        monkeypatch.chdir(folder)
        found.append(configuration.load(path))
    assert found[0] == found[1] == found[2]
    (config, *_) = found
    assert config.folder == tmp_path / "here" / "state"
    assert config.keys == tmp_path / "here" / "keys"
    assert config.source.path == str(tmp_path / "here" / "../texts/fox.txt")
    assert config.sockets.gate == f"ipc://{tmp_path}/here/gate"
    assert config.sockets.outputs == "tcp://127.0.0.1:5702"


def test_a_source_of_the_command_line_is_relative_to_the_present_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    path = written(tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    assert configuration.load(path, source="fox.txt").source.path == str(tmp_path / "fox.txt")
    assert configuration.load(path, source="-").source.path == "-"


def test_home_folders_are_expanded_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    more = '[source]\nkind = "text"\npath = "~/fox.txt"\n[state]\nfolder = "~/state"\n[security]\nkeys = "~/keys"\n'
    config = configuration.load(written(tmp_path, more))
    assert config.source.path == str(tmp_path / "home" / "fox.txt")
    assert (config.folder, config.keys) == (tmp_path / "home" / "state", tmp_path / "home" / "keys")


def test_a_daemon_goes_on_from_a_relative_state_folder_wherever_it_is_started():
    with Daemon() as daemon:
        (daemon.folder / "text").write_bytes(b"abc" * 100)
        daemon.config.write_text(daemon.config.read_text().replace(f'"{daemon.folder}/state"', '"state"'))
        for folder, frames in ((daemon.folder, "300 "), ("/", "nothing")):
            words = ["run", str(daemon.config), "--source", str(daemon.folder / "text"), "--resume-if-any"]
            command = [sys.executable, "-m", "streamrnn", *words, "--log-level", "info"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT)
            assert done.returncode == 0
            assert ("resumed from" in done.stderr) == (folder == "/"), frames
            assert (daemon.folder / "state" / "checkpoints").is_dir()


def test_long_state_folders_and_temporary_folders_work(tmp_path, monkeypatch):
    for length in (60, 180):
        monkeypatch.setenv("TMPDIR", str(tmp_path / ("t" * length)))
        (tmp_path / ("t" * length)).mkdir()
        for runtime in (None, tmp_path / ("r" * length)):
            if runtime:
                runtime.mkdir(0o700)
                monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
            else:
                monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
            with Daemon() as daemon:
                state = daemon.folder / ("s" * length) / ("s" * length)
                state.parent.mkdir()
                daemon.config.write_text(daemon.config.read_text().replace(f"{daemon.folder}/state", str(state)))
                (daemon.folder / "text").write_bytes(b"abc" * 100)
                assert daemon.run("--source", str(daemon.folder / "text"))["frames"] == 300


def test_a_state_folder_whose_path_is_too_long_is_said_by_check_with_its_key(tmp_path):
    for folder in ("s" * 256, "/".join(["s" * 100] * 5)):
        with pytest.raises(ConfigError, match=r'"state.folder" is too long: a path has at most 480 bytes'):
            configuration.load(written(tmp_path, f'[state]\nfolder = "{folder}"\n'))


def test_streams_go_to_the_disk_in_the_longest_state_folder_that_is_allowed(tmp_path):
    left = LONGEST_PATH - len(str(tmp_path)) - 2
    folder = tmp_path / ("s" * (left // 2)) / ("s" * (left - left // 2))
    assert len(str(folder)) == LONGEST_PATH
    assert configuration.load(written(tmp_path, f'[state]\nfolder = "{folder}"\n')).folder == folder
    folder.mkdir(parents=True)
    connect(folder / "streams").close()
    assert (folder / "streams").exists()


def test_a_network_is_saved_in_the_home_folder_and_loaded_from_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    net = network()
    net.save("~/fox")
    assert (tmp_path / "home" / "fox" / "manifest.json").exists()
    assert sr.load("~/fox").parameters_sha256() == net.parameters_sha256()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    with pytest.raises(sr.CheckpointError, match="there is no such home folder; give the whole path"):
        net.save("~nobody-of-that-name/fox")


def test_a_key_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(sr.KeysError, match=f"{tmp_path}/ann.key: No such file"):
        sr.Client("ipc:///nowhere/control", key="~/ann.key")


def test_a_save_that_fails_leaves_nothing_and_what_was_there_stays(tmp_path):
    net = network()
    net.save(tmp_path / "fox")
    before = net.parameters_sha256()
    net.learn([1.0, 2.0], [3.0])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        for name in ("fox", "hen"):
            with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
                net.save(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["fox"]
    assert sr.load(tmp_path / "fox").parameters_sha256() == before


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, MemoryError])
def test_a_save_that_is_interrupted_leaves_nothing(tmp_path, monkeypatch, interrupt):
    def stopped(*_):
        raise interrupt

    monkeypatch.setattr(checkpoint, "complete", stopped)
    with pytest.raises(interrupt):
        network().save(tmp_path / "fox")
    assert list(tmp_path.iterdir()) == []
