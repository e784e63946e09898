"""Tables of cells that are separated by a sign, as CSV."""

import csv
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamrnn.sources import columns
from streamrnn.sources.cells import show
from streamrnn.sources.dialect import Dialect, above
from streamrnn.sources.fields import Fields
from streamrnn.sources.frames import Frames
from streamrnn.sources.records import BLANKS, LONGEST, Unfinished, lines_of, record
from streamrnn.sources.rows import Rows, Table
from streamrnn.sources.source import SourceError

NEWLINE = ord("\n")


class Separated(Table):
    """A table in a dialect."""

    def __init__(self, fields: Fields, bad_rows: str, dialect: Dialect) -> None:
        super().__init__(fields, bad_rows)
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
            return at
        while (words := self._words(lines, at))[0] != header:
            if self._is_row(lines, at):
                return at
            if sum(map(bool, words[0])) > 1:
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
        ends = np.flatnonzero(np.frombuffer(text, np.uint8) == NEWLINE).astype(np.int64) + 1
        if not len(ends) or ends[-1] != len(text) or np.diff(ends, prepend=0).max() > LONGEST:
            return None
        cells = self._cells(text, len(ends))
        if len(cells) < len(self.dialect.names) or any("".join(extra).strip() for extra in cells[len(self._places) :]):
            return None
        try:
            frames = self._frames(cells, len(ends), after)
        except ValueError:
            return None
        return Rows(frames, ends, range(1, len(ends) + 1), len(text), len(ends))

    def _cells(self, text: bytes, count: int) -> list[Sequence[str]]:
        """The columns of a text of so many lines; none where they have not all as many cells."""
        lines, delimiter = lines_of(text), self.dialect.delimiter
        if "" in lines:
            return []
        if b'"' in text:
            return self._quoted(lines) if b"\r" not in text else []
        if delimiter == BLANKS:
            return _turned([line.split() for line in lines])
        width = lines[0].count(delimiter) + 1
        cells = "\n".join(lines).replace("\n", delimiter).split(delimiter)
        signs = np.frombuffer(text, np.uint8)
        signs = signs[(signs == ord(delimiter)) | (signs == NEWLINE)]
        if len(signs) != count * width or (signs[width - 1 :: width] != NEWLINE).any():
            return []
        return [cells[place::width] for place in range(width)]

    def _quoted(self, lines: list[str]) -> list[Sequence[str]]:
        if self.dialect.delimiter == BLANKS:
            return []
        try:
            rows = list(csv.reader((f"{line}\n" for line in lines), delimiter=self.dialect.delimiter, strict=True))
        except csv.Error:
            return []
        return _turned(rows) if len(rows) == len(lines) else []

    def _frames(self, cells: list[Sequence[str]], count: int, after: int) -> Frames:
        """Raises ValueError."""
        fields = self.fields
        values = np.empty((count, len(self._channels)))
        for channel, place in enumerate(self._channels):
            values[:, channel] = columns.numbers(cells[place], fields.decimal)
        times, keys = None, None
        if fields.time is not None:
            times = columns.times(cells[self._places[fields.time]], fields.time_format, after)
        if fields.key is not None:
            keys = [cell.strip() for cell in cells[self._places[fields.key]]]
            if "" in keys:
                raise ValueError("has no key")
        return Frames(values, times, keys)


def _turned(rows: list[list[str]]) -> list[Sequence[str]]:
    """The columns of rows of as many cells; none where they have not as many."""
    return list(zip(*rows, strict=True)) if len(set(map(len, rows))) == 1 else []


def _listed(names: Sequence[str]) -> str:
    return show(", ".join(names))
