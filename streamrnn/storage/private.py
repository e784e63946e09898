"""Files and folders that are the user's alone."""

import os
import secrets
import stat
from pathlib import Path

from streamrnn.storage import files

LARGEST = 1 << 12  # bytes of a file


def make_folder(folder: Path) -> None:
    """Make a folder that only its user can enter. Raises PermissionError if there is one that others may write to."""
    files.make_folder(folder, 0o700)
    about = folder.stat()
    if about.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user: use a folder of your own")
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"others may write to {folder}: chmod 700 {folder}")


def read(path: Path) -> bytes:
    """What a file holds that nobody else can read, LARGEST bytes at most. Raises PermissionError if others can."""
    with open(path, "rb") as file:
        about = os.fstat(file.fileno())
        if about.st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user: make it yours, and chmod 600 {path}")
        if about.st_mode & 0o077:
            raise PermissionError(f"others may read {path}, which is a secret: chmod 600 {path}")
        return file.read(LARGEST)


def write_new(path: Path, data: bytes) -> None:
    """Write a file that only its user can read, all of it or none. Raises FileExistsError if there is one."""
    writing = path.with_name(f".{path.name}.{secrets.token_hex(4)}{files.WRITING}")
    try:
        with open(os.open(writing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(writing, path)  # a rename would replace the one that is there
    finally:
        writing.unlink(missing_ok=True)
    files.flush_folder(path.parent)
