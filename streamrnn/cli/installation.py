"""Commands for whoever installs streamrnn: `streamrnn init`, `unit` and `warm`."""

import os
import sysconfig
import time
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.table import Table

from streamrnn.cli.configs import CONFIG, FOLDER, complete, installed, load, no_such_name
from streamrnn.cli.exits import Exit, fail
from streamrnn.config import ConfigError

app = typer.Typer()

UNIT = FOLDER / "streamrnn@.service"
PROGRAMS = "/opt/streamrnn/bin"  # where the unit supposes them

Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="A config's name.", autocompletion=complete)]


@app.command()
def init(
    name: Name = None,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Where to; NAME.toml without it.")] = None,
) -> None:
    """List the configs that come with streamrnn, or write one out to be changed."""
    if name is None:
        list_configs()
        return
    if name not in installed():
        fail(f"{name}: {no_such_name(name)}", Exit.USAGE)
    file = file or Path(f"{name}.toml")
    try:
        with file.open("x") as out:
            write_or_remove(out, installed()[name].read_text())
    except FileExistsError:
        fail(f"{file}: there is such a file already; name another one")
    except OSError as error:
        fail(f"{file}: {error.strerror}; name another file")
    print(f"{file} is written; run it with: streamrnn run {file}")


def write_or_remove(file: TextIO, text: str) -> None:
    """Write a new file, all of it or none."""
    try:
        file.write(text)
        file.flush()
    except OSError:
        os.unlink(file.name)
        raise


def list_configs() -> None:
    """Each with what its first line says."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, path in installed().items():
        table.add_row(name, path.read_text().partition("\n")[0].removeprefix("# "))
    Console().print(table)
    print("\nrun one: streamrnn run NAME    write one out, to change it: streamrnn init NAME")


@app.command()
def unit() -> None:
    """Print a unit for systemd that runs this installation; how to install it stands at its top."""
    print(UNIT.read_text().replace(PROGRAMS, sysconfig.get_path("scripts")), end="")


@app.command()
def warm(config: Annotated[Path | None, CONFIG] = None) -> None:
    """Compile the kernels ahead, once for a version and a machine, so that no start has to wait for them.

    With a config, only those that it needs.
    """
    from streamrnn.workers.compilation import ALL_PARTS, COMPILED, compile_kernels, missing
    from streamrnn.workers.worker import Failure

    console, begun = Console(), time.monotonic()
    try:
        parts = load(config).parts if config else ALL_PARTS
        there = not missing(parts)
        with console.status("") as spinner:
            compile_kernels(parts, console.print, spinner.update if console.is_terminal else None)
    except ConfigError as error:
        fail(str(error), Exit.USAGE)
    except (Failure, OSError) as error:
        fail(str(error))
    done = "were compiled already" if there else f"compiled in {time.monotonic() - begun:.1f} s"
    console.print(f"the kernels {done}: {COMPILED.parent}", soft_wrap=True)
