"""The newest outputs of a stream, as columns: what a chart draws, or a text in colours."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import streamrnn as sr
from streamrnn.kernels.frames import FLAGS, SEQ, TARGET, TIME, TIMED
from streamrnn.kernels.readouts import CHANNELS, LOSS
from streamrnn.model.anomalies import EVENTS, alarm
from streamrnn.model.channels import names
from streamrnn.model.tables import Forecast, Gaussian
from streamrnn.protocol.wire import Message, emits

MOST = 2048  # outputs that are kept
BAND = 1.645  # deviations of a Gaussian on either side that hold 0.9
LIKELY = 12  # next symbols that are told
DIGITS = 6  # that are sent of a number
CHANNEL_COLUMNS = "value", "prediction", "lower", "upper", "surprise"


class Series:
    """Outputs of one stream in their order.

    columns  seq (n,), time (n,) in seconds since 1970, loss (n,) in nats, start (n,): whether outputs before it were
             left out; of classes symbol (n,); of vectors value, prediction, lower, upper, surprise (n, K): what was
             said of this value before it came, and its part of the loss; with [anomaly] score, threshold (n,)
    said     of vectors prediction, lower, upper (1, K) of the newest output: where the next input is predicted, of that
    """

    def __init__(self, client: sr.Client) -> None:
        self._readout, self._next, self._channels = client.readout, client.predict == "next", client.channels
        self.names = [] if client.readout.classes else names(client.channels, client.readout.size)
        self.units = [client.units.get(name, "") for name in self.names]
        self.text = client.predicts_bytes
        self.columns: dict[str, np.ndarray] = {}
        self.said: dict[str, np.ndarray] = {}
        self.alarms: list[dict[str, Any]] = []
        self.likely: list[tuple[int, float]] = []  # next symbols and their probabilities

    def __len__(self) -> int:
        return len(self.columns["seq"]) if self.columns else 0

    def add(self, stream: str, messages: Sequence[Message], skipped: bool) -> int:
        """Take messages that follow, or follow after outputs that were left out; how many outputs are in them."""
        if not (messages := [message for message in messages if emits(message).any()]):
            return 0
        frames = np.concatenate([message.frames for message in messages])
        costs = np.concatenate([message.extra.reshape(len(message.frames), -1) for message in messages])
        y = np.concatenate([message.vectors for message in messages])
        emitted = np.concatenate([emits(message) for message in messages])
        rows = frames[emitted]
        start = np.zeros(len(rows), bool)
        start[0] = skipped or not self.columns
        time = np.where(rows[:, FLAGS] & TIMED > 0, rows[:, TIME] * 1e-9, np.nan)
        new = {"seq": rows[:, SEQ], "time": time, "start": start, **self._scored(frames, costs, rows[:, SEQ])}
        if self._readout.classes:
            order = np.argsort(-y[-1], kind="stable")[:LIKELY]
            self.likely = [(int(k), float(y[-1][k])) for k in order]
        else:
            new |= self._predictions(y, bool(start[0]))
        if isinstance(self._readout, Forecast) and self._readout.anomaly:
            seen = self._readout.anomalies(y)
            new |= {"score": seen.score, "threshold": seen.threshold}
            for k in np.flatnonzero(np.isin(seen.event, list(EVENTS))):
                found = alarm(stream, int(rows[k, SEQ]), self._readout.anomalies(y[k]), self._channels)
                if found:
                    facts = {"seq": found.seq, "event": found.event, "channels": found.channels, "words": found.words}
                    self.alarms = [*self.alarms, facts][-MOST:]
        kept = self.columns or {name: values[:0] for name, values in new.items()}
        self.columns = {name: np.concatenate([kept[name], values])[-MOST:] for name, values in new.items()}
        self.alarms = [one for one in self.alarms if one["seq"] >= self.columns["seq"][0]]
        return len(rows)

    def behind(self, after: int, first: int, count: int) -> dict[str, Any]:
        """What came behind that SEQ in plain values, of vectors so many channels from the first on."""
        columns = self.columns  # which a look may replace meanwhile
        begin = int(np.searchsorted(columns["seq"], after, side="right")) if columns else 0
        part = {name: values[begin:] for name, values in columns.items()}
        last = int(columns["seq"][-1]) if columns else after
        plain: dict[str, Any] = {
            name: [short(values[:, k]) for k in range(first, min(first + count, values.shape[1]))]
            if name in CHANNEL_COLUMNS
            else values.tolist()
            if name in ("seq", "start", "symbol", "time")
            else short(values)
            for name, values in part.items()
        }
        return plain | {"alarms": [one for one in self.alarms if after < one["seq"] <= last], "likely": self.likely}

    def _scored(self, frames: np.ndarray, costs: np.ndarray, seq: np.ndarray) -> dict[str, np.ndarray]:
        """What was scored, beside the first output that says so."""
        scored = ~np.isnan(costs[:, LOSS])
        at = np.searchsorted(seq, frames[scored, SEQ])
        costs, targets, at = costs[scored][at < len(seq)], frames[scored, TARGET][at < len(seq)], at[at < len(seq)]
        found = {"loss": np.full(len(seq), np.nan)}
        found["loss"][at] = costs[:, LOSS]
        if self._readout.classes:
            found["symbol"] = np.full(len(seq), -1)
            found["symbol"][at] = targets
            return found
        size = self._readout.size
        for name, first in (("surprise", CHANNELS), ("value", CHANNELS + size)):
            found[name] = np.full((len(seq), size), np.nan)
            found[name][at] = costs[:, first : first + size]
        return found

    def _predictions(self, y: np.ndarray, start: bool) -> dict[str, np.ndarray]:
        """What was said of each row's values: where the next input is predicted, by the row before."""
        size = self._readout.size
        nothing = np.full((len(y), size), np.nan)
        if isinstance(self._readout, Forecast):
            first = self._readout.read(y)[1]
            said = {"prediction": first.mean, "lower": first.lower, "upper": first.upper}
        elif isinstance(self._readout, Gaussian):
            mean, spread = y[:, :size], BAND * y[:, size:]
            said = {"prediction": mean, "lower": mean - spread, "upper": mean + spread}
        else:
            said = {"prediction": y, "lower": nothing, "upper": nothing}
        before = {} if start else self.said
        self.said = {name: values[-1:] for name, values in said.items()}
        if not self._next:
            return said
        return {name: np.concatenate([before.get(name, nothing[:1]), values[:-1]]) for name, values in said.items()}


def short(values: np.ndarray) -> list[float]:
    """Numbers to DIGITS digits."""
    values = np.asarray(values, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (DIGITS - 1 - np.floor(np.log10(np.abs(values))))
        rounded = np.where(np.isfinite(scale), np.round(values * scale) / scale, values)
    found: list[float] = rounded.tolist()
    return found
