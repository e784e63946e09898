"""The kernels on the disk: wherever they cannot be kept, are damaged, or have no room, everything runs or says why."""

import errno
import os
import re
import resource
import shutil
import subprocess
import sys

import pytest
from daemon import TIMEOUT

from streamrnn.kernels import cache
from streamrnn.workers import compilation
from streamrnn.workers.worker import Failure

pytestmark = pytest.mark.long

CALL = """
import numpy as np
from streamrnn.kernels.linear import within
print(within(np.array([0.5, -0.5]), 1.0), within(np.array([0.5, np.nan]), 1.0))
"""
SAID = "True False\n"


def python(code: str, *words: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, *(["-c", code] if code else ["-m", "streamrnn"]), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, **options)


def environment(**changes: str | None) -> dict[str, str]:
    """This process's own, without what names a cache."""
    found = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    return {name: value for name, value in {**found, **changes}.items() if value is not None}


def called(**options) -> tuple[str, str]:
    """What a kernel says in a process of its own, and what that writes on standard error."""
    done = python(CALL, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache with that kernel."""
    folder = tmp_path_factory.mktemp("cache")
    assert called(env=environment(XDG_CACHE_HOME=str(folder))) == (SAID, "")
    return folder


@pytest.fixture
def temporary(tmp_path):
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


def test_where_nothing_can_be_written_kernels_lie_in_a_private_folder_and_it_is_said(tmp_path, temporary):
    (tmp_path / "file").touch()
    surroundings = environment(XDG_CACHE_HOME=str(tmp_path / "file"), TMPDIR=str(temporary))
    said, errors = called(env=surroundings)
    assert said == SAID
    (line,) = errors.splitlines()
    place = temporary / f"streamrnn-{os.geteuid()}"
    assert f"compiled kernels are kept in {place}, for {tmp_path}/file/streamrnn cannot be used" in line
    assert place.stat().st_mode & 0o777 == 0o700
    files = set(place.rglob("*.nbc"))
    assert files
    called(env=surroundings)
    assert set(place.rglob("*.nbc")) == files


def test_it_is_said_once_for_a_process_and_those_that_it_starts(tmp_path, temporary):
    (tmp_path / "file").touch()
    show = "from streamrnn.kernels.cache import CACHE_FOLDER; print(CACHE_FOLDER, flush=True)"
    code = f"import subprocess, sys; {show}; subprocess.run([sys.executable, '-c', {show!r}], check=True)"
    done = python(code, env=environment(XDG_CACHE_HOME=str(tmp_path / "file"), TMPDIR=str(temporary)))
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    first, second = done.stdout.splitlines()
    assert first == second
    assert first.startswith(str(temporary))


def test_a_private_folder_that_others_have_made_is_not_used(tmp_path, temporary, monkeypatch):
    monkeypatch.setattr(cache.tempfile, "tempdir", str(temporary))
    monkeypatch.setenv(cache.FOUND, "")
    theirs = temporary / f"streamrnn-{os.geteuid()}"
    theirs.symlink_to(tmp_path)
    found = cache.private_place(tmp_path / "cache", "as a test")
    assert found.parent == temporary
    assert found != theirs
    assert found.stat().st_mode & 0o777 == 0o700
    theirs.unlink()
    theirs.mkdir(0o777)
    theirs.chmod(0o777)
    assert cache.private_place(tmp_path / "cache", "as a test") not in (theirs, found)


NOBODY = """
import os, pwd
def missing(*_): raise KeyError("uid not found")
pwd.getpwuid = pwd.getpwnam = missing
os.environ.pop("HOME", None)
"""


def test_a_user_without_a_home_and_a_passwd_entry_is_no_reason_to_end(temporary):
    surroundings = environment(HOME=None, XDG_STATE_HOME=None, TMPDIR=str(temporary))
    command = f"{NOBODY}from streamrnn.cli.main import main; main()"
    for words in ("--help", "--version", "init"):
        done = python(command, words, env=surroundings)
        assert (done.returncode, done.stderr) == (0, "")
    done = python(command, "check", "text", env=surroundings)
    assert done.returncode == 2
    assert '"state.folder" cannot be "~/.local/state/streamrnn/text", for this user has no home' in done.stderr
    done = python(NOBODY + CALL, env=surroundings, cwd=temporary)
    assert done.stdout == SAID
    assert "(this user has no home)" in done.stderr
    assert {path.name for path in temporary.iterdir()} == {f"streamrnn-{os.geteuid()}"}


@pytest.mark.parametrize("damage", ["empty", "cut", "one bit"])
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_a_damaged_file_is_compiled_anew(filled, tmp_path, damage, kind):
    shutil.copytree(filled, tmp_path / "cache")
    paths = list((tmp_path / "cache").rglob(f"*.{kind}"))
    before = {path: path.read_bytes() for path in paths}
    for path, data in before.items():
        changed = bytearray(data)
        changed[len(data) // 2] ^= 1
        whole = {"empty": b"", "cut": data[: len(data) // 2], "one bit": bytes(changed)}
        path.write_bytes(whole[damage])
    assert called(env=environment(XDG_CACHE_HOME=str(tmp_path / "cache"))) == (SAID, "")
    assert all(path.stat().st_size == pytest.approx(len(data), rel=0.1) for path, data in before.items())
    indexed = {path.name: path.stat().st_mtime_ns for path in paths}
    assert called(env=environment(XDG_CACHE_HOME=str(tmp_path / "cache"))) == (SAID, "")
    assert {path.name: path.stat().st_mtime_ns for path in paths} == indexed


def no_room() -> None:
    """As on a disk that takes files of 8 KiB at most."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def test_where_there_is_no_room_a_kernel_runs_and_says_so_once(tmp_path):
    said, errors = called(env=environment(XDG_CACHE_HOME=str(tmp_path)), preexec_fn=no_room)
    assert said == SAID
    (line,) = errors.splitlines()
    assert re.match("compiled kernels cannot be kept in .*: every process compiles them anew", line)


def test_where_there_is_no_room_a_daemon_does_not_start_and_says_why(tmp_path):
    done = python("", "warm", "digits", env=environment(XDG_CACHE_HOME=str(tmp_path)), preexec_fn=no_room)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"streamrnn: compiled kernels cannot be kept in {tmp_path}")
    assert "File too large; make room there" in line


def test_a_full_disk_is_called_that(monkeypatch):
    fault = compilation.not_kept(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert isinstance(fault, Failure)
    assert "the disk is full; make room there" in str(fault)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["init"], ["check", "text"]])
def test_what_needs_no_kernels_does_without_the_compiler(words):
    code = (
        "import atexit, sys; from streamrnn.cli.main import main\n"
        "atexit.register(lambda: print('numba' in sys.modules, file=sys.stderr))\n"
        "main()"
    )
    done = python(code, *words)
    assert (done.returncode, done.stderr) == (0, "False\n")


def test_a_client_does_without_the_compiler():
    done = python("import streamrnn, sys; streamrnn.Client, streamrnn.FrameRefused; print('numba' in sys.modules)")
    assert (done.stdout, done.stderr) == ("False\n", "")
