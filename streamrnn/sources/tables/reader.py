"""From text to rows: how they are written is found at the top of the first file, then piece by piece is read."""

from collections.abc import Callable

from streamrnn.sources.frames import Frames, vectors
from streamrnn.sources.pace import Pace, RecordedPace
from streamrnn.sources.source import LastingError
from streamrnn.sources.tables.ready import Ready
from streamrnn.sources.tables.rows import LONGEST, NOTHING, Table
from streamrnn.sources.tables.tape import TOP, Tape

TRIES = 16  # pieces of text without a row in them that are read before others have their turn

Look = Callable[[bytes, bool, str], Table | None]


class Reader:
    """The rows of a tape.

    `look` finds how they are written, from the top of a file, whether that is all of it, and its path; None where it
    has no row yet. It raises SourceError where there is no table.
    """

    def __init__(self, tape: Tape, look: Look, pace: Pace | RecordedPace) -> None:
        self.tape, self._look = tape, look
        self.ready = Ready(pace)
        self.refused, self.refusal = 0, ""  # rows that cannot be read and were passed over; why the last
        self.table: Table | None = None

    @property
    def ended(self) -> bool:
        """Whether no more rows are to come."""
        return self.tape.ended and not self.ready.left and not self.ready.rows.problem

    @property
    def names(self) -> tuple[str, ...]:
        """Of the channels; none where they are not known yet."""
        return tuple(self.table.fields.channels) if self.table else ()

    def know(self) -> bool:
        """Find how the rows are written; whether that is known. Raises SourceError."""
        if self.table is None and self.tape.start():
            text, whole = self.tape.top()
            self.table = self._look(text, whole, self.tape.path) if text or whole else None
            if self.table is None and len(text) >= TOP:
                raise LastingError(f"{self.tape.path}: has no row in its first {TOP:,} bytes; give a table")
        return self.table is not None

    def fill(self) -> bool:
        """See that rows are left, if more are there; whether there may be more. Raises SourceError."""
        for _ in range(TRIES):
            if self.ready.left:
                return True
            if self.ready.rows.problem:
                raise LastingError(self.ready.rows.problem)
            self.tape.drop(self.ready.rows.used, self.ready.rows.used_lines)
            self.ready.have(NOTHING)
            if not self._step():
                return False
        return True

    def part(self, limit: int) -> Frames:
        """The next rows that are left, at most `limit`."""
        return self.ready.part(limit) if self.ready.left else Frames(vectors([], len(self.names)))

    def _step(self) -> bool:
        """Go on by a piece of text; whether there was one."""
        tape = self.tape
        if not tape.start():
            return False
        if self.know() and self._parse():
            return True
        if len(tape.text) > LONGEST:
            raise LastingError(f"{tape.path}: line {tape.line}: no row ends within {LONGEST:,} bytes; give a table")
        return tape.more() or (tape.whole and (bool(tape.text) or tape.turn()))

    def _parse(self) -> bool:
        """Have the rows of the text; whether something was in it."""
        tape, table = self.tape, self.table
        assert table
        if tape.fresh:
            top = table.begin(tape.text, tape.whole, tape.path)
            if top is None:
                return False
            tape.drop(*top)
            tape.fresh = False
        rows = table.rows(tape.text, tape.whole, tape.path, tape.line, self.ready.time)
        self.ready.have(rows)
        self.refused, self.refusal = self.refused + rows.refused, rows.refusal or self.refusal
        return bool(rows.used or rows.problem)
