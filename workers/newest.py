"""The newest output of a forecast, and the values before it: what the supervisor shows of it, in plain values."""

from typing import Any

import numpy as np

from streamrnn.kernels.frames import SEQ, STREAM
from streamrnn.model.forecasts import Horizon
from streamrnn.model.readouts import Forecast
from streamrnn.protocol.wire import Message, emits

CHANNELS, RECENT = 32, 30  # at most: channels, and values of each
DIGITS = 6


def newest(readout: Forecast, message: Message) -> dict[str, Any]:
    """Facts of the newest output in a message of the readout's worker; none where it has no output."""
    emitted = message.frames[emits(message)]
    if not len(emitted) or len(emitted) != len(message.vectors):
        return {}
    stream, y = int(emitted[-1, STREAM]), message.vectors[-1]
    said = readout.read(y)[1]
    channels = {"stream": stream, "seq": int(emitted[-1, SEQ]), "recent": plain(readout.recent(stream, RECENT))}
    return {"experts": experts(said), "channels": channels | numbers(said) | score(readout, y)}


def experts(said: Horizon) -> dict[str, float]:
    """What each expert weighs, as a mean over channels."""
    return {name: round(float(weight.mean()), 4) for name, weight in said.weights.items()}


def numbers(said: Horizon) -> dict[str, Any]:
    """The forecasts, and their intervals."""
    return {"forecast": plain(said.mean), "lower": plain(said.lower), "upper": plain(said.upper)}


def score(readout: Forecast, y: np.ndarray) -> dict[str, float]:
    """How unusual the newest values are; nothing where there are no detectors."""
    if not readout.table.anomaly:
        return {}
    seen = readout.anomalies(y)
    return {"score": rounded(seen.score), "threshold": rounded(seen.threshold)}


def plain(values: np.ndarray) -> list[Any]:
    """(size,) or (size, n) of the first channels."""
    return [plain(each) if each.ndim else rounded(each) for each in values[:CHANNELS]]


def rounded(value: Any) -> float:
    """As many digits as anybody reads."""
    return float(f"{value:.{DIGITS}g}")
