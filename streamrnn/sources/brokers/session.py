"""Which messages of an MQTT session come for the first time, and when they are acknowledged.

A broker keeps a message of QoS 1 until it has been acknowledged. After each break of the connection it sends again what
has not been, first of all and in the old order. A message is acknowledged when it is on the disk; whoever dies before
that gets it again. So each has a mark, of its packet's number and what it says, by which it is known then.

How many marks must be kept? At most LIMIT messages are under way: let in, and not yet known to be acknowledged (see
`brokers.window`). All are acknowledged in the order in which they came, so what a broker that lives on can send again
is among the newest LIMIT. A broker that was killed goes on from the state that it saved last. As many again are
remembered for what it has forgotten: so it must save its state at least once in LIMIT acknowledgements (mosquitto:
`autosave_on_changes true`, `autosave_interval 1`).
"""

from base64 import b64encode
from collections import deque
from hashlib import blake2b
from typing import Any

from streamrnn.sources.brokers.window import LIMIT

REMEMBERED = 2 * LIMIT
WIDTH = 8  # characters of a mark


class Session:
    """Of one thread; it knows no sockets."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._count = 0  # messages that came for the first time, ever
        self._marks: deque[str] = deque(maxlen=remembered)  # of the newest of them
        self._read = 0  # number of the newest that was a frame
        self._durable = 0  # number of the newest of which it is known that it is on the disk
        self._waiting: deque[tuple[int, int]] = deque()  # packets of this connection: what must be durable, its number
        self._expected = False  # the broker has been told of this session
        self._beginning = False  # of a connection, where all may have come before

    @property
    def position(self) -> dict[str, Any]:
        """How many there were, and the marks of those that may come again: 2 kB at most."""
        return {"count": self._count, "marks": "".join(self._marks)}

    def go_to(self, position: dict[str, Any]) -> None:
        """Go on there: all up to it is on the disk."""
        marks = position["marks"]
        self._count = self._read = self._durable = position["count"]
        self._marks.clear()
        self._marks.extend(marks[start : start + WIDTH] for start in range(0, len(marks), WIDTH))
        self._waiting.clear()
        self._expected = True

    def connected(self, present: bool) -> bool:
        """A new connection has begun; `present`: the broker knows the session. True if it should and does not.

        What came over the connection before cannot be acknowledged over this one, unless it comes again.
        """
        lost = self._expected and not present
        self._expected = True
        if not present:
            self._marks.clear()  # packets are numbered anew
        self._waiting.clear()
        self._beginning = present
        return lost

    def is_new(self, packet: int, dup: bool, topic: bytes, payload: bytes) -> bool:
        """Whether this message, the next one of the connection, comes for the first time."""
        mark = mark_of(packet, topic, payload)
        # a broker that was killed may not know that it has sent a message, and not say that it does so again
        if (dup or self._beginning) and mark in self._marks:
            after = self._marks.index(mark) + 1
            self._waiting.append((min(self._count - len(self._marks) + after, self._read), packet))
            return False
        self._count += 1
        self._marks.append(mark)
        return True

    def took(self, packet: int, is_frame: bool) -> None:
        """What has just come for the first time is a frame, or was passed over: then it waits only for those before."""
        if is_frame:
            self._read = self._count
            self._beginning = False  # of what is no frame, another daemon's mark may be forgotten
        self._waiting.append((self._read, packet))

    def durable(self, position: dict[str, Any]) -> None:
        """All up to that position is on the disk."""
        self._durable = max(self._durable, position["count"])

    def acknowledged(self) -> list[int]:
        """The packets that are to be acknowledged now, in their order; each is said once."""
        packets = []
        while self._waiting and self._waiting[0][0] <= self._durable:
            packets.append(self._waiting.popleft()[1])
        return packets


def mark_of(packet: int, topic: bytes, payload: bytes) -> str:
    """Of a message; another one has it with a probability of 2 ** -32, where it has the same packet's number at all."""
    said = blake2b(len(topic).to_bytes(4) + topic + payload, digest_size=4).digest()
    return b64encode(packet.to_bytes(2) + said).decode()
