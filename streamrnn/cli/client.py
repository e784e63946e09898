"""Commands that speak to a running daemon: `streamrnn status`, `tail`, `send` and `generate`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import filesize
from rich.console import Console
from rich.table import Table
from rich.text import Text

import streamrnn as sr
from streamrnn.cli import view
from streamrnn.cli.channel_table import alarm_ago, number
from streamrnn.cli.exits import Exit, fail
from streamrnn.cli.json_lines import Json, print_json
from streamrnn.config import Sockets
from streamrnn.cuda.device import CPU
from streamrnn.model.channels import names
from streamrnn.model.tables import Forecast, Readout
from streamrnn.workers.supervision.wording import displayable, receiver_line, sink_line

if TYPE_CHECKING:
    from streamrnn.model.anomalies import Alarm

app = typer.Typer()

CONTROL = Sockets().control
FIGURES = ["name", "state", "epoch", "recoveries", "frames", "frames_per_second", "loss", "recent_loss", "streams"]
FIGURES += ["streams_on_disk", "refused", "streams_refused", "rejected", "bad", "skipped_updates"]

Control = Annotated[str, typer.Option(metavar="ADDRESS", help="Where the daemon's control socket is.")]
KeyFile = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="The key that the daemon knows this client by.")
]
Timeout = Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How long to wait for an answer.")]


@contextmanager
def daemon(control: str, timeout: float, key: Path | None) -> Iterator["sr.Client"]:
    """A client; what goes wrong with it is one line."""
    try:
        with sr.Client(control, timeout, key) as client:
            yield client
    except (sr.DaemonGone, sr.FrameRefused) as error:
        fail(str(error))
    except ValueError as error:
        fail(str(error), Exit.USAGE)


@app.command()
def status(control: Control = CONTROL, timeout: Timeout = 5.0, key: KeyFile = None, json: Json = False) -> None:
    """Show how the daemon is: frames, speed, loss, journal, checkpoint, workers."""
    with daemon(control, timeout, key) as client:
        facts = client.status()
    if json:
        print_json(facts)
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    for name, line in status_lines(facts):
        table.add_row(
            name, Text(view.printable(line))
        )  # Text: what comes from outside may hold what rich takes for markup
    Console().print(table)


def status_lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a person wants to know of a daemon, as names and lines."""
    for name in FIGURES:
        value = facts[name]
        yield name.replace("_", " "), f"{value:,.3f}" if isinstance(value, float) else str(value)
    if facts["catching_up"]:
        yield "catching up", view.left_line(facts["catching_up"])
    if facts.get("experts"):
        yield "experts", ", ".join(f"{name} {weight:.0%}" for name, weight in facts["experts"].items())
    if "score" in (channels := facts.get("channels") or {}):
        yield "score", f"{number(channels['score'])} of {number(channels['threshold'])}"
    for alarm in facts.get("alarms", ()):
        yield "alarm", alarm_ago(alarm)
    for source in facts.get("sources", ()):
        if source["trouble"]:
            yield "source", f"{source['line']}: {source['trouble']}"
    if passed := ", ".join(f"{count:,} {what}" for what, count in facts.get("passed_over", {}).items() if count):
        yield "passed over", passed
    yield "up", view.duration(facts["seconds"])
    if facts["full"]:
        yield "full", facts["full"]
    journal, checkpoint = facts["journal"], facts["checkpoint"]
    behind = f"{journal['records']:,} records behind the checkpoint, {journal['not_durable']:,} not yet on the disk"
    yield "journal", f"{filesize.decimal(journal['bytes'])}, {behind}"
    if checkpoint:
        age = f"{view.duration(checkpoint['seconds'])} ago"
        yield "checkpoint", f"{checkpoint['number']}, {checkpoint['frames']:,} frames, {age}"
    yield "checkpoints", facts["checkpoints"]
    for sink in facts.get("sinks", ()):
        yield "sink", sink_line(sink)
    for receiver in facts.get("receivers", ()):
        yield "alarms to", receiver_line(receiver)
    for worker in facts["workers"]:
        heard = "" if worker["heard"] is None else f"  heard {worker['heard']:.1f} s ago"
        memory = filesize.decimal(worker["memory"])
        away = worker.get("device", CPU) != CPU
        place = f"  {filesize.decimal(worker['device_memory'])} on {worker['device']}" if away else ""
        yield "worker", f"{worker['name']}  {worker['does']}  pid {worker['pid']}  {memory}{place}{heard}"


@app.command()
def tail(
    stream: Annotated[str | None, typer.Argument(metavar="[STREAM]", help="Only this stream; all without it.")] = None,
    frames: Annotated[int, typer.Option(min=0, metavar="N", help="Stop after N outputs; 0 goes on.")] = 0,
    control: Control = CONTROL,
    timeout: Timeout = 5.0,
    key: KeyFile = None,
    json: Json = False,
) -> None:
    """Print outputs as they come: the likeliest byte of text, forecasts with their intervals, or the numbers."""
    with daemon(control, timeout, key) as client, client.subscribe(stream) as outputs:
        text = client.predicts_bytes
        for count, output in enumerate(outputs, 1):
            if json:
                print_json(as_json(output, client.readout))
            elif text:
                print(view.printable(chr(int(output.y.argmax()))), end="", flush=True)
            else:
                said = as_line(output.y, client)
                when = f"  {output.when:%Y-%m-%d %H:%M:%S}" if output.when else ""
                print(
                    f"{view.printable(output.stream)}  {output.seq}{when}  loss {output.loss:.4g}  {said}", flush=True
                )
                if found := alarm_in(output, client):
                    print(f"alarm {found.event}: {view.printable(found.words)}", flush=True)
            if count == frames:
                break
    if text and not json:
        print()


@app.command()
def send(
    text: Annotated[str | None, typer.Argument(help="What to send; standard input without it.")] = None,
    stream: Annotated[str, typer.Option(metavar="NAME", help="The stream it belongs to.")] = "main",
    control: Control = CONTROL,
    timeout: Timeout = 5.0,
    key: KeyFile = None,
    json: Json = False,
) -> None:
    """Send frames as they come: the bytes of a text, or lines of numbers, a target behind "->": 0.1 0.2 0.3 -> 1 0."""
    from streamrnn.cli.sending import Sender

    with daemon(control, timeout, key) as client:
        Sender(client, stream).send(None if text is None else os.fsencode(text))
        count = client.accepted
    if json:
        print_json({"stream": stream, "frames": count})
    else:
        print(f"{count:,} frames accepted on stream {stream}")


@app.command()
def generate(
    prefix: Annotated[str, typer.Argument(help="The text to go on from.")],
    length: Annotated[int, typer.Option(min=1, metavar="N", help="Bytes to write at most.")] = 200,
    until: Annotated[str | None, typer.Option(metavar="BYTE", help="Stop before this byte.")] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest byte each time.")] = 0.7,
    top_k: Annotated[int, typer.Option(min=0, metavar="K", help="Draw among the K likeliest; 0 among all.")] = 0,
    seed: Annotated[int | None, typer.Option(help="Makes the draws the same again.")] = None,
    control: Control = CONTROL,
    timeout: Timeout = 5.0,
    key: KeyFile = None,
    json: Json = False,
) -> None:
    """Have the daemon write on from a prefix; nothing is learned from it."""
    with daemon(control, timeout, key) as client:
        written = client.generate(
            prefix, until=until, max_length=length, temperature=temperature, top_k=top_k, seed=seed
        )
    if json:
        print_json({"prefix": as_text(prefix), "text": written})
    else:
        print(displayable(as_text(prefix) + written) if sys.stdout.isatty() else as_text(prefix) + written)


def as_json(output: "sr.Output", readout: Readout) -> dict[str, Any]:
    """An output in plain values, `losses` of each channel and the `target` that was scored where they are vectors; what
    is NaN becomes null. `time` is there where that of the frame is known.

    Of forecasts it has `forecasts` too, by horizon, and `anomaly` where there is one: what `y` holds, by name.
    """
    plain = {"stream": output.stream, "seq": output.seq, "loss": output.loss, "y": output.y.tolist()}
    if isinstance(readout, Forecast):
        plain["forecasts"] = {frames: as_plain(said._asdict()) for frames, said in readout.read(output.y).items()}
        if readout.anomaly:
            plain["anomaly"] = as_plain(readout.anomalies(output.y)._asdict())
    if output.when:
        plain["time"] = output.when.isoformat()
    vectors = {"losses": output.losses, "target": output.target}
    return plain | {name: values.tolist() for name, values in vectors.items() if len(values)}


def as_plain(said: dict[str, Any]) -> dict[str, Any]:
    """Arrays in a table, and in tables in it, as lists."""
    return {name: as_plain(value) if isinstance(value, dict) else value.tolist() for name, value in said.items()}


def as_line(y: Any, client: "sr.Client") -> str:
    """An output on a line: of a forecast, each channel one frame ahead with its interval."""
    if not isinstance(client.readout, Forecast):
        return as_numbers(y)
    said = client.readout.read(y)[1]
    every = zip(names(client.channels, len(said.mean)), said.mean, said.lower, said.upper, strict=True)
    return ", ".join(f"{view.printable(name)} {mean:.4g} ({low:.4g} to {high:.4g})" for name, mean, low, high in every)


def alarm_in(output: "sr.Output", client: "sr.Client") -> "Alarm | None":
    """The alarm that an output holds, if it is one."""
    from streamrnn.model.anomalies import alarm  # a command for a text needs no arrays

    if not isinstance(client.readout, Forecast) or not client.readout.anomaly:
        return None
    return alarm(output.stream, output.seq, client.readout.anomalies(output.y), client.channels)


def as_text(argument: str) -> str:
    """An argument as it can be printed: bytes in it that are no text are replaced."""
    return argument.encode(errors="surrogateescape").decode(errors="replace")


def as_numbers(values: Any) -> str:
    """A vector on a line."""
    return " ".join(f"{value:.4g}" for value in values)
