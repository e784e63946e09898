"""The way down: what is let in goes into the journal and then down the pipeline, in one order.

What the disk has no room for waits here, and everything behind it too.
"""

import shutil
from collections import deque
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Any

from streamrnn.protocol.stream_names import PREVIEW
from streamrnn.workers.admission.intake import Intake
from streamrnn.workers.admission.journal import Journal, JournalFull, NoJournal
from streamrnn.workers.admission.journal_entries import Batch, Control, Entry, encode, joined, pack_frames
from streamrnn.workers.admission.pending import PendingRequests

if TYPE_CHECKING:
    from streamrnn.workers.admission.sources import Sources

RESERVE = 1 << 22  # bytes that must be free on the journal's disk


class Outbox:
    """What could not be written down yet, and `full`, why not: "" where there is room.

    send(data, rows)  send a message with so many rows of frames down the pipeline
    sources           how many of the frames that the journal has named were let in, and where the others are
    """

    pending: PendingRequests  # whose news are written down; it needs this outbox, so it is given later, and so are
    sources: "Sources"

    def __init__(
        self,
        order: dict[str, Any],
        intake: Intake,
        journal: Journal | NoJournal,
        send: Callable[[bytes, int], Any],
    ) -> None:
        self.order, self.intake, self.journal, self.send = order, intake, journal, send
        self.waiting: deque[tuple[Entry | None, bytes, int, bool]] = deque()
        self.full = ""

    @property
    def unwritten(self) -> bool:
        """Whether there is something that the journal does not know."""
        return bool(self.intake.added or self.pending.news or self.pending.ended or self.sources.moved)

    @property
    def pressing(self) -> bool:
        """Whether somebody may rely on what is to be written down: what the live view has drawn is worth no flush."""
        preview = self.intake.names.get(PREVIEW)
        added = (let.stream for let in self.intake.added)
        news = (stream for _, stream in self.pending.news.values())
        return any(stream != preview for stream in chain(added, news))

    def flush(self) -> None:
        """Write down and send what has been let in, and what has become of requests."""
        rows = self.intake.count
        if self.unwritten:
            parts = [pack_frames(let) for let in joined(self.intake.added)]
            pressing = self.pressing
            places = self.sources.take_places(self.last_record())
            batch = Batch(self.sources.at, parts, *self.pending.take_news(), places)
            self.put(batch, self.intake.block() if rows else b"", rows, pressing)
        elif rows:
            self.put(None, self.intake.block(), rows, False)

    def next_record(self) -> int:
        """The number that the next record of the journal gets, behind everything let in so far."""
        self.flush()
        return self.last_record() + 1

    def last_record(self) -> int:
        """The number of the journal's last record once everything up to now is written down."""
        return self.journal.last + sum(entry is not None for entry, *_ in self.waiting) + self.unwritten

    def write(self, data: bytes, note: dict[str, Any] | None = None, down: bytes = b"", soon: bool = True) -> None:
        """Write a message down and send it, or `down` in its place, behind everything let in so far."""
        self.flush()
        self.put(Control(self.sources.at, data, note), down or data, soon=soon)

    def put(self, entry: Entry | None, data: bytes = b"", rows: int = 0, soon: bool = True) -> None:
        """Write an entry down and send `data`, a message or nothing, behind what waits. None: the journal knows.

        Until it has been written, nothing more is let in.
        """
        self.waiting.append((entry, data, rows, soon))
        if len(self.waiting) == 1:
            self.empty()

    def empty(self) -> None:
        """Write down and send what waits, if there is room on the disk."""
        while self.waiting:
            entry, data, rows, soon = self.waiting[0]
            try:
                if entry:
                    self.journal.append(encode(entry), soon)
            except JournalFull as error:
                self.full = str(error)
                return
            self.waiting.popleft()
            if data:
                self.send(data, rows)

    def look_for_room(self) -> None:
        """See whether there is room for more."""
        if not self.waiting:
            self.full = self.shortage()

    def shortage(self) -> str:
        """Why no more can be let in, "" if it can: better before a frame is in than when it cannot be written down."""
        if self.journal.size() > self.order["journal_bytes"]:
            return f"the journal holds {self.order['journal_bytes']:,} bytes, its most"
        if shutil.disk_usage(self.journal.path.parent).free < RESERVE:
            return f"the disk of {self.journal.path} has under {RESERVE:,} bytes left"
        return ""
