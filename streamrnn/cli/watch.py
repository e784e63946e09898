"""`streamrnn watch FILE`: a table of readings, and in a moment what a network makes of it."""

import os
import tempfile
import threading
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console

from streamrnn.cli.channel_table import error_table
from streamrnn.cli.exits import Exit, fail
from streamrnn.cli.plot import FORMATS, draw
from streamrnn.cli.run import watch as run_daemon
from streamrnn.cli.streams import steady
from streamrnn.config import Config, ConfigError, parse
from streamrnn.config.table_config import Readings, name_of, table_config
from streamrnn.model.tables import Input
from streamrnn.sinks.jsonl import JsonlConfig
from streamrnn.sources import table_of

if TYPE_CHECKING:
    from streamrnn.sources.frames import Frames

app = typer.Typer()

FIRST_ROWS = 1000  # from which the time between readings is taken
FIRST_LINES = 5  # of standard input, from which its columns are found
TOP = 1 << 16  # bytes read at once
RECORDS, HISTORY = "outputs.jsonl", 1 << 28  # what is drawn is read from; bytes that the writer may be behind


@app.command()
@steady()
def watch(
    path: Annotated[str, typer.Argument(metavar="FILE|FOLDER|-", help="CSV or JSON lines, packed by gzip or not.")],
    columns: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="The columns that are channels; without, all numbers are.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of times; without, it is found.")
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="COLUMN", help="Its values name devices, each a stream.")] = None,
    format: Annotated[
        Literal["csv", "jsonl"] | None, typer.Option(help="How it is written; without, as its name ends.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more, as tail -F does.")] = False,
    bad_rows: Annotated[Literal["stop", "skip"], typer.Option(help="What a row that cannot be read does.")] = "stop",
    write_config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the config that it makes, to be changed and run.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png|svg", help="Draw values, forecasts, intervals and surprise.")
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what it came to.")] = None,
) -> None:
    """Forecast the next reading of every channel of a table, live, and tell how good that was.

    It runs a daemon of its own on the file, whose state goes when it ends. For one that stays: --write-config, then
    `streamrnn run`. At the end each channel's mean absolute error stands beside that of "the same again".
    """
    from streamrnn.workers.supervisor import Supervisor
    from streamrnn.workers.worker import Failure, GaveUp

    console = Console()
    if plot:
        check_plot(plot)
    given: dict[str, Any] = {"columns": columns.split(",") if columns else None, "time": time, "key": key}
    given |= {"follow": follow or None, "bad_rows": None if bad_rows == "stop" else bad_rows}
    options = {name: value for name, value in given.items() if value is not None}
    kind = format or ("jsonl" if path.removesuffix(".gz").endswith((".jsonl", ".ndjson", ".json")) else "csv")
    file = str(write_config or "FILE.toml")
    try:
        with tempfile.TemporaryDirectory(prefix="streamrnn-") as folder:
            readings = look(top_of_input(folder) if path == "-" else path, kind, options)
            where = path if path == "-" else os.path.abspath(path)
            text = table_config(readings._replace(source={"path": where} | readings.source), name_of(path), file)
            if write_config:
                write_config.write_text(text)
            config = embedded(parse(text), folder, records=plot is not None)
            supervisor = Supervisor(config, new=True)
            try:
                result = run_daemon(supervisor, config, console)
                status = supervisor.status()
            finally:
                supervisor.close()
            if plot:
                draw(plot, Path(folder) / RECORDS, config.name)
    except ConfigError as error:
        fail(str(error), Exit.USAGE)
    except GaveUp as error:
        fail(str(error), Exit.GAVE_UP)
    except (Failure, OSError, ValueError) as error:
        fail(str(error))
    if json:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(result | {"errors": status["errors"]})) + b"\n")
    console.print(error_table(status["errors"]))
    if any(source["trouble"] for source in status["sources"]):  # which the log has said
        raise typer.Exit(Exit.FAILED)


def check_plot(path: Path) -> None:
    """End the command where no picture can be drawn there."""
    if path.suffix not in FORMATS:
        fail(f"{path}: a picture ends in {' or '.join(FORMATS)}", Exit.USAGE)
    if find_spec("matplotlib") is None:
        fail("--plot needs more than is installed: pip install streamrnn[plot]", Exit.USAGE)


def look(path: str, kind: str, options: dict[str, Any]) -> Readings:
    """What is found in a table. Raises ConfigError, SourceError."""
    table: Any = table_of({"kind": kind, "path": path, **options})
    channels = table.channels() or []
    for _, problem in table.misfits(Input(kind="vector", size=len(channels))):
        raise ConfigError(f"{path}: {problem}")
    source = table.open()
    frames = source.peek(FIRST_ROWS)
    source.close()
    return Readings(kind, channels, table.units(), step_of(frames), options | {"columns": channels})


def step_of(frames: "Frames") -> float | None:
    """Seconds from one frame of a stream to the next, as most of them are apart; None where there are no times."""
    import numpy as np

    if frames.times is None or len(frames) < 2:
        return None
    own = np.array([not frames.keys or name == frames.keys[0] for name in frames.keys or frames.times])
    steps = np.diff(frames.times[own].astype(np.float64))
    return float(np.median(steps[steps > 0])) / 1e9 if (steps > 0).any() else None


def top_of_input(folder: str) -> str:
    """A file with the first lines of standard input, which comes through the named pipe `input` beside it."""
    top, pipe = os.path.join(folder, "top"), os.path.join(folder, "input")
    os.mkfifo(pipe, 0o600)
    first = os.read(0, TOP)
    while first.count(b"\n") < FIRST_LINES and (more := os.read(0, TOP)):
        first += more
    Path(top).write_bytes(first[: first.rfind(b"\n") + 1] or first)
    threading.Thread(target=pass_on, args=(first, pipe), daemon=True).start()
    return top


def pass_on(first: bytes, pipe: str) -> None:
    """Write what has been read of standard input into a named pipe, and then the rest."""
    with suppress(BrokenPipeError), open(pipe, "wb", buffering=0) as out:
        while first:
            out.write(first)
            first = os.read(0, TOP)


def embedded(config: Config, folder: str, records: bool) -> Config:
    """The same for a daemon whose sockets and state lie in a folder of its own; records: its outputs too."""
    replace = msgspec.structs.replace
    sockets = {name: f"ipc://{folder}/{name}" for name in ("gate", "outputs", "control")}
    source: Any = config.source
    if source.path == "-":
        source = replace(source, path=os.path.join(folder, "input"))
    state = replace(config.state, folder=os.path.join(folder, "state"))
    config = replace(config, source=source, state=state, sockets=replace(config.sockets, **sockets))
    if not records:
        return config
    sink = JsonlConfig(path=os.path.join(folder, RECORDS), rotate=0)
    return replace(config, sinks=[sink], outputs=replace(config.outputs, history=HISTORY))
