"""The channels of a vector by name: dicts, rows of pandas and named tuples, in any order."""

from collections.abc import Sequence
from math import nan
from typing import Any


def problem(channels: Any, size: int) -> str | None:
    """What is wrong with the names of a vector of `size` numbers, None if nothing is."""
    if not isinstance(channels, list | tuple) or not all(isinstance(name, str) and name for name in channels):
        return f"must be a list of names, not {channels!r}"
    if len(channels) != size:
        return f"must be as many names as there are inputs, {size}, not {len(channels)}"
    twice = sorted({name for name in channels if channels.count(name) > 1})
    return f"must differ, and {_listed(twice)} comes more than once" if twice else None


def by_name(x: Any, channels: Sequence[str] | None, missing: bool = False) -> Any:
    """The values of x in the order of the channels, if they have names in it; else x as it is.

    missing: what is absent is NaN. Raises ValueError that names what is unknown or absent, or says that there are no
    channels to go by.
    """
    if not channels:
        if isinstance(x, dict):
            raise ValueError("names need channels=[...], in a config input.channels; or give the values as a list")
        return x
    named = x._asdict() if hasattr(x, "_asdict") else x
    if not hasattr(named, "keys"):
        return x
    known = set(channels)  # a row of pandas has its names in keys(), and is iterated over its values
    unknown = [name for name in named.keys() if name not in known]  # noqa: SIM118
    absent = [name for name in channels if name not in named]
    if unknown or (absent and not missing):
        said = [f"{what} {_listed(some)}" for what, some in (("unknown", unknown), ("absent", absent)) if some]
        raise ValueError(f"the names are not those of the channels: {'; '.join(said)}")
    return [nan if name in absent else named[name] for name in channels]


def names(channels: Sequence[str] | None, size: int) -> list[str]:
    """What `size` channels are called: as given, if as many are; else by their numbers, from 1 on."""
    if channels and len(channels) == size:
        return list(channels)
    return [f"channel {number}" for number in range(1, size + 1)]


def _listed(names: Sequence[Any]) -> str:
    return ", ".join(map(repr, names))
