"""The types that belong at each place of the file."""

from typing import Any

from msgspec import inspect

from streamrnn.config.config import Config


def find(raw: Any, keys: list[str | int]) -> tuple[inspect.Type, Any]:
    """The type that belongs at a place in the file, and the value that is there (None if nothing is)."""
    node: inspect.Type = inspect.type_info(Config)
    for key in keys:
        node = _without_null(_member(node, key))
        raw = raw[int(key)] if isinstance(raw, list) else raw.get(key) if isinstance(raw, dict) else None
        if isinstance(node, inspect.UnionType) and isinstance(raw, dict):
            node = next((t for t in node.types if getattr(t, "tag", None) == raw.get("kind")), node)
    return node, raw


def _member(node: inspect.Type, key: str | int) -> inspect.Type:
    if isinstance(node, inspect.UnionType):
        node = next((each for each in node.types if isinstance(each, inspect.ListType)), kinds(node))
        if not isinstance(node, inspect.ListType):
            return node
    if isinstance(node, inspect.ListType):
        return node.item_type
    fields = node.fields if isinstance(node, inspect.StructType) else ()
    return next((field.type for field in fields if field.encode_name == key), inspect.AnyType())


def kinds(union: inspect.UnionType) -> inspect.LiteralType:
    """What `kind` may be in a table of several kinds."""
    return inspect.LiteralType(tuple(str(t.tag) for t in union.types if isinstance(t, inspect.StructType)))


def _without_null(node: inspect.Type) -> inspect.Type:
    if isinstance(node, inspect.UnionType) and node.includes_none:
        first, *others = (t for t in node.types if not isinstance(t, inspect.NoneType))
        return inspect.UnionType((first, *others)) if others else first
    return node


def names(node: inspect.Type) -> list[str]:
    """The keys of a table; none if it is no table."""
    if not isinstance(node, inspect.StructType):
        return []
    return ([node.tag_field] if node.tag_field else []) + [field.encode_name for field in node.fields]


def tables() -> dict[str, list[str]]:
    """Every key of every table of the file, by the table's name."""
    found: dict[str, list[str]] = {}
    root = inspect.type_info(Config)
    assert isinstance(root, inspect.StructType)
    for field in root.fields:
        item = field.type.item_type if isinstance(field.type, inspect.ListType) else field.type
        types = item.types if isinstance(item, inspect.UnionType) else (item,)
        found[field.encode_name] = [name for each in types for name in names(each)]
    return found
