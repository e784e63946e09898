"""What every kind of sink has: a table of the config, and what outputs are written to once that is opened."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from streamrnn.protocol.stream_names import OWN, PREVIEW
from streamrnn.tables import NonEmpty, Tagged

if TYPE_CHECKING:
    from streamrnn.sinks.records import Records

Problems = Iterator[tuple[str, str]]  # keys of the table, and what is wrong there


class SinkError(OSError):
    """What is written to is away, or cannot be used; the message is one line that says which and why."""


class About(NamedTuple):
    """What a sink knows of its daemon."""

    name: str
    records: "Records"


class Sink:
    """Outputs go out. It belongs to one thread, which may wait for it. Where it raises SinkError it is opened anew."""

    trouble: str = ""  # why nothing is written although it tries; a line

    @property
    def waiting(self) -> int:
        """How many it has taken, and keeps on the disk until they are written."""
        return 0

    def last(self, run: str) -> int | None:
        """The SEQ of the last record of that run which is there, as far as that can be seen there. Raises SinkError.

        Asked once, before the first `write`.
        """
        return None

    def write(self, records: Sequence[Any]) -> int:
        """Write records (of receivers: observations), in the order of their SEQs; how many it was. Raises SinkError.

        Called often, with none too: what is to wait for a while can be written then.
        """
        raise NotImplementedError

    def flush(self, seconds: float) -> bool:
        """Whether all that was written is safe, be it that the power goes; waits so long for that. Raises SinkError."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what is written to."""


class Destination(Tagged, frozen=True):
    """A table of what outputs, or alarms, go to."""

    paths: ClassVar[tuple[str, ...]] = ("path",)  # keys that are paths, relative to the config's file

    streams: list[NonEmpty] | None = None  # that are written; default: all but those that clients use without a name

    @property
    def origin(self) -> str:
        """What is written to, in words: what is known of how far it is holds for that."""
        raise NotImplementedError

    @property
    def line(self) -> str:
        """What is written to, in a line."""
        return self.origin

    def wants(self, stream: str) -> bool:
        """Whether outputs of that stream are written."""
        if self.streams is not None:
            return stream in self.streams
        return stream != PREVIEW and not stream.startswith(OWN)

    def problems(self) -> Problems:
        """What of the table cannot be."""
        yield from ()


class SinkTable(Destination, frozen=True):
    """A table of [[sinks]] of one kind, and what follows from it."""

    def open(self, about: About) -> Sink:
        """Begin to write. Raises SinkError."""
        raise NotImplementedError


def reason(error: OSError) -> str:
    """Why something failed, in words."""
    return error.strerror or str(error) or type(error).__name__
