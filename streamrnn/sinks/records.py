"""What an output is as a record, for sinks of all kinds: plain values that are named once, here.

    run, seq    which it is: a SEQ comes once in a run
    stream
    time        when the frame was measured, ISO 8601 in UTC; None where that is not known
    loss        the surprise: what this frame scored, in nats
    channels    by name, of values: see `Channel`
    likeliest   of tokens: the likeliest next ones with their probabilities, the likeliest first
    score, threshold, event    with [anomaly]: how unusual the newest values are, and "begins", "goes on" or "ends"

A number that is not known, or not finite, is None.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from streamrnn.client.output import Output
from streamrnn.kernels.anomaly import BEGINS, ENDS, EVENT, GOES_ON, SCORE, THRESHOLD
from streamrnn.kernels.readouts import FORECASTS
from streamrnn.model.channels import names
from streamrnn.model.tables import AnyReadout, Forecast, Gaussian, Softmax
from streamrnn.model.times import EPOCH

if TYPE_CHECKING:
    Record = dict[str, Any]

LIKELIEST = 3  # tokens
EVENTS = {BEGINS: "begins", GOES_ON: "goes on", ENDS: "ends"}
FORECAST = ("prediction", "spread", "lower", "upper")  # of a horizon, in the order of an output
SECOND = 10**9  # nanoseconds


class Records:
    """Makes records of a network's outputs.

    A channel has `value`, what was measured or given as the target of this frame; `loss`, its part of it; `prediction`,
    of the next frame where the daemon predicts the next input, else of this one; and as far as the readout says them,
    `spread`, the interval from `lower` to `upper`, and `ahead`: the same so many frames ahead.
    """

    def __init__(
        self, readout: AnyReadout, channels: Sequence[str] | None, units: Mapping[str, str] | None = None
    ) -> None:
        """channels: their names; units: of those that are known to have one."""
        self.readout, self.units = readout, units or {}
        self.names: list[str] = [] if readout.classes else names(channels, readout.size)
        self.horizons: list[int] = list(readout.horizons[1:]) if isinstance(readout, Forecast) else []
        self.anomaly = isinstance(readout, Forecast) and readout.anomaly is not None
        self._said: Callable[[np.ndarray], list[dict[str, Any]]] = self._forecast
        if not isinstance(readout, Forecast):
            self._said = self._gaussian if isinstance(readout, Gaussian) else self._linear

    @property
    def parts(self) -> tuple[str, ...]:
        """What the readout says of a channel."""
        if isinstance(self.readout, Forecast):
            return FORECAST
        return FORECAST[:2] if isinstance(self.readout, Gaussian) else FORECAST[:1]

    def of(self, output: Output, run: str) -> "Record":
        """The record of an output."""
        record: Record = {
            "run": run,
            "seq": output.seq,
            "stream": output.stream,
            "time": None if output.time is None else iso(output.time),
            "loss": known(output.loss),
        }
        if isinstance(self.readout, Softmax):
            return record | {"likeliest": likeliest(output.y)}
        if self.anomaly:
            record |= self._seen(output.y)
        record["channels"] = dict(zip(self.names, self._channels(output), strict=True))
        return record

    def _channels(self, output: Output) -> list[dict[str, Any]]:
        unknown = [None] * len(self.names)
        values = numbers(output.target) or unknown
        losses = numbers(output.losses) or unknown
        measured = ({"value": value, "loss": loss} for value, loss in zip(values, losses, strict=True))
        return [before | said for before, said in zip(measured, self._said(output.y), strict=True)]

    def _linear(self, y: np.ndarray) -> list[dict[str, Any]]:
        return [{"prediction": value} for value in numbers(y)]

    def _gaussian(self, y: np.ndarray) -> list[dict[str, Any]]:
        mean, spread = numbers(y[: len(y) // 2]), numbers(y[len(y) // 2 :])
        return [dict(zip(FORECAST, both, strict=False)) for both in zip(mean, spread, strict=True)]

    def _forecast(self, y: np.ndarray) -> list[dict[str, Any]]:
        assert isinstance(self.readout, Forecast)
        every = y[: self.readout.forecasts].reshape(len(self.readout.horizons), -1, self.readout.size)
        first, *others = ([numbers(row) for row in horizon[:FORECASTS]] for horizon in every)
        found: list[dict[str, Any]] = [dict(zip(FORECAST, said, strict=True)) for said in zip(*first, strict=True)]
        if others:
            for k, channel in enumerate(found):
                ahead = ([row[k] for row in horizon] for horizon in others)
                said = (dict(zip(FORECAST, each, strict=True)) for each in ahead)
                channel["ahead"] = dict(zip(map(str, self.horizons), said, strict=True))
        return found

    def _seen(self, y: np.ndarray) -> dict[str, Any]:
        assert isinstance(self.readout, Forecast)
        facts = y[self.readout.forecasts :]
        event = EVENTS.get(int(facts[EVENT]))
        return {"score": known(float(facts[SCORE])), "threshold": known(float(facts[THRESHOLD])), "event": event}


def likeliest(y: np.ndarray) -> list[dict[str, Any]]:
    """The likeliest tokens of probabilities (K,), and how likely they are."""
    order = np.argsort(-y, kind="stable")[:LIKELIEST]
    return [{"token": int(token), "probability": known(float(y[token]))} for token in order]


def numbers(values: np.ndarray) -> list[float | None]:
    """As plain numbers."""
    plain: list[float | None] = values.tolist()
    return plain if np.isfinite(values).all() else [known(value) for value in plain]


def known(value: float | None) -> float | None:
    """The number if it is one."""
    return value if value is not None and isfinite(value) else None


def iso(nanoseconds: int) -> str:
    """Nanoseconds since 1970 in UTC as `2026-11-27T01:02:03.5Z`, with as many digits as it takes."""
    seconds, rest = divmod(nanoseconds, SECOND)
    fraction = f".{rest:09}".rstrip("0") if rest else ""
    return f"{(EPOCH + timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%S')}{fraction}Z"
