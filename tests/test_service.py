"""A daemon like the others: what its service manager hears, what its log says, how it ends."""

import configparser
import errno
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from daemon import TIMEOUT, Daemon, have_come
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.live import Live

from streamrnn.cli import main as cli
from streamrnn.cli.exits import Exit
from streamrnn.config import parse
from streamrnn.workers import supervisor
from streamrnn.workers.supervision import logs
from streamrnn.workers.supervision.service_manager import ServiceManager, watchdog_seconds
from streamrnn.workers.worker import Failure

UNIT = Path(__file__).parent.parent / "configs" / "streamrnn@.service"
TEXT = b"the quick brown fox"


class Listener:
    """A service manager's socket, and what has come there; a context manager."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.address = "\0" + address[1:] if address.startswith("@") else address
        self.socket.bind(self.address)
        self.heard: list[str] = []
        self.thread = threading.Thread(target=self.listen)

    def __enter__(self) -> "Listener":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"end", self.address)
        self.thread.join(TIMEOUT)
        self.socket.close()

    def listen(self) -> None:
        while (text := self.socket.recv(4096)) != b"end":
            self.heard.append(text.decode())


def wait_for(holds) -> None:
    until = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < until
        os.sched_yield()


def events(text: str) -> list[dict]:
    """The lines of a log in JSON, among others."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.fixture(autouse=True)
def plain_log():
    yield
    logs.set_up("plain", None)


@pytest.fixture(scope="module")
def served():
    """A daemon's first start, with a worker that dies, and its second, with a reload: what was heard and logged of
    each, its status at first, and the frames in its last checkpoint.
    """
    name = f"@streamrnn-test-{os.getpid()}"
    patch = pytest.MonkeyPatch()
    patch.setenv("NOTIFY_SOCKET", name)
    patch.setenv("WATCHDOG_USEC", "200000")
    found = []
    with Daemon() as daemon:
        for dies in (True, False):
            with Listener(name) as listener:
                daemon.lines.clear()
                daemon.start("--log", "json")
                if dies:
                    daemon.workers()["stages-0"].kill()
                with daemon.client() as client:
                    status = client.status()
                    for token in TEXT:
                        client.step(token)
                if not dies:
                    config = daemon.config.read_text().replace("window = 8", "window = 9")
                    daemon.config.write_text(config + '[log]\nlevel = "warning"\n')
                    daemon.process.send_signal(signal.SIGHUP)
                    wait_for(lambda heard=listener.heard: heard.count("READY=1") == 2)
                log = events("\n".join([*daemon.lines, daemon.stop()]))
            manifest = json.loads((daemon.checkpoint() / "manifest.json").read_text())
            found.append((listener.heard, log, status, manifest["frames"]))
    patch.undo()
    return found


def test_the_service_manager_hears_of_start_life_and_end(served):
    heard, *_ = served[0]
    order = [word for word in heard if not word.startswith(("WATCHDOG", "EXTEND"))]
    assert order[0] == "READY=1"
    assert [word for word in order if not word.startswith("STATUS")] == ["READY=1", "STOPPING=1"]
    status = [word for word in order if word.startswith("STATUS=")]
    assert status
    assert re.fullmatch(r"STATUS=\w+: \d+ frames, \d+/s(, loss [\d.]+ nats)?", status[0])
    before, after = heard[: heard.index("READY=1")], heard[heard.index("READY=1") :]
    assert any(re.fullmatch(r"EXTEND_TIMEOUT_USEC=[0-9]{7,8}", word) for word in before)
    assert after.count("WATCHDOG=1") >= 1
    assert {word for word in heard if word.startswith("WATCHDOG")} == {"WATCHDOG=1"}


def test_the_log_tells_the_story_as_json_lines(served):
    _, log, *_ = served[0]
    names = [event["event"] for event in log]
    assert names == ["started", "ready", "recovery", "recovered", "draining", "checkpoint", "ended"]
    started, ready, recovery, recovered, draining, checkpoint, ended = log
    assert (started["name"], started["epoch"], started["resumed"]) == ("test", 1, None)
    assert re.fullmatch(r"[0-9a-f]{16}", started["run"])
    assert 0 < ready["seconds"] < TIMEOUT
    assert (recovery["level"], recovery["worker"]) == ("warning", "stages-0")
    assert recovery["reason"] == "worker stages-0 ended with exit code -9"
    assert (recovered["level"], recovered["epoch"]) == ("info", 2)
    assert draining["message"] == "draining: no more frames are let in"
    assert (checkpoint["number"], checkpoint["frames"]) == (1, len(TEXT))
    assert ended["frames"] == len(TEXT)
    assert ended["loss"] == pytest.approx(5.5, abs=0.5)  # of 256 symbols, log 256 = 5.55
    times = [datetime.fromisoformat(event["ts"]) for event in log]
    assert times == sorted(times)
    assert abs(datetime.now(UTC) - times[-1]).total_seconds() < TIMEOUT


def test_one_command_is_for_the_first_start_and_for_every_later_one(served):
    (_, first, *_), (_, second, status, frames) = served
    assert first[0]["run"] == second[0]["run"]
    assert (second[0]["epoch"], second[0]["resumed"][-20:]) == (3, "checkpoints/00000001")
    assert (status["checkpoint"]["number"], status["checkpoint"]["frames"]) == (1, len(TEXT))
    assert 0 <= status["checkpoint"]["seconds"] < TIMEOUT
    assert frames == 2 * len(TEXT)


def test_a_reload_changes_the_level_of_the_log_and_names_what_does_not_change(served):
    heard, log, *_ = served[1]
    assert [event["event"] for event in log] == ["started", "ready", "not_reloaded"]
    assert log[-1]["keys"] == ["learning.window"]
    words = [word.split("\n")[0] for word in heard if word.startswith(("READY", "RELOADING", "STOPPING"))]
    assert words == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


def test_where_all_that_was_kept_is_damaged_nothing_begins_anew_by_itself():
    with Daemon() as daemon:
        config = parse(daemon.config.read_text())
        bad = config.checkpoints / "00000001"
        bad.mkdir(parents=True)
        (bad / "manifest.json").write_text("{")
        (config.folder / "run").write_text("0123456789abcdef 1")
        for resume in (False, True):
            with pytest.raises(Failure, match="nothing to resume: there is no good checkpoint"):
                supervisor.Supervisor(config, resume=resume)


def test_a_reload_is_announced_and_its_end_too(tmp_path):
    with Listener(str(tmp_path / "notify")) as listener:
        manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        start = time.monotonic_ns() // 1000
        with suppress(KeyError), manager.reloading():
            end = time.monotonic_ns() // 1000
            raise KeyError
        manager.close()
    reloading, ready = listener.heard
    word, moment = reloading.split("\n")
    assert (word, ready) == ("RELOADING=1", "READY=1")
    assert start <= int(moment.removeprefix("MONOTONIC_USEC=")) <= end


def test_nobody_is_told_where_nobody_listens(tmp_path):
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}, {"NOTIFY_SOCKET": "@" + "x" * 500}):
        manager = ServiceManager(environment)
        manager.ready()
        manager.beat(long=True)
        manager.close()


def test_a_watchdog_of_another_process_is_not_ours():
    assert watchdog_seconds({"WATCHDOG_USEC": "3000000"}) == 3.0
    assert watchdog_seconds({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}) == 3.0
    assert watchdog_seconds({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}) == float("inf")


@given(st.text(), st.text())
def test_any_environment_will_do(duration, pid):
    assert watchdog_seconds({"WATCHDOG_USEC": duration, "WATCHDOG_PID": pid}) > 0


def said(level: str = "warning", **facts: object) -> str:
    """What one event writes."""
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "standard_error", lambda: stream)  # not sys.stderr: the interpreter may write there too
        logs.tell(level, "event", **facts)
    return stream.getvalue()


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_an_event_is_one_line_whatever_it_says(text):
    logs.set_up("json", None)
    line = said(text=text, path=text)
    assert line.count("\n") == 1
    found = json.loads(line)
    assert found["message"] == found["path"] == text.encode(errors="replace").decode()
    logs.set_up("plain", None)
    assert len(said(text=text).splitlines()) == 1


def test_plain_words_are_warnings_unless_a_level_is_asked_for():
    lines = {}
    for level in (None, "debug", "info", "warning", "error"):
        logs.set_up("plain", level)
        lines[level] = [name for name in logs.LEVELS if said(name, text="words")]
    names = ["debug", "info", "warning", "error"]
    assert lines == {None: names[2:], "debug": names, "info": names[1:], "warning": names[2:], "error": names[3:]}


def test_a_log_in_a_file_stays_there_while_the_terminal_is_drawn_on():
    screen, stream = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        with Live("panel", console=Console(file=screen, force_terminal=True), auto_refresh=False):
            logs.tell("warning", "event", "words")
    assert stream.getvalue() == "streamrnn: words\n"
    assert "words" not in screen.getvalue()


def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch):
    class Full(io.StringIO):
        written = 0

        def write(self, text: str) -> int:
            self.written += 1
            raise OSError(errno.ENOSPC, "No space left on device")

    stream = Full()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.tell("error", "event", "words")
    assert stream.written == 1


def test_what_comes_and_goes_is_told_once(capsys):
    logs.set_up("plain", "info")
    looks = [
        (0.0, "", 0),
        (1.0, "no room", 2),
        (2.0, "no room", 5),
        (3.0, "", 5),
        (61.5, "", 5),
        (62.0, "", 1),  # the gate has been started anew
        (122.0, "", 2),
    ]
    times = iter([when for when, _, _ in looks])
    changes = logs.Changes(lambda: now)
    for when, full, refused in looks:
        now = next(times)
        left = {"frames": 12_345, "seconds": 2.6} if 1.0 <= when <= 3.0 else None
        changes.look({"full": full, "refused": refused, "catching_up": left})
    assert capsys.readouterr().err.splitlines() == [
        "streamrnn: no frames are taken: no room",
        "streamrnn: 2 messages refused, 2 in all",
        "streamrnn: catching up: 12,345 frames to go through again, about 3 s",
        "streamrnn: there is room again, frames are taken",
        "streamrnn: 3 messages refused, 5 in all",
        "streamrnn: 1 messages refused, 2 in all",
    ]


@pytest.mark.parametrize("options", [(), ("--log", "json")])
def test_a_bug_is_a_line_with_its_traceback_and_an_exit_code_of_its_own(monkeypatch, capsys, options):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(supervisor, "Supervisor", broken)
    with Daemon() as daemon:
        monkeypatch.setattr(sys, "argv", ["streamrnn", "run", str(daemon.config), *options])
        with pytest.raises(SystemExit) as end:
            cli.main()
    assert end.value.code == 70
    printed = capsys.readouterr().err
    if options:
        (event,) = events(printed)
        assert (event["event"], event["level"], event["code"]) == ("bug", "error", 70)
        traceback = event["traceback"]
    else:
        first, traceback = printed.split("\n", 1)
        assert first == "streamrnn: ZeroDivisionError: by nothing: this is a bug in streamrnn"
    assert traceback.startswith("Traceback")
    assert "in broken" in traceback


def test_the_unit_runs_a_command_that_there_is_and_is_one_for_systemd(tmp_path):
    unit = configparser.RawConfigParser()
    unit.optionxform = str  # type: ignore[assignment]
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert {int(code) for code in service["RestartPreventExitStatus"].split()} == {Exit.USAGE, Exit.GAVE_UP}
    program, verb, _, *options = service["ExecStart"].split()
    assert (Path(program).name, verb) == ("streamrnn", "run")
    done = subprocess.run(
        [sys.executable, "-m", "streamrnn", "run", "/nowhere.toml", *options],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    line = "streamrnn: /nowhere.toml: no such file; give the path of a TOML configuration\n"
    assert (done.returncode, done.stderr) == (2, line)
    if shutil.which("systemd-analyze"):
        (tmp_path / "streamrnn@x.service").write_text(UNIT.read_text().replace(program, "/bin/true"))
        line = ["systemd-analyze", "verify", str(tmp_path / "streamrnn@x.service")]
        verified = subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_an_interrupt_while_kernels_are_compiled_ends_all_at_once(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    with Daemon() as daemon:
        daemon.process = subprocess.Popen(
            daemon._command(),
            env=environment | {"XDG_CACHE_HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
        )
        assert any("compiling the kernels" in line for line in daemon.process.stdout)
        ends = daemon.ends()
        os.killpg(daemon.process.pid, signal.SIGINT)
        printed, _ = daemon.process.communicate(timeout=TIMEOUT)
        assert daemon.process.returncode == 1
        assert printed.splitlines()[-1] == "streamrnn: stopped before it was ready"
        assert "Traceback" not in printed
        assert have_come(ends)
        assert not list(tmp_path.rglob("compiled"))
