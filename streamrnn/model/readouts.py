"""Readouts: a linear map of the last hidden vector and what it means, see `streamrnn.kernels.readouts`."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import msgspec
import numpy as np

from streamrnn.kernels.buffers import READOUT, Sizes, allocate
from streamrnn.kernels.columns import COUNT
from streamrnn.kernels.experts import memory
from streamrnn.kernels.readouts import READOUTS as KINDS
from streamrnn.kernels.readouts import Kind
from streamrnn.kernels.standardize import numbers
from streamrnn.model import tables
from streamrnn.model.anomalies import Seen
from streamrnn.model.entrance import Entrance
from streamrnn.model.forecasts import Horizon
from streamrnn.model.parameters import Parameters, nothing
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
        self._here: Callable[[], None] = nothing  # in a network: has the arrays hold what is in force

    @property
    def options(self) -> dict[str, Any]:
        """What was chosen beside the size, by name, in plain values."""
        return {}

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
        options = [f"{name}={value}" for name, value in self.options.items()]
        return f"{type(self).__name__}({', '.join([str(self.size), *options])})"

    def __reduce__(self) -> tuple:
        """A copy belongs to no network, and so has no parameters."""
        return partial(type(self), **self.options), (self.size,)

    def build(self, input_size: int) -> None:
        """Make the parameters W_hy (input_size, output_size) and b_y (output_size,), all zero."""
        self.input_size = input_size
        self.parameters = Parameters({"W_hy": (input_size, self.output_size), "b_y": (self.output_size,)})

    def initialize(self, rng: np.random.Generator) -> None:
        """Fresh weights, see `streamrnn.model.weights`."""
        glorot(rng, self.parameters.views["W_hy"], self.output_size)

    def allocate(self, sizes: Sizes, moments: int, entrance: Entrance, needs_dx: bool = True) -> None:
        """Make the buffers; the parameters stay. entrance: of targets, which are taken as inputs are."""
        self._allocate(sizes, moments, entrance, needs_dx, None)

    def _allocate(
        self, sizes: Sizes, moments: int, entrance: Entrance, needs_dx: bool, experts: memory.Plan | None
    ) -> None:
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
            stats=numbers(self.size, entrance.fills) if entrance.standardize else 0,
            moments=moments,
            sizes=sizes,
            own_output=False,
            needs_dx=needs_dx,
            size=self.size,
            values=not self.classes,
            experts=experts,
        )

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Live views: W_hy (H, K), b_y (K,)."""
        self._here()
        return self.parameters.views


class Forecast(Readout):
    kind = KINDS["Forecast"]
    __doc__ = import_module("streamrnn.kernels.readouts.forecast").__doc__

    def __init__(self, size: int, **options: Any) -> None:
        """options: those of `streamrnn.model.tables.Forecast`. Raises ValueError where one is out of range."""
        super().__init__(size)
        try:
            self.table = msgspec.convert({"kind": "forecast", "size": size, **options}, tables.Forecast)
        except msgspec.ValidationError as error:
            raise ValueError(f"Forecast: {error}") from None

    @property
    def options(self) -> dict[str, Any]:
        return self.table.options

    @property
    def output_size(self) -> int:
        return self.table.width

    def build(self, input_size: int) -> None:
        """There are no parameters: what is learned is of each stream."""
        self.input_size = input_size
        self.parameters = Parameters({})

    def initialize(self, rng: np.random.Generator) -> None:
        """There is nothing to draw."""

    def allocate(self, sizes: Sizes, moments: int, entrance: Entrance, needs_dx: bool = True) -> None:
        """Make the buffers. Raises ValueError where inputs are not standardised."""
        if not entrance.standardize:
            raise ValueError("a forecast needs standardize=True: its experts learn in scales of each channel")
        self._allocate(sizes, moments, entrance, needs_dx, self._plan(entrance.fills))

    def _plan(self, fills: bool) -> memory.Plan:
        options = msgspec.structs.asdict(self.table) | {"anomaly": None}
        if self.table.anomaly:
            options["anomaly"] = msgspec.structs.asdict(self.table.anomaly)
        return memory.plan(options.pop("size"), self.input_size, **options, fills=fills)

    def read(self, y: np.ndarray) -> "dict[int, Horizon]":
        """What outputs (..., K) say of each horizon, by its frames."""
        return self.table.read(y)

    def anomalies(self, y: np.ndarray) -> "Seen":
        """What outputs (..., K) say of the newest values."""
        return self.table.anomalies(y)

    def recent(self, stream: int, most: int) -> np.ndarray:
        """The newest values (size, n) of a stream by its number, the oldest first: `most`, or all that are kept.

        Of one that was missing it is what was forecast; NaN before the channel's first.
        """
        self._here()
        places = memory.HIDDEN, memory.ROWS, memory.RING, memory.CHANNEL
        hidden, rows, ring, numbers = self.stage.settings[list(places)].astype(int)
        row = self.stage.experts[stream]
        channels = row[memory.HEAD + rows * hidden :][: self.size * numbers].reshape(self.size, numbers)
        count = int(row[COUNT])
        return channels[:, np.arange(max(count - min(ring, most), 0), count) % ring]


def readout(name: str) -> type[Readout]:
    """The class of a readout in the table, described as in its file."""
    about = import_module(f"streamrnn.kernels.readouts.{name.lower()}").__doc__
    return type(name, (Readout,), {"kind": KINDS[name], "__doc__": about, "__module__": __name__})


READOUTS = {name: Forecast if KINDS[name].experts else readout(name) for name in KINDS}
globals().update(READOUTS)
