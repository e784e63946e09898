"""A real daemon for a test: its own config, ipc sockets and state folder, bounded waits, and nothing left running."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

import streamrnn as sr

TIMEOUT = 120.0  # seconds; the first run on a machine compiles the kernels

CONFIG = """
name = "test"
predict = "{predict}"
[input]
{input}
{layers}
[readout]
{readout}
[optimizer]
{optimizer}
[learning]
{learning}
[pipeline]
{pipeline}
[source]
{source}
[sockets]
gate = "ipc://{folder}/gate"
outputs = "ipc://{folder}/outputs"
control = "ipc://{folder}/control"
[state]
folder = "{folder}/state"
"""

TEXT = {"input": 'kind = "tokens"\nsize = 256', "readout": 'kind = "softmax"\nsize = 256', "predict": "next"}
VECTOR = {"input": 'kind = "vector"\nsize = 4', "readout": 'kind = "linear"\nsize = 2', "predict": "target"}


def layers(*cells: str) -> str:
    """Config tables: "lstm 16" is a cell and its units."""
    return "\n".join('[[layers]]\ncell = "{}"\nunits = {}'.format(*cell.split()) for cell in cells)


class Daemon:
    """Runs `streamrnn run` on a config made of these parts; a context manager."""

    def __init__(self, **parts: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sr-"))
        defaults = {
            **TEXT,
            "layers": layers("lstm 8"),
            "optimizer": 'kind = "adam"\nlearning_rate = 0.002',
            "learning": "window = 8",
            "pipeline": "",
            "source": 'kind = "none"',
            "folder": str(self.folder),
        }
        self.config = self.folder / "test.toml"
        self.config.write_text(CONFIG.format(**{**defaults, **parts}))
        self.process: subprocess.Popen | None = None
        self.lines: list[str] = []

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(TIMEOUT)
        subprocess.run(["rm", "-rf", str(self.folder)], check=True)

    def run(self, *options: str, input: bytes | None = None) -> dict:
        """Run to its own end, which must be a good one; what --json says."""
        result = self.attempt(*options, "--quiet", "--json", str(self.folder / "out.json"), input=input)
        assert (result.returncode, result.stderr) == (0, "")
        return json.loads((self.folder / "out.json").read_text())

    def kill(self) -> None:
        """Kill all of it at once."""
        assert self.process
        ends = self.ends()
        self.process.kill()
        self.process.communicate(timeout=TIMEOUT)
        assert have_come(ends)

    def attempt(self, *options: str, input: bytes | None = None) -> subprocess.CompletedProcess:
        """Run to its own end, whatever that is."""
        done = subprocess.run(self._command(*options), capture_output=True, timeout=TIMEOUT, input=input)
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *options: str) -> "Daemon":
        """Start it and return when it is READY."""
        self.process = subprocess.Popen(
            self._command(*options),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
        )
        timer = threading.Timer(TIMEOUT, self.process.kill)
        timer.start()
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if line.strip() == "READY":
                timer.cancel()
                return self
        timer.cancel()
        raise AssertionError("the daemon ended before it was ready:\n" + "\n".join(self.lines))

    def ends(self) -> list[int]:
        """A descriptor for each process that it has started, readable when that has ended: see `have_come`."""
        assert self.process
        return [os.pidfd_open(process.pid) for process in psutil.Process(self.process.pid).children(recursive=True)]

    def workers(self) -> dict[str, psutil.Process]:
        """Its worker processes by name."""
        with self.client() as client:
            return {worker["name"]: psutil.Process(worker["pid"]) for worker in client.status()["workers"]}

    def client(self, timeout: float = 20.0) -> sr.Client:
        return sr.Client(f"ipc://{self.folder}/control", timeout)

    def stop(self, number: int = signal.SIGTERM) -> str:
        """Signal it and all its processes to stop, as a terminal or a service manager does; it must end well and take
        its workers with it. Returns what it printed since READY."""
        assert self.process
        ends = self.ends()
        os.killpg(self.process.pid, number)
        printed, _ = self.process.communicate(timeout=TIMEOUT)
        assert (self.process.returncode, have_come(ends)) == (0, True)
        return printed

    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return max((self.folder / "state" / "checkpoints").iterdir())

    def _command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "streamrnn", "run", str(self.config), *options]


def comes(end: int) -> bool:
    """Whether that one does."""
    poll = select.poll()  # takes descriptors of any number
    poll.register(end, select.POLLIN)
    return bool(poll.poll(1000 * TIMEOUT))


def have_come(ends: list[int]) -> bool:
    """Whether all have, within a deadline."""
    come = [comes(end) for end in ends]
    for end in ends:
        os.close(end)
    return all(come)


def wait_for(holds: Callable[[], bool]) -> None:
    """Until that is so, within a deadline."""
    until = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < until
        os.sched_yield()
