"""How a table of separated cells is written: found from its first lines."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from streamrnn.sources.cells import is_missing, is_number, mostly
from streamrnn.sources.records import BLANKS, Unfinished, record

DELIMITERS = "\t", ";", "|", ",", BLANKS  # of those that fit equally well, the first
LOOKED_AT = 1000  # rows; for the delimiter, a tenth

_FIGURES = re.compile(r"[+-]?([0-9.,]+)(?:[eE][+-]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{1,4}([-/.])[0-9]{1,2}\1[0-9]{1,4}([T ,].*)?|[0-9]{1,2}:[0-9]{2}(:[0-9.,]+)?.*")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How it is written, and what its columns are called."""

    delimiter: str
    decimal: str  # see `streamrnn.sources.cells.number`
    names: list[str]
    header: list[str] | None  # the cells of a first row of names
    units: list[str] | None  # the cells of a row under it


def sniff(lines: list[str], delimiter: str = "", decimal: str = "") -> tuple[Dialect, list[list[str]]] | None:
    """The dialect of a table with these lines at its top, and its first rows; None as long as it has none.

    A delimiter and a decimal sign that are given are not looked for.
    """
    start = above(lines)
    delimiter = delimiter or _delimiter(lines[start : start + LOOKED_AT // 10])
    rows = _rows(lines[start : start + LOOKED_AT], delimiter)
    width = _width(rows)
    while len(rows) > 1 and sum(map(bool, rows[0])) < 2 <= width:  # a title
        rows.pop(0)
    header, units = _take_words(rows), None
    if header is not None:
        units = _take_words(rows)
    if not any(_says_something(cell) and not is_missing(cell) for row in rows for cell in row):
        return None
    names = _names(header or _commented(lines[:start], delimiter, width), _width(rows))
    rows = [row[: len(names)] for row in rows if len(row) >= len(names)]
    cells = (cell for row in rows for cell in row)
    return Dialect(delimiter, decimal or _decimal(cells, delimiter), names, header, units), rows


def above(lines: list[str]) -> int:
    """How many blank lines and comments stand above the table."""
    for number, line in enumerate(lines):
        if (text := line.strip()) and not text.startswith("#"):
            return number
    return len(lines)


def _rows(lines: list[str], delimiter: str) -> list[list[str]]:
    """The cells of all records that can be read, each without blanks around it."""
    rows, at = [], 0
    while at < len(lines):
        try:
            cells, count = record(lines, at, delimiter)
        except Unfinished:
            break
        except ValueError:
            cells, count = [], 1
        if lines[at].strip() and cells:
            rows.append([cell.strip() for cell in cells])
        at += count
    return rows


def _delimiter(lines: list[str]) -> str:
    """The one by which most lines have as many cells as each other, more than one, and most of them say something."""
    scores = {delimiter: _score(_rows(lines, delimiter)) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda delimiter: scores[delimiter])
    return best if scores[best] else ","


def _score(rows: list[list[str]]) -> float:
    widths = Counter(len(row) for row in rows if len(row) > 1)
    if not widths:
        return 0.0
    (width, count), *_ = widths.most_common(1)
    cells = [cell for row in rows if len(row) == width for cell in row]
    return count / len(rows) * (0.1 + sum(map(_says_something, cells)) / len(cells))


def _take_words(rows: list[list[str]]) -> list[str] | None:
    """Take the first row away if it is words above columns of numbers and times."""
    if not rows:
        return None
    first, rest = rows[0], rows[2:] or rows[1:]  # under a header there may be one more such row
    said = [j for j, cell in enumerate(first) if not is_missing(cell)]
    figures = [j for j in said if not rest or _mostly(is_number, rest, j)]
    dates = [j for j in said if _mostly(is_date, rest, j)]
    above_dates = any(not is_date(first[j]) for j in dates)
    above_figures = figures and not any(is_number(first[j]) or is_date(first[j]) for j in [*figures, *dates])
    return rows.pop(0) if above_dates or above_figures else None


def _mostly(fits: Callable[[str], bool], rows: list[list[str]], column: int) -> bool:
    return mostly(fits, [row[column] for row in rows if column < len(row)])


def is_date(text: str) -> bool:
    """Whether it looks like a date, or a time of the day."""
    return _DATE.fullmatch(text) is not None


def _says_something(cell: str) -> bool:
    return is_number(cell) or is_date(cell) or is_missing(cell)


def _commented(above: list[str], delimiter: str, width: int) -> list[str]:
    """The names in the comment right above the table, if there are as many in it; else empty ones."""
    if above and above[-1].lstrip().startswith("#"):
        rows = _rows([above[-1].lstrip("# ")], delimiter)
        if rows and len(rows[0]) == width:
            return rows[0]
    return [""] * width


def _width(rows: list[list[str]]) -> int:
    """How many cells most rows have."""
    return Counter(map(len, rows)).most_common(1)[0][0] if rows else 0


def _names(header: list[str], width: int) -> list[str]:
    """A name for each column, none twice; empty ones at the end are none where rows are shorter."""
    while len(header) > width and not header[-1]:
        header = header[:-1]
    names: list[str] = []
    for number, cell in enumerate(header, 1):
        name = wanted = " ".join(cell.split()) or f"column {number}"
        again = 2
        while name in names:
            name, again = f"{wanted} {again}", again + 1
        names.append(name)
    return names


def _decimal(cells: Iterable[str], delimiter: str) -> str:
    """The decimal sign that most numbers need; "" where none needs any."""
    needed = Counter(map(_needs, cells))
    either = needed.pop("either", 0)
    needed.pop("", None)
    if needed:
        return needed.most_common(1)[0][0]
    return "." if either and delimiter == "," else ""  # "1,234" between commas


def _needs(cell: str) -> str:
    """The decimal sign by which alone it is a number; "either", or "" where it has no sign."""
    match = _FIGURES.fullmatch(cell)
    signs = re.sub("[0-9]", "", match[1]) if match else ""
    if not match or not signs or len(signs) == len(match[1]):
        return ""
    first, last = signs[0], signs[-1]
    if first != last:
        return last
    if len(signs) > 1:
        return "." if first == "," else ","
    whole, _, fraction = match[1].partition(first)
    return "either" if len(fraction) == 3 and re.fullmatch("[1-9][0-9]{0,2}", whole) else first
