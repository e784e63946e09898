"""What is known of the checkpoints in a state folder, as `streamrnn checkpoints` tells it."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from streamrnn.storage import checkpoint
from streamrnn.storage.files import OLD, WRITING
from streamrnn.storage.manifest import MANIFEST, CheckpointError, Manifest, read_manifest
from streamrnn.workers.supervision import runs
from streamrnn.workers.worker import Failure


class Entry(msgspec.Struct):
    """A checkpoint as `list` shows it."""

    name: str
    when: str  # ISO 8601, UTC
    bytes: int
    complete: bool
    frames: int | None = None  # None where that cannot be read
    run: str = ""  # whose it is; empty where that cannot be read
    present: bool = False  # whether that is the run that the daemon goes on with
    fault: str = ""  # why it is not complete


def chosen(checkpoints: Path, which: str | None) -> Path:
    """The folder of a checkpoint, of the newest one of all runs without a number or name. Raises CheckpointError."""
    if which is None:
        which = str(max(checkpoint.numbers(checkpoints), default=1))
    return runs.find(checkpoints, which)


def unfinished(folder: Path) -> bool:
    """Whether a folder is no checkpoint: it is being written, or was when its writer died."""
    return folder.name.endswith((WRITING, OLD))


def checkpoints_in(checkpoints: Path) -> list[Path]:
    """All of them, by name."""
    return sorted(path for path in checkpoints.iterdir() if path.is_dir() and not unfinished(path))


def entries(folder: Path) -> list[Entry]:
    """What is in a state folder, newest first: checkpoints, and runs of before that have none but a journal."""
    present = present_run(folder)
    found = []
    for path in filter(Path.is_dir, (folder / "checkpoints").iterdir()):
        with suppress(FileNotFoundError):  # a running daemon has removed it
            found.append(entry_of(path))
    for run, checkpoints in runs.runs(folder).items():
        if not checkpoints and run != present:
            journal = runs.journal_of(folder, run)
            found.append(Entry(run, when(journal), size(journal), False, run=run, fault="journal only"))
    for entry in found:
        entry.present = bool(entry.run) and entry.run == present
    return sorted(found, key=lambda entry: (entry.when, entry.name), reverse=True)


def present_run(folder: Path) -> str:
    """The name of the present run, nothing where that is damaged."""
    with suppress(Failure):
        return runs.run_of(folder)[0]
    return ""


def entry_of(folder: Path) -> Entry:
    """A line of `list`."""
    files = sizes(folder)
    entry = Entry(folder.name, when(folder), sum(files.values()), False)
    if unfinished(folder):
        entry.fault = "not complete"
        return entry
    try:
        manifest = read_manifest(folder)
        entry.frames, entry.run = manifest.frames, manifest.run
        missing = sorted(set(manifest.sha256) - set(files))
        entry.fault = f"damaged: {', '.join(missing)} missing" if missing else ""
    except CheckpointError as error:
        entry.fault = str(error)
    entry.complete = not entry.fault
    return entry


def fault_of(folder: Path) -> str:
    """What is wrong with a checkpoint, nothing if it is good."""
    try:
        checkpoint.verify(folder, read_manifest(folder))
        return ""
    except CheckpointError as error:
        return str(error)


def facts_of(folder: Path) -> dict[str, Any]:
    """What `show` tells. Raises CheckpointError where the manifest is damaged or describes no network."""
    files, manifest = sizes(folder), read_manifest(folder)
    return {
        "name": folder.name,
        "path": str(folder),
        "when": when(folder),
        "network": network_line(folder, manifest),
        "frames": manifest.frames,
        "streams": [name for name in manifest.streams if name],
        "bytes": sum(files.values()),
        "files": files,
        "run": manifest.run,
        "journal": manifest.journal,
        "parameters_sha256": manifest.parameters_sha256,
    }


def network_line(folder: Path, manifest: Manifest) -> str:
    """The network in a line, as `streamrnn run` shows it. Raises CheckpointError if the manifest describes none."""
    from streamrnn.model.network import Network  # with the compiler, which no other command needs
    from streamrnn.model.saving import like_saved

    net = like_saved(Network, folder, manifest)
    size = net.input_size
    way = [f"{size} tokens" if manifest.tokens else f"vector of {size}"]
    for layer in net.layers:
        way.append(
            f"{type(layer).__name__} {layer.hidden_size}" + (f" → {layer.output_size}" if layer.own_output else "")
        )
    way.append(f"{type(net.readout).__name__.lower()} {net.readout.size}")
    return f"{' → '.join(way)}, {sum(owner.parameters.flat.size for owner in net.stages):,} parameters"


def sizes(folder: Path) -> dict[str, int]:
    """The files of a checkpoint and their bytes."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}


def size(path: Path) -> int:
    """Bytes of a file, or of those in a folder."""
    return sum(sizes(path).values()) if path.is_dir() else path.stat().st_size


def when(folder: Path) -> str:
    """When a checkpoint became complete."""
    manifest = folder / MANIFEST
    written = (manifest if manifest.exists() else folder).stat().st_mtime
    return datetime.fromtimestamp(written, UTC).isoformat(sep=" ", timespec="seconds")
