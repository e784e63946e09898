"""An ordinary day in ten minutes: `python -m benchmarks.reliability.ordinary`.

One daemon reads the sensors of this machine, another hears from clients at odd rates. They go idle, sleep with their
machine, are told to read their configs again, take what has piled up at full speed, are stopped and started as usual,
and lose all their processes at once. In the end nobody may have recovered for no reason, no frame and nothing learned
may be lost, memory must be flat, and the clients' frames must have given the bits that the library gives for them.
"""

import random
import signal
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import streamrnn as sr
from benchmarks.reliability.soak import look, medians, quarters
from benchmarks.shared.daemon import CONFIGS, Kept, kept
from streamrnn.kernels.buffers import UPDATES

SECONDS, SHORT = 600.0, 90.0
SLEEP = 8.0  # seconds that all processes are stopped: longer than a heartbeat
SIZE, UNITS, WINDOW, RATE = 4, 16, 8, 1e-3
RATES = 0.7, 7.0, 13.0, 33.0  # frames a second of each client
PATIENCE = 60.0  # seconds that a client waits
GROWTH, SLACK = 1.03, 1.0  # of memory from the second quarter of the last stretch to its last; MiB
SENSORS = CONFIGS / "sensors.toml"
SMALL_HISTORY = "\n[outputs]\nhistory = 1048576\n"  # bytes: soon full, so that memory may be flat
CLIENTS = f"""
name = "clients"
predict = "next"
[input]
kind = "vector"
size = {SIZE}
standardize = true
[[layers]]
cell = "gru"
units = {UNITS}
[[layers]]
cell = "lstm"
units = {UNITS}
[readout]
kind = "gaussian"
size = {SIZE}
[optimizer]
kind = "adam"
learning_rate = {RATE}
[learning]
window = {WINDOW}
gradient_delay = 1
"""


class Sender(threading.Thread):
    """A client that sends to a stream of its own, at a rate, and remembers what."""

    def __init__(self, daemon: Kept, stream: str, rate: float, idle: threading.Event, most: int | None = None) -> None:
        """rate: 0 for as fast as it goes; most: frames."""
        super().__init__(daemon=True)
        self.target, self.stream, self.rate, self.idle, self.most = daemon, stream, rate, idle, most
        self.over = threading.Event()
        self.sent: list[np.ndarray] = []
        self.fault = ""

    def run(self) -> None:
        try:
            with self.target.client(PATIENCE) as client:
                self.send(client, random.Random(self.stream))
                client.flush()
        except (sr.DaemonGone, sr.FrameRefused) as error:
            self.fault = f"{self.stream}: {error}"

    def send(self, client: sr.Client, chance: random.Random) -> None:
        """All frames."""
        while not self.over.is_set() and (self.most is None or len(self.sent) < self.most):
            if self.idle.is_set():
                self.over.wait(0.1)
                continue
            x = np.array([chance.gauss(k, 1.0) for k in range(SIZE)], np.float32)
            client.send(x, stream=self.stream)
            self.sent.append(x)
            if self.rate:
                self.over.wait(chance.uniform(0.5, 1.5) / self.rate)

    def end(self) -> None:
        """No more; all that it sent has been accepted then."""
        self.over.set()
        self.join()


class Listener(threading.Thread):
    """A subscriber that hears every output."""

    def __init__(self, daemon: Kept) -> None:
        super().__init__(daemon=True)
        self.target, self.over = daemon, threading.Event()
        self.outputs: dict[int, tuple[str, np.ndarray]] = {}
        self.again = 0
        self.missed: list[tuple[str, int, int]] = []
        self.ready = threading.Event()

    def run(self) -> None:
        with self.target.client(PATIENCE) as client, client.subscribe(timeout=0.5) as subscription:
            self.missed = subscription.missed
            self.ready.set()
            while not self.over.is_set():
                try:
                    output = next(subscription)
                except sr.DaemonGone:  # nothing has come for a while
                    continue
                self.again += output.seq in self.outputs
                self.outputs[output.seq] = output.stream, output.y


class Day:
    """What happens, in order, to both daemons."""

    def __init__(self, folder: Path, seconds: float, say: Callable[[str], None]) -> None:
        self.folder, self.seconds, self.say = folder, seconds, say
        self.idle = threading.Event()
        self.went_back: list[str] = []  # after a start there were fewer frames than before
        self.bad_ends: list[str] = []
        self.looks: dict[str, list[dict[str, tuple[float, int]]]] = defaultdict(list)

    def run(self) -> dict[str, Any]:
        """What came of it."""
        with (
            kept(self.folder / "sensors", SENSORS.read_text() + SMALL_HISTORY) as sensors,
            kept(self.folder / "clients", CLIENTS + SMALL_HISTORY) as clients,
        ):
            self.daemons, self.begun = {"sensors": sensors, "clients": clients}, time.monotonic()
            listener = Listener(clients)
            listener.start()
            listener.ready.wait(PATIENCE)
            senders = [Sender(clients, f"{rate}/s", rate, self.idle) for rate in RATES]
            for sender in senders:
                sender.start()
            self.until(0.1)
            self.reload()
            self.until(0.15)
            self.sleep()
            self.until(0.3)
            self.restart()
            self.until(0.35)
            senders.append(self.backfill(clients))
            self.until(0.45)
            self.kill()
            self.until(0.5)
            self.stand_idle(0.05)
            self.restart()
            self.watch_memory()
            for sender in senders:
                sender.end()
            self.hear_all(listener, sum(len(sender.sent) for sender in senders))
            self.stop()
            return self.judge(listener, senders)

    def until(self, part: float) -> None:
        """That part of the day has passed."""
        time.sleep(max(0.0, self.begun + part * self.seconds - time.monotonic()))

    def reload(self) -> None:
        """Learn the sensors at another rate from here on; the clients' bits are to stay."""
        self.say("reload")
        for name, daemon in self.daemons.items():
            config = daemon.config.read_text()
            rate = config.replace("learning_rate = 1e-3", "learning_rate = 5e-4") if name == "sensors" else config
            daemon.config.write_text(rate + "checkpoint_seconds = 20\n")
            daemon.command("reload")

    def sleep(self) -> None:
        """The machine sleeps."""
        self.say(f"all processes sleep for {SLEEP:.0f} s")
        for daemon in self.daemons.values():
            daemon.signal(signal.SIGSTOP)
        time.sleep(SLEEP)
        for daemon in self.daemons.values():
            daemon.signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop both, and start them as usual."""
        self.say("stop and start")
        before = self.frames()
        self.stop()
        self.start(before)

    def kill(self) -> None:
        """Everything at once, without a word."""
        self.say("kill -9 of everything")
        before = self.frames()
        for daemon in self.daemons.values():
            daemon.signal(signal.SIGKILL)
        self.start(before)

    def stop(self) -> None:
        """Both, which must end well."""
        for name, daemon in self.daemons.items():
            if code := daemon.stop():
                self.bad_ends.append(f"{name}: exit code {code}")

    def start(self, before: dict[str, int]) -> None:
        """Both; what had gone through before must have again."""
        for daemon in self.daemons.values():
            daemon.start()
        until = time.monotonic() + PATIENCE
        while (after := self.frames()) and any(after[name] < before[name] for name in after):
            if time.monotonic() > until:
                self.went_back.append(f"{before} frames before, {after} after")
                return
            time.sleep(0.1)

    def backfill(self, daemon: Kept) -> Sender:
        """What has piled up somewhere, at full speed."""
        sender = Sender(daemon, "backfill", 0.0, self.idle, most=int(50 * self.seconds))
        start = time.monotonic()
        sender.start()
        sender.join()
        self.say(f"{len(sender.sent):,} frames at full speed in {time.monotonic() - start:.1f} s")
        return sender

    def stand_idle(self, part: float) -> None:
        """No client sends for that part of the day."""
        self.say("idle")
        self.idle.set()
        time.sleep(part * self.seconds)
        self.idle.clear()

    def watch_memory(self) -> None:
        """The rest of the day."""
        self.say("and so on")
        lines = {name: daemon.client() for name, daemon in self.daemons.items()}
        while time.monotonic() < self.begun + self.seconds:
            for name, client in lines.items():
                self.looks[name].append(look(client))
            time.sleep(self.seconds / 150)
        for client in lines.values():
            client.close()

    def frames(self) -> dict[str, int]:
        """How many have gone through each."""
        found = {}
        for name, daemon in self.daemons.items():
            with daemon.client() as client:
                found[name] = client.status()["frames"]
        return found

    def hear_all(self, listener: Listener, count: int) -> None:
        """Until the listener has as many outputs."""
        until = time.monotonic() + PATIENCE
        while len(listener.outputs) < count and time.monotonic() < until:
            time.sleep(0.1)
        listener.over.set()
        listener.join()

    def judge(self, listener: Listener, senders: list[Sender]) -> dict[str, Any]:
        """Everything that must be nothing, and what has been seen."""
        sent = sum(len(sender.sent) for sender in senders)
        taken = self.daemons["clients"].manifest()["frames"]
        grown = {name: growth(looks) for name, looks in self.looks.items()}
        seen = {
            "frames of the sensors": self.daemons["sensors"].manifest()["frames"],
            "frames of the clients": sent,
            "outputs heard": len(listener.outputs),
            "stretches in which some may be missed": listener.missed,  # a loss may be, where no output is
            "MiB, at first and in the end": grown,
        }
        faults = {
            "needless recoveries": [event["reason"] for d in self.daemons.values() for event in d.events("recovery")],
            "ends that were not good": self.bad_ends,
            "starts that did not go on": self.went_back,
            "frames lost or taken twice": abs(sent - taken),
            "senders that gave up": [sender.fault for sender in senders if sender.fault],
            "outputs heard again": listener.again,
            "outputs not heard": sent - len(listener.outputs),
            "learned state lost": unlearned(self.daemons["sensors"]) + unlearned(self.daemons["clients"]),
            "memory that grew": [
                f"{name} {worker}"
                for name, sizes in grown.items()
                for worker, (before, after) in sizes.items()
                if after > GROWTH * before + SLACK
            ],
            "other bits than undisturbed": other_bits(self.daemons["clients"], listener, senders),
        }
        return {"seen": seen, "faults": faults}


def unlearned(daemon: Kept) -> list[str]:
    """Whether there were fewer updates than the frames of its streams give: a start that had forgotten some would."""
    net = sr.load(daemon.checkpoint())
    updates = int(net.layers[0].stage.counters[UPDATES])
    streams, frames = max(1, len(net.names)), daemon.manifest()["frames"]
    least = frames // net.window - streams - net.gradient_delay  # each stream has a window that is not full
    return [f"{updates} updates in {frames} frames"] if updates < least else []


def growth(looks: list[dict[str, tuple[float, int]]]) -> dict[str, tuple[float, float]]:
    """Anonymous memory of each process in MiB, in the second quarter and in the last."""
    early, late = quarters(looks)
    return {name: (round(medians(early, name)[0], 1), round(medians(late, name)[0], 1)) for name in looks[0]}


def other_bits(daemon: Kept, listener: Listener, senders: list[Sender]) -> list[str]:
    """What the library says otherwise of the same frames, in the order in which the daemon took them."""
    layers = [sr.GRU(SIZE, UNITS), sr.LSTM(UNITS, UNITS)]
    settings: dict[str, Any] = {"window": WINDOW, "gradient_delay": 1, "predict": "next", "standardize": True}
    net = sr.Network(layers, sr.Gaussian(SIZE), sr.Adam(RATE), **settings)
    frames = {sender.stream: iter(sender.sent) for sender in senders}
    wrong = 0
    for _, (stream, y) in sorted(listener.outputs.items()):
        x = next(frames[stream], None)
        wrong += x is None or net.step(x, stream).tobytes() != y.tobytes()
    found = [f"{wrong} outputs"] if wrong else []
    same = net.parameters_sha256() == daemon.result()["parameters_sha256"]
    return found if same else [*found, "parameters_sha256"]


def main(
    seconds: Annotated[float, typer.Option(help="How long the day is.")] = SECONDS,
    short: Annotated[bool, typer.Option("--short", help=f"{SHORT:.0f} seconds.")] = False,
) -> None:
    """Live through a day, and see that nothing came of it but what was learned."""
    console, begun = Console(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="day-") as folder:
        say = lambda what: console.print(f"{time.monotonic() - begun:6.1f} s  {what}", highlight=False)  # noqa: E731
        found = Day(Path(folder), SHORT if short else seconds, say).run()
    table = Table(show_header=False)
    for name, value in {**found["seen"], **found["faults"]}.items():
        table.add_row(name, str(value or 0))
    console.print(table)
    good = not any(found["faults"].values())
    console.print("an ordinary day" if good else "NOT GOOD")
    raise typer.Exit(0 if good else 1)


if __name__ == "__main__":
    typer.run(main)
