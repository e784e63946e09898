"""A daemon at full speed with clients that come and go: `python -m benchmarks.reliability.soak`.

Each client lives for some seconds: it steps, sends, asks about sequences, listens to outputs, and then goes, politely
or without a word, leaving its stream to be closed by another. Every ten seconds the memory and the open descriptors of
each process of the daemon are noted. In the end both must be flat, and the daemon must have taken as many frames as
clients were told it had. Memory is what a process has made its own, also where it lies in swap; pages of files, such
as libraries, come and go as the kernel likes.
"""

import multiprocessing
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import streamrnn as sr
from benchmarks.shared.daemon import TEXT, running

INTERVAL = 10.0  # seconds between two looks
LIFE = 2.0, 15.0  # seconds
DRIVERS = 2  # processes
PATIENCE = 60.0  # seconds that a client waits
GROWTH = 1.03  # of memory, from the second quarter to the last
PROCESSES = multiprocessing.get_context("spawn")
MORE = """
[pipeline]
placement = [1, 2]
max_streams = 1024
"""


class Driver:
    """Clients of one process, each in a thread of its own."""

    def __init__(self, control: str, clients: int, seed: int) -> None:
        self.control, self.clients, self.seed = control, clients, seed
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.frames = self.lives = 0
        self.errors: list[str] = []
        self.orphans: list[str] = []  # streams whose client has gone without a word

    def run(self, seconds: float) -> dict[str, Any]:
        """What came of it."""
        threads = [
            threading.Thread(target=self.live_again, args=(self.seed * 10_000 + k,)) for k in range(self.clients)
        ]
        for thread in threads:
            thread.start()
        self.over.wait(seconds)
        self.over.set()
        for thread in threads:
            thread.join()
        return {"frames": self.frames, "lives": self.lives, "errors": self.errors}

    def live_again(self, seed: int) -> None:
        """One client after the other."""
        chance = random.Random(seed)
        while not self.over.is_set():
            try:
                frames = self.live(chance, f"{seed}-{chance.getrandbits(40):x}")
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                return
            with self.lock:
                self.frames += frames
                self.lives += 1

    def live(self, chance: random.Random, stream: str) -> int:
        """One client; how many frames the daemon has told it that it took."""
        client, until = sr.Client(self.control, PATIENCE), time.monotonic() + chance.uniform(*LIFE)
        frames = others = 0  # of its stream, and of others
        while time.monotonic() < until and not self.over.is_set():
            if chance.random() < 0.1:
                client.classify(bytes(chance.choices(range(97, 123), k=10)))  # on a stream of its own
                others += 10
            else:
                frames += self.act(client, stream, chance)
        client.flush()
        orphan = self.orphans.pop() if self.orphans else ""
        if orphan:
            client.forget(orphan)
        if chance.random() < 0.3 and frames:
            client._lines.close(0)
            self.orphans.append(stream)
        else:
            if frames:
                client.forget(stream)
            client.close()
        return frames + others

    def act(self, client: sr.Client, stream: str, chance: random.Random) -> int:
        """Something that a client does with its stream; the frames that it sends."""
        match chance.randrange(9):
            case 0:
                count = chance.randrange(1, 30)
                with client.subscribe(stream, timeout=PATIENCE) as outputs:
                    for _ in range(count):
                        client.send(chance.randrange(97, 123), stream=stream)
                    for _ in range(count):
                        next(outputs)
                return count
            case 1 | 2 | 3:
                count = chance.randrange(1, 200)
                for _ in range(count):
                    client.send(chance.randrange(97, 123), stream=stream)
                return count
            case _:
                client.step(chance.randrange(97, 123), stream=stream)
                return 1


def drive(control: str, clients: int, seed: int, seconds: float, results: Any) -> None:
    """A driver's process."""
    results.put(Driver(control, clients, seed).run(seconds))


@contextmanager
def driving(control: str, clients: int, seconds: float) -> Iterator[list[dict[str, Any]]]:
    """All drivers; their results are in the list in the end."""
    results, found = PROCESSES.Queue(), []
    drivers = [
        PROCESSES.Process(target=drive, args=(control, clients // DRIVERS, k, seconds, results)) for k in range(DRIVERS)
    ]
    for driver in drivers:
        driver.start()
    yield found
    found += [results.get(timeout=PATIENCE + 2 * LIFE[1]) for _ in drivers]
    for driver in drivers:
        driver.join()


def look(client: sr.Client) -> dict[str, tuple[float, int]]:
    """MiB and descriptors of each of the daemon's processes."""
    workers = client.status()["workers"]
    processes = {worker["name"]: psutil.Process(worker["pid"]) for worker in workers}
    gate = processes["gate"]
    parents = [parent for parent in gate.parents() if parent.pid != os.getpid()]
    processes["supervisor"] = next(p for p in parents if "streamrnn" in p.cmdline())
    return {name: (own_memory(process.pid), process.num_fds()) for name, process in processes.items()}


def own_memory(pid: int) -> float:
    """Anonymous memory of a process, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sizes = {key: value for key, _, value in (line.partition(":") for line in lines)}
    return sum(int(sizes[name].removesuffix("kB")) for name in ("RssAnon", "VmSwap")) / 2**10


def main(
    minutes: Annotated[float, typer.Option(help="How long.")] = 10.0,
    clients: Annotated[int, typer.Option(help="At a time.")] = 200,
) -> None:
    """Have clients come and go, and see that nothing is lost and nothing grows."""
    config = TEXT.read_text().partition("[pipeline]")[0].replace("units = 128", "units = 32") + MORE
    looks: list[dict[str, tuple[float, int]]] = []
    with running(config) as (client, *_), Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("soak", total=60 * minutes)
        start = time.monotonic()
        with driving(client._control_endpoint, clients, 60 * minutes) as found:
            while (past := time.monotonic() - start) < 60 * minutes:
                time.sleep(min(INTERVAL, 60 * minutes - past))
                looks.append(look(client))
                progress.update(task, completed=time.monotonic() - start)
        told = sum(result["frames"] for result in found)
        until = time.monotonic() + INTERVAL  # the last frames have been accepted, and may not have gone through yet
        while (status := client.status())["frames"] < told and time.monotonic() < until:
            time.sleep(0.2)
    errors = [error for result in found for error in result["errors"]]
    table = Table("", "MiB in the second quarter", "in the last", "descriptors", "in the last")
    flat = True
    for name in looks[0]:
        (before, fds), (after, fds_after) = (medians(part, name) for part in quarters(looks))
        flat &= after <= before * GROWTH and fds_after <= 1.2 * fds + 10
        table.add_row(name, f"{before:.1f}", f"{after:.1f}", f"{fds:.0f}", f"{fds_after:.0f}")
    console = Console()
    console.print(table)
    lives = sum(result["lives"] for result in found)
    console.print(f"{lives:,} clients came and went; {told:,} frames acknowledged, {status['frames']:,} taken")
    faults = {name: status[name] for name in ("recoveries", "refused", "bad")}
    console.print(f"{faults}, errors {errors[:3] or 0}")
    good = flat and told == status["frames"] and not errors and not status["recoveries"]
    console.print("flat, and nothing lost" if good else "NOT GOOD")
    raise typer.Exit(0 if good else 1)


def quarters(looks: list[Any]) -> tuple[list[Any], list[Any]]:
    """The second and the last."""
    quarter = max(1, len(looks) // 4)
    return looks[quarter : 2 * quarter] or looks[:1], looks[-quarter:]


def medians(looks: list[dict[str, tuple[float, int]]], name: str) -> tuple[float, float]:
    """Memory and descriptors of a process."""
    return median(each[name][0] for each in looks), median(each[name][1] for each in looks)


if __name__ == "__main__":
    typer.run(main)
