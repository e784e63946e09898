"""Whether a network still learns: it has diverged when its recent loss is far above the lowest that it has been."""

from math import inf, isfinite, log, pi
from pathlib import Path
from typing import Any

from streamrnn.config import Config
from streamrnn.storage import checkpoint
from streamrnn.storage.manifest import CheckpointError, Manifest, read_manifest
from streamrnn.workers.publisher import RECENT

HALF_LOG_2_PI = log(2 * pi) / 2


class Health:
    """The lowest recent loss so far, in nats, over the last 10,000 frames that were scored.

    A vector's is compared in units of its channels' scales. What a standardised channel costs whose mean and deviation
    alone are predicted, `usual`, is never too much: it may have been constant before, and so cost next to nothing.
    """

    def __init__(self, usual: float = -inf) -> None:
        self.lowest, self.usual = inf, usual
        self.begins = RECENT  # frames scored from which on it is looked at

    def fault(self, facts: dict[str, Any], divergence: float) -> str:
        """What is wrong with the publisher's facts, "" for nothing; divergence: nats that the loss may rise, 0 any."""
        if not divergence or facts.get("scored", 0) < self.begins:
            return ""
        recent = loss_of(facts)
        self.lowest = min(self.lowest, recent)
        if not isfinite(recent):
            return "the loss is not finite"
        if recent > max(self.lowest, self.usual) + divergence:
            return f"the loss has risen from {self.lowest:.3g} to {recent:.3g} nats"
        return ""

    def is_good(self, manifest: Manifest, divergence: float) -> bool:
        """Whether a checkpoint is from before the loss rose by much."""
        return loss_of(manifest.score) <= max(self.lowest, self.usual) + divergence / 2

    def begin_anew(self, facts: dict[str, Any]) -> None:
        """Forget the lowest loss, and wait for as many frames as are compared: the data may be what has changed."""
        self.lowest, self.begins = inf, facts["scored"] + RECENT


def usual_loss(config: Config) -> float:
    """What targets cost by their channels' means and deviations, -inf where they are not standardised."""
    if not config.input.standardize:
        return -inf
    return config.readout.size * (0.5 + (0.0 if config.readout.kind == "linear" else HALF_LOG_2_PI))


def loss_of(facts: dict[str, Any]) -> float:
    """The recent loss, infinite where it is not finite or not known."""
    recent = facts.get("recent_loss") if facts.get("relative_loss") is None else facts["relative_loss"]
    return recent if recent is not None and isfinite(recent) else inf


def good_checkpoint(
    checkpoints: Path, run: str, begins: int, health: Health, divergence: float
) -> tuple[Path, Manifest] | None:
    """The newest good one of a run that its journal, whose first record is number `begins`, still reaches back to."""
    for number in reversed(checkpoint.numbers(checkpoints)):
        folder = checkpoints / checkpoint.number_name(number)
        try:
            manifest = read_manifest(folder)
            if manifest.run == run and manifest.journal + 1 >= begins and health.is_good(manifest, divergence):
                checkpoint.verify(folder, manifest)
                return folder, manifest
        except CheckpointError:
            continue
    return None
