"""What every target has in common."""

from random import Random

from benchmarks.reliability.fuzz.mutate import mutated


class Target:
    """A place where something comes in. `take` says whether it let it in; whatever it raises is a fault."""

    name: str
    share: int  # of a thousand inputs

    def __init__(self, random: Random) -> None:
        self.random = random

    def make(self) -> list[bytes]:
        """An input: the parts of a message, or the bytes of files."""
        raise NotImplementedError

    def take(self, parts: list[bytes]) -> bool:
        raise NotImplementedError

    def close(self) -> None:
        """Let go of everything; what must hold in the end is checked here."""

    def spoiled(self, data: bytes, others: list[bytes], chance: float = 0.8) -> bytes:
        """Those bytes, mutated more often than not."""
        return mutated(self.random, data, others) if self.random.random() < chance else data
