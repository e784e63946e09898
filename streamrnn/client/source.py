"""What a client streams, taken from an iterable as it comes: many frames at a time where they come quickly."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from itertools import repeat, starmap, zip_longest
from typing import Any

from streamrnn.client.pipeline import Item

QUICKLY = 0.01  # seconds, for which a frame waits for those behind it
END = object()
AHEAD = 1024  # frames that are taken before there is room for them


class Source:
    """Frames of an iterable, and their targets if there are any."""

    def __init__(self, frames: Iterable[Any], targets: Iterable[Any] | None, now: Callable[[], float]) -> None:
        self._items: Iterator[Item] = pairs(frames, targets)
        self._now = now
        self.is_over = False
        self.error: Exception | None = None  # what the iterable has ended with

    def take(self, most: int) -> list[Item]:
        """So many of them, or those that come quickly, and at least one unless there are no more."""
        taken: list[Item] = []
        until = self._now() + QUICKLY
        try:
            while len(taken) < most:
                taken.append(next(self._items))
                if self._now() > until:
                    break
        except StopIteration:
            self.is_over = True
        except Exception as error:  # whatever it is, it is raised when all before it is through
            self.is_over, self.error = True, error
        return taken


class AsyncSource:
    """Frames of an iterable, asynchronous or not, taken by a task of its own while others wait."""

    def __init__(self, frames: Any, targets: Any) -> None:
        self._taken: deque[Item] = deque()
        self._change = asyncio.Event()  # of how many have been taken
        self.error: Exception | None = None  # what the iterable has ended with
        self._task = asyncio.create_task(self._fill(frames, targets))

    @property
    def is_over(self) -> bool:
        """Whether there are no more to take."""
        return self._task.done() and not self._taken

    @property
    def has_some(self) -> bool:
        """Whether some are there."""
        return bool(self._taken)

    def take(self, most: int) -> list[Item]:
        """Those that are there, so many at the most."""
        taken = [self._taken.popleft() for _ in range(min(most, len(self._taken)))]
        self._change.set()
        return taken

    async def come(self) -> None:
        """Wait until some are there, or it is over."""
        while not self._taken and not self._task.done():
            self._change.clear()
            await self._change.wait()

    async def close(self) -> None:
        """Take no more, and let go of those that are there."""
        self._taken.clear()
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _fill(self, frames: Any, targets: Any) -> None:
        try:
            async for item in async_pairs(frames, targets):
                while len(self._taken) >= AHEAD:
                    self._change.clear()
                    await self._change.wait()
                self._taken.append(item)
                self._change.set()
        except Exception as error:  # whatever it is, it is raised when all before it is through
            self.error = error
        finally:
            self._change.set()


def pairs(frames: Iterable[Any], targets: Iterable[Any] | None) -> Iterator[Item]:
    """Each frame with its target. Raises ValueError where there are not as many."""
    return (
        zip(frames, repeat(None)) if targets is None else starmap(checked, zip_longest(frames, targets, fillvalue=END))
    )


async def async_pairs(frames: Any, targets: Any) -> AsyncIterator[Item]:
    """The same, where both may be asynchronous."""
    others = each(repeat(None) if targets is None else targets)
    async for x in each(frames):
        yield checked(x, await anext(others, END))
    if targets is not None:
        checked(END, await anext(others, END))


def checked(x: Any, target: Any) -> Item:
    """Raises ValueError where one of them is lacking."""
    if (x is END) != (target is END):
        raise ValueError(f"there are {'more' if x is END else 'fewer'} targets than frames")
    return x, target


async def each(iterable: Any) -> AsyncIterator[Any]:
    """What is in an iterable, asynchronous or not."""
    if isinstance(iterable, AsyncIterable):
        async for x in iterable:
            yield x
    else:
        for x in iterable:
            yield x
