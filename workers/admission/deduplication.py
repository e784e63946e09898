"""Which requests of each client have been taken: one that comes again is not taken twice, and none overtakes another.

A client numbers its requests. It greets the gate with the numbers that have not been answered and the one that its next
request gets; after a failure, of the gate or of the way to it, it greets again and sends those requests again.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum
from itertools import islice
from math import inf
from typing import Any, NamedTuple

MOST_CLIENTS = 10_000  # remembered; beyond, those that have not greeted for the longest time are forgotten
MOST_REQUESTS = 8192  # of a client, remembered; then it must greet
GONE_TIME = 60.0  # seconds until a client that is gone is forgotten
MOST_FORGOTTEN = 10_000  # clients of which it is still known how far they had come
AWAY = "its client was away for too long: whether it was taken is not known any more"


class Verdict(Enum):
    """What to do with a request."""

    TAKE = "take"
    PENDING = "pending"  # it is under way already, or its answer has been heard
    AGAIN = "again"  # it has been answered: answer again
    EARLY = "early"  # one before it has not come, or no greeting


class Progress(NamedTuple):
    """How far a request has been let in."""

    taken: int = 0  # frames
    first: int = -1  # SEQ of its first frame
    finished: bool = False
    reason: str = ""  # why it was refused
    heard: int = 0  # outputs that it asked for and that have come


class _Client:
    def __init__(self) -> None:
        self.requests: dict[int, Progress] = {}  # those that may come again
        self.come: set[int] = set()  # of those, the ones that have come to this gate
        self.refused: set[int] = set()  # of those, the ones that were refused since `Requests.refusals` was asked
        self.awaited: deque[int] = deque()  # the numbers that must come next,
        self.following = 0  # and the one behind them; 0 before it has greeted
        self.gone = inf  # since when it could not be reached


class Requests:
    """`notes` and `forgotten`: what `facts` and `forgotten` gave."""

    def __init__(self, notes: list[list[Any]], forgotten: dict[str, int] | None = None) -> None:
        self._clients: dict[bytes, _Client] = {}
        self._refusing: set[bytes] = set()  # clients of which requests were refused since then
        # client -> the highest number that had come
        self._forgotten = {bytes.fromhex(sender): number for sender, number in (forgotten or {}).items()}
        for note in notes:
            self.restore(bytes.fromhex(note[0]), note[1], Progress(*note[2:]))

    def restore(self, sender: bytes, number: int, progress: Progress) -> None:
        """How far a request was before a failure."""
        self._clients.setdefault(sender, _Client()).requests[number] = progress

    def note(self, sender: bytes, number: int, progress: Progress) -> None:
        """How far a request is; only those that have come in their turn from who has greeted are remembered."""
        client = self._clients.get(sender)
        if client and number in client.come:
            client.requests[number] = progress
            if progress.reason:
                client.refused.add(number)
                self._refusing.add(sender)

    def refusals(self) -> list[tuple[bytes, int, Progress]]:
        """What was refused since the last call and may come again: to be remembered before anything behind it is."""
        known = [(sender, self._clients[sender]) for sender in self._refusing if sender in self._clients]
        self._refusing.clear()
        found = [(sender, k, client.requests[k]) for sender, client in known for k in sorted(client.refused)]
        for _, client in known:
            client.refused.clear()
        return found

    def greet(self, sender: bytes, unanswered: list[int], following: int) -> None:
        """A client's greeting, its numbers rising; all others have been answered. `following` is 0 where it goes."""
        client = self._clients.pop(sender, None) or self._returned(sender, unanswered)
        if not following:
            return
        self._clients[sender] = client  # the newest
        for other in list(islice(self._clients, max(0, len(self._clients) - MOST_CLIENTS))):
            self._forget(other)
        client.requests = {number: client.requests[number] for number in unanswered if number in client.requests}
        client.come.intersection_update(unanswered)
        client.refused.intersection_update(unanswered)
        client.awaited = deque(number for number in unanswered if number not in client.come)
        client.following = following

    def _returned(self, sender: bytes, unanswered: list[int]) -> _Client:
        """A client that is not known; if it has been forgotten, what had come of it is refused, lest it count twice."""
        client, come = _Client(), self._forgotten.pop(sender, 0)
        client.requests = {number: Progress(finished=True, reason=AWAY) for number in unanswered if number <= come}
        return client

    def forget_gone(self, is_there: Callable[[bytes], bool], now: float) -> None:
        """Forget the requests of clients that have not been there for a minute."""
        for sender, client in list(self._clients.items()):
            client.gone = inf if is_there(sender) else min(client.gone, now)
            if now - client.gone >= GONE_TIME:
                self._forget(sender)

    def _forget(self, sender: bytes) -> None:
        client = self._clients.pop(sender)
        self._forgotten[sender] = max([*client.requests, *client.come], default=0)
        for other in list(islice(self._forgotten, max(0, len(self._forgotten) - MOST_FORGOTTEN))):
            del self._forgotten[other]

    def look(self, sender: bytes, number: int) -> tuple[Verdict, Progress]:
        """What to do with a request that has come, and how far it was."""
        client = self._clients.get(sender)
        if not client or not client.following or len(client.come) >= MOST_REQUESTS:
            return Verdict.EARLY, Progress()
        progress = client.requests.get(number, Progress())
        if number in client.come:
            return Verdict.AGAIN if progress.finished else Verdict.PENDING, progress
        expected = client.awaited[0] if client.awaited else client.following
        if number != expected:
            return Verdict.PENDING if number < expected else Verdict.EARLY, Progress()
        if client.awaited:
            client.awaited.popleft()
        else:
            client.following += 1
        client.come.add(number)
        return Verdict.AGAIN if progress.finished else Verdict.TAKE, progress

    def forgotten(self) -> dict[str, int]:
        """How far those had come that are known no more, in plain values."""
        return {sender.hex(): number for sender, number in self._forgotten.items()}

    def facts(self) -> list[list[Any]]:
        """In plain values, for a checkpoint."""
        return [
            [sender.hex(), number, *progress]
            for sender, client in self._clients.items()
            for number, progress in client.requests.items()
        ]
