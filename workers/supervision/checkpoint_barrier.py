"""A checkpoint that is being written: every worker writes its part, and a manifest makes it whole."""

from pathlib import Path
from typing import Any

from streamrnn.config import Config
from streamrnn.storage import checkpoint, files
from streamrnn.storage.manifest import FORMAT, Manifest
from streamrnn.workers.supervision.clock import RunningClock
from streamrnn.workers.supervision.placement import GATE, PUBLISHER

SAVE_TIMEOUT = 60.0  # seconds until it must be complete


class CheckpointBarrier:
    """`last`: no more frames are let in behind it. `reports` is what workers have said of their parts."""

    def __init__(self, checkpoints: Path, number: int, last: bool, clock: RunningClock) -> None:
        self.number, self.last = number, last
        self.folder = checkpoints / checkpoint.number_name(number)
        self.clock, self.begun = clock, clock.seconds
        self.reports: dict[str, dict[str, Any]] = {}

    def begin(self) -> None:
        """Make the folder that workers write into. Raises OSError."""
        files.temporary_folder(self.folder)

    @property
    def overdue(self) -> bool:
        return self.seconds > SAVE_TIMEOUT

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return self.clock.seconds - self.begun

    def complete(self, config: Config, before: Manifest) -> Manifest:
        """Write the manifest and rename the folder into place; `before` is of the same run. Raises OSError."""
        gate, temporary = self.reports[GATE], files.temporary_name(self.folder)
        hashes: dict[str, str] = {}
        for report in self.reports.values():
            hashes |= report.get("sha256", {})
        manifest = Manifest(
            format=FORMAT,
            spec=config.spec() | {"inputs": config.input.kind, "channels": config.input.channels},
            streams=gate["names"],
            fresh=gate["fresh"],
            losses={},
            frames=gate["frames"],
            sha256=hashes,
            parameters_sha256=checkpoint.parameters_sha256(temporary, len(config.layers) + 1),
            last={int(number): last for number, last in gate["last"].items()},
            tokens=config.input.kind == "tokens",
            run=before.run,
            journal=gate["journal"],
            left=gate["left"],
            rate=gate["rate"],
            score={name: self.reports[PUBLISHER][name] for name in ("inputs", "recent_loss", "relative_loss")},
            scale=before.scale,
        )
        checkpoint.complete(temporary, self.folder, manifest)
        return manifest
