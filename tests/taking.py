"""What the gate does with a source, for tests: read, write down with the position, then say that it is durable.

As a program, `taking.py TABLE JOURNAL`: takes from the source whose table is in a file of JSON, and appends what it
took to the journal, until it is killed; it goes on behind the last whole line.
"""

import json
import math
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from daemon import wait_for

from streamrnn.sources import Source, SourceTable, table_of

ROOT = Path(__file__).parent.parent
TIMEOUT = 60.0  # seconds


def frames(source: Source, count: int, limit: int = 64, durable: bool = False) -> list[tuple]:
    """That many frames, each as its values, its time and its key; what is read may be said to be durable at once."""
    taken = []
    until = time.monotonic() + TIMEOUT
    while len(taken) < count:
        assert time.monotonic() < until, f"{len(taken)} of {count} frames, {source.trouble}"
        taken += read(source, min(limit, count - len(taken)))
        if durable:
            source.durable(source.position)
    return taken


def read(source: Source, limit: int = 64, patience: float = 1.0) -> list[tuple]:
    """What there is, perhaps after a while, at most `limit` frames."""
    if source.delay() == math.inf:
        poll = select.poll()
        poll.register(source.fileno(), select.POLLIN)
        poll.poll(1000 * patience)
    some = source.read(limit)
    assert len(some) <= limit
    times = [None] * len(some) if some.times is None else some.times.tolist()
    keys = [None] * len(some) if some.keys is None else some.keys
    return list(zip(map(tuple, some.values.tolist()), times, keys, strict=True))


def values(taken: list[tuple]) -> list:
    """The first value of each frame."""
    return [frame[0][0] for frame in taken]


def whole_lines(journal: Path) -> list[dict]:
    """What was written down; a line that was being written is not."""
    *lines, _ = journal.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines]


def killed_now_and_then(table: SourceTable, folder: Path, count: int, deaths: int = 5) -> list[dict]:
    """The journal of this program after so many deaths, the last one when it has taken so many frames."""
    described, journal = folder / "table", folder / "journal"
    described.write_text(json.dumps(msgspec.to_builtins(table)))
    journal.touch()
    for death in range(1, deaths + 1):
        process = subprocess.Popen([sys.executable, __file__, str(described), str(journal)], cwd=ROOT)
        try:
            wait_for(lambda: taken(journal) >= count * death // deaths)  # noqa: B023
        finally:
            process.kill()
            process.wait()
    return whole_lines(journal)


def taken(journal: Path) -> int:
    """How many frames were written down."""
    return sum(len(line["values"]) for line in whole_lines(journal))


def main(table: str, journal: str) -> None:
    source = table_of(json.loads(Path(table).read_text())).open()
    with open(journal, "ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        if lines := whole_lines(Path(journal)):
            source.go_to(lines[-1]["position"])
        while True:
            if taken := read(source, 16):
                line = {"values": values(taken), "position": source.position}
                file.write(json.dumps(line).encode() + b"\n")
                file.flush()
                os.fdatasync(file.fileno())
                source.durable(line["position"])


if __name__ == "__main__":
    main(*sys.argv[1:])
