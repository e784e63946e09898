"""Readouts: a linear map of the last hidden vector and what it means, see `streamrnn.kernels.readouts`."""

from importlib import import_module

import numpy as np

from streamrnn.kernels.buffers import READOUT, Sizes, allocate
from streamrnn.kernels.readouts import READOUTS as KINDS
from streamrnn.kernels.readouts import Kind
from streamrnn.kernels.standardize import BLOCKS
from streamrnn.model.parameters import Parameters
from streamrnn.model.weights import glorot


class Readout:
    """The end of a network: turns the last hidden vector (I,) into an output (K,) and scores it against a target.

    size: classes, or width of the target. Raises ValueError if it is below 1.
    """

    kind: Kind

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"{type(self).__name__} needs a size of at least 1, not {size}")
        self.size = size

    @property
    def output_size(self) -> int:
        """Numbers in an output (K)."""
        return self.kind.numbers * self.size

    @property
    def loss_size(self) -> int:
        """Numbers that say what a target costs, see `streamrnn.kernels.readouts`."""
        return self.kind.losses(self.size)

    @property
    def classes(self) -> bool:
        """Whether outputs are probabilities of classes, and targets their numbers; else targets are vectors (size,)."""
        return self.kind.classes

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size})"

    def __reduce__(self) -> tuple:
        """A copy belongs to no network, and so has no parameters."""
        return type(self), (self.size,)

    def build(self, input_size: int) -> None:
        """Make the parameters W_hy (input_size, output_size) and b_y (output_size,), all zero."""
        self.input_size = input_size
        self.parameters = Parameters({"W_hy": (input_size, self.output_size), "b_y": (self.output_size,)})

    def initialize(self, rng: np.random.Generator) -> None:
        """Fresh weights, see `streamrnn.model.weights`."""
        glorot(rng, self.parameters.views["W_hy"], self.output_size)

    def allocate(self, sizes: Sizes, moments: int, standardize: bool = False, needs_dx: bool = True) -> None:
        """Make the buffers; the parameters stay."""
        width = self.output_size
        self.stage = allocate(
            READOUT + [*KINDS].index(type(self).__name__),
            self.input_size,
            width,
            width,
            self.parameters.flat,
            gates=width,
            state=0,
            tape=sizes.window * (self.input_size + 2 * width),
            stats=1 + BLOCKS * self.size if standardize else 0,
            moments=moments,
            sizes=sizes,
            own_output=False,
            needs_dx=needs_dx,
            values=not self.classes,
        )

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Live views: W_hy (H, K), b_y (K,)."""
        return self.parameters.views


def readout(name: str) -> type[Readout]:
    """The class of a readout in the table, described as in its file."""
    about = import_module(f"streamrnn.kernels.readouts.{name.lower()}").__doc__
    return type(name, (Readout,), {"kind": KINDS[name], "__doc__": about, "__module__": __name__})


READOUTS = {name: readout(name) for name in KINDS}
globals().update(READOUTS)
