"""Tables in HTML, for notebooks: whatever stands in them is text, and shown as it is."""

from collections.abc import Iterable, Sequence
from html import escape
from math import isnan
from typing import Any


def table(columns: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A heading for each column, and rows of as many cells."""
    body = "".join(_row("td", row) for row in rows)
    return f"<table><thead>{_row('th', columns)}</thead><tbody>{body}</tbody></table>"


def line(*parts: Any) -> str:
    """What is said in a line, parts of it that are empty left out."""
    return f"<div>{escape(' · '.join(str(part) for part in parts if part))}</div>"


def number(value: float | None, unit: str = "") -> str:
    """Four digits and a unit; a dash where there is no number."""
    return "–" if value is None or isnan(value) else f"{value:.4g} {unit}".rstrip()


def _row(tag: str, cells: Sequence[Any]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(str(cell))}</{tag}>' for cell in cells)}</tr>"
