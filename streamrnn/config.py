"""The configuration of a daemon: one TOML file, checked against these types before anything starts.

`load` returns a `Config` or raises a `ConfigError`: one line that names the file, the key and what to do about it.
What each key means is said once, beside its field.
"""

import difflib
import itertools
import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct, inspect
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streamrnn.addresses import EVERYWHERE, host_of, is_local


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line that names the file, the key and the remedy."""


# Upper bounds only keep nonsense (a misplaced digit, an infinity) from becoming an allocation or a NaN.
Size = Annotated[int, Meta(ge=0, le=2**20)]
Units = Annotated[int, Meta(ge=1, le=2**14)]
Frames = Annotated[int, Meta(ge=1, le=2**20)]
Count = Annotated[int, Meta(ge=0, le=2**20)]
Positive = Annotated[float, Meta(gt=0, le=1000)]
Epsilon = Annotated[float, Meta(ge=1e-30, le=1)]
Fraction = Annotated[float, Meta(ge=0, lt=1)]
Rate = Annotated[float, Meta(ge=0, le=1e9)]
NonEmpty = Annotated[str, Meta(min_length=1)]
LogFormat = Literal["plain", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file."""


class Tagged(Section, frozen=True, tag_field="kind", tag=str.lower):
    """A table whose other keys depend on its `kind`: the class name in small letters."""

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)


class Input(Section, frozen=True):
    kind: Literal["tokens", "vector"]
    size: Size  # number of different tokens, or width of the vector; 0 = as many as this machine has sensors
    standardize: bool = False  # scale each input online to mean 0 and deviation 1 (vectors only)


class Layer(Section, frozen=True):
    cell: Literal["rnn", "lstm", "gru"]
    units: Units
    output: Units | None = None  # size of an output of its own; without one, the hidden state is the output


class Readout(Section, frozen=True):
    kind: Literal["softmax", "linear", "gaussian"]
    size: Size  # classes, or width of the target; 0 = as many as this machine has sensors


class Optimizing(Tagged, frozen=True):
    learning_rate: Positive
    decay_steps: Annotated[int, Meta(ge=0, le=2**40)] = 0  # updates after which the rate has halved; 0 = it stays


class SGD(Optimizing, frozen=True):
    momentum: Fraction = 0.0


class RMSprop(Optimizing, frozen=True):
    decay: Fraction = 0.99
    epsilon: Epsilon = 1e-8


class Adagrad(Optimizing, frozen=True):
    epsilon: Epsilon = 1e-10


class Adam(Optimizing, frozen=True):
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Epsilon = 1e-8


Optimizer = SGD | RMSprop | Adagrad | Adam


class Learning(Section, frozen=True):
    window: Annotated[int, Meta(ge=1, le=2**16)] = 16  # frames of truncated backpropagation through time
    accumulate: Annotated[int, Meta(ge=1, le=2**16)] = 1  # windows to one update
    gradient_delay: Annotated[int, Meta(ge=0, le=1024)] = 0  # groups by which an update is applied late
    clip_norm: Annotated[float, Meta(ge=0, le=1e9)] = 1.0  # largest norm of a layer's gradient; 0 = do not clip
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    enabled: bool = True  # false: predict and score, and leave the parameters as they are


class Pipeline(Section, frozen=True):
    placement: list[Frames] | None = None  # how many consecutive stages each worker hosts; default: one each
    max_streams: Frames = 64
    block: Annotated[int, Meta(ge=2, le=2**20)] = 256  # most rows in one message; a self-supervised frame takes two
    in_flight: Frames = 1024  # most frames between gate and publisher; a client's frame waits behind them
    overload: Literal["block", "reject", "drop-oldest"] = "block"  # what becomes of frames that there is no room for


class TextConfig(Tagged, frozen=True, tag="text"):
    path: NonEmpty | None = None  # `-` is standard input; default: the strings of pydoc_data.topics
    passes: Count = 1  # times through the file; 0 = for ever
    rate: Rate = 0.0  # frames per second; 0 = as fast as it learns


class SensorsConfig(Tagged, frozen=True, tag="sensors"):
    rate: Annotated[float, Meta(gt=0, le=1000)] = 10.0  # samples per second


class NoSource(Tagged, frozen=True, tag="none"):
    """Frames come only from clients."""


Source = TextConfig | SensorsConfig | NoSource


class Sockets(Section, frozen=True):
    gate: str = "tcp://127.0.0.1:5701"  # frames in
    outputs: str = "tcp://127.0.0.1:5702"  # what the network says
    control: str = "tcp://127.0.0.1:5703"  # questions: how it is, outputs of before


class Security(Section, frozen=True):
    curve: bool = False  # encrypt all sockets above, and let only clients in that have a key: see `streamrnn keys`
    keys: NonEmpty | None = None  # the folder of keys; default: `keys` in the state folder


class State(Section, frozen=True):
    folder: NonEmpty | None = None  # default: $XDG_STATE_HOME or ~/.local/state, then streamrnn/NAME
    keep: Annotated[int, Meta(ge=2, le=1000)] = 3  # checkpoints
    checkpoint_seconds: Annotated[float, Meta(ge=0, le=1e9)] = 60.0  # from one checkpoint to the next, at most; 0 = any
    checkpoint_frames: Count = 0  # the same in frames; 0 = any number


class Journal(Section, frozen=True):
    enabled: bool = True  # false: what came after the last checkpoint is lost when a process dies
    acknowledge: Literal["on-disk", "written"] = "on-disk"  # what a client's frame must be before it is told
    largest: Annotated[int, Meta(ge=2**20, le=2**50)] = 2**32  # bytes of frames behind the last checkpoints


class Outputs(Section, frozen=True):
    history: Annotated[int, Meta(ge=0, le=2**40)] = 2**24  # bytes of the newest outputs that can be asked for again


class Supervision(Section, frozen=True):
    heartbeat: Annotated[float, Meta(ge=0.5, le=1e9)] = 5.0  # seconds of silence after which a worker counts as stuck
    restarts: Count = 5  # in 60 seconds; then the daemon gives up


class Health(Section, frozen=True):
    divergence: Rate = 0.0  # nats that the recent loss may rise above its lowest; 0 = any
    rate_factor: Annotated[float, Meta(gt=0, le=1)] = 0.5  # of the learning rate, after it has gone back for that


class Log(Section, frozen=True):
    format: LogFormat = "plain"  # an event a line on standard error, as words or as an object
    level: LogLevel | None = None  # default: warning where plain, info where JSON


class Config(Section, frozen=True):
    name: str
    input: Input
    layers: Annotated[list[Layer], Meta(min_length=1)]
    readout: Readout
    optimizer: Optimizer
    predict: Literal["next", "target"] = "next"
    learning: Learning = Learning()
    pipeline: Pipeline = Pipeline()
    source: Source = NoSource()
    sockets: Sockets = Sockets()
    security: Security = Security()
    state: State = State()
    journal: Journal = Journal()
    outputs: Outputs = Outputs()
    supervision: Supervision = Supervision()
    health: Health = Health()
    log: Log = Log()

    @property
    def folder(self) -> Path:
        """The state folder, with its default filled in and `~` expanded."""
        if self.state.folder is not None:
            return Path(os.path.expanduser(self.state.folder))
        base = os.environ.get("XDG_STATE_HOME", "")
        if not os.path.isabs(base):  # the XDG specification says to ignore a relative one
            base = os.path.expanduser("~/.local/state")
        return Path(base) / "streamrnn" / self.name

    @property
    def keys(self) -> Path:
        """The folder of keys."""
        return Path(os.path.expanduser(self.security.keys)) if self.security.keys else self.folder / "keys"

    def spec(self) -> dict[str, Any]:
        """What `Network.from_spec` needs."""
        layers, size = [], self.input.size
        for layer in self.layers:
            layers.append(
                {
                    "cell": layer.cell.upper(),
                    "input_size": size,
                    "hidden_size": layer.units,
                    "output_size": layer.output,
                }
            )
            size = layer.output or layer.units
        return {
            "layers": layers,
            "readout": {"kind": self.readout.kind.capitalize(), "size": self.readout.size},
            "optimizer": {"kind": type(self.optimizer).__name__, **msgspec.structs.asdict(self.optimizer)},
            **{key: value for key, value in msgspec.structs.asdict(self.learning).items() if key != "enabled"},
            "predict": self.predict,
            "standardize": self.input.standardize,
        }

    @property
    def rate(self) -> float:
        """The learning rate that is wanted."""
        return self.optimizer.learning_rate if self.learning.enabled else 0.0

    @property
    def checkpoints(self) -> Path:
        """Where the daemon's checkpoints lie."""
        return self.folder / "checkpoints"


def load(path: str | os.PathLike[str], *, source: str | None = None) -> Config:
    """Read and check a configuration. Raises ConfigError.

    With `source`, the text at that path (`-`: standard input) is read once, whatever [source] says.
    """
    origin = str(path) if str(path).isprintable() else repr(str(path))
    try:
        text = Path(path).read_bytes().decode()
    except FileNotFoundError:
        raise ConfigError(f"{origin}: no such file; give the path of a TOML configuration") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{origin}: line {line} is not UTF-8; save the file as UTF-8") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{origin}: cannot be read ({reason}); give the path of a TOML configuration") from None
    return parse(text, origin, source=source)


def parse(text: str, origin: str = "config", *, source: str | None = None) -> Config:
    """Check the text of a configuration; `origin` stands for the file in messages. Raises ConfigError."""
    try:
        raw = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{origin}: nested too deeply; no key here needs more than two levels") from None
    except ValueError as error:
        raise ConfigError(f"{origin}: not valid TOML: {_syntax(error, text)}; correct the syntax there") from None
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(str(error), raw)}") from None
    config = _resolve(config, source)
    for key, problem in _problems(config):
        raise ConfigError(f'{origin}: "{key}" {problem}')
    return config


RELOADS = {  # what can change while a daemon runs; of tables named whole, every key
    "learning.enabled",
    "log",
    "optimizer.learning_rate",
    "state.keep",
    "state.checkpoint_seconds",
    "state.checkpoint_frames",
    "supervision",
    "health",
}


def taken_over(running: Config, wanted: Config) -> tuple[Config, list[str]]:
    """A running daemon's config with what can change from another, and the keys that differ and cannot."""
    kept = []
    for name in Config.__struct_fields__:
        old, new = getattr(running, name), getattr(wanted, name)
        if isinstance(old, Section) and type(old) is type(new):
            for key in old.__struct_fields__:
                if {name, f"{name}.{key}"} & RELOADS:
                    old = msgspec.structs.replace(old, **{key: getattr(new, key)})
                elif getattr(old, key) != getattr(new, key):
                    kept.append(f"{name}.{key}")
            running = msgspec.structs.replace(running, **{name: old})
        elif old != new:
            kept.append(name)
    return running, kept


def reading(path: str, source: Source) -> TextConfig:
    """What `--source PATH` means: the text at `path`, once through, at the rate that [source] had."""
    return TextConfig(path=path, passes=1, rate=source.rate if isinstance(source, TextConfig) else 0.0)


def _resolve(config: Config, source: str | None) -> Config:
    """Put the source override in, and the number of sensors where a size is 0."""
    if source is not None:
        return msgspec.structs.replace(config, source=reading(source, config.source))
    if isinstance(config.source, SensorsConfig) and 0 in (config.input.size, config.readout.size):
        count = _sensors()
        config = msgspec.structs.replace(
            config,
            input=msgspec.structs.replace(config.input, size=config.input.size or count),
            readout=msgspec.structs.replace(config.readout, size=config.readout.size or count),
        )
    return config


def _sensors() -> int:
    from streamrnn.sources import sensor_names  # sources imports this module

    return len(sensor_names())


# What the types alone cannot say: (key, problem) pairs.


def _problems(config: Config) -> Iterator[tuple[str, str]]:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", config.name):
        yield "name", f"must be 1 to 64 letters, digits, - or _, not {_show(config.name)}"
    yield from _source_problems(config)
    yield from _size_problems(config)
    yield from _pipeline_problems(config)
    for key, endpoint in msgspec.structs.asdict(config.sockets).items():
        if problem := _endpoint_problem(endpoint, config.security.curve):
            yield f"sockets.{key}", f"{problem}, not {_show(endpoint)}"
    if len(set(msgspec.structs.asdict(config.sockets).values())) < 3:
        yield "sockets", "uses one address twice; give gate, outputs and control an address each"
    for key, path in (("state.folder", config.state.folder), ("security.keys", config.security.keys)):
        if "\0" in (path or ""):
            yield key, "holds a NUL character; take it out"


def _size_problems(config: Config) -> Iterator[tuple[str, str]]:
    kind, size = config.input.kind, config.input.size
    for key, value in (("input.size", size), ("readout.size", config.readout.size)):
        if value == 0:
            yield key, 'must be an integer >= 1, not 0 (0 = one for each sensor, which needs source.kind = "sensors")'
    if config.input.standardize and kind == "tokens":
        yield "input.standardize", 'needs kind = "vector"; take it out'
    if config.predict == "target":
        return
    fitting = ("softmax",) if kind == "tokens" else ("linear", "gaussian")
    if config.readout.kind not in fitting:
        kinds = " or ".join(f'"{name}"' for name in fitting)
        yield "readout.kind", f'must be {kinds} where predict = "next" and input.kind = "{kind}"'
    if config.readout.size != size:
        yield "readout.size", f'must be {size}, the input.size, where predict = "next", not {config.readout.size}'


def _source_problems(config: Config) -> Iterator[tuple[str, str]]:
    kind = config.source.kind
    if kind != "none" and config.predict == "target":
        yield "predict", f'must be "next" with a {kind} source: targets come only from clients'
    if isinstance(config.source, TextConfig):
        if (config.input.kind, config.input.size) != ("tokens", 256):
            yield "input", 'must be kind = "tokens", size = 256 to read text: the bytes are the tokens'
        if "\0" in (config.source.path or ""):
            yield "source.path", "holds a NUL character; take it out"
    if isinstance(config.source, SensorsConfig):
        if config.input.kind != "vector":
            yield "input.kind", 'must be "vector" with a sensors source'
        elif config.input.size != (count := _sensors()):
            yield "input.size", f"must be {count}, this machine's number of sensors (or 0 for any machine's)"


def _pipeline_problems(config: Config) -> Iterator[tuple[str, str]]:
    stages, placement = len(config.layers) + 1, config.pipeline.placement
    if placement is not None and sum(placement) != stages:
        yield (
            "pipeline.placement",
            f"places {sum(placement)} stages; it must add up to {stages} (each layer, then the readout)",
        )
    if config.pipeline.in_flight < config.pipeline.block:
        yield "pipeline.in_flight", f"must be at least pipeline.block = {config.pipeline.block}"


def _endpoint_problem(endpoint: str, curve: bool) -> str | None:
    scheme, _, address = endpoint.partition("://")
    if scheme == "ipc":
        if not address or address == "*" or "\0" in address:
            return "must name a path after ipc://"
        return "must be shorter: a socket's path ends at 107 bytes" if len(address.encode()) > 107 else None
    host = host_of(endpoint)
    if not (host in EVERYWHERE or re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", host)):
        return "must be ipc://PATH or tcp://HOST:PORT, such as tcp://127.0.0.1:5701"
    if not (curve or is_local(endpoint)):
        return (
            "is open to other machines: make a key for each client (streamrnn keys new) and set curve = true in "
            "[security], or let it be ipc://PATH or tcp://127.0.0.1:PORT"
        )
    port = address.rpartition(":")[2]
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        return "must end in a port from 1 to 65535"
    return None


# From msgspec's errors to lines that a person can act on. Of its message only the place and the missing or unknown
# name are used: what was expected there is described from the types themselves.


def _explain(message: str, raw: dict[str, Any]) -> str:
    matched = re.fullmatch(r"(?s)(.*?)(?: - at `\$\.?([^`]*)`)?", message)
    what, where = (matched[1], matched[2] or "") if matched else (message, "")
    keys: list[str | int] = [int(i) if i else name for name, i in re.findall(r"([^.\[\]]+)|\[(\d+)\]", where)]
    if unknown := re.fullmatch(r"(?s)Object contains unknown field `(.*)`", what):
        return _unknown(where, unknown[1], _find(raw, keys)[0])
    if missing := re.fullmatch(r"Object missing required field `(.*)`", what):
        keys.append(missing[1])
        return f'"{_join(where, missing[1])}" is missing; it must be {_describe(_find(raw, keys)[0])}'
    expected, value = _find(raw, keys)
    hint = _close(value, _options(expected)) if isinstance(value, str) else ""
    return f'"{where}" must be {_describe(expected)}, not {_show(value)}{hint}'


def _find(raw: Any, keys: list[str | int]) -> tuple[inspect.Type, Any]:
    """The type that belongs at a place in the file, and the value that is there (None if nothing is)."""
    node: inspect.Type = inspect.type_info(Config)
    for key in keys:
        node = _without_null(_member(node, key))
        raw = raw[int(key)] if isinstance(raw, list) else raw.get(key) if isinstance(raw, dict) else None
        if isinstance(node, inspect.UnionType) and isinstance(raw, dict):
            node = next((t for t in node.types if getattr(t, "tag", None) == raw.get("kind")), node)
    return node, raw


def _member(node: inspect.Type, key: str | int) -> inspect.Type:
    if isinstance(node, inspect.ListType):
        return node.item_type
    if isinstance(node, inspect.UnionType):
        return _kinds(node)
    fields = node.fields if isinstance(node, inspect.StructType) else ()
    return next((field.type for field in fields if field.encode_name == key), inspect.AnyType())


def _kinds(union: inspect.UnionType) -> inspect.LiteralType:
    return inspect.LiteralType(tuple(str(t.tag) for t in union.types if isinstance(t, inspect.StructType)))


def _without_null(node: inspect.Type) -> inspect.Type:
    if isinstance(node, inspect.UnionType) and node.includes_none:
        return next(t for t in node.types if not isinstance(t, inspect.NoneType))
    return node


def _names(node: inspect.Type) -> list[str]:
    if not isinstance(node, inspect.StructType):
        return []
    return ([node.tag_field] if node.tag_field else []) + [field.encode_name for field in node.fields]


def _unknown(where: str, name: str, table: inspect.Type) -> str:
    """A misspelt key, one that another kind of this table has, or one that belongs into another table."""
    known, key = _names(table), _join(where, _clean(name))
    hint = _close(name, known)
    if not hint:
        homes = [f"{other}.{name}" for other, names in _tables().items() if name in names and other != where]
        owner = (
            f'kind "{table.tag}" has' if isinstance(table, inspect.StructType) and table.tag else "the keys here are"
        )
        hint = f'; did you mean "{homes[0]}"?' if homes else f"; {owner} {', '.join(known)}"
    return f'unknown key "{key}"{hint}'


def _tables() -> dict[str, list[str]]:
    """Every key of every table of the file, by the table's name."""
    tables: dict[str, list[str]] = {}
    root = inspect.type_info(Config)
    assert isinstance(root, inspect.StructType)
    for field in root.fields:
        item = field.type.item_type if isinstance(field.type, inspect.ListType) else field.type
        kinds = item.types if isinstance(item, inspect.UnionType) else (item,)
        tables[field.encode_name] = [name for kind in kinds for name in _names(kind)]
    return tables


def _close(word: str, words: list[str]) -> str:
    nearest = difflib.get_close_matches(word, words, n=1)
    return f'; did you mean "{nearest[0]}"?' if nearest else ""


def _options(node: inspect.Type) -> list[str]:
    return [str(value) for value in node.values] if isinstance(node, inspect.LiteralType) else []


def _describe(node: inspect.Type) -> str:
    match node:
        case inspect.LiteralType():
            *some, last = [f'"{value}"' for value in node.values]
            return f"{', '.join(some)} or {last}" if some else last
        case inspect.IntType():
            return "an integer" + _bounds(node)
        case inspect.FloatType():
            return "a number" + _bounds(node)
        case inspect.StrType():
            return "a string" if node.min_length is None else "a string of at least one character"
        case inspect.BoolType():
            return "true or false"
        case inspect.ListType(item_type=inspect.StructType()):
            return "one [[table]] or more"
        case inspect.ListType():
            return f"a list in which each item is {_describe(node.item_type)}"
        case inspect.UnionType():
            return f"a table whose kind is {_describe(_kinds(node))}"
        case _:
            return "a table"


def _bounds(node: inspect.IntType | inspect.FloatType) -> str:
    if node.ge is not None and node.le is not None:
        return f" from {node.ge:.10g} to {node.le:.10g}"
    signs = ((">", node.gt), (">=", node.ge), ("<", node.lt), ("<=", node.le))
    return " and".join(f" {sign} {bound:.10g}" for sign, bound in signs if bound is not None)


def _show(value: Any) -> str:
    """A value of the file on one short line."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "an empty list" if not value else "a list"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number that large"
    text = json.dumps(value) if isinstance(value, str | int | float) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _clean(key: str) -> str:
    return _show(key)[1:-1] if not re.fullmatch(r"[\w-]{1,60}", key) else key


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _syntax(error: ValueError, text: str) -> str:
    """tomllib's own words, with a line number also where the text just stops."""
    if not isinstance(error, tomllib.TOMLDecodeError):
        return "a number in it has too many digits"
    return str(error).replace("at end of document", f"at line {text.count(chr(10)) + 1}, the end of the file")


# The plan: what would run.


class Stage(NamedTuple):
    """One transformation of the network: a layer, or the readout at the end."""

    name: str
    kind: str
    input: int
    output: int
    parameters: int


def stages(config: Config) -> list[Stage]:
    """The layers and then the readout, with the number of their parameters (G gates: 1 in an RNN, 3 GRU, 4 LSTM)."""
    result, width = [], config.input.size
    for number, layer in enumerate(config.layers, 1):
        gates, units = {"rnn": 1, "gru": 3, "lstm": 4}[layer.cell], layer.units
        count = gates * units * (width + units + 1)  # W_xh, W_hh, b_h
        count += units if layer.cell == "gru" else 0  # b_hn
        count += layer.output * (units + 1) if layer.output else 0  # W_hy, b_y
        output = layer.output or units
        result.append(Stage(f"layer {number}", f"{layer.cell.upper()} {units}", width, output, count))
        width = output
    output = config.readout.size * (2 if config.readout.kind == "gaussian" else 1)  # mean and deviation
    kind = f"{config.readout.kind} {config.readout.size}"
    result.append(Stage("readout", kind, width, output, output * (width + 1)))
    return result


def workers(config: Config) -> list[range]:
    """The stages that each worker process hosts, by their position in `stages`."""
    ends = [0]
    for count in config.pipeline.placement or [1] * (len(config.layers) + 1):
        ends.append(ends[-1] + count)
    return [range(start, end) for start, end in itertools.pairwise(ends)]


def network_line(config: Config) -> str:
    """The network in a line: `256 tokens → LSTM 128 → LSTM 128 → softmax 256, 361,728 parameters`."""
    plan = stages(config)
    entrance = f"{config.input.size} tokens" if config.input.kind == "tokens" else f"vector of {config.input.size}"
    cells = [
        stage.kind + (f" → {layer.output}" if layer.output else "")
        for stage, layer in zip(plan, config.layers, strict=False)
    ]
    way = " → ".join([entrance, *cells, plan[-1].kind])
    return f"{way}, {sum(stage.parameters for stage in plan):,} parameters"


def describe(config: Config) -> RenderableType:
    """The plan that `streamrnn check` prints: network, learning, workers, sockets, state and source."""
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
        table.add_row(name, Text(text))  # Text: a path may hold what rich takes for markup
    return table


def _facts(config: Config) -> Iterator[tuple[str, str]]:
    learning, plan = config.learning, stages(config)
    clip = f"clip norm {learning.clip_norm:g}" if learning.clip_norm else "no clipping"
    yield "", ""
    yield "predicts", "the next input" if config.predict == "next" else "the target that comes with the frame"
    if config.input.standardize:
        yield "input", "standardised online"
    yield (
        "learning",
        f"window {learning.window}, accumulate {learning.accumulate}, "
        f"gradient delay {learning.gradient_delay}, {clip}, seed {learning.seed}",
    )
    options = (f"{key} {value:g}" for key, value in msgspec.structs.asdict(config.optimizer).items())
    yield "optimizer", f"{config.optimizer.kind}, {', '.join(options)}"
    yield "source", source_line(config.source)
    for number, hosted in enumerate(workers(config), 1):
        yield f"worker {number}", ", ".join(plan[i].name for i in hosted)
    yield from msgspec.structs.asdict(config.sockets).items()
    if config.security.curve:
        yield "security", f"encrypted, for clients with a key in {config.keys}"
    yield "state", f"{config.folder}, the last {config.state.keep} checkpoints"


def source_line(source: Source) -> str:
    if isinstance(source, NoSource):
        return "none: frames come from clients"
    if isinstance(source, SensorsConfig):
        return f"this machine's sensors, {source.rate:g} times a second"
    what = {None: "the topics of Python's help", "-": "standard input"}.get(source.path, source.path)
    pace = f"{source.rate:g} bytes a second" if source.rate else "as fast as it learns"
    times = {0: "over and over", 1: "once"}.get(source.passes, f"{source.passes} times")
    return f"{what}, {pace}" if source.path == "-" else f"{what}, {times}, {pace}"
