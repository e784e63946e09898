"""Streams that had to make room: their states on the disk, and which of them were there at which place in the order.

A database (SQLite, WAL) in the state folder. A row says that a stream of a run was taken out with the journal's record
`evicted` and came back with the record `returned`. So the states that a checkpoint relies on are found by its place in
the journal, no checkpoint holds a list of them, and how many there are is bounded by the disk alone.
"""

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from streamrnn.storage.files import flush_folder
from streamrnn.storage.manifest import FORMAT
from streamrnn.workers.worker import Failure

WAIT = 5.0  # seconds for another process to let go of the file
TABLES = f"""
PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
PRAGMA cache_size = -256;
BEGIN;
CREATE TABLE IF NOT EXISTS states (id INTEGER PRIMARY KEY, data BLOB NOT NULL, sha256 BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS evictions (
    run TEXT NOT NULL, name TEXT NOT NULL, evicted INTEGER NOT NULL, returned INTEGER, state INTEGER NOT NULL,
    PRIMARY KEY (run, name, evicted)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_state ON evictions (state);
CREATE INDEX IF NOT EXISTS over ON evictions (run, returned) WHERE returned IS NOT NULL;
CREATE TRIGGER IF NOT EXISTS forgotten AFTER DELETE ON evictions BEGIN
    DELETE FROM states WHERE id = OLD.state AND NOT EXISTS (SELECT 1 FROM evictions WHERE state = OLD.state);
END;
PRAGMA user_version = {FORMAT};
COMMIT;
"""
THERE = "run = ? AND name = ? AND returned IS NULL"
RELIED_ON = """EXISTS (SELECT 1 FROM kept WHERE kept.run = evictions.run AND evicted <= place
AND (returned IS NULL OR place < returned))"""
PRUNE = f"""DELETE FROM evictions WHERE (run, name, evicted) IN (
SELECT run, name, evicted FROM evictions WHERE {{which}} AND NOT {RELIED_ON} LIMIT {{most}})"""
OTHER_RUNS = "run < ?", "run > ?"
PRUNED = 100  # rows at a time: some milliseconds


class StreamStore:
    """The evicted streams of a run that goes on from the journal's record `start`.

    What came behind that is forgotten, for it comes again. Raises Failure if the file is damaged. The disk may lack
    room for a change: OSError, and nothing has changed then.
    """

    def __init__(self, path: Path, run: str, start: int) -> None:
        self.path, self.run = path, run
        self.count = 0  # of streams on the disk
        if path.exists():
            self._go_back(start)

    def _go_back(self, start: int) -> None:
        try:
            with self._connection as change:
                change.execute("DELETE FROM evictions WHERE run = ? AND evicted > ?", (self.run, start))
                change.execute("UPDATE evictions SET returned = NULL WHERE run = ? AND returned > ?", (self.run, start))
            found = "SELECT count(*) FROM evictions WHERE run = ? AND returned IS NULL"
            self.count = self._connection.execute(found, (self.run,)).fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise Failure(f"{self.path}: damaged ({error}); move it away, and the streams in it begin anew") from error

    @cached_property
    def _connection(self) -> sqlite3.Connection:
        """Opened when there is something in it."""
        return connect(self.path)

    @cached_property
    def _log(self) -> int:
        """A descriptor of the file that has what was written last."""
        return os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)

    def has(self, name: str) -> bool:
        """Whether a stream is on the disk."""
        if not self.count:
            return False
        found = self._connection.execute(f"SELECT 1 FROM evictions WHERE {THERE}", (self.run, name))
        return found.fetchone() is not None

    def get(self, name: str) -> bytes | None:
        """The state of a stream; None if there is none, or it is damaged."""
        if not self.count:
            return None
        found = f"SELECT data, sha256 FROM evictions JOIN states ON id = state WHERE {THERE}"
        try:
            data, digest = self._connection.execute(found, (self.run, name)).fetchone() or (b"", b"")
        except sqlite3.DatabaseError:
            return None
        return data if sha256(data).digest() == digest else None

    def put(self, name: str, evicted: int, data: bytes) -> None:
        """Keep the state of a stream."""
        try:
            with self._connection as change:
                state = change.execute(
                    "INSERT INTO states VALUES (NULL, ?, ?)", (data, sha256(data).digest())
                ).lastrowid
                change.execute("INSERT INTO evictions VALUES (?, ?, ?, NULL, ?)", (self.run, name, evicted, state))
        except sqlite3.OperationalError as error:
            raise OSError(f"{self.path}: {error}") from error
        self.count += 1

    def end(self, name: str, returned: int) -> None:
        """A stream goes back, or is closed; its state stays for the checkpoints that rely on it."""
        try:
            with self._connection as change:
                done = change.execute(f"UPDATE evictions SET returned = ? WHERE {THERE}", (returned, self.run, name))
        except sqlite3.OperationalError as error:
            raise OSError(f"{self.path}: {error}") from error
        self.count -= done.rowcount

    def flush(self) -> None:
        """Bring all that was written to the disk, and return then."""
        if self.is_open:
            os.fdatasync(self._log)

    def prune(self, checkpoints: Iterable[tuple[str, int]], until: int) -> bool:
        """Remove some of what came back by that record, and of other runs, and none of these checkpoints relies on.

        checkpoints: the run and last record of each. Returns whether there may be more.
        """
        over = PRUNE.format(which="run = ? AND returned <= ?", most=PRUNED)
        try:
            with self._connection as change:
                change.execute("CREATE TEMP TABLE IF NOT EXISTS kept (run TEXT, place INTEGER)")
                change.execute("DELETE FROM kept")
                change.executemany("INSERT INTO kept VALUES (?, ?)", checkpoints)
                removed = [change.execute(over, (self.run, until)).rowcount]
                for which in OTHER_RUNS:
                    others = PRUNE.format(which=which, most=PRUNED)
                    removed.append(change.execute(others, (self.run,)).rowcount)
        except sqlite3.OperationalError as error:
            raise OSError(f"{self.path}: {error}") from error
        return PRUNED in removed

    @property
    def is_open(self) -> bool:
        """Whether there has been a stream to keep."""
        return "_connection" in vars(self)

    def close(self) -> None:
        if "_log" in vars(self):
            os.close(self._log)
        if self.is_open:
            self._connection.close()


def connect(path: Path) -> sqlite3.Connection:
    """The database at that path, made if there is none. Raises Failure if it is of another version."""
    connection = sqlite3.connect(path, timeout=WAIT)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, FORMAT):
        connection.close()
        raise Failure(f"{path}: written in format {version}, this version reads {FORMAT}")
    connection.executescript(TABLES)
    flush_folder(path.parent)
    return connection


def adopt(path: Path, run: str, place: int, new: str) -> None:
    """Let the run `new`, which goes on from a checkpoint of another, have the streams that were on the disk there."""
    if not path.exists():
        return
    with closing(connect(path)) as connection, connection as change:
        change.execute(
            "INSERT INTO evictions SELECT ?, name, evicted, NULL, state FROM evictions "
            "WHERE run = ? AND evicted <= ? AND ifnull(returned, ? + 1) > ?",
            (new, run, place, place, place),
        )
