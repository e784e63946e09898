"""Types and values of the file in words."""

import difflib
import json
from typing import Any

from msgspec import inspect

from streamrnn.config.schema import kinds


def describe(node: inspect.Type) -> str:
    """What a value of that type must be."""
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
            return f"a list in which each item is {describe(node.item_type)}"
        case inspect.UnionType(types=[inspect.StructType(), *_]):
            return f"a table whose kind is {describe(kinds(node))}"
        case inspect.UnionType():
            return " or ".join(map(describe, node.types))
        case _:
            return "a table"


def _bounds(node: inspect.IntType | inspect.FloatType) -> str:
    if node.ge is not None and node.le is not None:
        return f" from {node.ge:.10g} to {node.le:.10g}"
    signs = ((">", node.gt), (">=", node.ge), ("<", node.lt), ("<=", node.le))
    return " and".join(f" {sign} {bound:.10g}" for sign, bound in signs if bound is not None)


def show(value: Any) -> str:
    """A value of the file on one short line."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "an empty list" if not value else "a list"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number that large"
    text = json.dumps(value) if isinstance(value, str | int | float) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def close(word: str, words: list[str]) -> str:
    """A hint at the nearest of the words; empty if none is near."""
    nearest = difflib.get_close_matches(word, words, n=1)
    return f'; did you mean "{nearest[0]}"?' if nearest else ""
