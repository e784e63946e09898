"""Checkpoints: a folder with one safetensors file a stage and a manifest that makes it complete.

What is kept of a stage is everything that its numbers depend on: parameters, moments, gradients of groups not yet
applied, and of each stream its state and the tape of its open window. It is taken where every closed window has been
learned from, so it does not matter how the stages were spread over processes.
"""

import os
import shutil
from collections.abc import Sequence
from hashlib import sha256
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_bytes
from safetensors.numpy import load_file
from safetensors.numpy import save as save_bytes

from streamrnn.buffers import INPUTS
from streamrnn.feedback import Last
from streamrnn.schedule import CLOSED, FRAMES, FREE, LEARNED, SLOT, TARGETS, WINDOW, Schedule
from streamrnn.wire import NOT_JSON

if TYPE_CHECKING:
    from streamrnn.network import Network

FORMAT = 2
MANIFEST = "manifest.json"
WRITING, OLD = ".writing", ".old"  # behind the name of a folder that is not complete yet, or being replaced
PARAMETERS = ("W_xh", "W_hh", "b_h", "b_hn", "W_hy", "b_y")  # as they lie in a stage's buffer
WHOLE = ("moments", "grads", "counters")  # kept as they are
BY_STREAM = ("state", "stats")  # one row a stream
BY_WINDOW = ("tape", "tokens")  # one row an open window
MANY = 2**62  # windows: as many as no network has seen

Tensors = dict[str, np.ndarray]


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or of another network."""


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What makes a folder of stage files a checkpoint."""

    format: int
    spec: dict[str, Any]
    streams: list[str | None]  # by number; None for a number that is free
    fresh: list[int]  # streams whose next frame begins a sequence
    losses: dict[int, float | None]  # scored last; None for one that was not finite
    frames: int
    sha256: dict[str, str]  # of each other file
    parameters_sha256: str
    position: int = 0  # frames taken from the daemon's own source
    last: dict[int, list] = {}  # what can be fed back to each stream, see streamrnn.feedback
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


def number_name(number: int) -> str:
    """The folder of a daemon's checkpoint: they are numbered as they are begun."""
    return f"{number:08d}"


def next_folder(folder: Path) -> Path:
    """Where a daemon's next checkpoint goes."""
    return folder / number_name(max(numbers(folder), default=0) + 1)


def numbers(folder: Path) -> list[int]:
    """The complete checkpoints in a daemon's folder, oldest first."""
    return sorted(int(path.parent.name) for path in folder.glob(f"[0-9]*/{MANIFEST}") if path.parent.name.isdigit())


def by_number(names: dict[str, int], used: int) -> list[str | None]:
    """The names of streams by their numbers below `used`, None for a number that is free."""
    streams: list[str | None] = [None] * used
    for name, number in names.items():
        streams[number] = name
    return streams


def stage_file(number: int) -> str:
    return f"stage-{number}.safetensors"


def take(owners: Sequence[Any], schedule: Schedule, streams: int) -> list[Tensors]:
    """Everything that must be kept of these stages (layers or a readout) and their first `streams` streams."""
    windows = schedule.streams[:streams]
    slots = windows[windows[:, SLOT] >= 0, SLOT]
    kept = []
    for owner in owners:
        stage = owner.stage
        tensors = {f"params.{name}": view for name, view in owner.params.items()}
        tensors |= {name: getattr(stage, name) for name in WHOLE}
        tensors |= {name: getattr(stage, name)[:streams] for name in BY_STREAM}
        tensors |= {name: getattr(stage, name)[slots] for name in BY_WINDOW}
        tensors |= {"windows": windows, "schedule": schedule.counters}
        kept.append({name: np.ascontiguousarray(tensor).copy() for name, tensor in tensors.items()})
    return kept


def put_one(out: np.ndarray, tensor: np.ndarray) -> None:
    """Raises ValueError where numpy would broadcast or convert."""
    if (out.shape, out.dtype) != (tensor.shape, tensor.dtype):
        raise ValueError(f"{tensor.dtype} {tensor.shape} instead of {out.dtype} {out.shape}")
    out[...] = tensor


def check_schedule(windows: np.ndarray, counters: np.ndarray, schedule: Schedule) -> None:
    """Raises ValueError where they would lead a kernel outside its buffers."""
    put_one(schedule.counters.copy(), counters)
    put_one(schedule.streams[: len(windows)].copy(), windows)
    most, is_open = schedule.config[WINDOW], windows[:, SLOT] >= 0
    counts = windows[:, [FRAMES, TARGETS]]
    if (counts < 0).any() or (counts > most).any() or counts[~is_open].any() or is_open.sum() > len(schedule.free):
        raise ValueError("windows that cannot be")
    if not 0 <= counters[CLOSED] == counters[LEARNED] < MANY:
        raise ValueError("a window that was closed and not learned from")


def put(kept: Sequence[Tensors], owners: Sequence[Any], schedule: Schedule) -> None:
    """Bring stages back to what `take` gave, in buffers that may have room for more streams.

    Raises KeyError or ValueError if it is not of such stages.
    """
    windows = kept[0]["windows"]
    check_schedule(windows, kept[0]["schedule"], schedule)
    streams, is_open = len(windows), windows[:, SLOT] >= 0
    count = int(is_open.sum())
    for tensors, owner in zip(kept, owners, strict=True):
        stage = owner.stage
        for name, view in owner.params.items():
            put_one(view, tensors[f"params.{name}"])
        for name in WHOLE:
            put_one(getattr(stage, name), tensors[name])
        for name in BY_STREAM:
            put_one(getattr(stage, name)[:streams], tensors[name])
        for name in BY_WINDOW:
            put_one(getattr(stage, name)[:count], tensors[name])
        if (stage.tokens[:count] < -1).any() or (stage.tokens[:count] >= stage.config[INPUTS]).any():
            raise ValueError("a token that the network does not take")
    schedule.counters[:] = kept[0]["schedule"]
    schedule.counters[FREE] = len(schedule.free) - count
    schedule.free[:] = np.arange(len(schedule.free) - 1, -1, -1)
    schedule.streams[:streams, [FRAMES, TARGETS]] = windows[:, [FRAMES, TARGETS]]
    schedule.streams[:streams, SLOT][is_open] = np.arange(count)


def write_stage(folder: Path, number: int, tensors: Tensors) -> str:
    """Write one stage's file and flush it to the disk; returns its sha256."""
    return write_tensors(folder / stage_file(number), tensors)


def write_tensors(path: Path, tensors: Tensors) -> str:
    """Write a file and flush it to the disk; returns its sha256."""
    return write_bytes(path, save_bytes(tensors))


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


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """With its checksum, and flush it to the disk."""
    manifest = msgspec.structs.replace(manifest, checksum=checksum_of(manifest))
    write_file(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))


def copy(folder: Path, to: Path, manifest: Manifest) -> None:
    """Write a checkpoint's files once more, under that manifest. Raises CheckpointError, and nothing is there then."""
    temporary = temporary_folder(to)
    try:
        for name in manifest.sha256:
            write_file(temporary / name, read_file(folder / name, manifest))
        complete(temporary, to, manifest)
    except (CheckpointError, OSError):
        shutil.rmtree(temporary, ignore_errors=True)
        raise


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


def temporary_folder(folder: Path) -> Path:
    """An empty folder beside the one that it will become."""
    temporary = temporary_name(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(temporary)
    return temporary


def parameters_sha256(folder: Path, stages: int) -> str:
    """Over the parameter buffers of all stages in order, as `Network.parameters_sha256` gives it."""
    digest = sha256()
    for number in range(stages):
        tensors = load_file(folder / stage_file(number))
        for name in PARAMETERS:
            if f"params.{name}" in tensors:
                digest.update(tensors[f"params.{name}"].tobytes())
    return digest.hexdigest()


def prune(folder: Path, keep: int, before: Path | None = None) -> None:
    """Remove all numbered checkpoints but the last `keep` complete ones and `before`, whole or not; names are kept."""
    kept = {number_name(number) for number in numbers(folder)[-keep:]} | ({before.name} if before else set())
    for path in folder.iterdir():
        if path.name.removesuffix(WRITING).removesuffix(OLD).isdigit() and path.name not in kept and path.is_dir():
            shutil.rmtree(path)


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


def restore(folder: Path, manifest: Manifest, owners: Sequence[Any], first: int, schedule: Schedule) -> None:
    """Bring the stages from number `first` on back to a checkpoint. Raises CheckpointError if it does not fit them."""
    kept = [read_stage(folder, first + i, manifest) for i in range(len(owners))]
    try:
        put(kept, owners, schedule)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}: does not fit this network ({error})") from error


def save(net: "Network", folder: Path) -> None:
    """What `Network.save` does."""
    folder = folder.resolve()
    if folder.exists() and not (folder / MANIFEST).exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise CheckpointError(f"{folder}: is there already and no checkpoint; give another name")
    kept = take(net.stages, net._schedule, net._used)
    temporary = temporary_folder(folder)
    hashes = {stage_file(i): write_stage(temporary, i, tensors) for i, tensors in enumerate(kept)}
    manifest = Manifest(
        format=FORMAT,
        spec=net.spec(),
        streams=by_number(net.names, net._used),
        fresh=sorted(net._fresh),
        losses={number: loss if isfinite(loss) else None for number, loss in net._losses.items()},
        frames=0,
        last={number: last.plain() for number, last in net._last.items()},
        tokens=net._tokens,
        sha256=hashes,
        parameters_sha256=net.parameters_sha256(),
        rate=net.learning_rate,
    )
    complete(temporary, folder, manifest)


def network_of(folder: Path, manifest: Manifest) -> "Network":
    """A network like the one that was saved, with fresh weights. Raises CheckpointError if the manifest has none."""
    from streamrnn.network import Network

    try:
        return Network.from_spec(manifest.spec)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / MANIFEST}: describes no network ({error})") from error


def load(folder: Path) -> "Network":
    """What `streamrnn.load` does."""
    if not folder.exists() and (old_name(folder) / MANIFEST).exists():
        folder = old_name(folder)  # the power went while it was being replaced
    manifest = read_manifest(folder)
    net = network_of(folder, manifest)
    if manifest.rate is not None:
        net.learning_rate = manifest.rate
    net._allocate(max(1, len(manifest.streams)))
    restore(folder, manifest, net.stages, 0, net._schedule)
    net.names = {name: number for number, name in enumerate(manifest.streams) if name is not None}
    net._used, net._fresh = len(manifest.streams), set(manifest.fresh)
    net._last = {number: Last.of(plain) for number, plain in manifest.last.items()}
    net._tokens = manifest.tokens
    net._losses = {number: nan if loss is None else loss for number, loss in manifest.losses.items()}
    return net
