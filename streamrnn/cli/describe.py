"""The plan that `streamrnn check` prints."""

from collections.abc import Iterator

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streamrnn.config import Config, stages, workers
from streamrnn.cuda.device import CPU
from streamrnn.workers.supervision.wording import printable


def describe(config: Config) -> RenderableType:
    """Network, learning, source, workers, sockets and state, within 80 columns where the paths are short."""
    return Group(Text(config.name, style="bold"), _network_table(config), _facts_table(config))


def _network_table(config: Config) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", footer_style="dim", show_footer=True)
    plan = stages(config)
    total = sum(stage.parameters for stage in plan)
    table.add_column("stage", "total")
    table.add_column("kind")
    for column, footer in (("input", ""), ("output", ""), ("parameters", f"{total:,}"), ("bytes", f"{4 * total:,}")):
        table.add_column(column, footer, justify="right")
    for stage in plan:
        numbers = (stage.input, stage.output, stage.parameters, 4 * stage.parameters)
        table.add_row(stage.name, stage.kind, *(f"{number:,}" for number in numbers))
    return table


def _facts_table(config: Config) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _facts(config):
        table.add_row(name, Text(printable(text)))  # Text: a path may hold what rich takes for markup
    return table


def _facts(config: Config) -> Iterator[tuple[str, str]]:
    learning, plan = config.learning, stages(config)
    clip = f"clip norm {learning.clip_norm:g}" if learning.clip_norm else "no clipping"
    yield "", ""
    yield "predicts", "the next input" if config.predict == "next" else "the target that comes with the frame"
    if config.input.standardize:
        missing = {"refuse": "refused", "fill": "filled in"}[config.input.missing]
        mask = ", with a mask" if config.input.mask else ""
        yield "input", f"standardised online, missing readings {missing}{mask}"
    yield (
        "learning",
        f"window {learning.window}, accumulate {learning.accumulate}, "
        f"gradient delay {learning.gradient_delay}, {clip}, seed {learning.seed}",
    )
    options = (f"{key} {value:g}" for key, value in msgspec.structs.asdict(config.optimizer).items())
    yield "optimizer", f"{config.optimizer.kind}, {', '.join(options)}"
    yield "source", config.source_line
    for table in config.sinks:
        yield "sink", f"{table.kind}, {table.line}"
    for receiver in config.alarms:
        yield "alarms to", f"{receiver.kind}, {receiver.line}"
    for number, (hosted, device) in enumerate(zip(workers(config), config.devices, strict=True), 1):
        names = ", ".join(plan[i].name for i in hosted) + (f", on {device}" if device != CPU else "")
        yield f"worker {number}", f"gate, {names}, publisher, in one process" if config.single else names
    yield from msgspec.structs.asdict(config.sockets).items()
    if config.security.curve:
        yield "security", f"encrypted, for clients with a key in {config.keys}"
    yield "state", f"{config.folder}, the last {config.state.keep} checkpoints"
