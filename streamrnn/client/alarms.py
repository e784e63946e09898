"""Alarms: what outputs say when an event of a stream begins or is over."""

from collections.abc import Callable
from typing import Any

from streamrnn.client.output import Output
from streamrnn.client.subscription import AsyncSubscription, Subscription
from streamrnn.model.anomalies import Alarm

Read = Callable[[Output], Alarm | None]  # the alarm that an output says, if it does


class Alarms:
    """Alarms as they come; as exact as the outputs that they are in, see `Subscription`. To be closed, or in a `with`.

    Iterating raises DaemonGone when nothing, no output either, has come within the subscription's timeout.
    """

    def __init__(self, outputs: Subscription, read: Read) -> None:
        self.outputs = outputs
        self._read = read

    def __iter__(self) -> "Alarms":
        return self

    def __next__(self) -> Alarm:
        while True:
            if found := self._read(next(self.outputs)):
                return found

    def __enter__(self) -> "Alarms":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        self.outputs.close()


class AsyncAlarms:
    """The same for `async for`, see `AsyncSubscription`."""

    def __init__(self, outputs: AsyncSubscription, read: Read) -> None:
        self.outputs = outputs
        self._read = read

    def __aiter__(self) -> "AsyncAlarms":
        return self

    async def __anext__(self) -> Alarm:
        while True:
            if found := self._read(await anext(self.outputs)):
                return found

    async def __aenter__(self) -> "AsyncAlarms":
        await self.outputs.__aenter__()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the sockets."""
        await self.outputs.close()
