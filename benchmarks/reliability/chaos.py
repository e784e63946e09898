"""Kill a daemon's processes again and again while it learns: `python -m benchmarks.reliability.chaos`.

A client sends known frames of several streams. Meanwhile gate, layers, readout, publisher and supervisor are killed
(-9), stopped for longer than the heartbeat, or asked to end, at random, in bursts, while checkpoints are written and
while the daemon recovers. A supervisor that has ended is started again. The library, which knows nothing
of all that, takes the same frames in one process: every output that a subscriber has heard and the parameters in the
end must have the same bits.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import psutil
import typer
import zmq
from rich.console import Console
from rich.progress import Progress

import streamrnn as sr
from streamrnn.kernels.frames import EMIT, FLAGS, INPUT, SEQ
from streamrnn.kernels.messages import OUTPUT
from streamrnn.protocol.wire import unpack

CLASSES, UNITS, STREAMS, WINDOW, RATE = 16, 8, 5, 8, 1e-3
CONFIG = f"""
name = "chaos"
predict = "next"
[input]
kind = "tokens"
size = {CLASSES}
[[layers]]
cell = "lstm"
units = {UNITS}
[[layers]]
cell = "lstm"
units = {UNITS}
[readout]
kind = "softmax"
size = {CLASSES}
[optimizer]
kind = "adam"
learning_rate = {RATE}
[learning]
window = {WINDOW}
gradient_delay = 1
[supervision]
heartbeat = 1.0
restarts = 1000
[log]
level = "info"
"""
SUPERVISOR = "supervisor"
WORKERS_FATES = signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP
SUPERVISORS_FATES = signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM
PATIENCE = 60.0  # seconds for anything
MORE = 1.5  # tries for each failure asked for: some find nobody
SILENCE = 1.5  # seconds that a process is stopped: longer than the heartbeat


class Subscriber(threading.Thread):
    """Hears every output that it can: the bits by SEQ, and what was wrong with them."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(daemon=True)
        self.endpoint, self.over = endpoint, threading.Event()
        self.outputs: dict[int, bytes] = {}
        self.again = self.different = self.reordered = 0

    def run(self) -> None:
        socket = zmq.Context.instance().socket(zmq.SUB)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, 5)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(self.endpoint)
        newest: dict[tuple[bytes, int], int] = {}
        while not self.over.is_set():
            if not socket.poll(50):
                continue
            topic, data = socket.recv_multipart()
            message = unpack(data)
            if message.kind == OUTPUT:
                said = message.frames[message.frames[:, FLAGS] & (INPUT | EMIT) == INPUT | EMIT]
                for seq, y in zip(said[:, SEQ].tolist(), message.vectors, strict=True):
                    self.reordered += seq <= newest.get((topic, message.epoch), -1)
                    newest[topic, message.epoch] = seq
                    self.hear(seq, y.tobytes())
        socket.close(0)

    def hear(self, seq: int, y: bytes) -> None:
        """One output."""
        if seq in self.outputs:
            self.again += 1
            self.different += self.outputs[seq] != y
        self.outputs[seq] = y


class Daemon:
    """One that is started again whenever it has ended."""

    def __init__(self, folder: Path, every: int, *options: str) -> None:
        self.folder, self.starts, self.failed, self.options = folder, 0, 0, options
        self.mark = {"STREAMRNN_CHAOS": str(folder)}  # its processes have it too
        self.lock = threading.Lock()
        self.over = False
        sockets = "".join(f'{name} = "ipc://{folder}/{name}"\n' for name in ("gate", "outputs", "control"))
        state = f'[state]\nfolder = "{folder}/state"\ncheckpoint_frames = {every}\n'
        (folder / "chaos.toml").write_text(f"{CONFIG}[sockets]\n{sockets}{state}")
        self.process: subprocess.Popen[bytes]
        self.start()

    def start(self) -> None:
        report = ["--quiet", "--json", str(self.folder / "out.json")]
        options = [*report, *self.options]
        command = [sys.executable, "-m", "streamrnn", "run", str(self.folder / "chaos.toml"), *options]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, stderr=log, start_new_session=True, env=os.environ | self.mark)
        self.starts += 1

    def watch(self) -> None:
        """Until it is over."""
        while not self.over:
            with self.lock:
                if self.process.poll() is not None and not self.over:
                    self.failed += self.process.returncode not in (0, -signal.SIGKILL)
                    self.start()
            time.sleep(0.02)

    def pids(self) -> dict[str, int]:
        """Its processes by what they do; none while it does not answer."""
        try:
            with sr.Client(f"ipc://{self.folder}/control", 0.5) as client:
                workers = client.status()["workers"]
        except sr.DaemonGone:
            return {}
        return {SUPERVISOR: self.process.pid} | {worker["name"]: worker["pid"] for worker in workers if worker["pid"]}

    def left_behind(self) -> list[psutil.Process]:
        """Processes of its that run, or are stopped."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if self.mark.items() <= process.environ().items() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def recoveries(self) -> list[float]:
        """How many seconds each took, from when a worker's death was seen until frames were let in again."""
        return [float(seconds) for seconds in re.findall(r"recovered in ([\d.]+) s", (self.folder / "log").read_text())]

    def end(self) -> dict[str, Any]:
        """Drain it; what it came to."""
        with self.lock:
            self.over = True
            self.process.terminate()
            if self.process.wait(PATIENCE):
                raise RuntimeError(f"it ended badly:\n{(self.folder / 'log').read_text()}")
        found: dict[str, Any] = json.loads((self.folder / "out.json").read_text())
        return found


class Chaos(threading.Thread):
    """Failures, spread over the frames that are sent, until it is told that it is over."""

    def __init__(
        self, daemon: Daemon, seed: int, spacing: float, supervisors: tuple[signal.Signals, ...] = SUPERVISORS_FATES
    ) -> None:
        """spacing: frames between failures. supervisors: what may befall it."""
        super().__init__(daemon=True)
        self.supervisors = supervisors
        self.target, self.random, self.spacing = daemon, random.Random(seed), spacing
        self.over = threading.Event()
        self.sent = 0  # frames
        self.done: dict[str, int] = {}

    def run(self) -> None:
        following = 0.0
        while not self.over.is_set():
            if self.sent < following:
                time.sleep(0.002)
                continue
            following = self.sent + self.spacing * self.random.uniform(0.5, 1.5)
            if self.random.random() < 0.3:
                self.wait_for_checkpoint()
            for _ in range(self.random.choice([1, 1, 1, 2, 3])):  # the later ones meet a daemon that recovers
                self.fail()
                self.over.wait(self.random.choice([0.0, 0.05, 0.3]))

    def wait_for_checkpoint(self) -> None:
        """Until one is being written, or a while."""
        folder, until = self.target.folder / "state" / "checkpoints", time.monotonic() + 2
        while not any(folder.glob("*.writing")) and time.monotonic() < until:
            time.sleep(0.001)

    def fail(self) -> None:
        """One failure of one process."""
        pids = self.target.pids()
        if not pids or self.over.is_set():
            return
        name = self.random.choice(sorted(pids))
        number = self.random.choice(self.supervisors if name == SUPERVISOR else WORKERS_FATES)
        try:
            os.kill(pids[name], number)
            if name == SUPERVISOR and number == signal.SIGSTOP:
                time.sleep(SILENCE)
                os.kill(pids[name], signal.SIGCONT)
        except ProcessLookupError:
            return
        what = f"{name.split('-')[0]} {number.name}"
        self.done[what] = self.done.get(what, 0) + 1


def symbols(frames: int) -> np.ndarray:
    """What is sent: stream and token of each frame."""
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(STREAMS, size=frames), rng.integers(CLASSES, size=frames)], axis=1)


def network() -> sr.Network:
    """The daemon's network, in this process."""
    layers = [sr.LSTM(CLASSES, UNITS), sr.LSTM(UNITS, UNITS)]
    return sr.Network(layers, sr.Softmax(CLASSES), sr.Adam(RATE), window=WINDOW, gradient_delay=1, predict="next")


def expected(frames: np.ndarray) -> tuple[list[bytes], str]:
    """The outputs, and the sha256 of the parameters, in one process."""
    net = network()
    return [net.step(token, str(stream)).tobytes() for stream, token in frames.tolist()], net.parameters_sha256()


def send(client: sr.Client, frames: np.ndarray, failures: Chaos, progress: Progress) -> None:
    """All frames."""
    task = progress.add_task("frames", total=len(frames))
    for k, (stream, token) in enumerate(frames.tolist()):
        client.send(token, stream=str(stream))
        failures.sent = k
        if k % 1000 == 0:
            progress.update(task, completed=k)
    client.flush()
    progress.update(task, completed=len(frames))


@contextmanager
def failing(
    folder: Path,
    every: int,
    seed: int,
    spacing: float,
    *options: str,
    supervisors: tuple[signal.Signals, ...] = SUPERVISORS_FATES,
) -> Iterator[tuple[Daemon, Chaos]]:
    """A daemon, started again whenever it ends, and its failures, to be started; the log is shown if it ends badly."""
    daemon = Daemon(folder, every, *options)
    failures = Chaos(daemon, seed, spacing, supervisors)
    threading.Thread(target=daemon.watch, daemon=True).start()
    try:
        yield daemon, failures
    except (sr.DaemonGone, sr.FrameRefused, RuntimeError):
        Console(stderr=True).print((folder / "log").read_text(), failures.done)
        raise
    finally:
        failures.over.set()
        with daemon.lock:
            daemon.over = True
            daemon.process.kill()
            daemon.process.wait()


def story(daemon: Daemon, failures: Chaos, start: float) -> dict[str, Any]:
    """What happened."""
    recoveries = daemon.recoveries()
    return {
        "seconds": round(time.monotonic() - start, 1),
        "failures": failures.done,
        "failures in all": sum(failures.done.values()),
        "daemon started": daemon.starts,
        "ended with an error": daemon.failed,
        "recoveries": len(recoveries),
        "seconds of a recovery, median": median(recoveries) if recoveries else None,
        "seconds of the longest": max(recoveries, default=None),
    }


def run(frames: int, least: int, seed: int = 0, every: int = 5000, fused: bool = False) -> dict[str, Any]:
    """What came of it."""
    options = ["--fused"] if fused else []
    known = symbols(frames)
    outputs, digest = expected(known)
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, Progress(console=Console(stderr=True)) as progress:
        folder = Path(name)
        subscriber, start = Subscriber(f"ipc://{folder}/outputs"), time.monotonic()
        subscriber.start()
        with failing(folder, every, seed, frames / least / MORE, *options) as (daemon, failures):
            with sr.Client(f"ipc://{folder}/control", PATIENCE) as client:
                client.step(int(known[0, 1]), stream=str(known[0, 0]))
                failures.start()
                send(client, known[1:], failures, progress)
                failures.over.set()
                failures.join()
                client.status()
            result = daemon.end()
        subscriber.over.set()
        subscriber.join()
        until = time.monotonic() + SILENCE
        while (left := daemon.left_behind()) and time.monotonic() < until:
            time.sleep(0.05)
        manifest = json.loads((Path(result["checkpoint"]) / "manifest.json").read_text())
        happened = story(daemon, failures, start)
    wrong = sum(outputs[seq] != y for seq, y in subscriber.outputs.items())
    return {
        "frames": frames,
        **happened,
        "processes left behind": len(left),
        "accepted": manifest["frames"],
        "lost": max(0, frames - manifest["frames"]),
        "duplicated": max(0, manifest["frames"] - frames),
        "reordered": subscriber.reordered,
        "outputs heard": len(subscriber.outputs),
        "heard again": subscriber.again,
        "heard again with other bits": subscriber.different,
        "other bits than in one process": wrong,
        "parameters_sha256 as in one process": result["parameters_sha256"] == digest,
    }


def show(found: dict[str, Any]) -> None:
    """What came of it, a line each."""
    console = Console()
    for name, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{each} {count}" for each, count in sorted(value.items()))
        console.print(f"{name:>38}  {value}", highlight=False, soft_wrap=True)


def main(
    frames: Annotated[int, typer.Option(help="How many are sent.")] = 300_000,
    failures: Annotated[int, typer.Option(help="At least so many while they are.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the schedule of failures.")] = 0,
    fused: Annotated[bool, typer.Option("--fused", help="All workers in one process.")] = False,
) -> None:
    """Kill, and see that nothing is lost."""
    found = run(frames, failures, seed, fused=fused)
    show(found)
    good = found["parameters_sha256 as in one process"] and not any(
        found[name]
        for name in ("processes left behind", "lost", "duplicated", "reordered", "heard again with other bits")
    )
    raise typer.Exit(0 if good and not found["other bits than in one process"] else 1)


if __name__ == "__main__":
    typer.run(main)
