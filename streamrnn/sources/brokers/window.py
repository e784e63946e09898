"""How many messages of an MQTT connection are under way.

A broker is told how many it may send before they are acknowledged, but mosquitto 2.0 sends all that it has. And an
acknowledgement is not acknowledged: it may still be on its way when the connection breaks, and then the message comes
again. So the broker is asked a question behind acknowledgements. When the answer comes it has them, for it does one
thing after the other; until then no more than LIMIT messages are let in, and others wait here.
"""

from collections import deque
from typing import NamedTuple

LIMIT = 100  # messages


class Message(NamedTuple):
    packet: int  # its number, 0 with QoS 0: then it is not acknowledged
    dup: bool  # the broker says that it has sent it before
    topic: str
    payload: bytes


class Window:
    """Of one connection after the other; of one thread at a time."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self.begin()

    def begin(self) -> None:
        """Another connection: what waits comes again."""
        self.waiting: deque[Message] = deque()
        self._let_in = self._acknowledged = self._known = 0  # messages
        self._asked: int | None = None  # how many had been acknowledged before the question that is not answered

    def let_in(self) -> list[Message]:
        """Those that may be taken now, in the order in which they came."""
        taken = []
        while self.waiting and (self._let_in - self._known < self._limit or not self.waiting[0].packet):
            taken.append(self.waiting.popleft())
            self._let_in += taken[-1].packet > 0
        return taken

    def acknowledged(self, count: int) -> None:
        """So many more have been acknowledged."""
        self._acknowledged += count

    def must_ask(self) -> bool:
        """Whether a question must be asked now; one at a time."""
        if self._asked is not None or self._acknowledged == self._known:
            return False
        self._asked = self._acknowledged
        return True

    def answered(self) -> None:
        """The question is answered: what was acknowledged before it is known to be."""
        if self._asked is not None:
            self._known, self._asked = self._asked, None
