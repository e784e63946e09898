"""Frames as sources give them, in arrays of a NumPy that is imported with the first of them: a config needs none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Tokens: TypeAlias = "NDArray[np.int64]"  # (n,)
Vectors: TypeAlias = "NDArray[np.float64]"  # (n, size), NaN where a reading is missing
Times: TypeAlias = "NDArray[np.int64]"  # (n,) nanoseconds since 1970 in UTC; NO_TIME where there is none


@dataclass(frozen=True, slots=True)
class Frames:
    """Some frames in their order."""

    values: "Tokens | Vectors"
    times: "Times | None" = None  # None: none has a time
    keys: list[str] | None = None  # the stream of each; None: all are of the source's own stream

    def __len__(self) -> int:
        return len(self.values)

    def part(self, start: int, end: int) -> "Frames":
        """Those from `start` to before `end`."""
        return Frames(
            self.values[start:end],
            None if self.times is None else self.times[start:end],
            None if self.keys is None else self.keys[start:end],
        )

    def chosen(self, which: "NDArray[np.bool_]") -> "Frames":
        """Those for which that says so, (n,)."""
        return Frames(
            self.values[which],
            None if self.times is None else self.times[which],
            None if self.keys is None else [key for key, wanted in zip(self.keys, which, strict=True) if wanted],
        )


def joined(parts: Sequence[Frames]) -> Frames:
    """All of them, one after the other; parts that are all with times and keys, or all without."""
    import numpy as np

    some = [part for part in parts if len(part)] or [*parts[:1]]
    if len(some) == 1:
        return some[0]
    values, times, keys = zip(*((part.values, part.times, part.keys) for part in some), strict=True)
    return Frames(
        np.concatenate(values),
        None if times[0] is None else np.concatenate(times),
        None if keys[0] is None else [key for part in keys for key in part],
    )


def tokens(piece: bytes) -> Tokens:
    """A token (n,) for each byte."""
    import numpy as np

    return np.frombuffer(piece, np.uint8).astype(np.int64)


def times(numbers: Sequence[int]) -> Times:
    """Times (n,)."""
    import numpy as np

    return np.array(numbers, np.int64)


def vectors(rows: Sequence[Sequence[float]], size: int) -> Vectors:
    """Vectors of that size, (n, size)."""
    import numpy as np

    return np.array(rows, np.float64).reshape(len(rows), size)
