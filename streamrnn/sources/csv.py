"""Tables of separated cells, in files, folders and pipes."""

from typing import TYPE_CHECKING, Literal

from streamrnn.sources.source import SourceError
from streamrnn.sources.table import Found, TableConfig
from streamrnn.sources.tables.dialect import sniff
from streamrnn.sources.tables.records import lines_of

if TYPE_CHECKING:
    from streamrnn.sources.tables.rows import Table


class CsvConfig(TableConfig, frozen=True, kw_only=True, tag="csv"):
    delimiter: Literal[",", ";", "\t", "|", " "] | None = None  # " ": runs of blanks
    decimal: Literal[".", ","] | None = None  # the sign before a fraction; the other one may part thousands

    def find(self, text: bytes, whole: bool, path: str) -> Found | None:
        lines = lines_of(text if whole else text[: text.rfind(b"\n") + 1])
        names = [name for name in (*(self.columns or ()), self.time, self.key) if name]
        found = sniff(lines, names, self.delimiter or "", self.decimal or "")
        if found is None:
            if whole:
                raise SourceError(f"{path}: has no row of numbers; give a table of numbers")
            return None
        dialect, rows = found
        columns = {name: [row[place] for row in rows] for place, name in enumerate(dialect.names)}
        return Found(self.fields(columns, path, dialect.decimal), dialect)

    def look(self, text: bytes, whole: bool, path: str) -> "Table | None":
        from streamrnn.sources.tables.separated import Separated

        found = self.find(text, whole, path)
        if not found or not found.dialect:
            return None
        return Separated(found.fields, self.bad_rows, self.order, found.dialect)
