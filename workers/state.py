"""The state folder: who holds it, whose run it is of, and its checkpoints by number and by name."""

import fcntl
import os
import re
import secrets
from pathlib import Path
from typing import Any

import msgspec

from streamrnn import checkpoint
from streamrnn.checkpoint import MANIFEST, OLD, WRITING, CheckpointError, Manifest
from streamrnn.workers.member import Failure

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}", re.ASCII)


def lock(folder: Path) -> int:
    """A descriptor that holds the state folder until it is closed or the process dies. Raises Failure."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Failure(f"{folder} is in use: another daemon runs with it") from None
    return descriptor


def run_of(folder: Path, resume: bool) -> tuple[str, int]:
    """The name of the run and its epoch so far: of the one that is resumed, or of a new one. Raises Failure."""
    path = folder / "run"
    if not resume or not path.exists():
        return secrets.token_hex(8), 0
    try:
        name, epoch = path.read_text().split()
        return name, int(epoch)
    except ValueError:
        raise Failure(f"{path}: damaged, it does not hold a run's name and epoch; start without --resume") from None


def note_run(folder: Path, name: str, epoch: int) -> None:
    """Keep the name and the epoch, which never comes again in a run, on the disk."""
    writing = folder / f"run{WRITING}"
    checkpoint.write_file(writing, f"{name} {epoch}".encode())
    os.replace(writing, folder / "run")
    checkpoint.flush_folder(folder)


def check_network(folder: Path, manifest: Manifest, spec: dict[str, Any]) -> None:
    """Raises Failure if a checkpoint is of another network than a config's; the learning rate may be another."""
    rate = {"learning_rate": None}
    one, other = ({**each, "optimizer": {**each.get("optimizer", {}), **rate}} for each in (manifest.spec, spec))
    if changed := [key for key in other if other[key] != one.get(key)]:
        raise Failure(f"{folder} is of another network: the config differs in {', '.join(changed)}")


def find(checkpoints: Path, which: str) -> Path:
    """The folder of the checkpoint with that number or name. Raises CheckpointError if there is none."""
    name = checkpoint.number_name(int(which)) if which.isdecimal() else which
    known = sorted(path.parent.name for path in checkpoints.glob(f"*/{MANIFEST}"))
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "there is none"
        raise CheckpointError(f"{checkpoints}: there is no checkpoint {which!r}; {there}")
    return checkpoints / name


def keep(folder: Path, name: str) -> Path:
    """Keep a checkpoint for ever, as a copy beside it with that name. Raises CheckpointError, and nothing is done."""
    if not NAME.fullmatch(name) or name.isdecimal() or name.endswith((WRITING, OLD)):
        raise CheckpointError(
            f'{name!r} cannot be a name: letters, digits, "-", "_" and ".", 100 at most, not digits alone, '
            f"no dot in front, and no {WRITING} or {OLD} at the end"
        )
    kept = folder.with_name(name)
    if kept.exists():
        raise CheckpointError(f"{kept}: is there already; give another name, or remove that folder")
    manifest, written = checkpoint.read_manifest(folder), (folder / MANIFEST).stat().st_mtime
    checkpoint.copy(folder, kept, manifest)
    os.utime(kept / MANIFEST, (written, written))  # it is as old as it was
    return kept


def rollback(folder: Path, to: Path) -> Path:
    """Forget everything after a checkpoint: what comes next in this state folder goes on from there, as a new run.

    The caller holds the folder's lock. Returns the newest checkpoint, a copy of that one. Raises CheckpointError if it
    is damaged, and nothing is done then. What makes it happen is the change of the run's name; if the power goes
    before, all is as it was.
    """
    _, epoch = run_of(folder, resume=True)
    manifest = checkpoint.read_manifest(to)
    # never 0, with which a new run begins: should the copy be lost, it is missed and nothing begins anew
    manifest = msgspec.structs.replace(manifest, run=secrets.token_hex(8), journal=max(1, manifest.journal))
    newest = checkpoint.next_folder(folder / "checkpoints")
    checkpoint.copy(to, newest, manifest)
    note_run(folder, manifest.run, epoch)
    for name in ("journal-wal", "journal"):  # of the run before; the next daemon would empty it
        (folder / name).unlink(missing_ok=True)
    return newest
