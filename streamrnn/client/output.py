"""What a network said of one frame, and how it is read from a message."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from math import isnan, nan
from typing import Any, NamedTuple

import numpy as np

from streamrnn.client import output_view
from streamrnn.kernels.frames import EMIT, FLAGS, INPUT, SEQ, STREAM, TIME, TIMED, places
from streamrnn.kernels.readouts import CHANNELS, LOSS
from streamrnn.model.tables import AnyReadout, Forecast
from streamrnn.model.times import EPOCH
from streamrnn.protocol.wire import NOTHING, Message


class Channel(NamedTuple):
    """What an output says of one channel; NaN where that is not known, or the readout does not say it."""

    value: float  # what was scored: where the next input is predicted, that of this frame
    loss: float  # its part of the loss, in nats
    prediction: float  # of the next frame, or of this one's target
    spread: float = nan
    lower: float = nan  # the ends of the interval
    upper: float = nan


class About(NamedTuple):
    """What a daemon's outputs are of."""

    channels: list[str]  # their names; none where they are classes
    readout: AnyReadout

    def channel(self, output: "Output", k: int) -> Channel:
        """What an output says of a channel, by its number."""
        known = (float(part[k]) if len(part) else nan for part in (output.target, output.losses))
        if isinstance(self.readout, Forecast):
            said = self.readout.read(output.y)[1]
            return Channel(*known, *(float(each[k]) for each in (said.mean, said.spread, said.lower, said.upper)))
        return Channel(*known, *(float(y) for y in output.y[k :: self.readout.size]))


class Output(NamedTuple):
    """What a network said of one frame."""

    stream: str
    seq: int  # of the frame, in the order in which the daemon accepted it
    y: np.ndarray  # (K,) probabilities or values, or (2K,) means and standard deviations
    loss: float  # of what this frame scored, in nats, see `Network.loss`; NaN if it scored nothing
    losses: np.ndarray = NOTHING  # the part of each channel in that (size,); none where targets are classes
    target: np.ndarray = NOTHING  # what was scored (size,), so where the next input is predicted, this frame's values
    time: int | None = None  # when the frame was measured, where that is known: nanoseconds since 1970 in UTC
    about: "About | None" = None  # whom it is from

    def __getitem__(self, key: Any) -> Any:
        """`out["flow"]`: what is said of that channel, a `Channel`. Raises KeyError where there is none."""
        if not isinstance(key, str):
            return tuple.__getitem__(self, key)
        if not self.about or key not in self.about.channels:
            raise KeyError(key)
        return self.about.channel(self, self.about.channels.index(key))

    @property
    def when(self) -> datetime | None:
        """The same, to the microsecond."""
        return None if self.time is None else EPOCH + timedelta(microseconds=self.time // 1000)

    def _repr_html_(self) -> str:
        return output_view.html(self)


def outputs_of(
    name: str | Mapping[int, str],
    message: Message,
    after: int,
    scored: dict[int, np.ndarray],
    about: About | None = None,
) -> Iterator[Output]:
    """The outputs in a message of rows behind that place.

    name: of its stream, or of its streams by their numbers.
    scored: by stream number, losses whose frame's output is in a later message; it is kept up to date.
    """
    vectors, losses = iter(message.vectors), message.extra.reshape(len(message.frames), -1)
    half = (losses.shape[1] - CHANNELS) // 2
    columns = message.frames[:, [SEQ, STREAM, FLAGS, TIME]].tolist()  # at once: NumPy's numbers are slow one by one
    for (seq, number, flags, time), place, costs in zip(columns, places(message.frames).tolist(), losses, strict=True):
        emitted = flags & INPUT and flags & EMIT
        y = next(vectors) if emitted else NOTHING
        if place <= after:
            continue
        loss = float(costs[LOSS])
        if emitted:
            earlier = scored.pop(number, costs)
            if isnan(loss):
                costs, loss = earlier, float(earlier[LOSS])
            parts = costs[CHANNELS:].copy()
            stream = name if isinstance(name, str) else name[number]
            when = time if flags & TIMED else None
            yield Output(stream, seq, y.copy(), loss, parts[:half], parts[half:], when, about)
        elif not isnan(loss):
            scored[number] = costs
