"""The tables of a config that describe a network and how it learns, but for `streamrnn.model.optimizers`."""

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from streamrnn.kernels.anomaly import DETECTORS, FACTS
from streamrnn.kernels.cells import CELLS
from streamrnn.kernels.readouts import FORECASTS, READOUTS
from streamrnn.model.entrance import Entrance
from streamrnn.tables import Frames, NonEmpty, Section, Size, Tagged, Units

if TYPE_CHECKING:
    import numpy as np

    from streamrnn.model.anomalies import Seen
    from streamrnn.model.forecasts import Horizon

Ahead = Annotated[int, Meta(ge=1, le=10_000)]


def named(table: Iterable[str], name: str) -> str:
    """What is called by that name, in small letters in the file, in the table."""
    return next(each for each in table if each.lower() == name)


class Input(Section, frozen=True):
    kind: Literal["tokens", "vector"]
    size: Size  # number of different tokens, or width of the vector; 0 = as many as this machine has sensors
    standardize: bool = False  # scale each input online to mean 0 and deviation 1 (vectors only)
    missing: Literal["refuse", "fill"] = "refuse"  # NaN in a vector: an error, or the value last seen, decaying
    mask: bool = False  # the first layer also sees which are missing,
    calendar: list[Literal["hour", "day", "week", "year"]] = msgspec.field(
        default_factory=list
    )  # where in these it is,
    elapsed: bool = False  # and how long ago the frame before was
    channels: list[NonEmpty] | None = None  # names of a vector's numbers, by which clients may give them
    units: dict[str, NonEmpty] = msgspec.field(default_factory=dict)  # of channels, by name: they are shown

    @property
    def entrance(self) -> Entrance:
        """How vectors come in."""
        return Entrance(self.size, self.standardize, self.missing, self.mask, tuple(self.calendar), self.elapsed)


class Layer(Section, frozen=True):
    cell: Literal[*map(str.lower, CELLS)]  # type: ignore[valid-type]
    units: Units
    output: Units | None = None  # size of an output of its own; without one, the hidden state is the output

    @property
    def name(self) -> str:
        """The cell's in its table."""
        return named(CELLS, self.cell)


class Readout(Tagged, frozen=True):
    size: Size  # classes, or width of the target; 0 = as many as this machine has sensors

    @property
    def name(self) -> str:
        """The readout's in its table."""
        return type(self).__name__

    @property
    def options(self) -> dict[str, Any]:
        """What was chosen beside the size, in plain values."""
        values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return {name: value for name, value in values.items() if name not in ("kind", "size") and value is not None}

    @property
    def width(self) -> int:
        """Numbers in an output."""
        return READOUTS[self.name].numbers * self.size

    @property
    def classes(self) -> bool:
        """Whether outputs are probabilities of classes, and targets tokens."""
        return READOUTS[self.name].classes


class Softmax(Readout, frozen=True):
    """See `streamrnn.kernels.readouts.softmax`."""


class Linear(Readout, frozen=True):
    """See `streamrnn.kernels.readouts.linear`."""


class Gaussian(Readout, frozen=True):
    """See `streamrnn.kernels.readouts.gaussian`."""


class Anomaly(Section, frozen=True):
    """See `streamrnn.kernels.anomaly`."""

    day: Annotated[int, Meta(ge=24, le=10**9)]  # frames in a day: 144 of ten minutes, 864_000 at ten a second
    alarms_per_day: Annotated[float, Meta(gt=0, le=1000)] = 0.1  # how many there shall be in the long run
    threshold: Annotated[float, Meta(gt=0, le=20)] | None = None  # of the score, in the place of alarms_per_day
    # first frames that are known to be normal: an event lasts until all channels together are back there; 0 = none are
    normal: Annotated[int, Meta(ge=0, le=10**9)] = 0

    def __post_init__(self) -> None:
        if 0 < self.normal < 100:
            raise ValueError(f"normal must be at least 100 frames, or 0, and is {self.normal}")


class Forecast(Readout, frozen=True):
    """See `streamrnn.kernels.readouts.forecast`."""

    lags: Annotated[int, Meta(ge=1, le=1000)] = 20  # newest values of a channel that its forecast is a linear map of
    seasons: Annotated[tuple[Frames, ...], Meta(max_length=8)] = ()  # periods in frames; of 600 s, 144 are a day
    horizons: Annotated[tuple[Ahead, ...], Meta(min_length=1, max_length=16)] = (1,)  # frames ahead, from 1 on
    band: Annotated[float, Meta(gt=0, lt=1)] = 0.9  # share of values that the interval holds
    others: bool = False  # the newest values of the other channels are part of the map too
    forgetting: Annotated[float, Meta(gt=0.5, le=1)] = 0.996  # weight of a target, a frame later
    anomaly: Anomaly | None = None  # detectors, and alarms; in a config, [anomaly]

    def __post_init__(self) -> None:
        if self.horizons[0] != 1 or any(a >= b for a, b in pairwise(self.horizons)):
            raise ValueError(f"horizons must rise from 1 on, as in [1, 6, 48], and are {list(self.horizons)}")

    @property
    def experts(self) -> list[str]:
        """Those that are mixed, in the order of their weights: least squares are the last two."""
        return ["persistence", *(f"season {period}" for period in self.seasons), "autoregression", "network"]

    @property
    def width(self) -> int:
        return self.forecasts + (FACTS + 2 * len(DETECTORS) * self.size if self.anomaly else 0)

    @property
    def forecasts(self) -> int:
        """Numbers in an output before those of the anomaly."""
        return len(self.horizons) * (FORECASTS + len(self.experts)) * self.size

    def read(self, y: "np.ndarray") -> "dict[int, Horizon]":
        """What outputs (..., K) say of each horizon, by its frames; see `streamrnn.model.forecasts`.

        Raises ValueError if they are not of such a readout.
        """
        from streamrnn.model.forecasts import read  # a config needs no arrays

        self._check(y)
        return read(y[..., : self.forecasts], self.size, self.horizons, self.experts)

    def anomalies(self, y: "np.ndarray") -> "Seen":
        """What outputs (..., K) say of the newest values; see `streamrnn.model.anomalies`.

        Raises ValueError if they are not of such a readout, or it has no detectors.
        """
        from streamrnn.model.anomalies import read

        if not self.anomaly:
            raise ValueError("this forecast has no detectors of anomalies: it takes anomaly, in a config [anomaly]")
        self._check(y)
        return read(y[..., self.forecasts :], self.size)

    def _check(self, y: "np.ndarray") -> None:
        if y.shape[-1] != self.width:
            raise ValueError(f"an output of this forecast has {self.width} numbers, not {y.shape[-1]}")


AnyReadout = Softmax | Linear | Gaussian | Forecast


class Learning(Section, frozen=True):
    window: Annotated[int, Meta(ge=1, le=2**16)] = 16  # frames of truncated backpropagation through time
    accumulate: Annotated[int, Meta(ge=1, le=2**16)] = 1  # windows to one update
    gradient_delay: Annotated[int, Meta(ge=0, le=1024)] = 0  # groups by which an update is applied late
    clip_norm: Annotated[float, Meta(ge=0, le=1e9)] = 1.0  # largest norm of a layer's gradient; 0 = do not clip
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    enabled: bool = True  # false: predict and score, and leave the parameters as they are
