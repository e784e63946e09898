"""Frames as arrays, made by a NumPy that is imported with the first of them: a config needs none."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Tokens: TypeAlias = "NDArray[np.int64]"  # (n,)
Vectors: TypeAlias = "NDArray[np.float64]"  # (n, size)
AnyFrames: TypeAlias = "Tokens | Vectors"


def tokens(piece: bytes) -> Tokens:
    """A token (n,) for each byte."""
    import numpy as np

    return np.frombuffer(piece, np.uint8).astype(np.int64)


def vectors(rows: Sequence[Sequence[float]], size: int) -> Vectors:
    """Vectors of that size, (n, size)."""
    import numpy as np

    return np.array(rows, np.float64).reshape(-1, size)
