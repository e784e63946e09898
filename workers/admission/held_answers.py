"""Answers that wait for the disk: a client hears that its frames were taken once they are safe."""

import math
from collections import deque
from collections.abc import Callable
from typing import Any

from streamrnn.kernels.frames import STREAM
from streamrnn.protocol.wire import Message
from streamrnn.workers.admission.journal import Journal, NoJournal

MANY_ANSWERS = 3200  # that wait for the disk; then nobody need ask for them
MOST_AWAITED = 10_000  # clients that wait for an answer, of which that is known


class HeldAnswers:
    """They go out in the order in which they were given.

    last_record()  the number of the journal's last record once everything up to now is written down
    reply(to, message)  answer a client at once
    """

    def __init__(
        self,
        order: dict[str, Any],
        journal: Journal | NoJournal,
        last_record: Callable[[], int],
        reply: Callable[[bytes, Message], Any],
    ) -> None:
        self.order, self.journal, self.last_record, self.reply = order, journal, last_record, reply
        self.held: deque[tuple[int, bytes, Message]] = deque()  # answers, and the record that must be on the disk first
        self.awaited: dict[bytes, int] = {}  # clients that wait for the answer to a request, and its number
        self.urgent = 0  # the last record whose answer somebody waits for

    def accept(self, to: bytes, message: Message) -> None:
        """Answer a client once everything up to now is on the disk, or written, as configured."""
        self.held.append((self.last_record(), to, message))
        if message.frames[0, STREAM] or message.number >= self.awaited.get(to, math.inf):  # it has heard outputs
            self.urgent = self.held[-1][0]
            self.awaited.pop(to, None)

    def hurry(self, sender: bytes, number: int) -> None:
        """A client waits for the answer to its request of that number, which may be held or yet to come."""
        if len(self.awaited) >= MOST_AWAITED:
            self.awaited.clear()
        self.awaited[sender] = number
        self.urgent = max(
            [self.urgent, *(k for k, to, message in self.held if (to, message.number) == (sender, number))]
        )

    def send(self) -> None:
        """Send the answers whose frames are safe."""
        safe = self.journal.durable if self.order["acknowledge"] == "on-disk" else self.journal.last
        while self.held and self.held[0][0] <= safe:
            _, to, message = self.held.popleft()
            self.reply(to, message)
        if self.held and (self.urgent > safe or len(self.held) >= MANY_ANSWERS):
            self.journal.hurry()
