"""A disk whose power can go: file calls under a folder are recorded, and what may be left of them is laid out anew.

What was flushed is there: a file's data by fsync of the file, the names in a folder by fsync of the folder. Of all else
any part may be: each name that was made, moved or removed on its own, and each sector of a file's data, the rest
missing, zeros or as it was when it was flushed.
"""

import builtins
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

OPEN = os.open  # as it is before it is recorded


def read(path: Path) -> bytes:
    descriptor = OPEN(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 1 << 24)
    finally:
        os.close(descriptor)


class File:
    def __init__(self) -> None:
        self.data = self.safe = b""


class Folder:
    def __init__(self) -> None:
        self.names: dict[str, File | Folder] = {}
        self.safe: dict[str, File | Folder] = {}
        self.pending: list[dict[str, File | Folder | None]] = []  # changes since the last fsync

    def change(self, changes: dict[str, "File | Folder | None"]) -> None:
        self.pending.append(changes)
        self.names = changed(self.names, changes)


def changed(names: dict, changes: dict) -> dict:
    return {name: node for name, node in {**names, **changes}.items() if node is not None}


class Recorder:
    """The file calls of this process under `root`, which is empty at first, in `log`; and marks."""

    def __init__(self, root: Path, monkeypatch: Any) -> None:
        self.root, self.log = root, []
        self.open: dict[Path, bytes] = {}  # files that were written, and what they held when last looked at
        for module, name in ((builtins, "open"), (io, "open"), (os, "open")):
            monkeypatch.setattr(module, name, self._opening(getattr(module, name)))
        for name in ("mkdir", "unlink", "rmdir", "rename", "fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._noting({"fdatasync": "fsync"}.get(name, name), getattr(os, name)))
        monkeypatch.setattr(os, "remove", os.unlink)
        monkeypatch.setattr(os, "replace", os.rename)

    def mark(self, *what: Any) -> None:
        self._look()
        self.log.append(("mark", *what))

    def _look(self) -> None:
        """See what has been written."""
        for path, before in self.open.items():
            if path.is_file() and (data := read(path)) != before:
                self.open[path] = data
                self.log.append(("write", path.relative_to(self.root), data))

    def _note(self, call: str, *paths: Path) -> None:
        if all(path.is_relative_to(self.root) for path in paths):
            self.log.append((call, *(path.relative_to(self.root) for path in paths)))

    def _noting(self, call: str, function: Callable) -> Callable:
        def noting(*what: Any, dir_fd: int | None = None, **options: Any) -> Any:
            found = [path_of(each, dir_fd) for each in what[: 2 if call == "rename" else 1]]
            self._look()
            done = function(*what, **options) if dir_fd is None else function(*what, dir_fd=dir_fd, **options)
            self._note(call, *found)
            return done

        return noting

    def _opening(self, function: Callable) -> Callable:
        def opening(file: Any, mode: Any = "r", *rest: Any, **options: Any) -> Any:
            self._look()
            adds = mode & os.O_APPEND if isinstance(mode, int) else "a" in mode
            kept = adds and not isinstance(file, int) and path_of(file).exists()
            opened = function(file, mode, *rest, **options)
            writes = mode & (os.O_WRONLY | os.O_RDWR) if isinstance(mode, int) else set(mode) & set("wax+")
            if writes and not isinstance(file, int) and (path := path_of(file)).is_relative_to(self.root):
                if not kept:
                    self._note("create", path)
                self.open[path] = read(path) if kept else b""
            return opened

        return opening


def path_of(file: Any, dir_fd: int | None = None) -> Path:
    if isinstance(file, int):
        return Path(os.readlink(f"/proc/self/fd/{file}"))
    return Path(os.path.abspath(Path(os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd is not None else "", file)))


def replay(log: list[tuple]) -> Folder:
    """The disk after these calls."""
    disk = Folder()
    for call, *what in log:
        if call == "mark":
            continue
        parent: Any = disk
        for part in what[0].parts[:-1]:
            parent = parent.names[part]
        name = what[0].name
        node = parent.names.get(name) if name else disk
        if call == "mkdir":
            parent.change({name: Folder()})
        elif call == "create" and node is None:
            parent.change({name: File()})
        elif call == "create":
            node.data = b""
        elif call == "write":
            node.data = what[1]
        elif call == "rename":
            assert what[0].parent == what[1].parent
            parent.change({name: None, what[1].name: node})
        elif call in ("unlink", "rmdir"):
            parent.change({name: None})
        elif isinstance(node, Folder):
            node.safe, node.pending = node.names, []
        else:
            node.safe = node.data
    return disk


def lay_out(node: File | Folder, path: Path, fate: Callable[[], float]) -> None:
    """Write what is left when the power goes; `fate` gives numbers from 0, all is lost, to below 1, nothing is."""
    if isinstance(node, Folder):
        names = node.safe
        for changes in node.pending:
            names = changed(names, changes) if fate() >= 0.5 else names
        path.mkdir()
        for name, child in names.items():
            lay_out(child, path / name, fate)
    elif node.data == node.safe:
        path.write_bytes(node.data)
    else:
        path.write_bytes(sectors(node.safe, node.data, fate))


def sectors(safe: bytes, new: bytes, fate: Callable[[], float]) -> bytes:
    """What was written last up to some place, and from there each sector of that or as it was; of any length."""
    length, place = len(safe) + round(fate() * (len(new) - len(safe))), fate() * len(new)
    left = bytearray(safe[:length].ljust(length, b"\0"))
    for k in range(0, length, 512):
        if k < place or fate() >= 0.5:
            left[k : k + 512] = new[k : min(k + 512, length)]
    return bytes(left)


def contents(folder: Path) -> dict[str, Any]:
    """Names and data under a folder, as they are; without sockets."""
    paths = [path for path in folder.iterdir() if not path.is_socket()]
    return {path.name: contents(path) if path.is_dir() else path.read_bytes() for path in paths}


def contents_of(node: File | Folder) -> Any:
    """The same of a disk."""
    return node.data if isinstance(node, File) else {name: contents_of(child) for name, child in node.names.items()}


class Flushed:
    """The two files of an SQLite database in WAL mode: what is on the disk for sure, and what may be there.

    SQLite flushes the WAL before it writes to the database, that before it begins the WAL anew, and the new header.
    """

    def __init__(self, path):
        self.path = path
        self.database, self.wal = self.files()
        self.before, self.safe = self.database, self.wal

    def files(self):
        return self.path.read_bytes(), Path(f"{self.path}-wal").read_bytes()

    def look(self, flushed):
        """After each change."""
        database, wal = self.files()
        if wal[:32] != self.wal[:32]:
            self.safe = wal[:32] + self.wal[32:]
        if flushed or database != self.database:
            self.safe = wal
        self.before, self.database, self.wal = self.database, database, wal

    def lay_out(self, path, fate):
        """What is left when the power goes, perhaps in the middle of the last call."""
        path.write_bytes(sectors(self.before, self.database, fate))
        Path(f"{path}-wal").write_bytes(sectors(self.safe, self.wal, fate))
