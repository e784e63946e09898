"""The checkpoints of a run: the newest, from which it goes on, and the one that is being written."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from streamrnn.config import Config, State
from streamrnn.storage import checkpoint
from streamrnn.storage.manifest import read_manifest
from streamrnn.workers.compilation import note_use
from streamrnn.workers.supervision import logs
from streamrnn.workers.supervision.checkpoint_barrier import CheckpointBarrier
from streamrnn.workers.supervision.checkpoint_timer import RETRY, CheckpointTimer
from streamrnn.workers.supervision.clock import RunningClock
from streamrnn.workers.supervision.placement import GATE, PUBLISHER, WorkerHandle
from streamrnn.workers.supervision.starting_point import Newest, newest_checkpoint
from streamrnn.workers.worker import Failure


class RunCheckpoints:
    """`manifest` says where the run goes on from; `resumed` is the folder of that checkpoint, None before the first.

    completed   when that was written, in seconds since 1970
    saving      the one that is being written
    max_frames  that may be let in behind the newest, 0 for any number; None goes on counting
    answer_waiting(**facts)  answer those who asked for a checkpoint
    """

    def __init__(
        self,
        config: Config,
        run: str,
        newest: Newest,
        max_frames: int,
        clock: RunningClock,
        answer_waiting: Callable[..., Any],
    ) -> None:
        self.folder, self.run, self.clock, self.answer_waiting = config.checkpoints, run, clock, answer_waiting
        self.manifest, self.resumed = newest
        self.max_frames: int | None = max_frames
        self.timer = CheckpointTimer(clock)
        self.asked = False  # for one
        self.begun = 0  # number of the one begun last
        self.saving: CheckpointBarrier | None = None
        self.completed = 0.0

    def find(self, config: Config) -> None:
        """Go back to the newest good one, and forget the one that is being written."""
        self.saving = None
        self.manifest, self.resumed = newest_checkpoint(config, self.run)

    def go_on(self) -> None:
        """The workers go on from the newest."""
        self.timer.begin(self.manifest.score.get("inputs", 0), [])
        self.completed = checkpoint.written(self.resumed) if self.resumed else 0.0

    def set_scale(self, scale: float) -> None:
        """Have the learning rate multiplied by that from now on."""
        self.manifest = msgspec.structs.replace(self.manifest, scale=scale)

    def ask(self) -> None:
        """Have one begun as soon as it can be."""
        self.asked = True

    def due(self, state: State, workers: Mapping[str, WorkerHandle]) -> bool:
        """Whether it is time for the next one."""
        full = bool(workers[GATE].facts.get("full"))
        return self.asked or self.timer.due(state, workers, full)

    def begin(self, last: bool, workers: Mapping[str, WorkerHandle]) -> CheckpointBarrier:
        """The next one, to be begun now; `last`: no more frames are let in behind it."""
        self.begun = max(int(checkpoint.next_folder(self.folder).name), self.begun + 1)
        self.saving = CheckpointBarrier(self.folder, self.begun, last, self.clock)
        self.timer.begin(workers[PUBLISHER].facts.get("inputs", 0), workers.values())
        self.asked = False
        return self.saving

    def abandon(self, reason: str) -> None:
        """Do without the one that was begun; frames go on, and the journal keeps them. Raises Failure."""
        if self.saving and self.saving.last:
            raise Failure(
                f"the last checkpoint could not be written: {reason}; the journal has what came since the "
                "one before: the next start goes on from there"
            )
        self.saving, self.timer.failed = None, True
        self.answer_waiting(error=reason)
        text = f"checkpoint {self.begun} could not be written: {reason}; the next try is in {RETRY:.0f} s"
        logs.tell("warning", "checkpoint_failed", text, reason=reason)

    def complete(self, config: Config) -> int:
        """Make it whole, and remove those that need not be kept; the last record no longer needed. Raises OSError."""
        assert self.saving
        saving, before, self.timer.cost = self.saving, self.manifest, self.saving.seconds
        self.manifest, self.max_frames = saving.complete(config, before), None
        settings = config.state
        oldest = checkpoint.prune(self.folder, self.run, settings.keep, settings.checkpoint_seconds, self.resumed)
        self.resumed, self.completed = saving.folder, time.time()
        note_use()
        frames, seconds = self.manifest.frames, saving.seconds
        text = f"checkpoint {saving.number} with {frames:,} frames, written in {seconds:.2f} s"
        logs.tell("info", "checkpoint", text, number=saving.number, frames=frames, seconds=seconds)
        if not self.asked:  # else it was asked for while this one was being written
            self.answer_waiting(done=f"checkpoint {saving.number}")
        return min(before.journal, read_manifest(oldest).journal)  # all that are kept are still good
