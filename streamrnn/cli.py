"""The command line: `streamrnn run`, `streamrnn check`, and the commands of `streamrnn.remote`."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from streamrnn import checkpoints, commands, keyring, logs, remote, view
from streamrnn import config as configs
from streamrnn.checkpoint import CheckpointError
from streamrnn.client import Client, DaemonGone, FrameRefused
from streamrnn.exits import Exit, fail
from streamrnn.keys import Keys, KeysError
from streamrnn.wire import PREVIEW

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Recurrent networks that predict and learn on every frame of a live stream.",
    pretty_exceptions_enable=False,
)

app.add_typer(commands.app)
app.add_typer(remote.app)
app.add_typer(checkpoints.app, name="checkpoints")
app.add_typer(keyring.app, name="keys")

SAMPLE_INTERVAL = 5.0  # seconds between lines of generated text
SAMPLE_LENGTH = 64

EXITS = "Exit codes: 0 a good end; 1 something outside is not as it must be (state, addresses, files, the disk); "
EXITS += "2 wrong usage or config; 3 given up after too many restarts of workers; 70 a bug."

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file, such as configs/text.toml.")]


@app.command(epilog=EXITS)
def run(
    config: ConfigPath,
    source: Annotated[
        str | None, typer.Option(metavar="PATH|-", help="Read this file once, or standard input.")
    ] = None,
    max_frames: Annotated[int, typer.Option(min=0, metavar="N", help="Stop after N frames; 0 goes on.")] = 0,
    fused: Annotated[
        bool, typer.Option("--fused", help="All layers in one process: the same results to the bit.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    resume_if_any: Annotated[
        bool, typer.Option("--resume-if-any", help="The same, or begin where there is nothing to go on from.")
    ] = False,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what the run came to.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    log: Annotated[configs.LogFormat | None, typer.Option(help="How events look on standard error.")] = None,
    log_level: Annotated[configs.LogLevel | None, typer.Option(help="Which of them are written, and graver.")] = None,
) -> None:
    """Start the daemon: predict, learn and publish until the source ends or Ctrl-C, then save."""
    from streamrnn.workers.member import Failure, GaveUp
    from streamrnn.workers.supervisor import Supervisor

    def read() -> configs.Config:
        settings = configs.load(config, source=source)
        table = configs.Log(format=log or settings.log.format, level=log_level or settings.log.level)
        return msgspec.structs.replace(settings, log=table)

    console = Console(quiet=quiet)
    logs.set_up(log or "plain", log_level)
    try:
        settings = read()
        logs.set_up(settings.log.format, settings.log.level)
        if json and not json.parent.is_dir():
            raise Failure(f"{json}: there is no folder {json.parent} to write it into")
        supervisor = Supervisor(
            settings,
            max_frames=max_frames,
            fused=fused,
            resume=resume or resume_if_any,
            or_begin=not resume,
            reread=read,
        )
        try:
            result = watch(supervisor, settings, console)
        finally:
            supervisor.close()
    except configs.ConfigError as error:
        fail(str(error), Exit.USAGE)
    except GaveUp as error:
        fail(str(error), Exit.GAVE_UP)
    except (CheckpointError, KeysError, Failure, OSError) as error:
        fail(str(error))
    if json:
        temporary = json.with_name(json.name + ".writing")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
        os.replace(temporary, json)
    if not quiet:
        view.summary(console, result)


def watch(supervisor: Any, settings: configs.Config, console: Console) -> dict[str, Any]:
    """Run a supervisor to its end under the eyes of whoever looks at the console; Ctrl-C and SIGTERM drain it."""
    for number in supervisor.signals:
        signal.signal(number, lambda *_: supervisor.interrupt())
    if not console.is_terminal:  # where a terminal is closed, the daemon ends
        signal.signal(supervisor.reload_signal, lambda *_: supervisor.actions["reload"]())
    begun = time.monotonic()
    tell_start(supervisor)
    with console.status("starting") as spinner:
        supervisor.start(lambda text: tell(console, spinner, text))
    seconds = time.monotonic() - begun
    logs.tell("info", "ready", f"ready after {seconds:.2f} s", seconds=seconds)
    supervisor.manager.ready()
    view.banner(console, facts(supervisor, settings))
    live = view.LiveView(console, "bits/symbol" if settings.input.kind == "tokens" else "nats/frame")
    changes = logs.Changes()
    samples: list[str] = []
    over = threading.Event()
    if not console.quiet and settings.input.kind == "tokens" and settings.predict == "next":
        threading.Thread(target=write_samples, args=(settings, samples, over), daemon=True).start()
    try:
        while supervisor.step():
            status = supervisor.status()
            live.update(status)
            changes.look(status)
            supervisor.manager.show(status)
            while samples:
                live.sample(samples.pop(0))
        live.update(supervisor.status())
    finally:
        over.set()
        live.close()
    result: dict[str, Any] = supervisor.result()
    tell_end(result)
    return result


def tell_start(supervisor: Any) -> None:
    """Say in the log what is being started."""
    name, run, epoch = supervisor.config.name, supervisor.run, supervisor.epoch
    origin = str(supervisor.resumed) if supervisor.resumed else None
    text = f"starting {name}, run {run}, epoch {epoch}, {f'resumed from {origin}' if origin else 'new'}"
    logs.tell("info", "started", text, name=name, run=run, epoch=epoch, resumed=origin)


def tell_end(result: dict[str, Any]) -> None:
    """Say in the log what it came to."""
    frames, seconds, loss = result["frames"], result["seconds"], result["loss"]
    text = f"ended after {frames:,} frames in {view.duration(seconds)}"
    logs.tell("info", "ended", text, frames=frames, seconds=seconds, loss=loss)


def tell(console: Console, spinner: Any, text: str) -> None:
    """Say what is being done, in the spinner of a terminal or as a line of a log."""
    if console.is_terminal:
        spinner.update(text)
    else:
        console.print(text)


def facts(supervisor: Any, settings: configs.Config) -> dict[str, Any]:
    """What the banner tells."""
    return {
        "name": settings.name,
        "network": configs.network_line(settings),
        "source": configs.source_line(settings.source),
        "workers": [(worker.does, worker.pid) for worker in supervisor.workers.values()],
        "sockets": msgspec.structs.asdict(settings.sockets),
        "checkpoints": supervisor.checkpoints,
        "state": f"resumed from {supervisor.resumed}" if supervisor.resumed else "new",
    }


def write_samples(settings: configs.Config, samples: list[str], over: threading.Event) -> None:
    """Have the daemon write a line now and then, until it is over."""
    try:
        key = Keys(settings.keys).path if settings.security.curve else None
        with Client(settings.sockets.control, key=key) as client:
            while not over.wait(SAMPLE_INTERVAL):
                text = client.generate("The ", max_length=SAMPLE_LENGTH, temperature=0.7, stream=PREVIEW)
                samples.append(text)
    except (DaemonGone, FrameRefused):
        return  # it is draining


@app.command()
def check(config: ConfigPath) -> None:
    """Check a config and print what it would start, without starting anything."""
    try:
        Console().print(configs.describe(configs.load(config)))
    except configs.ConfigError as error:
        fail(str(error), Exit.USAGE)


def main() -> None:
    """The entry point."""
    try:
        app()
    except Exception as error:
        logs.tell_bug(error, Exit.BUG)
        sys.exit(Exit.BUG)
