"""Commands for a daemon's checkpoints: `streamrnn checkpoints list`, `show`, `verify`, `keep` and `rollback`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from streamrnn import checkpoint
from streamrnn import config as configs
from streamrnn.checkpoint import MANIFEST, OLD, WRITING, CheckpointError, Manifest
from streamrnn.commands import have_done
from streamrnn.exits import Exit, fail
from streamrnn.remote import Json, print_json
from streamrnn.workers import state
from streamrnn.workers.member import Failure

app = typer.Typer(no_args_is_help=True, help="See, check, keep and go back to a daemon's checkpoints.")

ConfigPath = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The daemon's TOML file: it names the state folder.")
]
Which = Annotated[str, typer.Argument(metavar="WHICH", help="A checkpoint's number or name.")]
Perhaps = Annotated[str | None, typer.Argument(metavar="[WHICH]", help="A checkpoint's number or name.")]


class Entry(msgspec.Struct):
    """A checkpoint as `list` shows it."""

    name: str
    when: str  # ISO 8601, UTC
    bytes: int
    complete: bool
    frames: int | None = None  # None where that cannot be read
    fault: str = ""  # why it is not complete


@contextmanager
def state_of(config: Path) -> Iterator[configs.Config]:
    """A config whose daemon has checkpoints; what goes wrong with them is one line."""
    try:
        settings = configs.load(config)
        if not settings.checkpoints.is_dir():
            fail(f"{settings.checkpoints}: there are no checkpoints yet")
        yield settings
    except configs.ConfigError as error:
        fail(str(error), Exit.USAGE)
    except (CheckpointError, Failure, OSError) as error:
        fail(str(error))


@app.command("list")
def list_(config: ConfigPath, json: Json = False) -> None:
    """List the checkpoints, the newest first."""
    with state_of(config) as settings:
        found = entries(settings.checkpoints)
    if json:
        for entry in found:
            print_json(entry)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column, justify in (("name", "left"), ("when", "left"), ("frames", "right"), ("bytes", "right"), ("", "left")):
        table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for entry in found:
        frames = "" if entry.frames is None else f"{entry.frames:,}"
        table.add_row(entry.name, entry.when, frames, f"{entry.bytes:,}", entry.fault or "complete")
    Console().print(table)


@app.command()
def show(config: ConfigPath, which: Perhaps = None, json: Json = False) -> None:
    """Show what a checkpoint holds; the newest one without WHICH."""
    with state_of(config) as settings:
        folder = chosen(settings.checkpoints, which)
        found = facts(folder, checkpoint.read_manifest(folder))
    if json:
        print_json(found)
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in found.items():
        if name == "files":
            for file, size in value.items():
                table.add_row(file, f"{size:,} bytes")
        else:
            text = ", ".join(value) if isinstance(value, list) else f"{value:,}" if isinstance(value, int) else value
            table.add_row(name.replace("_", " "), text)
    Console().print(table)


@app.command()
def verify(config: ConfigPath, which: Perhaps = None, json: Json = False) -> None:
    """Read a checkpoint's files, or those of all, and compare their hashes; exit code 1 if any is damaged."""
    with state_of(config) as settings:
        folders = [chosen(settings.checkpoints, which)] if which else checkpoints_in(settings.checkpoints)
    faults = {folder.name: fault_of(folder) for folder in folders}
    for name, fault in faults.items():
        if json:
            print_json({"name": name, "good": not fault, "fault": fault})
        else:
            print(f"{name}  {fault or 'good'}")
    if any(faults.values()):
        raise typer.Exit(1)


@app.command()
def keep(config: ConfigPath, which: Which, name: Annotated[str, typer.Argument(help="What to call it.")]) -> None:
    """Keep a copy of a checkpoint for ever, under a name; streamrnn.load reads it."""
    with state_of(config) as settings:
        print(f"kept as {state.keep(state.find(settings.checkpoints, which), name)}")


@app.command()
def rollback(
    config: ConfigPath,
    which: Which,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Go back to a checkpoint and forget everything after it; the daemon must be stopped."""
    with state_of(config) as settings:
        try:
            lock = state.lock(settings.folder)
        except Failure as error:
            fail(f"{error}; stop it first")
        try:
            folder = state.find(settings.checkpoints, which)
            manifest = checkpoint.read_manifest(folder)
            state.check_network(folder, manifest, settings.spec())
            if not yes:
                confirm(f"Go back to {folder.name} ({manifest.frames:,} frames) and forget everything after it?")
            newest = state.rollback(settings.folder, folder)
        finally:
            os.close(lock)
    print(f"back at {manifest.frames:,} frames, as {newest}; go on with: streamrnn run {config} --resume")


@app.command()
def take(config: ConfigPath, timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS")] = 60.0) -> None:
    """Have the running daemon take a checkpoint now, and wait for it."""
    print(have_done(config, "checkpoint", timeout))


def confirm(question: str) -> None:
    """Ask whoever sits at the terminal; without one, --yes must say it."""
    if not sys.stdin.isatty():
        fail("there is no terminal to ask at: say --yes to go back")
    typer.confirm(question, abort=True)


def chosen(checkpoints: Path, which: str | None) -> Path:
    """The folder of a checkpoint, of the newest one without a number or name. Raises CheckpointError."""
    if which is None:
        which = str(max(checkpoint.numbers(checkpoints), default=1))
    return state.find(checkpoints, which)


def unfinished(folder: Path) -> bool:
    """Whether a folder is no checkpoint: it is being written, or was when its writer died."""
    return folder.name.endswith((WRITING, OLD))


def checkpoints_in(checkpoints: Path) -> list[Path]:
    """All of them, by name."""
    return sorted(path for path in checkpoints.iterdir() if path.is_dir() and not unfinished(path))


def entries(checkpoints: Path) -> list[Entry]:
    """What is in a daemon's folder of checkpoints, newest first."""
    found = []
    for folder in filter(Path.is_dir, checkpoints.iterdir()):
        with suppress(FileNotFoundError):  # a running daemon has removed it
            found.append(entry_of(folder))
    return sorted(found, key=lambda entry: (entry.when, entry.name), reverse=True)


def entry_of(folder: Path) -> Entry:
    """A line of `list`."""
    files = sizes(folder)
    entry = Entry(folder.name, when(folder), sum(files.values()), False)
    if unfinished(folder):
        entry.fault = "not complete"
        return entry
    try:
        manifest = checkpoint.read_manifest(folder)
        entry.frames = manifest.frames
        missing = sorted(set(manifest.sha256) - set(files))
        entry.fault = f"damaged: {', '.join(missing)} missing" if missing else ""
    except CheckpointError as error:
        entry.fault = str(error)
    entry.complete = not entry.fault
    return entry


def fault_of(folder: Path) -> str:
    """What is wrong with a checkpoint, nothing if it is good."""
    try:
        checkpoint.verify(folder, checkpoint.read_manifest(folder))
        return ""
    except CheckpointError as error:
        return str(error)


def facts(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """What `show` tells. Raises CheckpointError if the manifest describes no network."""
    files = sizes(folder)
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
    net = checkpoint.network_of(folder, manifest)
    size = net.layers[0].input_size
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


def when(folder: Path) -> str:
    """When a checkpoint became complete."""
    manifest = folder / MANIFEST
    written = (manifest if manifest.exists() else folder).stat().st_mtime
    return datetime.fromtimestamp(written, UTC).isoformat(sep=" ", timespec="seconds")
