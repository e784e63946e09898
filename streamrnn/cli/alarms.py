"""The command that tells whether alarms would arrive: `streamrnn test-alarms`."""

from contextlib import closing
from typing import Annotated

import typer

from streamrnn.alarms import Surroundings
from streamrnn.cli.configs import ConfigPath, load
from streamrnn.cli.exits import Exit, fail
from streamrnn.config import ConfigError
from streamrnn.sinks import SinkError
from streamrnn.workers.supervision import logs
from streamrnn.workers.supervision.wording import printable

app = typer.Typer()


@app.command("test-alarms")
def try_alarms(
    config: ConfigPath,
    kind: Annotated[str | None, typer.Option(help="Only receivers of that kind, such as webhook.")] = None,
) -> None:
    """Send a message to each receiver in a config, and tell what became of it; no daemon need run."""
    from streamrnn.alarms.receiver import trial

    try:
        settings = load(config)
    except ConfigError as error:
        fail(str(error), Exit.USAGE)
    tables = [table for table in settings.alarms if kind in (None, table.kind)]
    if not tables:
        fail(f"{config} has no [[alarms]]{f' of kind {kind}' if kind else ''}", Exit.USAGE)
    about = Surroundings(settings.name, settings.folder, lambda event, text: logs.tell("warning", event, text))
    bad = 0
    for table in tables:
        try:
            with closing(table.carrier(about)) as carrier:
                carrier.deliver(trial(settings.name))
            print(f"{table.kind}  {printable(table.line)}  answered", flush=True)
        except SinkError as error:
            bad += 1
            print(f"{table.kind}  {printable(str(error))}", flush=True)
    if bad:
        raise typer.Exit(Exit.FAILED)
