"""From msgspec's errors to lines that a person can act on.

Of its message only the place and the missing or unknown name are used: what was expected there is described from the
types themselves.
"""

import re
from typing import Any

from msgspec import inspect

from streamrnn.config.schema import find, names, tables
from streamrnn.config.words import close, describe, show


def explain(message: str, raw: dict[str, Any]) -> str:
    """A ValidationError of msgspec, in one line; raw: what is in the file."""
    matched = re.fullmatch(r"(?s)(.*?)(?: - at `\$\.?([^`]*)`)?", message)
    what, where = (matched[1], matched[2] or "") if matched else (message, "")
    keys: list[str | int] = [int(i) if i else name for name, i in re.findall(r"([^.\[\]]+)|\[(\d+)\]", where)]
    if unknown := re.fullmatch(r"(?s)Object contains unknown field `(.*)`", what):
        return _unknown(where, unknown[1], find(raw, keys)[0])
    if missing := re.fullmatch(r"Object missing required field `(.*)`", what):
        keys.append(missing[1])
        return f'"{_join(where, missing[1])}" is missing; it must be {describe(find(raw, keys)[0])}'
    expected, value = find(raw, keys)
    hint = close(value, _options(expected)) if isinstance(value, str) else ""
    return f'"{where}" must be {describe(expected)}, not {show(value)}{hint}'


def _unknown(where: str, name: str, table: inspect.Type) -> str:
    """A misspelt key, one that another kind of this table has, or one that belongs into another table."""
    known, key = names(table), _join(where, _clean(name))
    hint = close(name, known)
    if not hint:
        homes = [f"{other}.{name}" for other, keys in tables().items() if name in keys and other != where]
        owner = (
            f'kind "{table.tag}" has' if isinstance(table, inspect.StructType) and table.tag else "the keys here are"
        )
        hint = f'; did you mean "{homes[0]}"?' if homes else f"; {owner} {', '.join(known)}"
    return f'unknown key "{key}"{hint}'


def _options(node: inspect.Type) -> list[str]:
    return [str(value) for value in node.values] if isinstance(node, inspect.LiteralType) else []


def _clean(key: str) -> str:
    return show(key)[1:-1] if not re.fullmatch(r"[\w-]{1,60}", key) else key


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
