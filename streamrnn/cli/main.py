"""The command line, put together: each group of commands is a file beside this one.

What takes long to import (NumPy, ZeroMQ, Numba) they import where they need it: help and completion come at once.
"""

import sys
from typing import Annotated, Any

import typer

import streamrnn as sr
from streamrnn.cli import alarms, checkpoints, client, daemon, installation, keys, run, streams, watch, web
from streamrnn.cli.exits import Exit
from streamrnn.workers.supervision import logs

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

for group in (run, watch, client, web, daemon):
    app.add_typer(group.app)
app.add_typer(alarms.app)
app.add_typer(checkpoints.app, name="checkpoints")
app.add_typer(keys.app, name="keys")
app.add_typer(installation.app)


def show_version(wanted: bool) -> None:
    if wanted:
        print(f"streamrnn {sr.__version__}")
        raise typer.Exit


@app.callback()
def streamrnn(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Recurrent networks that predict and learn on every frame of a live stream."""


def main() -> None:
    """The entry point."""
    streams.prepare()
    code: Any = 0
    bug = None
    try:
        app()
    except SystemExit as end:
        code = end.code
    except Exception as error:
        code, bug = Exit.BUG, error
    if fault := streams.output_fault(bug):
        code, text = Exit.FAILED, f"standard output cannot be written: {fault.strerror}"
        logs.tell("error", "failed", text, code=code)
    elif bug:
        logs.tell_bug(bug, code)
    sys.exit(code)
