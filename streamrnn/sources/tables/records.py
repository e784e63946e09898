"""The records of a text of separated cells: which lines are one, and its cells."""

import csv

LONGEST = 100_000  # characters of a line; Python's csv takes cells of 131,072
BLANKS = " "  # a delimiter that stands for runs of blanks


class Unfinished(ValueError):
    """A record whose end is not there: a quote is open."""


def record(lines: list[str], start: int, delimiter: str) -> tuple[list[str], int]:
    """The cells of the record that begins at that line, and how many lines it has.

    Raises ValueError that says what is wrong, or Unfinished.
    """
    line = lines[start]
    if len(line) > LONGEST:
        raise ValueError(f"is longer than {LONGEST:,} characters")
    if '"' not in line:
        return (line.split() if delimiter == BLANKS else line.split(delimiter)), 1
    return _quoted(lines, start, delimiter)


def _quoted(lines: list[str], start: int, delimiter: str) -> tuple[list[str], int]:
    rest = (lines[number] + "\n" for number in range(start, len(lines)))
    if delimiter == BLANKS:
        rest = (line.strip() + "\n" for line in rest)
    reader = csv.reader(rest, delimiter=delimiter, skipinitialspace=delimiter == BLANKS, strict=True)
    try:
        return next(reader), reader.line_num
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise Unfinished("has a quote that is not closed") from None
        raise ValueError(f"has quotes that cannot be read ({error})") from None


def lines_of(text: bytes) -> list[str]:
    """Its lines without their ends, each in UTF-8, or else in Latin-1."""
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError:
        lines = [_decoded(line) for line in text.split(b"\n")]
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines] if b"\r" in text else lines


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")
