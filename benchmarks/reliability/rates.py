"""Slow streams, fast ones and bursts, in every placement: `python -m benchmarks.reliability.rates`.

A daemon for each placement, with one stream and with 64, side by side. Each is sent frames at every rate in turn, and
in bursts with pauses, and each begins at another rate than the one beside it, so that the fast ones do not come
together. However slowly frames come, no daemon may recover for that, and no worker be silent for long.
"""

import json
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

import streamrnn as sr
from benchmarks.shared.daemon import kept, running

RATES = 0.1, 1.0, 3.0, 5.0, 7.0, 10.0, 20.0, 35.0, 50.0, 100.0, 300.0, 2000.0  # frames a second
PAUSES = 0.1, 0.3, 1.0, 3.0, 10.0, 30.0  # seconds between bursts
BURST = 100  # frames
PLACEMENTS = '"single"', "[3]", "[1, 2]", "[1, 1, 1]"
STREAMS = 1, 64
SECONDS, QUICK = 20.0, 2.0  # of each rate, and of bursts, where a pause is not longer
LONGEST = 0.5  # seconds that a worker may be silent
LOOK = 0.1  # seconds between two looks at the daemon
PATIENCE = 60.0  # seconds that a client waits
TITLE = "longest silence of a worker that was seen, by placement and streams; of all, as the daemon has it"
CONFIG = """
name = "rates"
predict = "next"
[input]
kind = "tokens"
size = 16
[[layers]]
cell = "gru"
units = 16
[[layers]]
cell = "lstm"
units = 16
[readout]
kind = "softmax"
size = 16
[optimizer]
kind = "adam"
learning_rate = 1e-3
[pipeline]
placement = {placement}
"""


class Pattern(NamedTuple):
    """How frames come: so many at a time, and seconds from one time to the next."""

    name: str
    frames: int
    interval: float


PATTERNS = [Pattern(f"{rate:g}/s", 1, 1 / rate) for rate in RATES]
PATTERNS += [Pattern(f"pauses {pause:g} s", BURST, pause) for pause in PAUSES]


class Watched(threading.Thread):
    """Sends one daemon every pattern in turn, and looks at it meanwhile."""

    def __init__(self, folder: Path, placement: str, streams: int, patterns: list[Pattern], seconds: float) -> None:
        super().__init__()
        self.folder, self.placement, self.streams = folder, placement, streams
        self.patterns, self.seconds = patterns, seconds
        self.silences: dict[str, float] = {}  # the longest that was seen, by pattern
        self.recoveries, self.silence, self.sent, self.frames = -1, float("inf"), 0, -1
        self.code: int | None = None

    def run(self) -> None:
        with kept(self.folder, CONFIG.format(placement=self.placement)) as daemon:
            with daemon.client(PATIENCE) as client, daemon.client(PATIENCE) as looking:
                for pattern in self.patterns:
                    self.silences[pattern.name] = max(self.play(pattern, client, looking))
                client.flush()
                status = looking.status()
            self.recoveries = len(daemon.events("recovery"))
            self.silence = max(max(worker["silence"], worker["heard"]) for worker in status["workers"])
            self.code = daemon.stop()
            self.frames = daemon.manifest()["frames"]

    def play(self, pattern: Pattern, client: sr.Client, looking: sr.Client) -> Iterator[float]:
        """Send, and look: how long no worker may have been silent."""
        begun = now = time.monotonic()
        following, look = begun, begun + LOOK
        until = begun + (self.seconds if self.seconds < SECONDS else max(SECONDS, 1.2 * pattern.interval))
        while now < until:
            if now >= following:
                for _ in range(pattern.frames):
                    client.send(self.sent % 16, stream=str(self.sent % self.streams))
                    self.sent += 1
                following = max(following + pattern.interval, now - pattern.interval)
            if now >= look:
                look = now + LOOK
                yield max(worker["heard"] for worker in looking.status()["workers"])
            time.sleep(max(0.0, min(following, look) - time.monotonic()))
            now = time.monotonic()
        yield 0.0

    def facts(self) -> dict[str, Any]:
        """What was seen."""
        return {
            "placement": self.placement,
            "streams": self.streams,
            "recoveries": self.recoveries,
            "silence": round(self.silence, 3),
            "frames lost": self.sent - self.frames,
            "exit code": self.code,
            "silences": {pattern.name: round(self.silences.get(pattern.name, -1), 3) for pattern in PATTERNS},
        }

    @property
    def good(self) -> bool:
        clean = (self.recoveries, self.code, self.frames) == (0, 0, self.sent)
        return clean and max(self.silence, *self.silences.values()) < LONGEST


def main(
    quick: Annotated[bool, typer.Option("--quick", help=f"{QUICK:.0f} seconds of each.")] = False,
    out: Annotated[Path | None, typer.Option("--json", help="Write what was seen.")] = None,
) -> None:
    """Send at all rates, and see that no daemon minds."""
    with running(CONFIG.format(placement=PLACEMENTS[0])):  # compiles what is not compiled yet
        pass
    with tempfile.TemporaryDirectory(prefix="rates-") as name:
        cases = [(placement, streams) for placement in PLACEMENTS for streams in STREAMS]
        watched = []
        for k, (placement, streams) in enumerate(cases):
            first = k * len(PATTERNS) // len(cases)
            patterns = PATTERNS[first:] + PATTERNS[:first]
            watched.append(Watched(Path(name) / str(k), placement, streams, patterns, QUICK if quick else SECONDS))
        for each in watched:
            each.start()
        for each in watched:
            each.join()
    table = Table(
        "s", *(each.placement.strip('[]"').replace(" ", "") + f"\n{each.streams}" for each in watched), title=TITLE
    )
    for pattern in PATTERNS:
        table.add_row(pattern.name, *(f"{each.silences.get(pattern.name, -1):.2f}" for each in watched))
    for row in ("silence", "recoveries", "frames lost", "exit code"):
        table.add_row(row, *(str(each.facts()[row]) for each in watched))
    console = Console()
    console.print(table)
    if out:
        out.write_text(json.dumps([each.facts() for each in watched], indent=1) + "\n")
    good = all(each.good for each in watched)
    console.print("nobody minded" if good else "NOT GOOD")
    raise typer.Exit(0 if good else 1)


if __name__ == "__main__":
    typer.run(main)
