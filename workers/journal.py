"""The gate's durable log: every message that it sends down the pipeline, in order, written before it goes.

After a failure the messages behind the last checkpoint go down again, and everything comes out as before.

It is an SQLite database in WAL mode with synchronous=NORMAL: a commit is one append to the WAL that outlives any death
of a process and costs 10 to 40 µs, and a power cut takes whole commits from the end, never from the middle. LMDB has
no such commit: its safe ones wait for the disk, each for 140 to 240 µs (`benchmarks/journal.py`). A thread
flushes the WAL to the disk behind the commits (a group commit), as often as the disk allows while somebody waits for it
and ten times a second otherwise; `durable` tells how far.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from streamrnn.checkpoint import flush_folder
from streamrnn.workers.member import Failure

WAIT = 5.0  # seconds for another process to let go of the file
LAZY = 0.1  # seconds until what was written goes to the disk when nobody waits for it


class JournalFull(OSError):
    """There is no room for another record on the disk."""


class Journal:
    """Records numbered from 1: the bytes of a message, empty if none goes down, and a note for the gate.

    run: the name of the run whose records they are; those of another run are removed. first: the number that the first
    record gets at least.
    """

    def __init__(self, path: Path, run: str, first: int) -> None:
        self.path = path
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=WAIT)
        self._connection.executescript(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
            "PRAGMA cache_size = -256;"  # KiB: records are appended and removed in order
            "CREATE TABLE IF NOT EXISTS run (name TEXT, cut INTEGER);"
            "CREATE TABLE IF NOT EXISTS records (number INTEGER PRIMARY KEY, data BLOB NOT NULL, note BLOB NOT NULL);"
        )
        found = self._connection.execute("SELECT name, cut FROM run").fetchone()
        if not found or found[0] != run:
            self._connection.executescript("BEGIN; DELETE FROM records; DELETE FROM run; COMMIT;")
            self._connection.execute("INSERT INTO run VALUES (?, ?)", (run, first - 1))
        self.begins: int = found[1] + 1 if found and found[0] == run else first  # records before that one are gone
        self.last: int = self._connection.execute("SELECT max(number) FROM records").fetchone()[0] or 0
        if self.last < first - 1:  # the end is missing: what is there must not be taken for what comes before the next
            self.cut(first - 1)
            self.last = first - 1
        flush_folder(path.parent)
        self._page: int = self._connection.execute("PRAGMA page_size").fetchone()[0]
        self.durable = 0
        self.woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # readable when `durable` has changed
        self._descriptor = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        self._written, self._hurried = threading.Event(), threading.Event()
        self._closing = False
        self._flusher = threading.Thread(target=self._flush, name="journal", daemon=True)
        self._flusher.start()
        self._written.set()

    def append(self, data: bytes, note: Any = None) -> int:
        """Write a record, safe from the death of any process; its number. Raises JournalFull, and nothing changed."""
        encoded = b"" if note is None else msgspec.json.encode(note)
        try:
            self._connection.execute("INSERT INTO records VALUES (?, ?, ?)", (self.last + 1, data, encoded))
        except sqlite3.OperationalError as error:
            raise JournalFull(f"{self.path}: {error}") from error
        self.last += 1
        self._written.set()
        return self.last

    def size(self) -> int:
        """Bytes that the records take, about."""
        pages, free = (self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in PAGES)
        return self._page * int(pages - free)

    def after(self, number: int) -> Iterator[tuple[int, bytes, Any]]:
        """The records behind that one, as numbers, messages and notes."""
        found = self._connection.execute("SELECT * FROM records WHERE number > ? ORDER BY number", (number,))
        for number, data, note in found:
            yield number, data, msgspec.json.decode(note) if note else None

    def cut(self, number: int) -> None:
        """Remove the records up to that one. Raises JournalFull where the disk has no room even for that."""
        if number < self.begins:
            return
        try:
            self._connection.execute("BEGIN")
            self._connection.execute("DELETE FROM records WHERE number <= ?", (number,))
            self._connection.execute("UPDATE run SET cut = ?", (number,))
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise JournalFull(f"{self.path}: {error}") from error
        self.begins = number + 1

    def flush(self) -> None:
        """Bring all that was written to the disk, and return then."""
        os.fdatasync(self._descriptor)

    def _flush(self) -> None:
        while not self._closing:
            self._written.wait()
            self._hurried.wait(LAZY)
            self._written.clear()
            self._hurried.clear()
            written = self.last
            self.flush()
            self.durable = written
            os.eventfd_write(self.woken, 1)

    def hurry(self) -> None:
        """Somebody waits for what has been written, or will be in a moment, to be durable."""
        self._hurried.set()

    def heard(self) -> None:
        """Note that `woken` has been seen."""
        try:
            os.eventfd_read(self.woken)
        except BlockingIOError:
            return

    def close(self) -> None:
        self._closing = True
        self._written.set()
        self._hurried.set()
        self._flusher.join()
        self._connection.close()
        os.close(self._descriptor)
        os.close(self.woken)


PAGES = "page_count", "freelist_count"


class NoJournal:
    """What keeps nothing: whatever was let in behind the last checkpoint is lost with the workers.

    Raises Failure if there is a journal of that run whose records no checkpoint holds; another one is removed, or it
    would be taken for what came since, should the run go on with it.
    """

    def __init__(self, path: Path, run: str, first: int) -> None:
        if path.exists():
            kept = Journal(path, run, first)
            kept.close()
            if kept.last >= first:
                raise Failure(f"{path} has frames that no checkpoint holds: first go on with journal.enabled = true")
            path.unlink()
        self.path, self.begins, self.last = path, first, first - 1
        self.woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # never readable

    @property
    def durable(self) -> int:
        return self.last

    def append(self, data: bytes, note: Any = None) -> int:
        self.last += 1
        return self.last

    def size(self) -> int:
        return 0

    def after(self, number: int) -> Iterator[tuple[int, bytes, Any]]:
        return iter(())

    def cut(self, number: int) -> None:
        self.begins = max(self.begins, number + 1)

    def flush(self) -> None:
        pass

    hurry = heard = flush

    def close(self) -> None:
        os.close(self.woken)
