"""The state folder: who holds it, its runs, and their checkpoints by number and by name.

A run is what a network lives through, over any number of starts. The file `run` names the present one. The others stay
as they were left: a checkpoint says whose it is, and each run has a journal of its own. So another run becomes the
present one by a change of that file alone, and if the power goes, that has happened or not.
"""

import fcntl
import os
import re
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from streamrnn.model.entrance import ADDED
from streamrnn.storage import checkpoint, files
from streamrnn.storage.files import OLD, WRITING
from streamrnn.storage.manifest import MANIFEST, CheckpointError, Manifest, read_manifest
from streamrnn.workers.admission import stream_store as evicted
from streamrnn.workers.worker import Failure

JOURNALS = "journals"  # the folder of them
KEYS = {"layers": "layers", "readout": "readout", "optimizer": "optimizer", "predict": "predict"}  # in a config
KEYS |= {name: f"input.{name}" for name in ("standardize", "missing", "mask")}
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


def run_of(folder: Path, new: bool = False) -> tuple[str, int]:
    """The name of the present run, or of a new one, and the epoch so far. Raises Failure."""
    path = folder / "run"
    if not path.exists():
        return new_name(), 0
    try:
        name, epoch = path.read_text().split()
        return new_name() if new else name, int(epoch)
    except ValueError:
        if new:
            return new_name(), 0
        raise Failure(
            f"{path}: damaged, it does not hold a run's name and epoch; begin anew with --new, which keeps the "
            "checkpoints, and go back to one (streamrnn checkpoints rollback)"
        ) from None


def new_name() -> str:
    return secrets.token_hex(8)


def note_run(folder: Path, name: str, epoch: int) -> None:
    """Keep the name of the present run and the epoch, which never comes again in a state folder, on the disk."""
    writing = folder / f"run{WRITING}"
    files.write_file(writing, f"{name} {epoch}".encode())
    os.replace(writing, folder / "run")
    files.flush_folder(folder)


def journal_of(folder: Path, run: str) -> Path:
    """Where the journal of a run lies, whatever it consists of."""
    return folder / JOURNALS / run


def take_over_journal(folder: Path) -> None:
    """What versions before have written as the present run's journal is put where it is looked for."""
    if not (folder / "journal").exists() or not (folder / "run").exists():
        return
    with suppress(Failure):
        run, _ = run_of(folder)
        for end in ("-wal", ""):  # in this order: with the last of them it is done
            if (folder / f"journal{end}").exists():
                os.rename(folder / f"journal{end}", folder / JOURNALS / f"{run}{end}")
        files.flush_folder(folder / JOURNALS)
        files.flush_folder(folder)


def differences(manifest: Manifest, spec: dict[str, Any]) -> list[str]:
    """The keys of a config in which its network is not that of a checkpoint, but for what may be another."""
    one, other = lasting(manifest.spec), lasting(spec)
    return [KEYS.get(key, f"learning.{key}") for key in other if other[key] != one.get(key)]


def lasting(spec: dict[str, Any]) -> dict[str, Any]:
    """What a network keeps for as long as it lives: not the learning rate, and not how many alarms there shall be."""
    optimizer, readout = {**spec.get("optimizer", {}), "learning_rate": None}, spec["readout"]
    if anomaly := readout.get("anomaly"):
        readout = readout | {"anomaly": anomaly | {"alarms_per_day": None, "threshold": None}}
    return ADDED | spec | {"optimizer": optimizer, "readout": readout}


def check_network(folder: Path, manifest: Manifest, spec: dict[str, Any]) -> None:
    """Raises Failure if a checkpoint is of another network than a config's."""
    if keys := differences(manifest, spec):
        raise Failure(
            f"{folder} is of another network: the config differs in {', '.join(keys)}; set them back to what they "
            "were, or begin anew with streamrnn run --new, which keeps what is there"
        )


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
    manifest, written = read_manifest(folder), (folder / MANIFEST).stat().st_mtime
    checkpoint.copy(folder, kept, manifest)
    os.utime(kept / MANIFEST, (written, written))  # it is as old as it was
    return kept


def rollback(folder: Path, to: Path) -> Path:
    """Go back to a checkpoint: what comes next in this state folder goes on from there, as a new run.

    The caller holds the folder's lock. Returns the newest checkpoint, a copy of that one. Raises CheckpointError if it
    is damaged, and nothing is done then. What makes it happen is the change of the run's name; if the power goes
    before, all is as it was.
    """
    _, epoch = run_of(folder)
    before = read_manifest(to)
    # never 0, with which a new run begins: should the copy be lost, it is missed and nothing begins anew
    manifest = msgspec.structs.replace(before, run=new_name(), journal=max(1, before.journal))
    newest = checkpoint.next_folder(folder / "checkpoints")
    checkpoint.copy(to, newest, manifest)
    evicted.adopt(folder / "streams", before.run, before.journal, manifest.run)
    note_run(folder, manifest.run, epoch)
    return newest


def adopt(folder: Path) -> None:
    """In a state folder without a run, go on from the newest checkpoint that was put there. Raises CheckpointError."""
    numbers = checkpoint.numbers(folder / "checkpoints")
    if numbers and not (folder / "run").exists():
        rollback(folder, folder / "checkpoints" / checkpoint.number_name(numbers[-1]))


def runs(folder: Path) -> dict[str, list[Path]]:
    """The runs of a state folder, and the numbered checkpoints of each, oldest first; what is damaged is left out."""
    found: dict[str, list[Path]] = {
        path.name: [] for path in (folder / JOURNALS).glob("*") if not path.name.endswith("-wal")
    }
    for number in checkpoint.numbers(folder / "checkpoints"):
        path = folder / "checkpoints" / checkpoint.number_name(number)
        if run := checkpoint.run_of(path):
            found.setdefault(run, []).append(path)
    return found


def return_to(folder: Path, run: str) -> None:
    """Let a run be the present one, as it was left, its journal too. The caller holds the folder's lock."""
    note_run(folder, run, run_of(folder)[1])


def remove(checkpoint_folder: Path) -> None:
    """Remove a checkpoint: its manifest first, without which it is none any more."""
    (checkpoint_folder / MANIFEST).unlink()
    files.flush_folder(checkpoint_folder)
    shutil.rmtree(checkpoint_folder)


def remove_journal(folder: Path, run: str) -> None:
    """Remove what the journal of a run consists of."""
    for path in (folder / JOURNALS).glob(f"{run}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
