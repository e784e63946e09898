"""How a table of separated cells is written: found from its first lines."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from streamrnn.sources.cells import BETWEEN, is_missing, is_number, mostly
from streamrnn.sources.tables.records import BLANKS, Unfinished, record

DELIMITERS = "\t", ";", "|", ",", BLANKS  # of those that fit equally well, the first
LOOKED_AT = 1000  # rows; for the delimiter, a tenth

_FIGURES = re.compile(rf"[+-]?([0-9.,'{BETWEEN}]+)(?:[eE][+-]?[0-9]+)?")
_CLOCK = "[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?: ?[AaPp][Mm])?"
_DATE = re.compile(rf"[0-9]{{1,4}}([-/.])[0-9]{{1,2}}\1[0-9]{{1,4}}(?:[T ]+{_CLOCK} ?(?:Z|[+-][0-9:]+)?)?|{_CLOCK}")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How it is written, and what its columns are called."""

    delimiter: str
    decimal: str  # see `streamrnn.sources.cells.number`
    names: list[str]
    header: list[str] | None  # the cells of a first row of names
    units: list[str] | None  # the cells of a row under it


def sniff(
    lines: list[str], names: Collection[str] = (), delimiter: str = "", decimal: str = ""
) -> tuple[Dialect, list[list[str]]] | None:
    """The dialect of a table with these lines at its top, and its first rows; None as long as it has none.

    `names` are some of its columns. A delimiter and a decimal sign that are given are not looked for.
    """
    start = above(lines)
    delimiter = delimiter or _delimiter(lines[start : start + LOOKED_AT // 10])
    rows = _rows(lines[start : start + LOOKED_AT], delimiter)
    width = _width(rows)
    while width > 1 < len(rows) and not any(rows[0][1:]):  # a title
        rows.pop(0)
    header, units = _take_words(rows, names), None
    if header is not None:
        units = None if rows and any(map(_is_figure, rows[0])) else _take_words(rows)
    if not any(_is_figure(cell) for row in rows for cell in row):
        return None
    called = _names(header or _commented(lines[:start], delimiter, width), _width(rows))
    rows = [row[: len(called)] for row in rows if len(row) >= len(called)]
    cells = (cell for row in rows for cell in row)
    return Dialect(delimiter, decimal or _decimal(cells, delimiter), called, header, units), rows


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
    count = sum(map(bool, map(str.strip, lines)))
    scores = {delimiter: _score(_rows(lines, delimiter), count) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda delimiter: scores[delimiter])
    return best if scores[best] else ","


def _score(rows: list[list[str]], lines: int) -> float:
    widths = Counter(len(row) for row in rows if len(row) > 1)
    if not widths:
        return 0.0
    (width, count), *_ = widths.most_common(1)
    cells = [cell for row in rows if len(row) == width for cell in row]
    return count / lines * (0.1 + sum(map(_says_something, cells)) / len(cells))


def _take_words(rows: list[list[str]], names: Collection[str] = ()) -> list[str] | None:
    """Take the first row away if it is words above columns of numbers and times, or one of those names is in it."""
    if not rows:
        return None
    is_above = any(_is_above(rows[0], rows[under:]) for under in (2, 1) if len(rows) > under or under == 1)
    return rows.pop(0) if is_above or any(name in rows[0] for name in names) else None


def _is_above(first: list[str], rest: list[list[str]]) -> bool:
    """Whether a row is of words, and those under it are not."""
    said = [j for j, cell in enumerate(first) if not is_missing(cell)]
    figures = [j for j in said if not rest or _mostly(is_number, rest, j)]
    dates = [j for j in said if _mostly(is_date, rest, j)]
    return any(not is_date(first[j]) for j in dates) or (bool(figures) and not any(map(_is_figure, first)))


def _mostly(fits: Callable[[str], bool], rows: list[list[str]], column: int) -> bool:
    return mostly(fits, [row[column] for row in rows if column < len(row)])


def is_date(text: str) -> bool:
    """Whether it looks like a date, or a time of the day."""
    return _DATE.fullmatch(text) is not None


def _is_figure(cell: str) -> bool:
    return is_number(cell) or is_date(cell)


def _says_something(cell: str) -> bool:
    return _is_figure(cell) or is_missing(cell)


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
    figures = re.sub(f"['{BETWEEN}]", "", match[1]) if match else ""
    signs = re.sub("[0-9]", "", figures)
    if not signs or signs == figures:
        return ""
    first, last = signs[0], signs[-1]
    if first != last:
        return last
    if len(signs) > 1:
        return "." if first == "," else ","
    whole, _, fraction = figures.partition(first)
    return "either" if len(fraction) == 3 and re.fullmatch("[1-9][0-9]{0,2}", whole) else first
