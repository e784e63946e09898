"""The gate's journal, an SQLite database, beside LMDB: `python -m benchmarks.journal`.

A record is what the gate writes for a block of frames. It has to outlive the death of any process when it goes down the
pipeline, and a power cut when its sender is told; between the two many records may go to the disk together.

LMDB has no such middle way that is safe: with sync=False its pages reach the disk in any order, and a power cut may
leave a database that cannot be read; with metasync=False, or by default, each commit waits for the disk.
"""

from benchmarks import measure

# isort: split
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import lmdb

from benchmarks.measure import Row, faster, seconds_each
from streamrnn.workers.journal import Journal

SIZES = {"1 frame": 150, "64 frames": 5_000, "1,024 frames": 80_000}  # bytes of a record
NOTE = {"position": 1_000_000, "left": None, "news": []}
ROOM = 1 << 34  # bytes that LMDB may take
KEPT = 2_000  # records; those before are removed now and then, as after a checkpoint
PEERS: dict[str, dict[str, bool]] = {
    "LMDB": {},
    "LMDB, metasync=False": {"metasync": False},
    "LMDB, sync=False (not safe)": {"sync": False},
}
GROUP = 100  # records


class Store(Protocol):
    """What a journal does."""

    def append(self, data: bytes) -> None: ...
    def flush(self) -> None: ...


class Ours:
    """The gate's journal, without waiting for its thread."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal(folder / "journal", "run", 1)

    def append(self, data: bytes) -> None:
        if self.journal.append(data, NOTE) % KEPT == 0:
            self.journal.cut(self.journal.last - KEPT // 2)

    def flush(self) -> None:
        self.journal.flush()

    def close(self) -> None:
        self.journal.close()


class Lmdb:
    """The same records under rising keys."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.environment = lmdb.open(str(folder), map_size=ROOM, **options)
        self.last = 0

    def append(self, data: bytes) -> None:
        self.last += 1
        with self.environment.begin(write=True) as transaction:
            transaction.put(self.last.to_bytes(8), data, append=True)
        if self.last % KEPT == 0:
            self.cut(self.last - KEPT // 2)

    def cut(self, last: int) -> None:
        with self.environment.begin(write=True) as transaction:
            cursor = transaction.cursor()
            more = cursor.first()
            while more and int.from_bytes(cursor.key()) <= last:
                more = cursor.delete()

    def flush(self) -> None:
        self.environment.sync(True)

    def close(self) -> None:
        self.environment.close()


@contextmanager
def stores() -> Iterator[dict[str, Any]]:
    """Each in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    made: dict[str, Any] = {"ours": Ours(folder)}
    for name, options in PEERS.items():
        made[name] = Lmdb(folder / name, **options)
    yield made
    for store in made.values():
        store.close()
    shutil.rmtree(folder)


def appending(store: Store, data: bytes, each: int) -> Callable[[int], None]:
    """Append records, and bring every `each` of them to the disk; 0: never."""

    def run(count: int) -> None:
        for k in range(1, count + 1):
            store.append(data)
            if each and k % each == 0:
                store.flush()

    return run


def rows(quick: bool) -> list[Row]:
    """How long a record takes until it outlives a process, and until it outlives a power cut."""
    found = []
    for size, count in SIZES.items():
        for what, each in (("written", 0), ("on the disk, one by one", 1), (f"on the disk, {GROUP} together", GROUP)):
            with stores() as made:
                took = seconds_each({name: appending(store, bytes(count), each) for name, store in made.items()}, quick)
            for name in made:
                if name != "ours":
                    found.append(faster(f"a record of {size}, {what}", None, took["ours"], name, took[name]))
    return found


if __name__ == "__main__":
    measure.main("journal", "the gate's journal beside LMDB", rows)
