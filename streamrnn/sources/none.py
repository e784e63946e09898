"""No source: frames come only from clients."""

from streamrnn.model.tables import Input
from streamrnn.sources.source import Problems, SourceTable


class NoSource(SourceTable, frozen=True, tag="none"):
    """Frames come only from clients, of any kind and with any target."""

    @property
    def line(self) -> str:
        return "none: frames come from clients"

    def problems(self, input: Input, predict: str) -> Problems:
        return iter(())

    def open(self) -> None:
        return None
