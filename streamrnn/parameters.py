"""Flat parameter buffers, the named views into them, and how they are initialised."""

from math import prod, sqrt

import numpy as np

from streamrnn.instructions import buffer


class Parameters:
    """A flat float32 buffer and the arrays inside it by name; writing to one writes to the buffer."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.flat = buffer(sum(prod(shape) for shape in shapes.values()))
        self.views = self.named(self.flat)

    def named(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Views of another buffer of the same layout, of gradients say."""
        views, start = {}, 0
        for name, shape in self.shapes.items():
            views[name] = flat[start : start + prod(shape)].reshape(shape)
            start += prod(shape)
        return views


def glorot(rng: np.random.Generator, out: np.ndarray, fan_out: int) -> None:
    """Fill a weight matrix (inputs, outputs) uniformly (Glorot and Bengio 2010); fan_out counts one gate's outputs."""
    limit = sqrt(6.0 / (out.shape[0] + fan_out))
    out[...] = rng.uniform(-limit, limit, out.shape)


def orthogonal(rng: np.random.Generator, out: np.ndarray) -> None:
    """Fill a recurrent matrix (H, gates * H) with one random orthogonal matrix for each gate (Saxe et al. 2014)."""
    H = out.shape[0]
    for start in range(0, out.shape[1], H):
        q, r = np.linalg.qr(rng.standard_normal((H, H)))
        out[:, start : start + H] = q * np.sign(np.diag(r))
