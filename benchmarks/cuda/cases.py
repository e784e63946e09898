"""Networks and frames whose bits must not depend on where they are computed: cells, depths, delays, numbers of streams.

Readouts, optimisers and kinds of input take turns over them. Frames come at random: streams in an order that changes,
sequences that begin and end, targets that come late or not at all, numbers that are missing.
"""

from collections.abc import Iterator
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np

import streamrnn as sr
from streamrnn.kernels.frames import BEGIN, COLUMNS, EMIT, END, FLAGS, INPUT, SCORED, STREAM, TARGET, TOKEN
from streamrnn.model.layers import CELLS
from streamrnn.model.optimizers import OPTIMIZERS
from streamrnn.model.readouts import READOUTS

DEPTHS, DELAYS, STREAMS = (1, 2, 3), (0, 1, 2), (1, 64, 1000)
CHANNELS = 7  # of an input; as many classes where it is a token
TOKENS, VECTORS, STANDARDIZED, MISSING = "tokens", "vectors", "standardized", "missing"
INPUT_KINDS = {  # those that take turns with a readout
    "Softmax": (TOKENS, VECTORS),
    "Linear": (VECTORS, STANDARDIZED, MISSING),
    "Gaussian": (STANDARDIZED, MISSING, VECTORS),
    "Forecast": (STANDARDIZED, MISSING),
}
RATES = {"SGD": 0.01, "RMSprop": 1e-3, "Adagrad": 0.01, "Adam": 1e-3}
SHARES = {BEGIN: 0.02, END: 0.02, SCORED: 0.8}  # of frames
LATE, ABSENT = 0.1, 0.1  # of frames, those that bring a target alone; of numbers, those that are missing


class Scale(NamedTuple):
    """How much is done."""

    units: tuple[int, ...]  # of each layer; the first has blocks of threads wait for each other where one stream is
    frames: int
    window: int
    streams: tuple[int, ...]
    depths: tuple[int, ...]
    delays: tuple[int, ...]


WHOLE = Scale((160, 33, 20), 5000, 16, STREAMS, DEPTHS, DELAYS)
TINY = Scale((6, 5, 4), 12, 3, (1, 3), (1, 2), (0, 1))  # of a simulated device


class Case(NamedTuple):
    """One network, and how many streams go through it."""

    cell: str
    depth: int
    delay: int
    streams: int
    readout: str
    optimizer: str
    inputs: str
    own_output: bool  # of the first layer

    def __str__(self) -> str:
        own = " with outputs of its own" if self.own_output else ""
        what = f"{self.depth} x {self.cell}{own}, delay {self.delay}, {self.streams:,} streams"
        return f"{what}, {self.inputs}, {self.readout}, {self.optimizer}"


def cases(scale: Scale) -> Iterator[Case]:
    """All combinations; those that come first have every pair of a cell, a depth, a delay and a number of streams."""
    places = product(range(len(scale.streams)), range(len(scale.depths)), range(len(CELLS)), range(len(scale.delays)))
    ordered = sorted(places, key=lambda place: sum(place) % len(scale.delays))
    for number, (streams, depth, cell, delay) in enumerate(ordered):
        readout = list(READOUTS)[number % len(READOUTS)]
        kinds = INPUT_KINDS[readout]
        yield Case(
            list(CELLS)[cell],
            scale.depths[depth],
            scale.delays[delay],
            scale.streams[streams],
            readout,
            list(OPTIMIZERS)[number // len(READOUTS) % len(OPTIMIZERS)],
            kinds[number // len(READOUTS) % len(kinds)],
            number % 7 == 3,
        )


def few(scale: Scale) -> list[Case]:
    """For a simulated device, which takes seconds for each: whatever a case can have, once at least."""
    chosen: list[Case] = []
    seen: set[tuple[int, Any]] = set()
    while True:
        new, case = max(((set(enumerate(case)) - seen, case) for case in cases(scale)), key=lambda each: len(each[0]))
        if not new:
            return chosen
        chosen.append(case)
        seen |= new


def network(case: Case, scale: Scale) -> sr.Network:
    """Windows are short where each stream has few frames; some of all streams' windows make an update."""
    mask = case.inputs == MISSING
    sizes = [CHANNELS * (1 + mask), *scale.units[: case.depth]]
    layers = [CELLS[case.cell](I, H) for I, H in pairwise(sizes)]
    if case.own_output:
        layers[0] = CELLS[case.cell](sizes[0], sizes[1], CHANNELS)
        if case.depth > 1:
            layers[1] = CELLS[case.cell](CHANNELS, sizes[2])
    settings: dict[str, Any] = {"missing": "fill", "mask": True} if mask else {}
    return sr.Network(
        layers,
        READOUTS[case.readout](CHANNELS),
        OPTIMIZERS[case.optimizer](learning_rate=RATES[case.optimizer]),
        window=max(2, min(scale.window, scale.frames // case.streams - 1)),
        accumulate=max(1, case.streams // 10),
        gradient_delay=case.delay,
        standardize=case.inputs in (STANDARDIZED, MISSING),
        **settings,
    )


def frames_of(case: Case, net: sr.Network, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames, their vectors and their targets; these have no rows where they are tokens."""
    rng = np.random.default_rng(count)
    order = [rng.permutation(case.streams) for _ in range(-(-count // case.streams))]
    frames = np.zeros((count, COLUMNS), np.int64)
    frames[:, STREAM] = np.concatenate(order)[:count]
    frames[:, FLAGS] = INPUT | EMIT
    for flag, share in SHARES.items():
        frames[rng.random(count) < share, FLAGS] |= flag
    frames[rng.random(count) < LATE, FLAGS] = SCORED
    inputs, scored = (frames[:, FLAGS] & flag > 0 for flag in (INPUT, SCORED))
    vectors, targets = np.zeros((0, CHANNELS)), np.zeros((0, CHANNELS))
    frames[:, [TOKEN, TARGET]] = -1
    if case.inputs == TOKENS:
        frames[inputs, TOKEN] = rng.integers(CHANNELS, size=inputs.sum())
    else:
        vectors = rng.standard_normal((inputs.sum(), CHANNELS))
    if net.readout.classes:
        frames[scored, TARGET] = rng.integers(CHANNELS, size=scored.sum())
    else:
        targets = rng.standard_normal((scored.sum(), CHANNELS))
    if case.inputs == MISSING:
        for values in (vectors, targets):
            values[rng.random(values.shape) < ABSENT] = np.nan
    return frames, vectors, targets
