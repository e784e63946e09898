"""What the page costs the pipeline, and itself: `python -m benchmarks.speed.page [--minutes M]`.

A daemon with configs/text.toml learns as fast as it can, on all cores, in turn with the page and its metrics watched
and without either; the figures are medians of the turns. Meanwhile the memory of the page's process is looked at: its
slope is that of a line through it at the end of each turn. And the seconds from `streamrnn run` until a
number on the page has moved in a real Chromium, with the kernels on disk.
"""

from benchmarks.shared import measure

# isort: split
import http.client
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated
from urllib.parse import urlsplit

import numpy as np
import psutil
import typer
from playwright.sync_api import expect, sync_playwright

import streamrnn as sr
from benchmarks.shared.daemon import TEXT, run_command, running, write_config
from benchmarks.shared.measure import Row, less, more
from benchmarks.shared.programs import program
from streamrnn.cli.page import Page

MUST, MUST_SECONDS = 0.97, 5.0  # of the frames a second without; from the command to a page that moves
MUST_SHARE = 3.0  # percent of a core, at most
MUST_MEMORY, MUST_SLOPE = 120.0, 0.5  # MB, and MB a minute, at most
TURN, SCRAPE = 10.0, 5.0  # seconds
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]


@contextmanager
def watched(page: Page) -> Iterator[None]:
    """Somebody looks at the page, at its only stream, and scrapes its metrics."""
    address = urlsplit(page.address)
    over = threading.Event()
    assert address.hostname
    headers = {"Authorization": f"Bearer {address.query.partition('=')[2]}"}

    def ask(path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        connection.request("GET", path, headers=headers)
        return connection.getresponse()

    def look() -> None:
        with ask("/events?stream=source") as events:
            while not over.is_set():
                events.readline()

    def scrape() -> None:
        while not over.wait(SCRAPE):
            ask("/metrics").read()

    threads = [threading.Thread(target=each) for each in (look, scrape)]
    for thread in threads:
        thread.start()
    yield
    over.set()
    for thread in threads:
        thread.join()


def costs(minutes: float) -> list[Row]:
    """Turns with and without, on one daemon."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    looks: list[tuple[float, int]] = []
    shares: list[float] = []
    page = Page(0)
    with running(TEXT.read_text()) as daemon:
        page.start(daemon.control, None, show=False)
        try:
            process = psutil.Process(page.pid)
            with watched(page):  # until it is warm
                time.sleep(TURN)
            for turn in range(max(round(60 * minutes / TURN), 2)):
                if turn % 2:
                    with watched(page):
                        before = sum(process.cpu_times()[:2])
                        rates[True].append(rate(daemon.client))
                        shares.append(100 * (sum(process.cpu_times()[:2]) - before) / TURN)
                    looks.append((time.monotonic(), process.memory_info().rss))
                else:
                    process.suspend()  # as if it were not there
                    rates[False].append(rate(daemon.client))
                    process.resume()
        finally:
            page.close()
    past, memory = np.array(looks, float).T
    slope = float(np.polyfit(past / 60, memory / 1e6, 1)[0]) if len(looks) > 1 else 0.0
    most = float(memory.max()) / 1e6
    return [
        more("page and metrics watched", None, median(rates[True]), "neither", median(rates[False]), "frames/s", MUST),
        less("of a core, its process", None, median(shares), "limit", MUST_SHARE, "%", 1),
        less("memory of the page's process", None, most, "limit", MUST_MEMORY, "MB", 1),
        less("its slope", None, max(slope, 1e-3), "limit", MUST_SLOPE, "MB/min", 1),
    ]


def rate(client: sr.Client) -> float:
    """Frames a second in a turn."""
    before, begun = client.status()["frames"], time.monotonic()
    time.sleep(TURN)
    frames: int = client.status()["frames"] - before
    return frames / (time.monotonic() - begun)


def seconds_to_move() -> float:
    """From the command to a number that has moved on the page."""
    path, environment = program("chromium", "chromium")
    with sync_playwright() as play, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        chromium = play.chromium.launch(executable_path=path, args=ARGUMENTS, env=environment)
        command = run_command(write_config(Path(folder), TEXT.read_text()), "--port", "0")
        begun = time.monotonic()
        daemon = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8")
        try:
            assert daemon.stdout
            tab = chromium.new_page()
            tab.goto(next(line.split()[1] for line in daemon.stdout if line.startswith("page")))
            frames = tab.locator("#figure-frames")
            frames.wait_for()
            expect(frames).not_to_have_text(frames.inner_text(), timeout=60_000)
            return time.monotonic() - begun
        finally:
            chromium.close()
            daemon.terminate()
            daemon.communicate()


def rows(quick: bool, minutes: float = 2.0) -> list[Row]:
    """All of it."""
    seconds_to_move()  # compiles what is not compiled yet
    took = median(seconds_to_move() for _ in range(1 if quick else 5))
    return [
        *costs(0.4 if quick else minutes),
        less("from the command to a page that moves", None, took, "limit", MUST_SECONDS, "s", 1),
    ]


def main(
    minutes: Annotated[float, typer.Option(help="How long the pipeline is looked at.")] = 2.0,
    quick: Annotated[bool, typer.Option("--quick", help="A short run, whose figures are rough.")] = False,
) -> None:
    """What the page costs."""
    measure.show("page", rows(quick, minutes))


if __name__ == "__main__":
    typer.run(main)
