"""Commands that start from a config: `streamrnn run` and `streamrnn check`."""

import math
import os
import signal
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

import streamrnn as sr
from streamrnn.cli import view
from streamrnn.cli.configs import ConfigPath, load
from streamrnn.cli.describe import describe
from streamrnn.cli.exits import Exit, fail
from streamrnn.cli.page import Page, wanted
from streamrnn.cli.streams import steady
from streamrnn.config import Config, ConfigError, Log, LogFormat, LogLevel, network_line
from streamrnn.cuda.device import CPU
from streamrnn.storage.files import WRITING
from streamrnn.workers.supervision import logs

app = typer.Typer()

LOOK_INTERVAL = 0.2  # seconds between looks at how the daemon is
SAMPLE_INTERVAL = 5.0  # seconds between lines of generated text
SAMPLE_LENGTH = 64

EXITS = "Exit codes: 0 a good end; 1 something outside is not as it must be (state, addresses, files, the disk); "
EXITS += "2 wrong usage or config; 3 given up after too many restarts of workers; 70 a bug."


@app.command(epilog=EXITS)
@steady()
def run(
    config: ConfigPath,
    source: Annotated[
        str | None, typer.Option(metavar="PATH|-", help="Read this file once, or standard input.")
    ] = None,
    backfill: Annotated[
        str | None, typer.Option(metavar="PATH", help="Learn this file first, then what its source brings.")
    ] = None,
    max_frames: Annotated[int, typer.Option(min=0, metavar="N", help="Stop after N frames; 0 goes on.")] = 0,
    fused: Annotated[
        bool, typer.Option("--fused", help="All workers in one process: the same results to the bit, less memory.")
    ] = False,
    new: Annotated[bool, typer.Option("--new", help="Begin anew; what has been learned until now is kept.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from what is there; an error if nothing is.")] = False,
    resume_if_any: Annotated[bool, typer.Option("--resume-if-any", hidden=True)] = False,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what the run came to.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    web: Annotated[
        bool | None, typer.Option("--web/--no-web", help="A page in the browser; without, only on a terminal.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, metavar="N", help="Of the page; 0 is any.")] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    log: Annotated[LogFormat | None, typer.Option(help="How events look on standard error.")] = None,
    log_level: Annotated[LogLevel | None, typer.Option(help="Which of them are written, and graver.")] = None,
) -> None:
    """Start the daemon: predict, learn and publish until the source ends or Ctrl-C, then save.

    It goes on from what its last run has learned, or begins where nothing is.
    """
    from streamrnn.workers import devices
    from streamrnn.workers.supervisor import Supervisor
    from streamrnn.workers.worker import Failure, GaveUp

    page: Page | None = None

    def read() -> Config:
        settings = load(config, source=source, backfill=backfill)
        table = Log(format=log or settings.log.format, level=log_level or settings.log.level)
        return msgspec.structs.replace(settings, log=table)

    console = Console(quiet=quiet)
    logs.set_up(log or "plain", log_level)
    if new and (resume or resume_if_any):
        fail("--new begins anew, --resume goes on: give one of them", Exit.USAGE)
    try:
        settings = read()
        logs.set_up(settings.log.format, settings.log.level)
        if settings.reads_stdin and sys.stdin is None:
            raise Failure("standard input is closed, and the source is to read it: open it, or name a file")
        if json and not json.parent.is_dir():
            raise Failure(f"{json}: there is no folder {json.parent} to write it into")
        devices.check(settings)
        if wanted(web, port, open_page, watched=console.is_terminal and not quiet and not json):
            page = Page(port)
        supervisor = Supervisor(
            settings,
            max_frames=max_frames,
            fused=fused,
            resume=resume,
            new=new,
            reread=read,
        )
        try:
            result = watch(supervisor, settings, console, page, open_page)
        finally:
            supervisor.close()
    except ConfigError as error:
        fail(str(error), Exit.USAGE)
    except GaveUp as error:
        fail(str(error), Exit.GAVE_UP)
    except (sr.CheckpointError, sr.KeysError, sr.DeviceError, Failure, OSError) as error:
        fail(str(error))
    finally:
        if page:
            page.close()
    if json:
        write_result(json, result)
    if not quiet:
        view.summary(console, result)


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write what a run came to, all of it or nothing."""
    temporary = path.with_name(path.name + WRITING)
    try:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        fail(f"{path}: {error.strerror}; the run is saved, what it came to could not be written there")


def watch(
    supervisor: Any, settings: Config, console: Console, page: Page | None = None, open_page: bool = False
) -> dict[str, Any]:
    """Run a supervisor to its end under the eyes of whoever looks at the console; Ctrl-C and SIGTERM drain it.

    page: is served from now on.
    """
    from streamrnn.cli.live_channels import look_at_channels, together

    for number in supervisor.signals:
        signal.signal(number, lambda *_: supervisor.interrupt())
    if not console.is_terminal:  # where a terminal is closed, the daemon ends
        signal.signal(supervisor.reload_signal, lambda *_: supervisor.actions["reload"]())
    begun = time.monotonic()
    tell_start(supervisor)
    if page:
        page.start(settings.sockets.control, key_of(settings), open_page)
    with console.status("starting") as spinner:
        supervisor.start(lambda text: tell(console, spinner, text), spinner.update if console.is_terminal else None)
    seconds = time.monotonic() - begun
    logs.tell("info", "ready", f"ready after {seconds:.2f} s", seconds=seconds)
    supervisor.manager.ready()
    view.banner(console, facts(supervisor, settings) | ({"page": page.address} if page else {}))
    live = view.LiveView(console, "bits/symbol" if settings.input.kind == "tokens" else "nats/frame")
    changes = logs.Changes()
    samples: list[str] = []
    channels: deque[dict[str, Any]] = deque(maxlen=1)
    over = threading.Event()
    if not console.quiet and settings.input.kind == "tokens" and settings.predict == "next":
        threading.Thread(target=write_samples, args=(settings, samples, over), daemon=True).start()
    if live.is_panel and not settings.readout.classes:
        where = settings.sockets.control, key_of(settings)
        threading.Thread(target=look_at_channels, args=(*where, channels, over), daemon=True).start()
    try:
        looked = -math.inf
        while supervisor.step():
            if time.monotonic() - looked < LOOK_INTERVAL:
                continue
            looked, status = time.monotonic(), supervisor.status()
            live.update(status | {"channels": together(status["channels"], channels)})
            changes.look(status)
            supervisor.manager.show(status)
            while samples:
                live.sample(samples.pop(0))
        status = supervisor.status()
        live.update(status | {"channels": together(status["channels"], channels)})
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
    frames, new, seconds, loss = (result[name] for name in ("frames", "new_frames", "seconds", "loss"))
    text = f"ended after {new:,} frames in {view.duration(seconds)}, {frames:,} in the run"
    logs.tell("info", "ended", text, frames=frames, new_frames=new, seconds=seconds, loss=loss)


def tell(console: Console, spinner: Any, text: str) -> None:
    """Say what is being done, in the spinner of a terminal or as a line of a log."""
    if console.is_terminal:
        spinner.update(text)
    else:
        console.print(text)


def facts(supervisor: Any, settings: Config) -> dict[str, Any]:
    """What the banner tells."""
    return {
        "name": settings.name,
        "network": network_line(settings),
        "source": settings.source_line,
        "sinks": [f"{table.kind}, {table.line}" for table in settings.sinks],
        "receivers": [f"{table.kind}, {table.line}" for table in settings.alarms],
        "workers": [(place(worker), worker.pid) for worker in supervisor.workers.values()],
        "sockets": msgspec.structs.asdict(settings.sockets),
        "checkpoints": supervisor.checkpoints,
        "state": origin(supervisor),
    }


def place(worker: Any) -> str:
    """What a worker does, and where, if that is no core."""
    return worker.does if worker.device == CPU else f"{worker.does}  on {worker.device}"


def origin(supervisor: Any) -> str:
    """Where a daemon that is ready has gone on from, in a line."""
    checkpoint, frames = supervisor.resumed, supervisor.manifest.frames
    places = [f"checkpoint {checkpoint.name}"] if checkpoint else []
    if supervisor.passed.until > frames:
        places.append("the journal")
    return f"goes on from {' and '.join(places)}, {supervisor.passed.until:,} frames" if places else "new"


def key_of(settings: Config) -> Path | None:
    """The key that the daemon itself is a client with, where it asks for one."""
    from streamrnn.protocol.keys import Keys

    return Keys(settings.keys).path if settings.security.curve else None


def write_samples(settings: Config, samples: list[str], over: threading.Event) -> None:
    """Have the daemon write a line now and then, until it is over."""
    from streamrnn.protocol.stream_names import PREVIEW

    try:
        with sr.Client(settings.sockets.control, key=key_of(settings)) as client:
            while not over.wait(SAMPLE_INTERVAL):
                text = client.generate("The ", max_length=SAMPLE_LENGTH, temperature=0.7, stream=PREVIEW)
                samples.append(text)
    except (sr.DaemonGone, sr.FrameRefused):
        return  # it is draining


@app.command()
def check(config: ConfigPath) -> None:
    """Check a config and print what it would start, without starting anything."""
    from streamrnn.workers import devices

    try:
        settings = load(config)
        Console().print(describe(settings))
        devices.check(settings)
    except ConfigError as error:
        fail(str(error), Exit.USAGE)
    except sr.DeviceError as error:
        fail(str(error))
