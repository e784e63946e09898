"""JSON Lines, an object or a list of numbers on each, in files, folders and pipes."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from streamrnn.sources.cells import show
from streamrnn.sources.source import SourceError
from streamrnn.sources.table import Found, TableConfig
from streamrnn.sources.tables.records import LONGEST, lines_of

if TYPE_CHECKING:
    from streamrnn.sources.tables.rows import Table

LOOKED_AT = 1000  # objects
DEEPEST, MOST = 8, 1000  # levels, and items of a list, in which fields are looked for


class JsonlConfig(TableConfig, frozen=True, kw_only=True, tag="jsonl"):
    """A column is a field here; one within a field has a name such as sensor.temp."""

    def find(self, text: bytes, whole: bool, path: str) -> Found | None:
        columns: dict[str, list[Any]] = {}
        lines = lines_of(text if whole else text[: text.rfind(b"\n") + 1])[:LOOKED_AT]
        for line in filter(str.strip, lines):
            with suppress(ValueError):
                for name, value in flat(record(line)):
                    columns.setdefault(name, []).append(value)
        if columns:
            return Found(self.fields(columns, path))
        if whole:
            raise SourceError(f"{path}: has no line with a JSON object; give one of JSON Lines")
        return None

    def look(self, text: bytes, whole: bool, path: str) -> "Table | None":
        from streamrnn.sources.tables.json_lines import JsonLines

        found = self.find(text, whole, path)
        return JsonLines(found.fields, self.bad_rows, self.order) if found else None


def record(line: str) -> Mapping[str, Any]:
    """The object in a line; the numbers of a list are called "column 1" and so on. Raises ValueError."""
    if len(line) > LONGEST:
        raise ValueError(f"is longer than {LONGEST:,} characters")
    value = _decoded(line)
    if isinstance(value, list):
        return {f"column {number}": each for number, each in enumerate(value, 1)}
    if not isinstance(value, dict):
        raise ValueError(f"is no JSON object: {show(line)}")
    return value


def _decoded(line: str) -> Any:
    try:
        return msgspec.json.decode(line)
    except (ValueError, RecursionError):
        try:
            return json.loads(line)  # takes NaN, as it is written by Python
        except (ValueError, RecursionError):
            return None


def flat(record: Mapping[str, Any], within: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    """Each field that holds no others, by its name."""
    for name, value in record.items():
        if isinstance(value, list):
            value = {str(place): each for place, each in enumerate(value[:MOST])}
        if not isinstance(value, dict):
            yield within + name, value
        elif depth < DEEPEST:
            yield from flat(value, f"{within}{name}.", depth + 1)
