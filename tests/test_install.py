"""What is installed: every package and config, and the commands that need no checkout beside them."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import metadata
from importlib.resources import files
from pathlib import Path

import pytest
from daemon import TIMEOUT
from typer.testing import CliRunner

import streamrnn as sr
from streamrnn.cli.main import app
from streamrnn.workers import compilation
from streamrnn.workers.worker import Failure

ROOT = Path(__file__).parent.parent
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.toml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROGRAM = Path(sysconfig.get_path("scripts")) / "streamrnn"


def do(*words: object, code: int = 0) -> str:
    """What a command prints."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output


def refused(*words: object, code: int) -> str:
    """The one line with which a command declines."""
    (line,) = do(*words, code=code).splitlines()
    return line


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A present folder with nothing in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_package_is_shipped():
    settings = PROJECT["tool"]["setuptools"]
    places = sorted(settings["package-dir"].items(), reverse=True)
    found = set()
    for name, place in places:
        for path in (ROOT / place).rglob("__init__.py"):
            found.add(".".join([name, *path.parent.relative_to(ROOT / place).parts]))
    assert set(settings["packages"]) == found


def test_the_metadata_says_what_strangers_need():
    found = metadata("streamrnn")
    assert found["Version"] == PROJECT["project"]["version"] == sr.__version__
    assert found["License-Expression"] == "BSD-3-Clause"
    assert f"## [{sr.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    assert (files("streamrnn") / "py.typed").is_file()


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_what_takes_long_to_import_is_left_alone_by_what_must_come_at_once(option):
    code = (
        "import atexit, sys; from streamrnn.cli.main import main; sys.argv = ['streamrnn', sys.argv[1]]\n"
        "atexit.register(lambda: print({'numba', 'numpy', 'zmq'} & set(sys.modules)))\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, timeout=TIMEOUT)
    assert (done.returncode, done.stderr) == (0, "")
    first, *_, last = done.stdout.splitlines()
    assert last == "set()"
    if option == "--version":
        assert first == f"streamrnn {PROJECT['project']['version']}"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("ch", "check checkpoints"), ("run te", "text"), ("checkpoints ro", "rollback"), ("init so", "socket")],
)
def test_the_shell_completes_commands_and_names_of_configs(typed, offered):
    words = f"streamrnn {typed}"
    script = f"""
        eval "$({PROGRAM} --show-completion)"
        COMP_WORDS=({words}) COMP_CWORD={len(words.split()) - 1}
        _streamrnn_completion {PROGRAM}
        echo "${{COMPREPLY[*]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=TIMEOUT)
    assert (done.returncode, done.stderr, done.stdout.split()) == (0, "", offered.split())


def test_init_lists_every_config_with_what_it_does():
    printed = " ".join(do("init").split())
    for name in CONFIGS:
        first = (ROOT / "configs" / f"{name}.toml").read_text().splitlines()[0]
        assert f"{name} {first.removeprefix('# ')}" in printed


@pytest.mark.parametrize("name", CONFIGS)
def test_init_writes_a_config_that_can_be_run(place, name):
    assert do("init", name) == f"{name}.toml is written; run it with: streamrnn run {name}.toml\n"
    assert (place / f"{name}.toml").read_bytes() == (ROOT / "configs" / f"{name}.toml").read_bytes()
    assert do("check", f"{name}.toml") == do("check", name) == do("check", ROOT / "configs" / f"{name}.toml")


def test_init_overwrites_nothing(place):
    (place / "mine").write_text("mine")
    assert "mine: there is such a file already" in refused("init", "text", "mine", code=1)
    assert (place / "mine").read_text() == "mine"
    assert "No such file or directory; name another file" in refused("init", "text", "nowhere/mine", code=1)
    assert 'did you mean "text"?' in refused("init", "txt", code=2)
    assert [path.name for path in place.iterdir()] == ["mine"]


def test_a_file_goes_before_a_name_and_a_name_before_a_folder(place):
    (place / "text").mkdir()
    assert do("check", "text").startswith("text\n")
    (place / "text").rmdir()
    (place / "text").write_text("mine")
    assert "text: not valid TOML" in refused("check", "text", code=2)


@pytest.mark.parametrize(
    "command",
    ["run", "check", "stop", "reload", "warm", "checkpoints list", "checkpoints take", "keys list"],
)
def test_a_wrong_name_is_said_with_the_nearest_and_all_there_are(place, command):
    line = refused(*command.split(), "tex", code=2)
    reason = 'tex: no such file, and no config of that name comes with streamrnn; did you mean "text"?'
    assert line == f"streamrnn: {reason} there are {', '.join(CONFIGS)}"


def test_a_file_that_was_not_written_out_is_told_from_a_path():
    assert 'did you mean "text"?' in refused("check", "text.toml", code=2)
    assert refused("check", "/nowhere/text.toml", code=2).endswith("give the path of a TOML configuration")


def test_the_unit_runs_this_installation(tmp_path):
    shipped, printed = (ROOT / "configs" / "streamrnn@.service").read_text(), do("unit")
    (line,) = (line for line in printed.splitlines() if line.startswith("ExecStart="))
    program = line.removeprefix("ExecStart=").split()[0]
    assert os.access(program, os.X_OK)
    assert printed.replace(str(PROGRAM.parent), "/opt/streamrnn/bin") == shipped
    if shutil.which("systemd-analyze"):
        (tmp_path / "streamrnn@x.service").write_text(printed)
        command = ["systemd-analyze", "verify", str(tmp_path / "streamrnn@x.service")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_warm_says_why_it_could_not(monkeypatch):
    def compile_kernels(parts, tell, show):
        raise Failure("the disk is full")

    monkeypatch.setattr(compilation, "compile_kernels", compile_kernels)
    assert refused("warm", code=1) == "streamrnn: the disk is full"
