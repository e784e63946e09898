"""The gate's journal beside a database that commits as it does: `python -m benchmarks.speed.journal`.

A record has to outlive the death of any process when what it tells of goes down the pipeline: SQLite in WAL mode with
synchronous=NORMAL does that too. Microseconds for a record, and bytes written to the file for one of the record.
"""

from benchmarks.shared import measure

# isort: split
import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics
from typing import Protocol

from benchmarks.shared.measure import Row, faster, less, seconds_each
from benchmarks.speed.disk import written
from streamrnn.workers.admission.journal import Journal

TEXT = "".join(topics.values()).encode()
SIZES = {"1 frame": 60, "128 frames": 200, "1 MiB": 1 << 20}  # bytes of a record
COUNT = 200  # records, each flushed, whose bytes are counted


class Store(Protocol):
    """What a journal does."""

    def append(self, record: bytes) -> object: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class Sqlite:
    """The same records in a table."""

    def __init__(self, folder: Path) -> None:
        self.connection = sqlite3.connect(folder / "journal.db", isolation_level=None)
        self.connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
            "CREATE TABLE records (number INTEGER PRIMARY KEY, data BLOB NOT NULL);"
        )
        self.file = os.open(folder / "journal.db-wal", os.O_RDONLY)

    def append(self, record: bytes) -> None:
        self.connection.execute("INSERT INTO records (data) VALUES (?)", (record,))

    def flush(self) -> None:
        os.fdatasync(self.file)

    def close(self) -> None:
        self.connection.close()
        os.close(self.file)


def stores(folder: str) -> dict[str, Store]:
    """Both, in a folder."""
    return {"ours": Journal(Path(folder) / "journal", "run", 1), "SQLite, WAL": Sqlite(Path(folder))}


def appending(store: Store, size: int) -> Callable[[int], None]:
    """Append records of a text."""

    def run(count: int) -> None:
        for k in range(count):
            store.append(TEXT[: size - 8].ljust(size - 8) + k.to_bytes(8, "little"))

    return run


def bytes_each(store: Store, size: int) -> float:
    """Bytes written for a byte of records that go to the disk one by one."""
    append, before = appending(store, size), written(os.getpid())
    for _ in range(COUNT):
        append(1)
        store.flush()
    return (written(os.getpid()) - before) / (COUNT * size)


def rows(quick: bool) -> list[Row]:
    """How long a record takes, and what it writes."""
    found = []
    for name, size in SIZES.items():
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            made = stores(folder)
            took = seconds_each({name: appending(store, size) for name, store in made.items()}, quick)
            wrote = {name: bytes_each(store, size) for name, store in made.items()} if size < 1000 else {}
            for store in made.values():
                store.close()
        for peer in list(made)[1:]:
            found.append(faster(f"a record of {name}", None, took["ours"], peer, took[peer]))
            if wrote:
                what = f"written for it, flushed: {name}"
                found.append(less(what, None, wrote["ours"], peer, wrote[peer], "bytes/byte", None))
    return found


if __name__ == "__main__":
    measure.main("journal", "the gate's journal beside SQLite", rows)
