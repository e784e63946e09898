"""Flat parameter buffers and the named views into them."""

from math import prod

import numpy as np

from streamrnn.kernels.instructions import buffer


def nothing() -> None:
    """What a part does before its arrays are looked at, where they are in force already."""


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
