"""What a network said of one frame, and how it is read from a message."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from streamrnn.kernels.frames import EMIT, FLAGS, INPUT, SEQ, STREAM, TIME, TIMED, places
from streamrnn.kernels.readouts import CHANNELS, LOSS
from streamrnn.model.times import EPOCH
from streamrnn.protocol.wire import NOTHING, Message


class Output(NamedTuple):
    """What a network said of one frame."""

    stream: str
    seq: int  # of the frame, in the order in which the daemon accepted it
    y: np.ndarray  # (K,) probabilities or values, or (2K,) means and standard deviations
    loss: float  # of what this frame scored, in nats, see `Network.loss`; NaN if it scored nothing
    losses: np.ndarray = NOTHING  # the part of each channel in that (size,); none where targets are classes
    target: np.ndarray = NOTHING  # what was scored (size,), so where the next input is predicted, this frame's values
    time: int | None = None  # when the frame was measured, where that is known: nanoseconds since 1970 in UTC

    @property
    def when(self) -> datetime | None:
        """The same, to the microsecond."""
        return None if self.time is None else EPOCH + timedelta(microseconds=self.time // 1000)


def outputs_of(
    name: str | Mapping[int, str], message: Message, after: int, scored: dict[int, np.ndarray]
) -> Iterator[Output]:
    """The outputs in a message of rows behind that place.

    name: of its stream, or of its streams by their numbers.
    scored: by stream number, losses whose frame's output is in a later message; it is kept up to date.
    """
    vectors, losses = iter(message.vectors), message.extra.reshape(len(message.frames), -1)
    for frame, place, costs in zip(message.frames, places(message.frames), losses, strict=True):
        number, flags = int(frame[STREAM]), int(frame[FLAGS])
        emitted = flags & INPUT and flags & EMIT
        y = next(vectors) if emitted else NOTHING
        if place <= after:
            continue
        if emitted:
            earlier = scored.pop(number, costs)
            costs = earlier if np.isnan(costs[LOSS]) else costs
            parts = costs[CHANNELS:].copy()
            time = int(frame[TIME]) if flags & TIMED else None
            half = len(parts) // 2
            stream = name if isinstance(name, str) else name[number]
            yield Output(stream, int(frame[SEQ]), y.copy(), float(costs[LOSS]), parts[:half], parts[half:], time)
        elif not np.isnan(costs[LOSS]):
            scored[number] = costs
