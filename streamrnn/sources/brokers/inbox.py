"""What a library's own thread has received, until the gate takes it."""

import math
import os
import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """Holds at most `size` items: who puts one more in waits. Its descriptor is readable while something is in it."""

    def __init__(self, size: float = math.inf) -> None:
        self._size = size
        self._items: deque[Item] = deque()
        self._room = threading.Condition()
        self._closed = False
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __len__(self) -> int:
        return len(self._items)

    def fileno(self) -> int:
        return self._descriptor

    def put(self, item: Item) -> bool:
        """Put one in, behind all others; False if it has been closed, perhaps while this waited for room."""
        with self._room:
            self._room.wait_for(lambda: self._closed or len(self._items) < self._size)
            if self._closed:
                return False
            if not self._items:
                os.eventfd_write(self._descriptor, 1)
            self._items.append(item)
            return True

    def take(self, limit: int) -> list[Item]:
        """At most `limit` of them, the oldest first; never waits."""
        with self._room:
            taken = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
            if taken and not self._items:
                os.eventfd_read(self._descriptor)
            self._room.notify_all()
            return taken

    def close(self) -> None:
        """Take no more in, and let go of the descriptor."""
        with self._room:
            if not self._closed:
                self._closed = True
                self._items.clear()
                os.close(self._descriptor)
            self._room.notify_all()
