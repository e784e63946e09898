"""Tables of cells that are separated by a sign, as CSV."""

import csv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from streamrnn.sources.cells import show
from streamrnn.sources.fields import Fields
from streamrnn.sources.frames import Frames
from streamrnn.sources.source import SourceError
from streamrnn.sources.tables import columns
from streamrnn.sources.tables.columns import Cells, Integers
from streamrnn.sources.tables.dialect import Dialect, above
from streamrnn.sources.tables.records import BLANKS, LONGEST, Unfinished, lines_of, record
from streamrnn.sources.tables.rows import Rows, Table

NEWLINE, RETURN = ord("\n"), ord("\r")


class Separated(Table):
    """A table in a dialect."""

    def __init__(self, fields: Fields, bad_rows: str, order: str, dialect: Dialect) -> None:
        super().__init__(fields, bad_rows, order)
        self.dialect = dialect
        self._places = {name: place for place, name in enumerate(dialect.names)}
        if dialect.units:
            self.units = {name: unit for name, unit in zip(dialect.names, dialect.units, strict=False) if unit}
        self._channels = [self._places[name] for name in fields.channels]

    def begin(self, text: bytes, whole: bool, path: str) -> tuple[int, int] | None:
        """Comments, titles, and the rows of names and units."""
        lines = lines_of(text if whole else text[: text.rfind(b"\n") + 1])
        try:
            at = self._behind_words(lines, above(lines), path)
        except (Unfinished, IndexError):
            if not whole:
                return None
            at = len(lines)
        return sum(len(line) + 1 for line in text.split(b"\n", at)[:at]), at

    def _behind_words(self, lines: list[str], at: int, path: str) -> int:
        """The line behind the rows of names and units. Raises IndexError, Unfinished where it is not there."""
        header, units = self.dialect.header, self.dialect.units
        if header is None:
            lines[at]
            return at
        while (words := self._words(lines, at))[0] != header:
            if self._is_row(lines, at):
                return at
            if any(words[0][1:]):  # no title
                raise SourceError(
                    f"{path}: line {at + 1}: its columns are {_listed(words[0])}, those of the first file are "
                    f"{_listed(header)}; give files of the same columns"
                )
            at += words[1]
        at += words[1]
        if units is None:
            return at
        words = self._words(lines, at)
        return at + words[1] if words[0] == units else at

    def _words(self, lines: list[str], at: int) -> tuple[list[str], int]:
        """The cells of the record there, and how many lines it has."""
        try:
            cells, count = record(lines, at, self.dialect.delimiter)
        except Unfinished:
            raise
        except ValueError:
            return [lines[at]], 1
        return [cell.strip() for cell in cells], count

    def _is_row(self, lines: list[str], at: int) -> bool:
        try:
            self.fields.reading(self.record(lines, at)[0])
        except ValueError:
            return False
        return True

    def record(self, lines: list[str], start: int) -> tuple[Mapping[str, Any], int]:
        cells, count = record(lines, start, self.dialect.delimiter)
        names = self.dialect.names
        if len(cells) < len(names) or any(map(str.strip, cells[len(names) :])):
            wanted = f"{len(names)} {'cell' if len(names) == 1 else 'cells'}"
            raise ValueError(f"has {len(cells)} of {wanted}: {show(lines[start])}")
        return dict(zip(names, cells, strict=False)), count

    def at_once(self, text: bytes, after: int) -> Rows | None:
        ends = _ends_of_lines(text)
        if not len(ends) or ends[-1] != len(text) or np.diff(ends, prepend=0).max() > LONGEST:
            return None
        plain = b'"' not in text and self.dialect.delimiter != BLANKS
        try:
            frames = self._of_signs(_in_utf8(text), after) if plain else self._of_cells(text, after)
        except ValueError:
            return None
        return Rows(frames, ends, range(1, len(ends) + 1), len(text), len(ends)) if frames else None

    def _of_signs(self, text: bytes, after: int) -> Frames | None:
        """The rows of lines without quotes, None where they have not all as many cells. Raises ValueError."""
        signs, lines = np.frombuffer(text, np.uint8), _ends_of_lines(text) - 1
        edges = np.flatnonzero((signs == ord(self.dialect.delimiter)) | (signs == NEWLINE))
        width, wanted = int(np.searchsorted(edges, lines[0])) + 1, len(self._places)
        if len(edges) != len(lines) * width or (edges[width - 1 :: width] != lines).any() or width < wanted:
            return None
        starts = np.concatenate([[0], edges[:-1] + 1]).reshape(-1, width).T.copy()
        ends = edges.reshape(-1, width).T.copy()
        ends[-1] -= signs[ends[-1] - 1] == RETURN
        cells, fields = Cells(text, signs, starts, ends), self.fields
        if any(cells.says_something(place) for place in range(wanted, width)):
            return None
        values = np.stack([cells.numbers(place, fields.decimal) for place in self._channels], 1)
        if width == 1 and np.isnan(values).any():  # lines that are blank are no rows
            return None
        times = None if fields.time is None else cells.times(self._places[fields.time], fields.time_format, after)
        return Frames(values, times, None if fields.key is None else self._keys(cells.texts(self._places[fields.key])))

    def _of_cells(self, text: bytes, after: int) -> Frames | None:
        """The rows of lines with quotes, or with runs of blanks; as `_of_signs`."""
        lines = lines_of(text)
        cells = self._quoted(lines) if b'"' in text else _turned([line.split() for line in lines])
        if len(cells) < len(self._places) or any("".join(more).strip() for more in cells[len(self._places) :]):
            return None
        fields = self.fields
        values = np.stack([columns.numbers(cells[place], fields.decimal) for place in self._channels], 1)
        times, keys = None, None
        if fields.time is not None:
            times = columns.times(cells[self._places[fields.time]], fields.time_format, after)
        if fields.key is not None:
            keys = self._keys(cells[self._places[fields.key]])
        return Frames(values, times, keys)

    def _keys(self, cells: Sequence[str]) -> list[str]:
        keys = [cell.strip() for cell in cells]
        if "" in keys:
            raise ValueError("has no key")
        return keys

    def _quoted(self, lines: list[str]) -> list[Sequence[str]]:
        """The columns of lines with quotes; none where not each is a record."""
        if self.dialect.delimiter == BLANKS or any("\r" in line for line in lines):
            return []
        try:
            rows = list(csv.reader((f"{line}\n" for line in lines), delimiter=self.dialect.delimiter, strict=True))
        except csv.Error:
            return []
        return _turned(rows) if len(rows) == len(lines) else []


def _ends_of_lines(text: bytes) -> Integers:
    """The bytes from the start of a text to the end of each line."""
    return np.flatnonzero(np.frombuffer(text, np.uint8) == NEWLINE) + 1


def _in_utf8(text: bytes) -> bytes:
    """A text of as many lines."""
    with suppress(UnicodeDecodeError):
        if text.isascii() or text.decode():
            return text
    return "".join(f"{line}\n" for line in lines_of(text)).encode()


def _turned(rows: list[list[str]]) -> list[Sequence[str]]:
    """The columns of rows of as many cells; none where they have not as many."""
    return list(zip(*rows, strict=True)) if len(set(map(len, rows))) == 1 else []


def _listed(names: Sequence[str]) -> str:
    return show(", ".join(names))
