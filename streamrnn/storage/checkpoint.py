"""Checkpoints: a folder with one safetensors file a stage and a manifest that makes it complete."""

import os
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as load_bytes
from safetensors.numpy import save as save_bytes

from streamrnn.storage.files import (
    OLD,
    WRITING,
    flush_folder,
    old_name,
    write_bytes,
    write_file,
    written_whole,
)
from streamrnn.storage.manifest import MANIFEST, CheckpointError, Manifest, read_manifest, write_manifest
from streamrnn.storage.network_state import PARAMETERS, Tensors, put

if TYPE_CHECKING:
    from streamrnn.kernels.schedule import Schedule


def number_name(number: int) -> str:
    """The folder of a daemon's checkpoint: they are numbered as they are begun."""
    return f"{number:08d}"


def next_folder(folder: Path) -> Path:
    """Where a daemon's next checkpoint goes."""
    return folder / number_name(max(numbers(folder), default=0) + 1)


def numbers(folder: Path) -> list[int]:
    """The complete checkpoints in a daemon's folder, oldest first."""
    return sorted(int(path.parent.name) for path in folder.glob(f"[0-9]*/{MANIFEST}") if path.parent.name.isdigit())


def at(path: str | os.PathLike[str]) -> Path:
    """A checkpoint's folder, with `~` for the home folder. Raises CheckpointError where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise CheckpointError(f"{path}: there is no such home folder; give the whole path") from None


def check_replaceable(folder: Path) -> None:
    """Raises CheckpointError if there is something that is no checkpoint."""
    if folder.exists() and not (folder / MANIFEST).exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise CheckpointError(f"{folder}: is there already and no checkpoint; give another name")


def found(folder: Path) -> Path:
    """Where a checkpoint of that name is: if the power went while it was being replaced, beside it."""
    there = folder.exists() or not (old_name(folder) / MANIFEST).exists()
    return folder if there else old_name(folder)


def by_number(names: dict[str, int], used: int) -> list[str | None]:
    """The names of streams by their numbers below `used`, None for a number that is free."""
    streams: list[str | None] = [None] * used
    for name, number in names.items():
        streams[number] = name
    return streams


def stage_file(number: int) -> str:
    return f"stage-{number}.safetensors"


def write_stage(folder: Path, number: int, tensors: Tensors) -> str:
    """Write one stage's file and flush it to the disk; returns its sha256."""
    return write_tensors(folder / stage_file(number), tensors)


def write_tensors(path: Path, tensors: Tensors) -> str:
    """Write a file and flush it to the disk; returns its sha256."""
    return write_bytes(path, save_bytes(tensors))


def write(folder: Path, kept: Sequence[Tensors], manifest: Manifest) -> None:
    """Write the tensors of all stages and the manifest, which gets their hashes; where that fails, nothing is there."""
    with written_whole(folder) as temporary:
        hashes = {stage_file(number): write_stage(temporary, number, tensors) for number, tensors in enumerate(kept)}
        complete(temporary, folder, msgspec.structs.replace(manifest, sha256=hashes))


def complete(temporary: Path, folder: Path, manifest: Manifest) -> None:
    """Write the manifest and rename the temporary folder into place, replacing an older one of that name."""
    write_manifest(temporary, manifest)
    flush_folder(temporary)
    if folder.exists():
        shutil.rmtree(old_name(folder), ignore_errors=True)
        folder.rename(old_name(folder))  # if the power goes now, `load` finds it there
    temporary.rename(folder)
    flush_folder(folder.parent)
    shutil.rmtree(old_name(folder), ignore_errors=True)


def copy(folder: Path, to: Path, manifest: Manifest) -> None:
    """Write a checkpoint's files once more, under that manifest. Raises CheckpointError, and nothing is there then."""
    with written_whole(to) as temporary:
        for name in manifest.sha256:
            write_file(temporary / name, read_file(folder / name, manifest))
        complete(temporary, to, manifest)


def parameters_sha256(folder: Path, stages: int) -> str:
    """Over the parameter buffers of all stages in order, as `Network.parameters_sha256` gives it."""
    digest = sha256()
    for number in range(stages):
        with safe_open(folder / stage_file(number), "numpy") as file:
            there = set(file.keys())
            for name in PARAMETERS:
                if f"params.{name}" in there:
                    digest.update(file.get_tensor(f"params.{name}").tobytes())
    return digest.hexdigest()


def prune(folder: Path, run: str, keep: int, apart: float, before: Path | None = None) -> Path:
    """Remove a run's numbered checkpoints but `keep` and `before`, and what was never finished; the oldest one left.

    The newest two are kept, then the newest that are so many seconds apart, then the newest others. Of another run, or
    damaged so that it is not known whose it is, none is removed.
    """
    own = [folder / number_name(number) for number in numbers(folder)]
    own = [path for path in own if run_of(path) == run]
    by_worth = dict.fromkeys([*own[:-3:-1], *reversed(spaced(own[:-2], apart)), *reversed(own)])
    worth = set(list(by_worth)[:keep])
    kept = [path for path in own if path in worth or path == before]
    gone = {path.name for path in own if path not in kept}
    for path in folder.iterdir():
        numbered = path.name.removesuffix(WRITING).removesuffix(OLD).isdigit() and path.is_dir()
        finished = path.name.isdigit() and (path / MANIFEST).exists()
        if numbered and (path.name in gone or not finished):
            shutil.rmtree(path)
    return kept[0]


def spaced(checkpoints: list[Path], apart: float) -> list[Path]:
    """The first of these, which are in order of time, and each that is so many seconds younger than the one before."""
    found: list[Path] = []
    for path in checkpoints:
        if not found or written(path) >= written(found[-1]) + apart:
            found.append(path)
    return found


def written(folder: Path) -> float:
    """When a checkpoint was complete, in seconds since 1970."""
    return (folder / MANIFEST).stat().st_mtime


def run_of(folder: Path) -> str | None:
    """Whose checkpoint it is; None where its manifest is damaged."""
    try:
        return read_manifest(folder).run
    except CheckpointError:
        return None


def read_stage(folder: Path, number: int, manifest: Manifest) -> Tensors:
    """One stage's tensors. Raises CheckpointError if the file is missing or not the one that was written."""
    return read_tensors(folder / stage_file(number), manifest)


def read_tensors(path: Path, manifest: Manifest) -> Tensors:
    """A file of a checkpoint. Raises CheckpointError if it is missing or not the one that was written."""
    try:
        return load_bytes(read_file(path, manifest))
    except (SafetensorError, KeyError) as error:  # KeyError: of a type that numpy has not
        raise CheckpointError(f"{path}: damaged ({error})") from error


def read_file(path: Path, manifest: Manifest) -> bytes:
    """The bytes of a checkpoint's file. Raises CheckpointError if they are not there or not those that were written."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if sha256(data).hexdigest() != manifest.sha256.get(path.name):
        raise CheckpointError(f"{path}: damaged, its sha256 is not the one in {MANIFEST}")
    return data


def verify(folder: Path, manifest: Manifest) -> None:
    """Raises CheckpointError if a file of a checkpoint is missing or not the one that was written."""
    for name in manifest.sha256:
        read_file(folder / name, manifest)


def restore(folder: Path, manifest: Manifest, owners: Sequence[Any], first: int, schedule: "Schedule") -> None:
    """Bring the stages from number `first` on back to a checkpoint. Raises CheckpointError if it does not fit them."""
    kept = [read_stage(folder, first + i, manifest) for i in range(len(owners))]
    try:
        put(kept, owners, schedule)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}: does not fit this network ({error})") from error
