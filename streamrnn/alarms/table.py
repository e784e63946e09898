"""What every kind of receiver has: a table of the config, and what carries messages to it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import msgspec
from msgspec import Meta

from streamrnn.alarms.outbox import Message
from streamrnn.sinks.sink import Destination
from streamrnn.tables import Frames

if TYPE_CHECKING:
    from streamrnn.alarms.receiver import Receiver


class Surroundings(NamedTuple):
    """What a receiver knows of its daemon."""

    daemon: str  # its name
    folder: Path  # of outboxes
    tell: Callable[[str, str], None]  # an event and its text: have the log say so; returns when it is handed over


class Carrier:
    """Carries messages to a receiver. It belongs to one thread, which may wait for it."""

    def deliver(self, message: Message) -> None:
        """Hand a message over; it has arrived then. Raises SinkError where it is not known to have."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what was opened."""


class ReceiverTable(Destination, frozen=True, kw_only=True):
    """A table of [[alarms]] of one kind, and what follows from it."""

    anomalies: ClassVar[bool] = True  # whether it is sent the alarms of detectors

    above: Annotated[float, Meta(ge=-1e9, le=1e9)] | None = None  # nats: a loss above that is an alarm too
    frames: Frames = msgspec.field(default=1, name="for")  # where it is that in so many scored frames in a row
    every: Annotated[float, Meta(ge=0, le=1e6)] = 60.0  # seconds between two messages of a stream, at least
    timeout: Annotated[float, Meta(gt=0, le=600)] = 10.0  # seconds in which it must answer

    @property
    def origin(self) -> str:
        return f"alarms to {self.place}{f', {sorted(self.streams)}' if self.streams else ''}"

    @property
    def place(self) -> str:
        """What messages are carried to, in words."""
        raise NotImplementedError

    def carrier(self, about: Surroundings) -> Carrier:
        """What carries messages there. Raises SinkError."""
        raise NotImplementedError

    def open(self, about: Surroundings) -> "Receiver":
        """Begin to look through outputs. Raises SinkError."""
        from streamrnn.alarms.receiver import Receiver

        return Receiver(self, about)
