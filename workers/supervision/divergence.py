"""What is done about a network that has diverged: back to before, with a lower learning rate."""

from typing import Any, NamedTuple

import msgspec

from streamrnn.config import Config
from streamrnn.storage import checkpoint
from streamrnn.workers.supervision.health import Health, good_checkpoint, usual_loss


class Setback(NamedTuple):
    """The network has diverged; `text` says how, and what is done about it."""

    text: str
    scale: float  # by which the config's learning rate is multiplied from now on,
    rate: float  # and what comes of it
    goes_back: bool  # the newest checkpoint is a copy of a good one now, with that rate


class Divergence:
    """Looks at the loss of a run's network; `checkpoints`: the folder of them."""

    def __init__(self, config: Config, run: str) -> None:
        self.checkpoints, self.run = config.checkpoints, run
        self.health = Health(usual_loss(config))

    def look(self, config: Config, scale: float, begins: int, facts: dict[str, Any]) -> Setback | None:
        """None while all is well. Raises OSError.

        scale: by which the learning rate is multiplied now. begins: the journal's first record. facts: the publisher's.
        """
        settings = config.health
        fault = self.health.fault(facts, settings.divergence)
        if not fault:
            return None
        good = good_checkpoint(self.checkpoints, self.run, begins, self.health, settings.divergence)
        self.health.begin_anew(facts)
        scale *= settings.rate_factor
        rate = config.rate * scale
        if not good:
            text = f"{fault}, and there is no good checkpoint to go back to: on with a learning rate of {rate:.3g}"
            return Setback(text, scale, rate, False)
        folder, manifest = good
        copy = checkpoint.next_folder(self.checkpoints)
        checkpoint.copy(folder, copy, msgspec.structs.replace(manifest, rate=rate, scale=scale))
        text = f"{fault}: back to checkpoint {folder.name}, with a learning rate of {rate:.3g}"
        return Setback(text, scale, rate, True)
