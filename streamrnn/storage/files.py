"""Files and folders that are there whole or not at all, whenever the power goes."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import msgspec

NOT_JSON = msgspec.MsgspecError, UnicodeDecodeError, RecursionError  # what `msgspec.json.decode` raises
WRITING, OLD = ".writing", ".old"  # behind the name of what is not complete yet, or being replaced


def write_bytes(path: Path, data: bytes) -> str:
    """Write a file and flush it to the disk; returns its sha256."""
    write_file(path, data)
    return sha256(data).hexdigest()


def write_file(path: Path, data: bytes) -> None:
    """Write a file and flush it to the disk; its name is not, see `flush_folder`."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder, and those above it that are missing, and flush their names to the disk."""
    if not folder.is_dir():
        make_folder(folder.parent, mode)
        folder.mkdir(mode, exist_ok=True)
        flush_folder(folder.parent)


def flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_name(folder: Path) -> Path:
    """Where a checkpoint is written until it is complete."""
    return folder.with_name(folder.name + WRITING)


def old_name(folder: Path) -> Path:
    """Where a checkpoint is while another one takes its place."""
    return folder.with_name(folder.name + OLD)


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """An empty folder beside the one that it is to become; where that fails, nothing is left of it."""
    temporary = temporary_folder(folder)
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def temporary_folder(folder: Path) -> Path:
    """An empty folder beside the one that it will become."""
    temporary = temporary_name(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(temporary)
    return temporary
