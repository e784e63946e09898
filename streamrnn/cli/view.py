"""What a person sees while a daemon runs: the banner, the live view, and the summary at the end.

On a terminal the live view is a panel that redraws itself; anywhere else it is a plain line of text every few seconds.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from streamrnn.cli.channel_table import alarm_lines, channel_table, score_line
from streamrnn.cli.pipeline_line import pipeline_lines
from streamrnn.cli.sparkline import resample, sparkline
from streamrnn.web.busy import Busy
from streamrnn.workers.supervision.wording import duration, left_line, printable, short

ROW_STYLES = ("red", "yellow", "green", "cyan")  # the chart's rows, top first
SAMPLES = 4  # lines of generated text that stay on view
FRAME = 9  # lines of a panel around its channels and alarms, and one below it
FIRST_LINE, LINE_EVERY = 1.0, 5.0  # seconds; of the plain log


# The three things a run prints.


def banner(console: Console, facts: Mapping[str, Any]) -> None:
    """Print what has been started, then READY.

    `facts`, of which any may be missing: `name`, `network` (a line), `source` (a line), `sinks`, `receivers` (lines),
    `workers` (pairs of what a worker does and its pid), `sockets` (name -> address), `checkpoints` (a folder), `state`
    (a line: new, or what it goes on from), `page` (an address).
    """
    console.print(Text.assemble(("streamrnn", "bold cyan"), "  ", (str(facts.get("name", "")), "bold")))
    for key in ("network", "source"):
        if key in facts:
            _fact(console, key, str(facts[key]))
    for line in facts.get("sinks", ()):
        _fact(console, "sink", str(line))
    for line in facts.get("receivers", ()):
        _fact(console, "alarms to", str(line))
    for role, pid in facts.get("workers", ()):
        _fact(console, "worker", f"{role}  ", (f"pid {pid}", "dim"))
    for name, address in facts.get("sockets", {}).items():
        _fact(console, name, (str(address), "cyan"))
    for key in ("checkpoints", "state"):
        if key in facts:
            _fact(console, key, str(facts[key]))
    if "page" in facts:
        _fact(console, "page", (str(facts["page"]), "cyan"))
    console.print(Text("READY", style="bold green"))


class LiveView:
    """Shows the status of a run; losses come in nats and are shown in `unit` ("bits/symbol" or "nats/frame").

    `update(status)` takes `state, frames, seconds, frames_per_second, scored, loss, recent_loss, curve, refused,
    streams, workers, channels, alarms`, any of which may be missing; `sample(text)` takes what the network wrote.
    `close()` leaves the last panel on the terminal.
    """

    def __init__(self, console: Console, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._unit, self._clock = console, unit, clock
        self._status: Mapping[str, Any] = {}
        self._samples: deque[tuple[int, str]] = deque(maxlen=SAMPLES)
        self._busy = Busy()
        self._live: Live | None = None
        self._log_at, self._logged_state = clock() + FIRST_LINE, ""
        if console.is_terminal and not console.is_dumb_terminal:
            self._live = Live(console=console, auto_refresh=False, get_renderable=self._panel)
            self._live.start()

    def update(self, status: Mapping[str, Any]) -> None:
        workers = status.get("workers", ())
        shares = self._busy.look(workers, self._clock())
        known = [{**worker, "share": share} for worker, share in zip(workers, shares, strict=True)]
        self._status = {**status, "workers": known}
        if self._live is not None:
            self._live.refresh()
        elif self._clock() >= self._log_at or status.get("state", "") != self._logged_state != "":
            self._log_at, self._logged_state = self._clock() + LINE_EVERY, status.get("state", "")
            _line(self._console, Text(log_line(status, self._unit)))

    @property
    def is_panel(self) -> bool:
        """Whether it redraws itself, and does not write lines."""
        return self._live is not None

    def sample(self, text: str) -> None:
        """Show a piece of text that the network wrote."""
        self._samples.append((self._status.get("frames", 0), text))
        if self._live is not None:
            self._live.refresh()
        else:
            _line(self._console, Text(f"          wrote  {printable(text)}"))

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _panel(self) -> RenderableType:
        return panel(self._status, self._unit, list(self._samples), self._console.width, self._console.height)


def summary(console: Console, result: Mapping[str, Any]) -> None:
    """Print what a run came to: `frames, new_frames` (of this daemon), `seconds, frames_per_second, loss,
    bits_per_symbol` (None for vectors), `parameters_sha256, checkpoint` (None if nothing was saved)."""
    pace = f"in {duration(result['seconds'])}, {result['frames_per_second']:,.0f} a second"
    if (new := result["new_frames"]) != result["frames"]:
        pace = f"in the run, {new:,} of them {pace}"
    _fact(console, "frames", (f"{result['frames']:,}", "bold"), f"  {pace}")
    bits, loss = result.get("bits_per_symbol"), result.get("loss")
    if bits is not None:
        _fact(console, "loss", (_number(bits), "bold"), " bits/symbol")
    elif loss is not None:
        _fact(console, "loss", (_number(loss), "bold"), " nats/frame")
    _fact(console, "sha256", str(result["parameters_sha256"]))
    _fact(console, "checkpoint", str(result.get("checkpoint") or "none"))


# The panel of a terminal, and the line of a log.


def panel(
    status: Mapping[str, Any], unit: str, samples: Sequence[tuple[int, str]], width: int, height: int = 24
) -> Panel:
    """The live view as it stands, `width` columns wide; of channels as many as fit into a terminal of that height."""
    state, refused = str(status.get("state", "starting")), status.get("refused", 0)
    body: list[RenderableType] = [_figures(status, unit), Text()]
    alarms = alarm_lines(status.get("alarms", ()), width - 4)
    if workers := pipeline_lines(status.get("workers", ()), width - 4):
        body += [*workers, Text()]
    if channels := status.get("channels"):
        rows = height - FRAME - len(alarms) - (len(workers) + 1 if workers else 0)
        body.append(channel_table(channels, rows, width - 4))
        body += [score_line(channels)] if "score" in channels else []
    else:
        body += _chart(status.get("curve", ()), unit, width - 4)
    if alarms:
        body += [Text(), *alarms]
    if samples:
        body += [Text(), _written(samples)]
    return Panel(
        Group(*body),
        title=Text(_state(status), style="bold green" if state in ("learning", "running") else "bold yellow"),
        title_align="left",
        subtitle=Text(f"{refused:,} refused" if refused else "Ctrl-C saves and stops", style="red" if refused else ""),
        subtitle_align="right",
        border_style="dim",
        width=width,
    )


def log_line(status: Mapping[str, Any], unit: str) -> str:
    """The status as a line of a log."""
    parts = [
        f"{duration(status.get('seconds', 0.0)):>8}  {_state(status)}",
        f"{status.get('frames', 0):,} frames",
        f"{status.get('frames_per_second', 0.0):,.0f}/s",
        f"{_number(_loss(status, 'loss', unit))} {unit}",
        f"last 10,000: {_number(_loss(status, 'recent_loss', unit))}",
        f"streams {status.get('streams', 0):,}",
        f"refused {status.get('refused', 0):,}",
    ]
    return "  ".join(parts)


def _state(status: Mapping[str, Any]) -> str:
    """In words; with what is left while it catches up."""
    left = status.get("catching_up")
    return f"{status.get('state', 'starting')}{f': {left_line(left)}' if left else ''}"


def _figures(status: Mapping[str, Any], unit: str) -> Table:
    recent, streams = _loss(status, "recent_loss", unit), status.get("streams", 0)
    table = Table.grid(expand=True, padding=(0, 1, 0, 0))
    for _ in range(4):
        table.add_column(ratio=1)
    table.add_row(
        _figure(f"{status.get('frames', 0):,}", "bold"),
        _figure(f"{status.get('frames_per_second', 0.0):,.0f}/s", "bold"),
        _figure(_number(_loss(status, "loss", unit)), "bold"),
        _figure(_number(recent), "bold green" if recent is None or math.isfinite(recent) else "bold red"),
    )
    table.add_row(
        _figure(f"frames, up {duration(status.get('seconds', 0.0))}", "dim"),
        _figure(f"{streams:,} stream{'' if streams == 1 else 's'}", "dim"),
        _figure(f"{unit}, all", "dim"),
        _figure("last 10,000", "dim"),
    )
    return table


def _figure(text: str, style: str) -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _chart(curve: Sequence[float], unit: str, width: int) -> list[Text]:
    """The loss over the whole run, with its highest and lowest value beside it."""
    values = resample([_in_unit(value, unit) for value in curve], max(8, width - 8))
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return [Text(" " * 8 + "the loss will appear here", style="dim"), *[Text()] * (len(ROW_STYLES) - 1)]
    labels = [_number(max(finite)), *[""] * (len(ROW_STYLES) - 2), _number(min(finite))]
    rows = sparkline(values, len(ROW_STYLES))
    return [
        Text.assemble((f"{label:>6}  ", "dim"), (row, style), no_wrap=True, overflow="crop")
        for label, row, style in zip(labels, rows, ROW_STYLES, strict=True)
    ]


def _written(samples: Sequence[tuple[int, str]]) -> Table:
    """What the network wrote, the newest last and brightest, and after how many frames."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", min_width=6)
    for age, (frames, text) in zip(range(len(samples) - 1, -1, -1), samples, strict=True):
        style = "dim" if age else "italic"
        table.add_row(short(frames), Text(printable(text), style=style, no_wrap=True, overflow="ellipsis"))
    for _ in range(SAMPLES - len(samples)):
        table.add_row("", "")
    return table


def _fact(console: Console, name: str, *parts: str | tuple[str, str]) -> None:
    shown = [printable(part) if isinstance(part, str) else (printable(part[0]), part[1]) for part in parts]
    _line(console, Text.assemble((f"{name:<13}", "dim"), *shown))


def _line(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)  # an address or a hash stays in one piece


# Numbers and text, made fit to be seen.


def _loss(status: Mapping[str, Any], key: str, unit: str) -> float | None:
    """A loss of the status in the unit shown; None as long as nothing has been scored."""
    loss = status.get(key) if status.get("scored") else None
    return None if loss is None else _in_unit(loss, unit)


def _in_unit(nats: float, unit: str) -> float:
    return nats / math.log(2) if unit.startswith("bits") else nats


def _number(value: float | None) -> str:
    """Three decimals, fewer for what is large; a dash where there is no number yet. A loss that is nan says so."""
    if value is None:
        return "–"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"
