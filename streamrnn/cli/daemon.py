"""Commands to the daemon of a config: `streamrnn stop` and `reload`."""

from pathlib import Path
from typing import Annotated

import typer

from streamrnn.cli.configs import ConfigPath, load
from streamrnn.cli.exits import Exit, fail
from streamrnn.config import ConfigError

app = typer.Typer()

Timeout = Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How long to wait for an answer.")]


def have_done(config: Path, what: str, timeout: float) -> str:
    """Have a config's daemon do something; what goes wrong is one line."""
    from streamrnn.workers.supervision import command_socket

    try:
        return command_socket.ask(load(config).folder, what, timeout)
    except ConfigError as error:
        fail(str(error), Exit.USAGE)
    except (ConnectionError, ValueError) as error:
        fail(str(error))


@app.command()
def stop(config: ConfigPath, timeout: Timeout = 5.0) -> None:
    """Have the daemon take what is inside to its end, save, and stop."""
    have_done(config, "stop", timeout)
    print("it saves and stops")


@app.command()
def reload(config: ConfigPath, timeout: Timeout = 5.0) -> None:
    """Have the daemon read its config again: learning, checkpoints, supervision, health and log can change."""
    have_done(config, "reload", timeout)
    print("it reads its config again; its log says what it takes over")
