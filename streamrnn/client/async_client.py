"""The client for programs with an event loop: tasks that share one have their calls done one after another."""

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, TypeVar

from streamrnn.client.alarms import AsyncAlarms
from streamrnn.client.control import CONTROL
from streamrnn.client.core import Core, performing
from streamrnn.client.lines import AwaitedLines
from streamrnn.client.output import Output
from streamrnn.client.source import AsyncSource
from streamrnn.client.subscription import AsyncSubscription, Listening
from streamrnn.client.turns import awaited, check_process
from streamrnn.protocol.keys import load

T = TypeVar("T")


class AsyncClient(Core):
    """A `Client` whose calls are awaited; arguments, results and errors are the same.

    `async with` connects and closes; without it the first call connects, and `name`, `predict`, `readout` and the like
    are there from then on. A call may be cancelled wherever it waits: a frame that was on its way stays so, and all
    other calls work as before. It belongs to one event loop.
    """

    _lines: AwaitedLines

    def __init__(self, control: str = CONTROL, timeout: float = 5.0, key: str | os.PathLike[str] | None = None) -> None:
        super().__init__(AwaitedLines(load(key) if key else None), control, timeout)
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> "AsyncClient":
        async with self._lock:
            await self._connect()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every socket; frames that were sent still go out. In a forked process it does nothing."""
        if os.getpid() == self._process:
            async with self._lock:
                self._say_goodbye()
                await self._lines.end()

    status = awaited(Core._status)
    send = awaited(Core._send)
    send_many = awaited(Core._send_many)
    flush = awaited(Core._flush)
    step = awaited(Core._step)
    outputs = awaited(Core._outputs)
    messages = awaited(Core._messages)
    streams = awaited(Core._streams)
    dismiss = awaited(Core._dismiss)
    reset = awaited(Core._reset)
    forget = awaited(Core._forget)
    classify = awaited(performing(Core._classify))
    label = awaited(performing(Core._label))
    generate = awaited(performing(Core._generate))
    transduce = awaited(performing(Core._transduce))
    teach = awaited(performing(Core._teach))

    def subscribe(self, stream: str | None = None, timeout: float | None = None) -> AsyncSubscription:
        """Every output of that stream, of all streams without one, from where its `async with` begins; without one,
        from the first step of the `async for`. See `Client.subscribe`.
        """
        return AsyncSubscription(partial(self._listen, Listening, stream, timeout))

    def alarms(self, stream: str | None = None, timeout: float | None = None) -> AsyncAlarms:
        """Every alarm of that stream, of all streams without one, see `subscribe`.

        Where it begins, it raises ValueError if the daemon has no [anomaly], DaemonGone.
        """
        return AsyncAlarms(AsyncSubscription(partial(self._listen, Listening, stream, timeout, True)), self._alarm)

    async def stream(
        self,
        frames: Iterable[Any] | AsyncIterable[Any],
        targets: Iterable[Any] | AsyncIterable[Any] | None = None,
        stream: str = "main",
        learn: bool = True,
    ) -> AsyncIterator[Output]:
        """See `Client.stream`; both iterables may be asynchronous, and are taken from while outputs are waited for."""
        way = await self._open(stream, learn)
        source = AsyncSource(frames, targets)
        try:
            while not (source.is_over and way.is_empty):
                if source.has_some and way.has_room:
                    await self._do(partial(way.put, source.take(way.most)))
                    if way.error:
                        await source.close()
                elif way.is_empty:
                    await source.come()
                else:
                    for output in await self._do(partial(way.heard, True)):
                        yield output
            if error := way.error or source.error:
                raise error
        finally:
            way.close()
            await source.close()

    _listen = awaited(Core._subscribe)
    _open = awaited(Core._pipeline)

    async def _do(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Raises RuntimeError in a forked process."""
        check_process(self._process)
        async with self._lock:
            if not self._connected:
                await self._connect()
            return await work()
