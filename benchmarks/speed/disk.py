"""What the daemon writes to the disk: `python -m benchmarks.speed.disk`.

configs/text.toml and clients, real daemons: bytes that the gate's process writes while frames come, as Linux counts
them in /proc/PID/io, for each byte that came in; beside it what may be. Checkpoints are not in these: what one writes,
all processes together, is measured by itself, and what that is in a day at the defaults.
"""

from benchmarks.shared import measure

# isort: split
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from pydoc_data.topics import topics
from typing import NamedTuple

import numpy as np

from benchmarks.shared.daemon import TEXT, running
from benchmarks.shared.measure import Row, less
from streamrnn import Client
from streamrnn.storage.checkpoint import numbers

BYTES, BYTES_QUICK = 300_000, 60_000
CHANNELS = 8
LONG_TEXT = "\n\n".join(topics.values()).encode()
NO_CHECKPOINT = "checkpoint_seconds = 0\nrecovery_seconds = 0\n"
DAY = 86_400 / 60  # checkpoints, at the default of one a minute


def written(process: int) -> int:
    """Bytes that a process has caused to be written to a disk."""
    lines = Path(f"/proc/{process}/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes:")).split()[1])


class Pids(NamedTuple):
    gate: int
    all: list[int]


def processes(client: Client) -> Pids:
    pids = {worker["name"]: worker["pid"] for worker in client.status()["workers"]}
    return Pids(pids["gate"], list(pids.values()))


def rows(quick: bool) -> list[Row]:
    """The journal, the state folder, checkpoints."""
    count = BYTES_QUICK if quick else BYTES
    text = TEXT.read_text()
    clients, _, _ = text.partition("[source]")
    vectors = sensors_config()
    found = [
        per_byte("a text file at full speed", source(text, count), 0.1),
        per_byte("text from a pipe", piped(text, count), 3.0),
        per_byte("text from a client, byte after byte", sent(clients, count, token), 3.0),
        per_byte(f"vectors of {CHANNELS} from a client", sent(vectors, count // 10, vector) / (4 * CHANNELS), 1.3),
    ]
    return [*found, *checkpoint(text)]


def per_byte(what: str, value: float, most: float) -> Row:
    """A row: bytes written for a byte that came."""
    return less(f"journal: {what}", None, value, "at most", most, "bytes/byte", 1.0)


def sensors_config() -> str:
    """Clients send vectors of numbers without any pattern, and the daemon predicts the next."""
    return f"""
name = "vectors"
predict = "next"
[input]
kind = "vector"
size = {CHANNELS}
[[layers]]
cell = "lstm"
units = 32
[readout]
kind = "linear"
size = {CHANNELS}
[optimizer]
kind = "adam"
learning_rate = 1e-5
[learning]
clip_norm = 1.0
"""


def token(place: int) -> int:
    """One byte after the other of a text."""
    return LONG_TEXT[place % len(LONG_TEXT)]


def vector(place: int) -> np.ndarray:
    """Numbers in which every bit is random, but for one that would make some of them infinite."""
    bits = np.frombuffer(random.Random(place).randbytes(4 * CHANNELS), np.uint32) & np.uint32(0xBFFFFFFF)
    return bits.view(np.float32)


def source(config: str, count: int) -> float:
    """Of a text that the daemon reads itself."""
    with running(config, state=NO_CHECKPOINT) as (client, *_):
        gate = processes(client).gate
        before, frames = written(gate), client.status()["frames"]
        while client.status()["frames"] < frames + count:
            time.sleep(0.05)
        return (written(gate) - before) / (client.status()["frames"] - frames)


def piped(config: str, count: int) -> float:
    """Of a text through a named pipe."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"bench-disk-{os.getpid()}.fifo"
    os.mkfifo(path)
    keep = os.open(path, os.O_RDWR)  # so that the daemon never meets its end
    head, _, _ = config.partition("[source]")
    try:
        with running(f'{head}[source]\nkind = "text"\npath = "{path}"\n', state=NO_CHECKPOINT) as (client, *_):
            gate = processes(client).gate
            before, text, sent = written(gate), LONG_TEXT * (count // len(LONG_TEXT) + 1), 0
            while sent < count:
                sent += os.write(keep, text[sent : sent + 4096])
            while client.status()["frames"] < count:
                time.sleep(0.05)
            return (written(gate) - before) / sent
    finally:
        os.close(keep)
        path.unlink()


def sent(config: str, count: int, frame: Callable[[int], int | np.ndarray]) -> float:
    """Of what a client sends, for each frame."""
    with running(config, state=NO_CHECKPOINT) as (client, *_):
        gate = processes(client).gate
        before = written(gate)
        for place in range(count):
            client.send(frame(place))
        client.flush()
        return (written(gate) - before) / count


def checkpoint(config: str) -> list[Row]:
    """What a checkpoint of configs/text.toml writes, and the state folder after some."""
    with running(config, state="checkpoint_seconds = 2\n") as (client, *_):
        pids = processes(client).all
        folder = Path(client._control_endpoint.removeprefix("ipc://")).parent / "state"
        wait_for_checkpoints(folder, 5)  # none is removed before
        before, begun = sum(map(written, pids)), newest(folder)
        wait_for_checkpoints(folder, begun + 3)
        each = (sum(map(written, pids)) - before) / (newest(folder) - begun) / 2**20
        size = bytes_below(folder) / 2**20
    return [
        less("state folder, in a steady state", None, size, "at most", 64.0, "MiB", 1.0),
        less("a checkpoint, all processes", None, each, "-", each, "MiB", None),
        less("checkpoints of a day at one a minute", None, each * DAY / 1024, "-", each * DAY / 1024, "GiB", None),
    ]


def bytes_below(folder: Path) -> int:
    """Of the files in a folder and those in it; the daemon may remove some meanwhile."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.stat(os.path.join(parent, name)).st_size
    return size


def newest(folder: Path) -> int:
    """The number of the newest checkpoint."""
    return max(numbers(folder / "checkpoints"), default=0)


def wait_for_checkpoints(folder: Path, number: int) -> None:
    """Until there is one of that number."""
    while newest(folder) < number:
        time.sleep(0.02)


if __name__ == "__main__":
    measure.main("disk", "what is written to the disk", rows)
