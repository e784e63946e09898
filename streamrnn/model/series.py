"""Whole arrays of frames, and of targets, checked once and made what kernels read."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from streamrnn.model.inputs import as_array, as_token, as_tokens, as_vector, vectors_at_once

PART = 2048  # frames between which Ctrl-C may come


class Series(NamedTuple):
    """Frames of one stream, and their targets."""

    tokens: np.ndarray  # (n,), -1 where there are vectors
    X: np.ndarray  # (n, I), or (0, I) where there are tokens
    answers: np.ndarray  # (n,), targets that are classes
    targets: np.ndarray  # (n, size), or (0, size) where they are classes
    scored: bool  # each frame has a target of its own

    def frame(self, k: int, predict: str) -> tuple[Any, Any]:
        """The input and the target of a frame, as `Network.step` and `learn` take them."""
        x = self.X[k] if len(self.X) else int(self.tokens[k])
        answer = self.targets[k] if len(self.targets) else int(self.answers[k])
        return x, answer if self.scored or predict == "next" else None

    def part(self, part: slice) -> "Series":
        """Some of the frames."""
        return Series(self.tokens[part], self.X[part], self.answers[part], self.targets[part], self.scored)


def parts(count: int, progress: bool) -> Iterable[slice]:
    """The first of so many frames, then some at a time; progress: show a bar on standard error."""
    slices = [slice(start, min(start + PART, count)) for start in range(1, count, PART)]
    slices = [slice(0, 1), *slices] if count else []
    if not progress:
        return slices
    from rich.console import Console  # it takes a while to import
    from rich.progress import track

    return track(slices, "frames", console=Console(stderr=True))


def as_series(
    values: Any, size: int, most: float, missing: bool, tokens: bool | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """An array of ints below `size` (n,), or of vectors (n, size), as tokens (n,) and float64 vectors.

    There are no vectors, (0, size), for tokens, and the tokens of vectors are -1. missing: numbers may be. tokens:
    whether they have to be tokens; None for either. Raises ValueError, which names the first row that does not fit.
    """
    array = np.frombuffer(values, np.uint8) if isinstance(values, bytes) else as_array(values, missing=missing)
    if array.ndim == 1 and size == 1 and (tokens is False or array.dtype.kind == "f"):
        array = array[:, None]  # the only number of each vector
    elif array.ndim == 1 and len(array) and tokens is None:
        as_token(array[0], size)  # raises where it could be both
    if array.ndim == 1 and tokens is not False:
        return as_tokens(array, size), np.zeros((0, size))
    if array.ndim == 2 and not tokens:
        return np.full(len(array), -1), _as_vectors(array, size, most, missing)
    wanted = {None: f"ints (n,) or vectors (n, {size})", True: "ints (n,)", False: f"vectors (n, {size})"}[tokens]
    raise ValueError(f"expected {wanted}, got an array of shape {array.shape}")


def _as_vectors(array: np.ndarray, size: int, most: float, missing: bool) -> np.ndarray:
    """What `as_vector` would make of each row, sooner if all of them fit."""
    if (whole := vectors_at_once(array, size, most, missing)) is not None:
        return whole
    vectors = np.zeros((len(array), size))
    for k, x in enumerate(array):
        try:
            vectors[k] = as_vector(x, size, most, missing)
        except ValueError as error:
            raise ValueError(f"row {k}: {error}") from None
    return vectors
