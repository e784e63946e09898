"""Which config a command means: a file, or the one of that name that comes with streamrnn."""

import difflib
import os
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from streamrnn import config as configuration
from streamrnn.config import Config, ConfigError

FOLDER = Path(str(files("streamrnn.configs")))


def installed() -> dict[str, Path]:
    """The configs that come with streamrnn, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def find(config: Path) -> Path:
    """The file of a config, given by its path or its name. Raises ConfigError for a name that there is none of."""
    is_file = os.path.exists(config) and not os.path.isdir(config)
    if is_file or str(config) != config.name:
        return config
    found = installed().get(str(config))
    if found is None:
        raise ConfigError(f"{config}: no such file, and {no_such_name(config.stem)}")
    return found


def no_such_name(name: str) -> str:
    """That no installed config has a name, which one is nearest to it, and what there is."""
    nearest = difflib.get_close_matches(name, installed(), n=1)
    meant = f'did you mean "{nearest[0]}"? ' if nearest else ""
    return f"no config of that name comes with streamrnn; {meant}there are {', '.join(installed())}"


def load(path: Path, source: str | None = None, backfill: str | None = None) -> Config:
    """Read and check a config, given by its path or its name. Raises ConfigError; see `streamrnn.config.load`."""
    return configuration.load(find(path), source=source, backfill=backfill)


def complete(incomplete: str) -> list[str]:
    """Names for the shell; of files it knows itself."""
    return [name for name in installed() if name.startswith(incomplete)]


CONFIG = typer.Argument(
    metavar="CONFIG", help="A TOML file, or the name of a config that comes along: see init.", autocompletion=complete
)
ConfigPath = Annotated[Path, CONFIG]
