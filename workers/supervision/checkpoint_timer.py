"""When the next checkpoint is to begin: after a time or a number of frames, or when catching up would take too long.

After a failure the frames behind the last checkpoint go through again, as fast as they can. That takes about as long as
the busiest worker was busy with them, so this is what is measured. A checkpoint is begun as much earlier as it takes:
until it is complete, the one before it counts.
"""

from collections.abc import Iterable, Mapping

from streamrnn.config import State
from streamrnn.workers.supervision.clock import RunningClock
from streamrnn.workers.supervision.placement import PUBLISHER, WorkerHandle

RETRY = 10.0  # seconds until another checkpoint is tried where one could not be written
FULL_WAIT = 1.0  # seconds from one checkpoint to the next while the journal has no room
SHARE = 2  # seconds from one checkpoint to the next for each that one takes, at least: a slow disk has its rest


class CheckpointTimer:
    """Counts from when the last checkpoint was begun: its clock, the frames by then, and how busy workers had been."""

    def __init__(self, clock: RunningClock) -> None:
        self.clock = clock
        self.cost = 0.0  # seconds that the last checkpoint took
        self.begin(0, [])

    def begin(self, frames: int, workers: Iterable[WorkerHandle]) -> None:
        """A checkpoint begins here."""
        self.begun, self.frames, self.failed = self.clock.seconds, frames, False
        self.busy = {worker.name: busy(worker) for worker in workers}

    def catching_up(self, workers: Iterable[WorkerHandle]) -> float:
        """Seconds that the frames since then would take."""
        return max(busy(worker) - self.busy.get(worker.name, 0.0) for worker in workers)

    def due(self, state: State, workers: Mapping[str, WorkerHandle], full: bool) -> bool:
        """Whether it is time; `full`: the journal has no room, and a checkpoint would make some."""
        passed = self.clock.seconds - self.begun
        if self.failed:
            return passed >= RETRY
        if passed < SHARE * self.cost:
            return False
        waits = FULL_WAIT if full else state.checkpoint_seconds
        frames = workers[PUBLISHER].facts.get("inputs", 0) - self.frames
        return (
            0 < waits <= passed
            or 0 < state.checkpoint_frames <= frames
            or 0 < state.recovery_seconds <= self.catching_up(workers.values()) + self.lead(state)
        )

    def lead(self, state: State) -> float:
        """Seconds before catching up would take too long that a checkpoint is begun."""
        return min(self.cost, state.recovery_seconds / 2)


def busy(worker: WorkerHandle) -> float:
    """Seconds that a worker has been busy since it was ready."""
    return float(worker.facts.get("busy", 0.0))
