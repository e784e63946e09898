"""How many bytes of a device consecutive stages take: those of the arrays that `Chain` and what it holds make there."""

from collections.abc import Sequence

from streamrnn.kernels.buffers import (
    HIDDEN,
    INPUTS,
    KIND,
    OUTPUTS,
    PLAN_COLUMNS,
    PREACTIVATIONS,
    READOUT,
    SEPARATE,
    Stage,
)
from streamrnn.kernels.cells import CELLS
from streamrnn.kernels.columns import WINDOW
from streamrnn.kernels.frames import COLUMNS
from streamrnn.kernels.rounds import LINKS
from streamrnn.kernels.schedule import Schedule

ROWS = 4096  # frames of windows that are learned from together, at most
LANES = 1024  # threads that score, at most
FLOAT, DOUBLE = 4, 8


def most_rows(schedule: Schedule) -> int:
    """Frames of windows that are learned from together, at most."""
    window, slots = int(schedule.config[WINDOW]), schedule.free.shape[0]
    return max(window, min(ROWS, slots * window))


def lanes_of(host: Stage) -> int:
    """Threads that score at a readout, at most; 1 for a layer."""
    return min(LANES, host.state.shape[0]) if host.config[KIND] >= READOUT else 1


def bytes_of(hosts: Sequence[Stage], schedule: Schedule, size: int, targets: int, losses: int) -> int:
    """What a `Chain` of these takes, without its kernels."""
    frames, slots, rows = schedule.plan.shape[0], schedule.free.shape[0], most_rows(schedule)
    first, last = hosts[0], hosts[-1]
    inputs, outputs = first.config.item(INPUTS), last.config.item(OUTPUTS)
    ends = last.config[KIND] >= READOUT
    values = ends and last.presented.shape[0] > 0
    segment = frames * DOUBLE * (PLAN_COLUMNS + LINKS + COLUMNS + 7) + 2 * DOUBLE  # the last: counts, where, orders
    forward = frames * (DOUBLE * size + FLOAT * inputs + (DOUBLE if values else FLOAT) * outputs)
    scored = frames * DOUBLE * (targets + losses) if ends else 0
    back = rows * FLOAT * (inputs + outputs) + slots * (DOUBLE + FLOAT) + 2 * DOUBLE
    return segment + forward + scored + back + sum(_stage(host, frames, rows) for host in hosts)


def _stage(host: Stage, frames: int, rows: int) -> int:
    """What one of them takes."""
    kind, I, H, O, G = host.config[[KIND, INPUTS, HIDDEN, OUTPUTS, PREACTIVATIONS]].tolist()
    lanes = lanes_of(host)
    kept = sum(array.nbytes for array in host) + frames * FLOAT * (host.z.shape[1] + host.h.shape[1])
    kept += lanes * (host.work.nbytes + host.scales.nbytes + FLOAT * host.scales.shape[1])
    if kind >= READOUT:
        return int(kept + rows * FLOAT * (2 * I + O))
    tape = list(CELLS.values())[kind].tape
    gradients = 2 * G if host.config[SEPARATE] else G
    return int(kept + rows * FLOAT * (2 * I + 3 * H + tape * H + 2 * H + gradients) + DOUBLE)
