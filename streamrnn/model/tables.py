"""The tables of a config that describe a network and how it learns, but for `streamrnn.model.optimizers`."""

from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta

from streamrnn.kernels.cells import CELLS
from streamrnn.kernels.readouts import READOUTS
from streamrnn.tables import NonEmpty, Section, Size, Units


def named(table: Iterable[str], name: str) -> str:
    """What is called by that name, in small letters in the file, in the table."""
    return next(each for each in table if each.lower() == name)


class Input(Section, frozen=True):
    kind: Literal["tokens", "vector"]
    size: Size  # number of different tokens, or width of the vector; 0 = as many as this machine has sensors
    standardize: bool = False  # scale each input online to mean 0 and deviation 1 (vectors only)
    channels: list[NonEmpty] | None = None  # names of a vector's numbers, by which clients may give them


class Layer(Section, frozen=True):
    cell: Literal[*map(str.lower, CELLS)]  # type: ignore[valid-type]
    units: Units
    output: Units | None = None  # size of an output of its own; without one, the hidden state is the output

    @property
    def name(self) -> str:
        """The cell's in its table."""
        return named(CELLS, self.cell)


class Readout(Section, frozen=True):
    kind: Literal[*map(str.lower, READOUTS)]  # type: ignore[valid-type]
    size: Size  # classes, or width of the target; 0 = as many as this machine has sensors

    @property
    def name(self) -> str:
        """The readout's in its table."""
        return named(READOUTS, self.kind)

    @property
    def classes(self) -> bool:
        """Whether outputs are probabilities of classes, and targets tokens."""
        return READOUTS[self.name].classes


class Learning(Section, frozen=True):
    window: Annotated[int, Meta(ge=1, le=2**16)] = 16  # frames of truncated backpropagation through time
    accumulate: Annotated[int, Meta(ge=1, le=2**16)] = 1  # windows to one update
    gradient_delay: Annotated[int, Meta(ge=0, le=1024)] = 0  # groups by which an update is applied late
    clip_norm: Annotated[float, Meta(ge=0, le=1e9)] = 1.0  # largest norm of a layer's gradient; 0 = do not clip
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    enabled: bool = True  # false: predict and score, and leave the parameters as they are
