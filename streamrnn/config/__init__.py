"""The configuration of a daemon: one TOML file, checked before anything starts.

`load` returns a `Config` or raises a `ConfigError`: one line that names the file, the key and what to do about it.
What each key means is said once, beside its field.
"""

from streamrnn.config.config import Config
from streamrnn.config.plan import Stage, network_line, stages, workers
from streamrnn.config.reading import ConfigError, load, parse
from streamrnn.config.reload import taken_over
from streamrnn.config.sections import Log, LogFormat, LogLevel, Sockets, State

__all__ = [
    "Config",
    "ConfigError",
    "Log",
    "LogFormat",
    "LogLevel",
    "Sockets",
    "Stage",
    "State",
    "load",
    "network_line",
    "parse",
    "stages",
    "taken_over",
    "workers",
]
