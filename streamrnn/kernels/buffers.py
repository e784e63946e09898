"""Where every number of a stage lives: named, flat, preallocated buffers.

A **stage** is one layer or the readout. All stages have the same buffers, so one compiled loop serves any of them.
"""

from typing import Any, NamedTuple

import numpy as np

from streamrnn.kernels.columns import KIND as KIND
from streamrnn.kernels.columns import READOUT as READOUT
from streamrnn.kernels.instructions import buffer
from streamrnn.kernels.records import records_of

# columns of Stage.config, behind KIND
INPUTS, HIDDEN, OUTPUTS, PREACTIVATIONS, WINDOW, OPTIMIZER, OWN_OUTPUT, NEEDS_DX, STANDARDIZE = range(1, 10)
OWN, SEPARATE, SIZE, MASK = range(10, 14)
# columns of Stage.counters
UPDATES, SKIPPED = range(2)
# columns of a plan: the frames with an input among those that are processed together
PLAN_STREAM, PLAN_SLOT, PLAN_ROW, PLAN_TOKEN, PLAN_BEGIN, PLAN_SLIDE, PLAN_TIME = range(7)
PLAN_COLUMNS = 7

ROWS = 64  # most frames whose pre-activations are computed together


class Sizes(NamedTuple):
    """What a network asks of each of its stages."""

    streams: int = 1
    window: int = 16
    slots: int = 1  # windows whose tape is kept: one open for each stream, and the closed ones not yet learned from
    block: int = 1  # most frames that are processed together
    groups: int = 1  # gradient buffers: gradient_delay + 1
    versions: int = 0  # older parameters that the way back may still need, in a pipeline


class Stage(NamedTuple):
    """The buffers of one stage. I inputs, H units, O outputs, G pre-activations, P parameters, W frames a window."""

    config: np.ndarray  # int64: see the columns above
    hyper: np.ndarray  # float64: learning rate, ..., see streamrnn.kernels.optimizers
    counters: np.ndarray  # int64: see the columns above
    params: np.ndarray  # (P,)
    grads: np.ndarray  # (groups, P): sums over the windows of each group that has not been applied
    moments: np.ndarray  # (moments, P)
    versions: np.ndarray  # (versions, P)
    state: np.ndarray  # (streams, state): h, and c where there is one
    stats: np.ndarray  # (streams, numbers) float64: of each channel, see streamrnn.kernels.standardize and entrance
    experts: np.ndarray  # (streams, numbers) float64: what a readout's experts remember, or a layer of times
    settings: np.ndarray  # float64: of those experts; of a layer, see streamrnn.kernels.entrance
    work: np.ndarray  # float64: their spare room
    tape: np.ndarray  # (slots, floats): what the way back needs, see streamrnn.kernels.stage
    tokens: np.ndarray  # (slots, W) int64: inputs that are tokens, -1 for vectors
    input: np.ndarray  # (block, I): what is seen of vectors from outside; what a readout with experts took in last
    output: np.ndarray  # (block, O): outputs of the frames processed last
    presented: np.ndarray  # (block O,) float64: those in the units of the stream, where they are no probabilities
    scales: np.ndarray  # (2, O) float64: scales and floors of a target's channels, see streamrnn.kernels.readouts
    dx: np.ndarray  # (W, I): gradient with respect to the inputs of the window learned from last
    h: np.ndarray  # (rows, H): hidden states of a few streams, as the rows of one matrix
    z: np.ndarray  # (rows, G): pre-activations, the part of the input
    u: np.ndarray  # (rows, G): pre-activations, the part of the hidden state
    dz: np.ndarray  # (W, G)
    du: np.ndarray  # (W, G)
    dy: np.ndarray  # (W, H): gradient that enters from above
    carry: np.ndarray  # (2, H): gradient that comes back through time, of h and c


def allocate(
    kind: int,
    inputs: int,
    hidden: int,
    outputs: int,
    params: np.ndarray,
    *,
    gates: int,
    state: int,
    tape: int,
    stats: int,
    moments: int,
    sizes: Sizes,
    own_output: bool,
    needs_dx: bool,
    own: int = 0,
    separate: bool = False,
    size: int = 0,
    mask: bool = False,
    values: bool = False,
    experts: Any = None,
    settings: Any = None,
    beside: int = 0,
) -> Stage:
    """Buffers for one stage; `gates`, `state` and `stats` in numbers a frame or stream, `tape` in floats a slot.

    own: floats of a cell's own parameters; separate: see `kernels.cells.Cell`; size: numbers in a
    vector that is standardised; mask: inputs have one, see `kernels.entrance`; values: outputs are vectors from a
    readout, which have the units of a stream; experts: a `streamrnn.kernels.experts.memory.Plan`; settings, beside: of
    the times of frames, and how many numbers are remembered of these.
    """
    count, rows = len(params), min(sizes.block, ROWS)
    config = np.array(
        [
            *(kind, inputs, hidden, outputs, gates, sizes.window, 0, own_output, needs_dx, stats > 0),
            *(own, separate, size, mask),
        ],
        np.int64,
    )
    return Stage(
        config=config,
        hyper=np.zeros(6),
        counters=np.zeros(2, np.int64),
        params=params,
        grads=buffer(sizes.groups, count),
        moments=buffer(moments, count),
        versions=buffer(sizes.versions, count),
        state=buffer(sizes.streams, state),
        stats=np.zeros((sizes.streams, stats)),
        tape=buffer(sizes.slots, tape),
        tokens=np.full((sizes.slots, sizes.window), -1, np.int64),
        experts=np.zeros((sizes.streams, experts.numbers if experts else beside)),
        settings=experts.settings.copy() if experts else np.array(settings or (), np.float64),
        work=np.zeros(experts.spare if experts else 0),
        input=buffer(0 if needs_dx and not experts else sizes.block, inputs),
        output=buffer(sizes.block, outputs),
        presented=np.zeros(sizes.block * outputs if values else 0),
        scales=np.stack([np.ones(outputs), np.zeros(outputs)]),
        dx=buffer(sizes.window, inputs),
        h=buffer(rows, hidden),
        z=buffer(rows, gates),
        u=buffer(rows, gates),
        dz=buffer(sizes.window, gates),
        du=buffer(sizes.window, gates),
        dy=buffer(sizes.window, hidden),
        carry=buffer(2, hidden),
    )


EXAMPLE = allocate(
    READOUT,
    1,
    1,
    1,
    buffer(2),
    gates=1,
    state=0,
    tape=3,
    stats=0,
    moments=1,
    sizes=Sizes(),
    own_output=False,
    needs_dx=True,
)  # its type is every stage's

# a table of stages, which kernels call `stages`, and what reads one of them: stage_at(stages, i)
table_of, stage_at = records_of(EXAMPLE)
