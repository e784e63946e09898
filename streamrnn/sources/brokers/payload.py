"""What is in a message: the fields of a JSON object, or values in an order that is known."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from streamrnn.sources.cells import show


def record(payload: bytes | None, names: Sequence[str]) -> Mapping[str, Any]:
    """The fields of a message.

    Those of a JSON object; else the values of a JSON array, or what is between the commas of a text, are called by
    `names` in turn: a single number is a text without commas. Raises ValueError, with a line that says what is wrong.
    """
    text = (payload or b"").decode().strip()
    if not text:
        raise ValueError("is empty")
    values = _json(text) if text[0] in "{[" else text.split(",")
    if isinstance(values, dict):
        return values
    if len(values) != len(names):
        raise ValueError(f"{show(text)} has {len(values)} values, not {len(names)} ({', '.join(names)})")
    return dict(zip(names, values, strict=True))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{show(text)} is no JSON: {error}") from None
