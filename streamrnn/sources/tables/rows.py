"""A table's rows out of its text, one by one: what every kind of table has."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from streamrnn.kernels.columns import NO_TIME
from streamrnn.sources.fields import FieldError, Fields, Reading
from streamrnn.sources.frames import Frames, vectors
from streamrnn.sources.tables.records import Unfinished, lines_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST = 1 << 20  # bytes without a row's end in them


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows at the start of a text."""

    frames: Frames
    ends: "Sequence[int] | NDArray[np.int64]"  # bytes from the start of the text to each one's end
    lines: Sequence[int]  # lines until there
    used: int = 0  # bytes that need not be looked at again
    used_lines: int = 0
    problem: str = ""  # why the row there cannot be read
    refused: int = 0  # rows that cannot be read and were passed over
    refusal: str = ""  # why the last of them


NOTHING = Rows(Frames(vectors([], 0)), (), ())


class Table(ABC):
    """How the text of a kind of table is read. `path` in messages stands for the file."""

    field = "column"  # as messages call it

    def __init__(self, fields: Fields, bad_rows: str, order: str) -> None:
        self.fields, self.bad_rows, self.order = fields, bad_rows, order
        self.units: dict[str, str] = {}  # of channels that have one

    def begin(self, text: bytes, whole: bool, path: str) -> tuple[int, int] | None:
        """How many bytes and lines at the top of a file are no rows; None as long as too little is there to know.

        Raises SourceError where its columns are others.
        """
        return 0, 0

    def rows(self, text: bytes, whole: bool, path: str, line: int, after: int) -> Rows:
        """Its rows, up to one that is not complete or cannot be read.

        `whole`: no more text comes. `line` is the number of its first line, `after` the time of the row before.
        """
        text = text if whole else text[: text.rfind(b"\n") + 1]
        rows = self.at_once(text, after) or self.one_by_one(text, whole, path, line, after)
        return self.in_order(rows, path, line, after) if self.order == "stop" else rows

    def in_order(self, rows: Rows, path: str, line: int, after: int) -> Rows:
        """They up to one whose time is before that of the row before it."""
        times = [after, *([] if rows.frames.times is None else rows.frames.times.tolist())]
        for k, (before, time) in enumerate(pairwise(times)):
            if time != NO_TIME and time < before:
                used = (int(rows.ends[k - 1]), int(rows.lines[k - 1])) if k else (0, 0)
                where = f"{path}: line {line + used[1]}, {self.field} {self.fields.time}"
                said = f'{where}: it is before the row before; sort the rows, or set order = "sort" or "drop"'
                before_it = rows.frames.part(0, k), rows.ends[:k], rows.lines[:k]
                return Rows(*before_it, *used, said, rows.refused, rows.refusal)
        return rows

    def at_once(self, text: bytes, after: int) -> Rows | None:
        """All rows of the text, where none needs a closer look."""
        return None

    @abstractmethod
    def record(self, lines: list[str], start: int) -> tuple[Mapping[str, Any], int]:
        """The fields of the record that begins at that line, and how many lines it has.

        Raises ValueError that says what is wrong, Unfinished where its end is not there.
        """

    def one_by_one(self, text: bytes, whole: bool, path: str, line: int, after: int) -> Rows:
        """As `rows`; slower, and it knows what is wrong where."""
        lines, sizes = lines_of(text), _sizes(text)
        readings: list[Reading] = []
        ends: list[int] = []
        lengths: list[int] = []
        at = end = refused = 0
        problem = refusal = ""
        while at < len(lines):
            count = 1
            try:
                if lines[at].strip(" \ufeff"):
                    record, count = self.record(lines, at)
                    readings.append(self.fields.reading(record, after))
                    after = readings[-1].time
                    ends.append(end + sum(sizes[at : at + count]))
                    lengths.append(at + count)
            except ValueError as error:
                if isinstance(error, Unfinished) and not whole:
                    break
                if self.bad_rows == "stop":
                    problem = (
                        f'{self.wrong(path, line + at, error)}; correct it, or set bad_rows = "skip" to pass it over'
                    )
                    break
                refused, refusal, count = refused + 1, self.wrong(path, line + at, error), 1
            end += sum(sizes[at : at + count])
            at += count
        return Rows(self.fields.frames(readings), ends, lengths, end, at, problem, refused, refusal if refused else "")

    def wrong(self, path: str, line: int, error: ValueError) -> str:
        """What cannot be read, and where."""
        if isinstance(error, FieldError):
            return f"{path}: line {line}, {self.field} {error.field}: {error.problem}"
        return f"{path}: line {line} {error}"


def _sizes(text: bytes) -> list[int]:
    """The bytes of each of its lines, with their ends."""
    sizes = [len(line) + 1 for line in text.split(b"\n")]
    sizes[-1] -= 1
    return sizes
