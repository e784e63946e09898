"""What the types alone cannot say of a config: where it is wrong, and how."""

import os
import re
from collections.abc import Sequence

import msgspec

from streamrnn.config.config import Config
from streamrnn.config.words import show
from streamrnn.cuda import device
from streamrnn.kernels.readouts import READOUTS
from streamrnn.model import channels
from streamrnn.protocol import stream_names
from streamrnn.protocol.addresses import EVERYWHERE, host_of, is_local
from streamrnn.sinks import Destination
from streamrnn.sources import KINDS, NoSource, Problems

LONGEST_NAME = 255  # bytes of a file's name
LONGEST_PATH = 480  # bytes of a folder's path: SQLite's limit of 512, without the names in it


def problems(config: Config) -> Problems:
    """Each key that must be changed, and why."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", config.name):
        yield "name", f"must be 1 to 64 letters, digits, - or _, not {show(config.name)}"
    yield from _source_problems(config)
    yield from _destination_problems("sinks", config.sinks)
    yield from _destination_problems("alarms", config.alarms)
    yield from _alarm_problems(config)
    yield from _size_problems(config)
    yield from _pipeline_problems(config)
    for key, endpoint in msgspec.structs.asdict(config.sockets).items():
        if problem := _endpoint_problem(endpoint, config.security.curve):
            yield f"sockets.{key}", f"{problem}, not {show(endpoint)}"
    if len(set(msgspec.structs.asdict(config.sockets).values())) < 3:
        yield "sockets", "uses one address twice; give gate, outputs and control an address each"
    for key, path in (("state.folder", str(config.folder)), ("security.keys", config.security.keys)):
        if problem := _path_problem(path or ""):
            yield key, problem


def _source_problems(config: Config) -> Problems:
    if config.sources and not isinstance(config.source, NoSource):
        yield "sources", "cannot be beside [source]: make that one of the [[sources]] too"
    if not config.sources:
        yield from config.source.problems(config.input, config.predict)
    for k, table in enumerate(config.sources):
        for key, problem in table.problems(config.input, config.predict):
            yield key.replace("source.", f"sources[{k}].", 1), problem
    if config.backfill:
        for key, problem in config.backfill.problems(config.input, config.predict):
            yield key.replace("source.", "backfill.", 1), problem
    names = [name for _, name in config.named_sources]
    origins = [table.origin for table in (*config.all_sources, *([config.backfill] if config.backfill else []))]
    for what, given in (("stream", names), ("source", origins)):
        if twice := next((each for each in given if given.count(each) > 1), None):
            yield "sources", f"has the {what} {show(twice)} twice"
    for name in names:
        if reason := stream_names.problem(name):
            yield "source.stream", f"cannot be {show(name)}: {reason}"


def _destination_problems(name: str, tables: Sequence[Destination]) -> Problems:
    for k, table in enumerate(tables):
        for key, problem in table.problems():
            yield f"{name}[{k}].{key}", problem
    origins = [table.origin for table in tables]
    if twice := next((each for each in origins if origins.count(each) > 1), None):
        yield name, f"has {show(twice)} twice"


def _alarm_problems(config: Config) -> Problems:
    for k, table in enumerate(config.alarms):
        if table.above is None and config.anomaly is None:
            yield f"alarms[{k}].above", "must be given where there is no [anomaly]: without both there are no alarms"


def _size_problems(config: Config) -> Problems:
    kind, size = config.input.kind, config.input.size
    for key, value in (("input.size", size), ("readout.size", config.readout.size)):
        if value == 0:
            yield key, f"must be an integer >= 1, not 0 ({_size_0()})"
    if config.input.standardize and kind == "tokens":
        yield "input.standardize", 'needs kind = "vector"; take it out'
    for key, problem in config.input.entrance.problems():
        yield f"input.{key}", problem
    if READOUTS[config.readout.name].experts and not config.input.standardize:
        yield "readout.kind", 'cannot be "forecast" without standardize = true in [input]'
    if config.anomaly and not READOUTS[config.readout.name].experts:
        yield "anomaly", f'needs readout.kind = "forecast", and it is "{config.readout.kind}"'
    yield from _channel_problems(config)
    if config.predict == "target":
        return
    fitting = [name.lower() for name, about in READOUTS.items() if about.classes == (kind == "tokens")]
    if config.readout.kind not in fitting:
        kinds = " or ".join(f'"{name}"' for name in fitting)
        yield "readout.kind", f'must be {kinds} where predict = "next" and input.kind = "{kind}"'
    if config.readout.size != size:
        yield "readout.size", f'must be {size}, the input.size, where predict = "next", not {config.readout.size}'


def _channel_problems(config: Config) -> Problems:
    if config.input.channels is None:
        if config.input.units:
            yield "input.units", "needs names of channels: give them in input.channels"
        return
    if config.input.kind == "tokens":
        yield "input.channels", 'needs kind = "vector"; take it out'
    elif problem := channels.problem(config.input.channels, config.input.size):
        yield "input.channels", problem
    elif strange := [name for name in config.input.units if name not in config.input.channels]:
        yield "input.units", f"names {show(strange[0])}, which is none of the channels"


def _size_0() -> str:
    """What a size of 0 means, and with which sources."""
    kinds = [kind for kind in KINDS if kind.size_0]
    return "; ".join(f'0 = {kind.size_0}, which needs source.kind = "{kind.__struct_config__.tag}"' for kind in kinds)


def _pipeline_problems(config: Config) -> Problems:
    stages, placement = len(config.layers) + 1, config.pipeline.placement
    if isinstance(placement, list) and sum(placement) != stages:
        yield (
            "pipeline.placement",
            f"places {sum(placement)} stages; it must add up to {stages} (each layer, then the readout)",
        )
    if len(config.devices) != len(config.placement):
        yield "pipeline.devices", f"names {len(config.devices)}; there are {len(config.placement)} workers with stages"
    for name in config.devices:
        if wrong := device.problem(name):
            yield "pipeline.devices", f"is wrong: {wrong}"
    if config.pipeline.in_flight < config.pipeline.block:
        yield "pipeline.in_flight", f"must be at least pipeline.block = {config.pipeline.block}"


def _path_problem(path: str) -> str | None:
    if "\0" in path:
        return "holds a NUL character; take it out"
    if path.startswith("~"):
        return f"cannot be {show(path)}, for this user has no home: give a folder, or set HOME or XDG_STATE_HOME"
    encoded = os.fsencode(path)
    if len(encoded) > LONGEST_PATH or max(map(len, encoded.split(b"/"))) > LONGEST_NAME:
        return f"is too long: a path has at most {LONGEST_PATH} bytes, each name in it at most {LONGEST_NAME}"
    return None


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
