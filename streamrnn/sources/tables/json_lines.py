"""JSON Lines as a table."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamrnn.sources.cells import number
from streamrnn.sources.fields import find, key_of
from streamrnn.sources.frames import Frames
from streamrnn.sources.jsonl import record
from streamrnn.sources.tables import columns
from streamrnn.sources.tables.records import LONGEST
from streamrnn.sources.tables.rows import Rows, Table

PLAIN = {int, float, bool, type(None)}

Records = list[dict[str, Any]]


class JsonLines(Table):
    """Each line is a row."""

    field = "field"

    def record(self, lines: list[str], start: int) -> tuple[Mapping[str, Any], int]:
        return record(lines[start].removeprefix("\ufeff")), 1

    def at_once(self, text: bytes, after: int) -> Rows | None:
        lines = text.split(b"\n")
        if lines.pop() or not lines or max(map(len, lines)) > LONGEST:
            return None
        try:
            records = list(map(_decode, lines))
            frames = self._frames(records, after)
        except (ValueError, OverflowError, RecursionError):
            return None
        ends = np.cumsum([len(line) + 1 for line in lines])
        return Rows(frames, ends, range(1, len(lines) + 1), len(text), len(lines))

    def _frames(self, records: Records, after: int) -> Frames:
        """Raises ValueError and others, where a record needs a closer look."""
        fields = self.fields
        values = np.stack([_numbers(_column(records, name)) for name in fields.channels], 1)
        times, keys = None, None
        if fields.time is not None:
            cells = _column(records, fields.time)
            read = columns.times if set(map(type, cells)) == {str} else columns.times_one_by_one
            times = read(cells, fields.time_format, after)
        if fields.key is not None:
            keys = [key_of(each, fields.key) for each in records]
        return Frames(values, times, keys)


_decode = msgspec.json.Decoder(dict[str, Any]).decode


def _column(records: Records, name: str) -> list[Any]:
    """The values of a field."""
    return [each[name] if name in each else find(each, name) for each in records]


def _numbers(values: list[Any]) -> NDArray[np.float64]:
    """As `streamrnn.sources.cells.number`: (n,), NaN where one is missing. Raises ValueError, OverflowError."""
    if not set(map(type, values)) <= PLAIN:
        return np.array([number(value) for value in values])
    array = np.array(values, np.float64)
    if np.isinf(array).any():
        raise ValueError("is not finite")
    return array
