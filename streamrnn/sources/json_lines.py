"""JSON Lines as a table."""

from collections.abc import Mapping
from typing import Any

from streamrnn.sources.jsonl import record
from streamrnn.sources.rows import Table


class JsonLines(Table):
    """Each line is a row."""

    field = "field"

    def record(self, lines: list[str], start: int) -> tuple[Mapping[str, Any], int]:
        return record(lines[start].removeprefix("\ufeff")), 1
