"""What outputs say of anomalies, by name and in words."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from streamrnn.kernels.anomaly import (
    AGE,
    BEGINS,
    DEPARTED,
    DEPARTURE,
    DETECTORS,
    ENDS,
    EVENT,
    FACTS,
    RARITY,
    SCORE,
    THRESHOLD,
)
from streamrnn.model.channels import names

TOLD = 2  # reasons of a channel in an alarm's words

EVENTS = {BEGINS: "begins", ENDS: "ends"}  # that are alarms
WORDS = {
    "range": "{amount:.4g} outside of what was usual at this time of day, {frames}",
    "surprise": "surprised the forecast, {frames}",
    "week": "{amount:.4g} off this time last week (yesterday, in the first week)",
    "high": "high for 100 frames, {amount:.4g}",
    "low": "low for 100 frames, {minus:.4g}",
    "jump": "{amount:.4g} off 100 frames ago, both over 100 frames",
}


class Seen(NamedTuple):
    """What the detectors said of the newest values; of outputs (..., K), arrays (...,) or as said."""

    score: np.ndarray  # the sum of the evidence, of the channel that has most
    p_value: np.ndarray  # share of this stream's past frames with such a score: at most 0.02, above that 1
    threshold: np.ndarray  # that the score must reach
    event: np.ndarray  # 0 none, or one of `kernels.anomaly`: BEGINS, GOES_ON, ENDS
    age: np.ndarray  # frames since it began
    departure: np.ndarray  # from the normal state, squared, in standard deviations; 0 without one
    departed: np.ndarray  # whether that state is left
    evidence: np.ndarray  # (..., detectors, size): -log10 of how often an amount has been as large, 0 above 0.02
    amounts: np.ndarray  # (..., detectors, size): in the units of the stream, but for surprises, in nats


class Reason(NamedTuple):
    """One detector's part in an alarm."""

    channel: int
    name: str  # of the channel
    detector: str  # of `kernels.anomaly.DETECTORS`
    amount: float  # in the units of the stream; of a surprise, in nats
    p_value: float  # how often it has been as large

    @property
    def words(self) -> str:
        """What a person reads."""
        kind, _, count = self.detector.partition(" ")
        frames = "at this frame" if count == "1" else f"over {count} frames"
        return f"{WORDS[kind].format(amount=self.amount, minus=-self.amount, frames=frames)} (p = {self.p_value:.0e})"


class Alarm(NamedTuple):
    """An event of a stream begins, or is over."""

    stream: str
    seq: int  # of the frame
    event: str  # "begins" or "ends"
    frames: int  # since it began
    score: float
    p_value: float
    threshold: float
    departure: float  # from the normal state, 0 where it is not left
    why: tuple[Reason, ...]  # the strongest first

    @property
    def channels(self) -> list[str]:
        """The channels that carry it, by name, those first that the strongest reasons are of."""
        return list(dict.fromkeys(reason.name for reason in self.why))

    @property
    def words(self) -> str:
        """What a person reads: each channel's strongest two reasons."""
        if self.event == "ends":
            return f"the event is over, after {self.frames:,} frames"
        told = [f"the normal state is left, {self.departure**0.5:.1f} deviations"] if self.departure else []
        for name in self.channels:
            words = [reason.words for reason in self.why if reason.name == name]
            told.append(f"{name}: {'; '.join(words[:TOLD])}")
        return " | ".join(told)

    def plain(self) -> dict[str, Any]:
        """All of it in plain values, for JSON."""
        why = [reason._asdict() | {"words": reason.words} for reason in self.why]
        return self._asdict() | {"why": why, "channels": self.channels, "words": self.words}

    def dismissals(self) -> list[int]:
        """What it takes to have its like less often, for each channel; see `kernels.anomaly.alarm`."""
        bits: dict[int, int] = {}
        for reason in self.why:
            bits[reason.channel] = bits.get(reason.channel, 0) | 1 << DETECTORS.index(reason.detector)
        return [channel << len(DETECTORS) | which for channel, which in bits.items()]


def read(y: np.ndarray, size: int) -> Seen:
    """What the anomaly's part of outputs says: views of them."""
    parts = y[..., FACTS:].reshape(*y.shape[:-1], 2, len(DETECTORS), size)
    p_value = np.where(y[..., RARITY] > 0, 10.0 ** -y[..., RARITY], 1.0)
    evidence, amounts = parts[..., 0, :, :], parts[..., 1, :, :]
    event, age = y[..., EVENT].astype(int), y[..., AGE].astype(int)
    departure, departed = y[..., DEPARTURE], y[..., DEPARTED] > 0
    return Seen(y[..., SCORE], p_value, y[..., THRESHOLD], event, age, departure, departed, evidence, amounts)


def alarm(stream: str, seq: int, seen: Seen, channels: Sequence[str] | None) -> Alarm | None:
    """The alarm of one output, if it is one; channels: their names, if they have any."""
    event = EVENTS.get(int(seen.event))
    if event is None:
        return None
    known = names(channels, seen.evidence.shape[-1])
    why = [
        Reason(
            int(channel),
            known[channel],
            DETECTORS[detector],
            float(seen.amounts[detector, channel]),
            float(10.0 ** -seen.evidence[detector, channel]),
        )
        for detector, channel in np.argwhere(seen.evidence > 0)
    ]
    ordered = tuple(sorted(why, key=lambda reason: reason.p_value))
    departure = float(seen.departure) if seen.departed else 0.0
    facts = float(seen.score), float(seen.p_value), float(seen.threshold), departure
    return Alarm(stream, seq, event, int(seen.age), *facts, ordered)
