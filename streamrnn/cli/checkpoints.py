"""Commands for a daemon's checkpoints: `streamrnn checkpoints list`, `show`, `verify`, `keep`, `rollback`, `remove`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import streamrnn as sr
from streamrnn.cli.configs import ConfigPath, load
from streamrnn.cli.daemon import have_done
from streamrnn.cli.exits import Exit, fail
from streamrnn.cli.json_lines import Json, print_json
from streamrnn.config import Config, ConfigError
from streamrnn.storage.manifest import read_manifest

app = typer.Typer(no_args_is_help=True, help="See, check, keep, go back to and remove a daemon's checkpoints.")

Which = Annotated[str, typer.Argument(metavar="WHICH", help="A checkpoint's number or name.")]
OrRun = Annotated[str, typer.Argument(metavar="WHICH", help="A checkpoint's number or name, or a run's name.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Perhaps = Annotated[str | None, typer.Argument(metavar="[WHICH]", help="A checkpoint's number or name.")]


@contextmanager
def state_of(config: Path) -> Iterator[Config]:
    """A config whose daemon has checkpoints; what goes wrong with them is one line."""
    from streamrnn.workers.worker import Failure

    try:
        settings = load(config)
        if not settings.checkpoints.is_dir():
            fail(f"{settings.checkpoints}: there are no checkpoints yet")
        yield settings
    except ConfigError as error:
        fail(str(error), Exit.USAGE)
    except (sr.CheckpointError, Failure, OSError) as error:
        fail(str(error))


@app.command("list")
def list_(config: ConfigPath, json: Json = False) -> None:
    """List the checkpoints of all runs, the newest first."""
    from streamrnn.cli import checkpoint_facts as facts

    with state_of(config) as settings:
        found = facts.entries(settings.folder)
    if json:
        for entry in found:
            print_json(entry)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("name", "when", "frames", "bytes", "run", ""):
        justify: Any = "right" if column in ("frames", "bytes") else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=column in ("name", "run"))
    for entry in found:
        frames = "" if entry.frames is None else f"{entry.frames:,}"
        run = "present" if entry.present else entry.run if entry.run != entry.name else ""
        written = entry.when.replace("+00:00", "Z")
        table.add_row(entry.name, written, frames, f"{entry.bytes:,}", run, entry.fault or "complete")
    Console().print(table)


@app.command()
def show(config: ConfigPath, which: Perhaps = None, json: Json = False) -> None:
    """Show what a checkpoint holds; the newest one without WHICH."""
    from streamrnn.cli import checkpoint_facts as facts

    with state_of(config) as settings:
        found = facts.facts_of(facts.chosen(settings.checkpoints, which))
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
    from streamrnn.cli import checkpoint_facts as facts

    with state_of(config) as settings:
        folders = [facts.chosen(settings.checkpoints, which)] if which else facts.checkpoints_in(settings.checkpoints)
    faults = {folder.name: facts.fault_of(folder) for folder in folders}
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
    from streamrnn.workers.supervision import runs

    with state_of(config) as settings:
        print(f"kept as {runs.keep(runs.find(settings.checkpoints, which), name)}")


@app.command()
def rollback(config: ConfigPath, which: OrRun, yes: Yes = False) -> None:
    """Go back to a checkpoint, as a new run, or to another run as it was left; the daemon must be stopped.

    The run that it has been until now stays, and can be gone back to by its name.
    """

    from streamrnn.workers.supervision import runs

    with state_of(config) as settings, stopped(settings.folder):
        present, _ = runs.run_of(settings.folder)
        if which in (found := runs.runs(settings.folder)) and which != present:
            newest = found[which][-1] if found[which] else None
            if newest:
                runs.check_network(newest, read_manifest(newest), settings.spec())
            confirm(f"Go back to run {which} as it was left? Run {present} stays too.", yes)
            runs.return_to(settings.folder, which)
            print(f"back in run {which}; go on with: streamrnn run {config}")
            return
        folder = runs.find(settings.checkpoints, which)
        manifest = read_manifest(folder)
        runs.check_network(folder, manifest, settings.spec())
        confirm(f"Go back to {folder.name} ({manifest.frames:,} frames)? Run {present} stays as it is.", yes)
        newest = runs.rollback(settings.folder, folder)
    print(f"back at {manifest.frames:,} frames, as {newest}; go on with: streamrnn run {config}")


@app.command()
def remove(config: ConfigPath, which: OrRun, yes: Yes = False) -> None:
    """Remove a checkpoint, or a run that is not the present one with all that is left of it, for ever.

    Where it is of the present run, the daemon must be stopped.
    """
    from streamrnn.cli import checkpoint_facts as facts
    from streamrnn.storage import checkpoint
    from streamrnn.workers.supervision import runs

    with state_of(config) as settings:
        present, _ = runs.run_of(settings.folder)
        if which in (found := runs.runs(settings.folder)):
            if which == present:
                fail(f"{which} is the present run: begin anew first (streamrnn run {config} --new)")
            confirm(f"Remove run {which}, its {len(found[which])} checkpoints and its journal?", yes)
            for folder in found[which]:
                runs.remove(folder)
            runs.remove_journal(settings.folder, which)
        else:
            folder = runs.find(settings.checkpoints, which)
            used = folder.name.isdigit() and checkpoint.run_of(folder) in (present, None)
            with stopped(settings.folder) if used else nullcontext():
                confirm(f"Remove {folder.name}, written {facts.when(folder)}?", yes)
                runs.remove(folder)
    print(f"removed {which}")


@app.command()
def take(config: ConfigPath, timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS")] = 60.0) -> None:
    """Have the running daemon take a checkpoint now, and wait for it."""
    print(have_done(config, "checkpoint", timeout))


@contextmanager
def stopped(folder: Path) -> Iterator[None]:
    """No daemon runs with a state folder in here."""
    from streamrnn.workers.supervision import runs
    from streamrnn.workers.worker import Failure

    try:
        lock = runs.lock(folder)
    except Failure as error:
        fail(f"{error}; stop it first")
    try:
        yield
    finally:
        os.close(lock)


def confirm(question: str, yes: bool) -> None:
    """Ask whoever sits at the terminal; without one, --yes must say it."""
    if yes:
        return
    if not (sys.stdin and sys.stdin.isatty()):
        fail("there is no terminal to ask at: say --yes")
    typer.confirm(question, abort=True)
