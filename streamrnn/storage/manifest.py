"""The manifest that makes a folder of files a checkpoint."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from streamrnn.storage.files import NOT_JSON, write_file

FORMAT = 2
MANIFEST = "manifest.json"


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or of another network."""


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What makes a folder of stage files a checkpoint."""

    format: int
    spec: dict[str, Any]
    streams: list[str | None]  # by number; None for a number that is free
    fresh: list[int]  # streams whose next frame begins a sequence
    losses: dict[int, list[float | None] | float | None]  # scored last, None for one that was not finite
    frames: int
    sha256: dict[str, str]  # of each other file
    parameters_sha256: str
    position: int = 0  # before 0.3: frames taken from the only source; the gate keeps it since
    last: dict[int, list] = {}  # what can be fed back to each stream, see streamrnn.model.feedback
    tokens: bool = True  # whether that goes in as tokens
    run: str = ""  # the name of a daemon's run, whose journal goes with it
    journal: int = 0  # the last record of the journal that is in it
    left: int | None = None  # frames that may still be let in; None: any number
    score: dict[str, Any] = {}  # what the publisher counts
    scale: float = 1.0  # of the learning rate that the config wants: less after divergence
    rate: float | None = None  # the learning rate in force; None: the one in the spec
    checksum: str = ""  # of all the rest, see `checksum_of`


def checksum_of(manifest: Manifest) -> str:
    """The sha256 of a manifest as JSON without spaces, its fields in order, `checksum` empty."""
    return sha256(msgspec.json.encode(msgspec.structs.replace(manifest, checksum=""))).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """With its checksum, and flush it to the disk."""
    manifest = msgspec.structs.replace(manifest, checksum=checksum_of(manifest))
    write_file(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))


def read_manifest(folder: Path) -> Manifest:
    """Raises CheckpointError if there is none, it is of another format, or not as it was written."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except OSError as error:
        raise CheckpointError(f"{folder}: no checkpoint to read there ({error.strerror})") from error
    except NOT_JSON as error:
        raise CheckpointError(f"{folder / MANIFEST}: damaged ({error})") from error
    if manifest.format != FORMAT:
        raise CheckpointError(f"{folder}: written in format {manifest.format}, this version reads {FORMAT}")
    if manifest.checksum != checksum_of(manifest):
        raise CheckpointError(f"{folder / MANIFEST}: damaged, its checksum is not of what it holds")
    if any(name != Path(name).name for name in manifest.sha256):
        raise CheckpointError(f"{folder / MANIFEST}: damaged (it names files of other folders)")
    return manifest
