"""Real daemons for the benchmarks, each with a config, sockets and a state folder of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

import streamrnn as sr

CONFIGS = Path(__file__).parents[2] / "configs"
TEXT = CONFIGS / "text.toml"
ANSWER_TIMEOUT = 120.0  # seconds, in which kernels may have to be compiled
PATIENCE = 300.0  # seconds until a daemon is ready, or has ended; the first on a machine compiles the kernels
OWN_PLACES = re.compile(r"^\[(sockets|state)\].*\n((?!\[).*\n)*", re.MULTILINE)


def text_config(units: int, placement: list[int]) -> str:
    """configs/text.toml with layers of that size, and so many consecutive stages to each worker."""
    config, units_there, placement_there = TEXT.read_text(), "units = 128", "placement = [1, 2]"
    assert units_there in config, f"{TEXT} is not what it was"
    assert placement_there in config, f"{TEXT} is not what it was"
    return config.replace(units_there, f"units = {units}").replace(placement_there, f"placement = {placement}")


@contextmanager
def _command(config: str, *options: str, state: str = "", more: str = "") -> Iterator[tuple[Path, list[str]]]:
    """A folder of its own, and the command that runs that config there; state: more keys of [state]; more: tables."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        yield Path(name), run_command(write_config(Path(name), config, state + more), *options)


def write_config(folder: Path, config: str, state: str = "") -> Path:
    """A file with that config, whose sockets and state lie in the folder; state: more keys of [state], and tables."""
    sockets = "".join(f'{socket} = "ipc://{folder}/{socket}"\n' for socket in ("gate", "outputs", "control"))
    places = f'[sockets]\n{sockets}[state]\nfolder = "{folder}/state"\n{state}'
    path = folder / "config.toml"
    path.write_text(f"{OWN_PLACES.sub('', config)}\n{places}")
    return path


def run_command(config: Path, *options: str) -> list[str]:
    """What runs a config."""
    return [sys.executable, "-m", "streamrnn", "run", str(config), *options]


def learn(config: str, *options: str, cores: set[int] | None = None, state: str = "") -> dict[str, Any]:
    """Run to the end, on those cores only if any are given; what `--json` says."""
    with _command(config, *options, "--quiet", state=state) as (folder, command):
        process = subprocess.Popen([*command, "--json", str(folder / "out.json")])
        if cores:
            os.sched_setaffinity(process.pid, cores)
        if process.wait():
            raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
        return json.loads((folder / "out.json").read_text())


class Daemon(NamedTuple):
    """One that is READY."""

    client: sr.Client
    seconds: float  # from the command to READY
    outputs: str  # the address,
    control: str  # and that of the control socket


@contextmanager
def running(config: str, state: str = "", more: str = "", quiet: bool = False, **environment: str) -> Iterator[Daemon]:
    """A daemon until the block ends; quiet: it is ready as soon as it answers, and prints nothing."""
    options = ["--quiet"] if quiet else []
    with _command(config, *options, state=state, more=more) as (folder, command):
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", env=os.environ | environment)
        try:
            assert process.stdout
            if not quiet and not any(line.strip() == "READY" for line in iter(process.stdout.readline, "")):
                raise RuntimeError(f"{' '.join(command)} ended before it was ready")
            seconds = time.monotonic() - start
            with sr.Client(f"ipc://{folder}/control", ANSWER_TIMEOUT) as client:
                yield Daemon(client, seconds, f"ipc://{folder}/outputs", f"ipc://{folder}/control")
        finally:
            process.terminate()
            process.communicate()


class Kept:
    """A daemon with a folder of its own, ended and started again and again: it goes on from what it has."""

    def __init__(self, folder: Path, config: str, state: str = "") -> None:
        folder.mkdir()
        self.folder, self.config = folder, write_config(folder, config, state)
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Return when it is READY."""
        report = ["--json", str(self.folder / "out.json"), "--log", "json", "--log-level", "info"]
        command = run_command(self.config, *report)
        out = self.folder / "out"
        with open(out, "wb") as stdout, open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=log)
        until = time.monotonic() + PATIENCE
        while b"READY\n" not in out.read_bytes():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{' '.join(command)} did not get ready:\n{(self.folder / 'log').read_text()}")
            time.sleep(0.02)

    def command(self, *words: str) -> None:
        """`streamrnn WORDS CONFIG`, which must succeed."""
        subprocess.run([sys.executable, "-m", "streamrnn", *words, str(self.config)], check=True, capture_output=True)

    def stop(self) -> int:
        """Have it save and stop; its exit code."""
        if self.process.poll() is None:
            self.command("stop")
        return self.process.wait(PATIENCE)

    def signal(self, number: signal.Signals) -> None:
        """To all of its processes at once."""
        supervisor = psutil.Process(self.process.pid)
        for process in (supervisor, *supervisor.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait(PATIENCE)

    def client(self, timeout: float = ANSWER_TIMEOUT) -> sr.Client:
        """A new line to it."""
        return sr.Client(f"ipc://{self.folder}/control", timeout)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Those of that name in its log, of all its starts."""
        lines = (self.folder / "log").read_text().splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in events if event["event"] == name]

    def result(self) -> dict[str, Any]:
        """What it came to when it was stopped last."""
        found: dict[str, Any] = json.loads((self.folder / "out.json").read_text())
        return found

    def checkpoint(self) -> Path:
        """What was kept when it was stopped last."""
        return Path(self.result()["checkpoint"])

    def manifest(self) -> dict[str, Any]:
        """Of that checkpoint."""
        found: dict[str, Any] = json.loads((self.checkpoint() / "manifest.json").read_text())
        return found


@contextmanager
def kept(folder: Path, config: str, state: str = "") -> Iterator[Kept]:
    """One that runs, until the block ends."""
    daemon = Kept(folder, config, state)
    try:
        daemon.start()
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.signal(signal.SIGKILL)
