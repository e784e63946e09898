"""What those who let frames in ask the gate: how many there is room for."""

from typing import Protocol


class Room(Protocol):
    """The gate, which counts what is in flight and what may still be let in."""

    left: float  # frames that may be let in from here on, infinite where any number may

    def listens(self) -> bool: ...

    def may_take(self) -> bool: ...

    def space(self, counted: bool = True) -> int: ...

    def took(self, frames: int) -> None: ...
