"""From the text of a file to a checked config."""

import os
import tomllib
from pathlib import Path

import msgspec

from streamrnn.config.checks import problems
from streamrnn.config.config import Config
from streamrnn.config.explain import explain
from streamrnn.sinks import Destination
from streamrnn.sources import AnySource, reading

IPC = "ipc://"


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line that names the file, the key and the remedy."""


def load(path: str | os.PathLike[str], *, source: str | None = None, backfill: str | None = None) -> Config:
    """Read and check a configuration. Raises ConfigError.

    Relative paths in it are relative to the folder of the file. With `source`, the file at that path (`-`: standard
    input), relative to the present folder, is read once, whatever [source] says; with `backfill` before what that says.
    """
    origin = str(path) if str(path).isprintable() else repr(str(path))
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")  # editors may put a byte order mark first
    except FileNotFoundError:
        raise ConfigError(f"{origin}: no such file; give the path of a TOML configuration") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{origin}: line {line} is not UTF-8; save the file as UTF-8") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{origin}: cannot be read ({reason}); give the path of a TOML configuration") from None
    if source not in (None, "-"):
        source = in_folder(source, os.getcwd())
    return parse(text, origin, source=source, backfill=backfill, folder=os.path.dirname(os.path.abspath(path)))


def parse(
    text: str, origin: str = "config", *, source: str | None = None, backfill: str | None = None, folder: str = ""
) -> Config:
    """Check the text of a configuration; `origin` stands for the file in messages, and relative paths are relative to
    `folder`. Raises ConfigError.
    """
    try:
        raw = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{origin}: nested too deeply; no key here needs more than two levels") from None
    except ValueError as error:
        raise ConfigError(f"{origin}: not valid TOML: {_syntax(error, text)}; correct the syntax there") from None
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {explain(str(error), raw)}") from None
    config = resolved(overridden(with_paths_in(config, folder), source, backfill))
    for key, problem in problems(config):
        raise ConfigError(f'{origin}: "{key}" {problem}')
    return config


def with_paths_in(config: Config, folder: str) -> Config:
    """The same, relative paths being those in that folder."""
    sockets = msgspec.structs.asdict(config.sockets)
    sockets = {
        key: IPC + in_folder(address[len(IPC) :], folder) for key, address in sockets.items() if is_file(address)
    }
    replace = msgspec.structs.replace
    state = replace(config.state, folder=config.state.folder and in_folder(config.state.folder, folder))
    security = replace(config.security, keys=config.security.keys and in_folder(config.security.keys, folder))
    source, sources = source_in(config.source, folder), [source_in(table, folder) for table in config.sources]
    backfill = config.backfill and source_in(config.backfill, folder)
    sinks, alarms = ([destination_in(table, folder) for table in tables] for tables in (config.sinks, config.alarms))
    config = replace(config, source=source, sources=sources, backfill=backfill, sinks=sinks, alarms=alarms)
    return replace(config, sockets=replace(config.sockets, **sockets), state=state, security=security)


def source_in(source: AnySource, folder: str) -> AnySource:
    """The same, relative paths being those in that folder."""
    paths = {key: getattr(source, key, None) for key in source.paths}
    paths = {key: in_folder(path, folder) for key, path in paths.items() if path not in (None, "-")}
    return msgspec.structs.replace(source, **paths)


def destination_in(table: Destination, folder: str) -> Destination:
    """The same, relative paths being those in that folder."""
    paths = {key: getattr(table, key, None) for key in table.paths}
    return msgspec.structs.replace(table, **{key: in_folder(path, folder) for key, path in paths.items() if path})


def is_file(address: str) -> bool:
    """Whether it is a socket with a path."""
    return address.startswith(IPC) and address[len(IPC) :] not in ("", "*") and not address.startswith(f"{IPC}@")


def in_folder(path: str, folder: str) -> str:
    """A path that is relative to a folder, with `~` for the home folder."""
    return os.path.join(folder, os.path.expanduser(path))


def overridden(config: Config, source: str | None, backfill: str | None) -> Config:
    """Put in what is to be read instead of the sources, and before them."""
    first, replace = (config.sources or [config.source])[0], msgspec.structs.replace
    if source is not None:
        rate = getattr(first, "rate", 0.0)
        config = replace(config, source=replace(reading(source, first), rate=rate), sources=[])  # type: ignore[call-arg]
    return config if backfill is None else replace(config, backfill=reading(backfill, first))


def resolved(config: Config) -> Config:
    """Put in what the source knows: the size where one is 0, and the names of the channels."""
    known = config.backfill if config.backfill and not config.all_sources else None
    table = (known or (config.sources or [config.source])[0]).completed(config.name, config.input)
    source_size, replace = table.size(), msgspec.structs.replace
    input = replace(config.input, size=config.input.size or source_size)
    if input.channels is None and input.size == source_size:
        input = replace(input, channels=table.channels(), units=input.units or table.units())
    readout = replace(config.readout, size=config.readout.size or source_size)
    source = config.source.completed(config.name, input)
    sources = [table.completed(config.name, input) for table in config.sources]
    backfill = config.backfill and config.backfill.completed(config.name, input)
    return replace(config, input=input, readout=readout, source=source, sources=sources, backfill=backfill)


def _syntax(error: ValueError, text: str) -> str:
    """tomllib's own words, with a line number also where the text just stops."""
    if not isinstance(error, tomllib.TOMLDecodeError):
        return "a number in it has too many digits"
    return str(error).replace("at end of document", f"at line {text.count(chr(10)) + 1}, the end of the file")
