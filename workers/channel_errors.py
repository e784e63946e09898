"""How far off forecasts of each channel were, beside those of whoever says "the same again" or "as a season ago"."""

from typing import Any

import numpy as np

from streamrnn.kernels.frames import EMIT, FLAGS, INPUT, SCORED, SEQ, STREAM
from streamrnn.kernels.readouts import CHANNELS
from streamrnn.protocol.wire import Message

SHOWN, RECENT = 64, 30  # channels, and losses of each
MOST = 1 << 21  # numbers that are kept of seasons, of all streams together
SUMS = "scored", "forecast", "same_again", "season_scored", "season_forecast", "season"


class ChannelErrors:
    """Sums of absolute errors of one step ahead, per channel, over all streams.

    An error counts where there is a value, a forecast of it, and an earlier value to compare with; those beside the
    season where there is also a value of so many frames ago. size: channels; season: in frames, 0 for none.
    """

    def __init__(self, size: int, season: int) -> None:
        self.size, self.season = size, season
        self.sums = {name: np.zeros(size) for name in SUMS}
        self._last: dict[int, np.ndarray] = {}  # by stream: the newest forecast and the newest values seen
        self._losses: dict[int, np.ndarray] = {}  # (at most RECENT, size)
        self._early: dict[int, tuple[int, np.ndarray]] = {}  # the SEQ and the target of a frame whose input is to come
        self._seasons: dict[int, np.ndarray] = {}  # (season, size): the newest values, the oldest first

    def add(self, message: Message, means: np.ndarray, beside: np.ndarray, uncounted: int) -> None:
        """Take a message of outputs: means (outputs, size); beside (rows, numbers): see `Kind.beside` of readouts."""
        targets, losses = beside[:, -self.size :], beside[:, CHANNELS : CHANNELS + self.size]
        for stream in np.unique(message.frames[:, STREAM]).tolist():
            if stream != uncounted:
                self._note(stream, message.frames, losses)
                values, forecasts = self._by_frame(message.frames, means, targets, stream)
                if len(values):
                    self._add(stream, values, forecasts)

    def _by_frame(
        self, frames: np.ndarray, means: np.ndarray, targets: np.ndarray, stream: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of each frame of a stream that has an input: its values, and what was forecast, NaN where there is none.

        A frame's target may have come in the message before.
        """
        flags, numbers = frames[:, FLAGS], frames[:, SEQ]
        own, inputs = frames[:, STREAM] == stream, flags & INPUT > 0
        outputs = np.full((len(frames), self.size), np.nan)
        outputs[inputs & (flags & EMIT > 0)] = means
        scored, rows = own & (flags & SCORED > 0), np.flatnonzero(own & inputs)
        seqs, came = numbers[scored], targets[scored]
        if earlier := self._early.pop(stream, None):
            seqs, came = np.append(earlier[0], seqs), np.vstack([earlier[1], came])
        values, places = np.full((len(rows), self.size), np.nan), np.searchsorted(numbers[rows], seqs)
        if len(seqs) and places[-1] == len(rows):
            self._early[stream] = int(seqs[-1]), came[-1]
        there = places < len(rows)
        there[there] &= numbers[rows[places[there]]] == seqs[there]
        values[places[there]] = came[there]
        return values, outputs[rows]

    def _add(self, stream: int, values: np.ndarray, forecasts: np.ndarray) -> None:
        """Of one stream's frames in a row: their values, and what was forecast of the next ones, both (n, size)."""
        nothing = np.full((2, self.size), np.nan)
        forecast, seen = self._last.get(stream, nothing)
        before = filled(np.vstack([seen, values]))
        said = np.vstack([forecast, forecasts[:-1]])
        self._count("scored", values, {"forecast": said, "same_again": before[:-1]})
        self._last[stream] = np.stack([forecasts[-1], before[-1]])
        if self.season:
            self._add_season(stream, values, said)

    def _add_season(self, stream: int, values: np.ndarray, said: np.ndarray) -> None:
        if stream not in self._seasons and self.season * self.size * (len(self._seasons) + 1) > MOST:
            return
        kept = self._seasons.get(stream, np.full((self.season, self.size), np.nan))
        every = np.vstack([kept, values])
        self._count("season_scored", values, {"season_forecast": said, "season": every[: len(values)]})
        self._seasons[stream] = every[len(values) :]

    def _count(self, count: str, values: np.ndarray, said: dict[str, np.ndarray]) -> None:
        wrong = {name: np.abs(values - what) for name, what in said.items()}
        there = np.logical_and.reduce([~np.isnan(each) for each in wrong.values()])
        self.sums[count] += there.sum(axis=0)
        for name, each in wrong.items():
            self.sums[name] += np.where(there, each, 0.0).sum(axis=0)

    def _note(self, stream: int, frames: np.ndarray, losses: np.ndarray) -> None:
        """Keep the newest losses (rows, size) of a stream, NaN where a channel was not scored."""
        own = losses[(frames[:, STREAM] == stream) & (frames[:, FLAGS] & SCORED > 0)]
        if len(own):
            earlier = self._losses.get(stream, np.zeros((0, self.size)))
            self._losses[stream] = np.vstack([earlier, own[-RECENT:]])[-RECENT:]

    def surprise(self, stream: int) -> list[list[float | None]]:
        """The newest losses of each channel of a stream."""
        rows = self._losses.get(stream, np.zeros((0, self.size)))
        return [[None if loss != loss else round(loss, 4) for loss in row] for row in rows.T[:SHOWN].tolist()]

    def forget(self, stream: int) -> None:
        """The number means another stream from here on."""
        self._last.pop(stream, None)
        self._seasons.pop(stream, None)
        self._losses.pop(stream, None)
        self._early.pop(stream, None)

    def facts(self) -> dict[str, Any]:
        """Mean absolute errors per channel, None where nothing was scored."""
        means = {name: self._means(name, "scored") for name in ("forecast", "same_again")}
        if self.season:
            means |= {name: self._means(name, "season_scored") for name in ("season_forecast", "season")}
        return {"scored": [int(count) for count in self.sums["scored"][:SHOWN]], **means}

    def _means(self, name: str, count: str) -> list[float | None]:
        pairs = zip(self.sums[name][:SHOWN].tolist(), self.sums[count][:SHOWN].tolist(), strict=True)
        return [total / scored if scored else None for total, scored in pairs]

    def tensors(self) -> dict[str, np.ndarray]:
        """For a checkpoint."""
        return {
            **{f"errors.{name}": each.copy() for name, each in self.sums.items()},
            **{f"errors.last.{stream}": each for stream, each in self._last.items()},
            **{f"errors.seasons.{stream}": each for stream, each in self._seasons.items()},
        }

    def restore(self, tensors: dict[str, np.ndarray]) -> None:
        """Go on from there; nothing where the network was another then."""
        for name in SUMS:
            if (kept := tensors.get(f"errors.{name}")) is not None and kept.shape == (self.size,):
                self.sums[name] = kept.copy()
        for what, rows, kept_in in (("last", 2, self._last), ("seasons", self.season, self._seasons)):
            prefix = f"errors.{what}."
            for name, each in tensors.items():
                if name.startswith(prefix) and each.shape == (rows, self.size):
                    kept_in[int(name.removeprefix(prefix))] = each.copy()


def filled(values: np.ndarray) -> np.ndarray:
    """(n, size), what is missing being what was seen last."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    rows = np.where(missing, 0, np.arange(len(values))[:, np.newaxis])
    return np.take_along_axis(values, np.maximum.accumulate(rows, axis=0), axis=0)
