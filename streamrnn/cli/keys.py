"""Commands for the keys of a daemon's clients: `streamrnn keys new`, `list` and `revoke`."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import streamrnn as sr
from streamrnn.cli.configs import ConfigPath, load
from streamrnn.cli.exits import Exit, fail
from streamrnn.cli.json_lines import Json, print_json
from streamrnn.config import Config, ConfigError

if TYPE_CHECKING:
    from streamrnn.protocol.keys import Keys

app = typer.Typer(no_args_is_help=True, help=r"Say which clients a daemon with \[security] curve = true lets in.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="What to call the client.")]


@contextmanager
def keys_of(config: Path) -> Iterator[tuple[Config, "Keys"]]:
    """A config and its keys; what goes wrong with them is one line."""
    from streamrnn.protocol.keys import Keys

    try:
        settings = load(config)
        yield settings, Keys(settings.keys)
    except ConfigError as error:
        fail(str(error), Exit.USAGE)
    except (sr.KeysError, OSError) as error:
        fail(str(error))


@app.command()
def new(
    config: ConfigPath,
    name: Name,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The client's file; NAME.key without it.")] = None,
) -> None:
    """Make a client's key and let it in, at once: the file is all that the client needs, and it is a secret."""
    out = out or Path(f"{name}.key")
    with keys_of(config) as (settings, keys):
        keys.new(name, out)
    print(f"{out} is for {name} alone, such as in: streamrnn status --key {out}")
    if not settings.security.curve:
        print(f"it is not needed as long as {config} does not say curve = true in [security]")


@app.command("list")
def list_(config: ConfigPath, json: Json = False) -> None:
    """List the clients that are let in."""
    with keys_of(config) as (_, keys):
        found = [(name, public, _when(keys.made(name))) for name, public in keys.clients().items()]
    if json:
        for name, public, when in found:
            print_json({"name": name, "public": public, "when": when})
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("name", "when", "public key"):
        table.add_column(column, overflow="fold")
    for name, public, when in found:
        table.add_row(name, when, Text(public or "damaged: revoke it, and make another"))  # a key may look like markup
    Console().print(table)


@app.command()
def revoke(config: ConfigPath, name: Name) -> None:
    """Let a client in no more; a running daemon ends its connections within two seconds or so."""
    with keys_of(config) as (_, keys):
        keys.revoke(name)
    print(f"{name} is let in no more")


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds")
