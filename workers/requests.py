"""Which requests of each client have been taken: one that comes again is not taken twice, and none overtakes another.

A client counts its requests from 1, and says with each below which number all of its requests have been answered. After
a failure it sends those that have not been again.
"""

from enum import Enum
from typing import Any, NamedTuple

MOST_CLIENTS = 10_000  # remembered; beyond, those not heard of for the longest time are forgotten


class Verdict(Enum):
    """What to do with a request."""

    TAKE = "take"
    PENDING = "pending"  # it is under way already
    AGAIN = "again"  # it has been answered: answer again
    EARLY = "early"  # one before it has not come


class Progress(NamedTuple):
    """How far a request has been let in."""

    taken: int = 0  # frames
    first: int = -1  # SEQ of its first frame
    finished: bool = False
    reason: str = ""  # why it was refused


class _Client:
    def __init__(self, following: int) -> None:
        self.following = following  # the number that should come next
        self.requests: dict[int, Progress] = {}


class Requests:
    """`notes`: what `facts` gave."""

    def __init__(self, notes: list[list[Any]]) -> None:
        self._clients: dict[bytes, _Client] = {}
        for note in notes:
            self.restore(bytes.fromhex(note[0]), note[1], Progress(*note[2:]))

    def restore(self, sender: bytes, number: int, progress: Progress) -> None:
        """How far a request was before a failure."""
        self._clients.setdefault(sender, _Client(0)).requests[number] = progress

    def note(self, sender: bytes, number: int, progress: Progress) -> None:
        """How far a request is; those of clients that do not count theirs are not remembered."""
        if sender in self._clients:
            self._clients[sender].requests[number] = progress

    def look(self, sender: bytes, number: int, answered: int) -> tuple[Verdict, Progress]:
        """What to do with a request that has come, and how far it was; `answered`: all below have their answer."""
        client = self._clients.pop(sender, None) or _Client(answered)
        self._clients[sender] = client  # the newest
        while len(self._clients) > MOST_CLIENTS:
            del self._clients[next(iter(self._clients))]
        for old in [k for k in client.requests if k < answered]:
            del client.requests[old]
        client.following = max(client.following, answered)
        progress = client.requests.get(number, Progress())
        if number > client.following:
            return Verdict.EARLY, Progress(first=client.following)
        if progress.finished:
            client.following = max(client.following, number + 1)
            return Verdict.AGAIN, progress
        if number < client.following:
            return Verdict.PENDING, progress
        client.following += 1
        return Verdict.TAKE, progress

    def facts(self) -> list[list[Any]]:
        """In plain values, for a checkpoint."""
        return [
            [sender.hex(), number, *progress]
            for sender, client in self._clients.items()
            for number, progress in client.requests.items()
        ]
