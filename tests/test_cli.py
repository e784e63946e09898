"""What a person meets at the command line: one clear line for everything that can be wrong, and no traceback."""

import json
import socket

import pytest
from daemon import Daemon


def refused(daemon: Daemon, *options: str, code: int = 1) -> str:
    """The one line with which the daemon declines to run."""
    done = daemon.attempt("--quiet", *options)
    assert done.returncode == code
    assert done.stdout == ""
    line, *more = done.stderr.splitlines()
    assert more == []
    assert line.startswith("streamrnn: ")
    return line


@pytest.fixture
def daemon():
    with Daemon() as made:
        (made.folder / "text").write_bytes(b"abc" * 400)
        yield made


def text(daemon: Daemon) -> tuple[str, str]:
    return "--source", str(daemon.folder / "text")


def test_a_misspelt_key_is_named_with_its_file_and_the_nearest_right_one(daemon):
    daemon.config.write_text(daemon.config.read_text().replace("window", "windw"))
    line = f'streamrnn: {daemon.config}: unknown key "learning.windw"; did you mean "window"?'
    assert refused(daemon, code=2) == line


def test_a_missing_config_is_said_to_be(daemon):
    daemon.config.unlink()
    assert "no such file" in refused(daemon, code=2)


def test_a_missing_source_is_said_to_be(daemon):
    assert "/nowhere/text: No such file" in refused(daemon, "--source", "/nowhere/text")


def test_a_folder_that_is_not_there_is_said_before_anything_starts(daemon):
    assert "there is no folder /nowhere" in refused(daemon, "--json", "/nowhere/out.json")


def test_nothing_to_resume(daemon):
    assert "nothing to resume" in refused(daemon, "--resume")


@pytest.mark.parametrize("name", ["gate", "outputs", "control"])
def test_a_busy_port_is_named(daemon, name):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        config = daemon.config.read_text().replace(f'{name} = "ipc://{daemon.folder}/{name}"', f'{name} = "{address}"')
        daemon.config.write_text(config)
        assert f"cannot listen on {address}: Address already in use" in refused(daemon, *text(daemon))


@pytest.mark.parametrize("name", ["manifest.json", "stage-1.safetensors"])
def test_a_damaged_checkpoint_is_named_and_what_was_before_it_used(daemon, name):
    before = daemon.run(*text(daemon))
    path = daemon.checkpoint() / name
    path.write_bytes(path.read_bytes()[:-20])
    report = daemon.folder / "again.json"
    done = daemon.attempt("--quiet", *text(daemon), "--resume", "--json", str(report))
    assert done.returncode == 0
    assert str(path) in done.stderr
    assert "damaged" in done.stderr
    assert json.loads(report.read_text())["parameters_sha256"] == before["parameters_sha256"]


def test_a_checkpoint_of_another_network_is_refused(daemon):
    daemon.run(*text(daemon))
    daemon.config.write_text(daemon.config.read_text().replace("units = 8", "units = 9"))
    assert "the config differs in layers" in refused(daemon, *text(daemon), "--resume")


def test_standard_input_is_read_to_its_end(daemon):
    result = daemon.run("--source", "-", input=b"abcd" * 300)
    assert result["frames"] == 1200
    assert result["bits_per_symbol"] == pytest.approx(result["loss"] / 0.6931471805599453)


def test_it_prints_a_banner_then_ready_then_how_it_goes(daemon):
    done = daemon.attempt(*text(daemon))
    lines = done.stdout.splitlines()
    ready = lines.index("READY")
    banner = "\n".join(lines[:ready])
    for part in ("256 tokens", "LSTM 8", "softmax 256", "pid", f"ipc://{daemon.folder}/gate", "checkpoints"):
        assert part in banner
    assert any("bits/symbol" in line for line in lines[ready:])
    assert any(line.startswith("sha256") for line in lines[ready:])
    assert done.returncode == 0
