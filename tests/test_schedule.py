"""The learning schedule against a model of its rules in plain Python, over random frames of several streams."""

from itertools import count, pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import streamrnn as sr
from streamrnn.kernels import chain
from streamrnn.kernels.buffers import (
    PLAN_BEGIN,
    PLAN_ROW,
    PLAN_SLIDE,
    PLAN_SLOT,
    PLAN_STREAM,
    PLAN_TOKEN,
    UPDATES,
    Sizes,
    table_of,
)
from streamrnn.kernels.columns import APPLIED, CLOSED, DUE, FREE, LEARNED, SLOT
from streamrnn.kernels.frames import BEGIN, COLUMNS, EMIT, END, FLAGS, INPUT, NEW, SCORED, STREAM, TARGET, TOKEN
from streamrnn.kernels.schedule import most_closed, new_schedule, release, scan

STREAMS, CLASSES = 3, 4
USUAL = [INPUT | SCORED, INPUT, SCORED]
ALL = [SCORED | END] + [
    INPUT | scored | begin | end for scored in (0, SCORED) for begin in (0, BEGIN, BEGIN | NEW) for end in (0, END)
]

one_frame = st.tuples(st.integers(0, STREAMS - 1), st.sampled_from(USUAL) | st.sampled_from(ALL))
listed_frames = st.integers(0, 60).flatmap(lambda n: st.lists(one_frame, min_size=n, max_size=n))
rules = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 3))  # window, accumulate, gradient_delay
cuts = st.lists(st.integers(0, 60), max_size=8)  # where the frames are cut into blocks


class Model:
    """The documented rules. Windows are numbered as they open; `trace` tells what happened in order."""

    def __init__(self, window, accumulate, delay):
        self.window, self.accumulate, self.delay = window, accumulate, delay
        self.open = {}  # stream -> [number, frames, targets]
        self.closed = []  # frames, targets, updates applied before
        self.applied = 0
        self.trace = []
        self.numbers = count()

    def close(self, stream, k):
        """The stream's window ends, at the boundary before frame k."""
        _, frames, targets = self.open.pop(stream, (0, 0, 0))
        if targets:
            self.closed.append([frames, targets, self.applied])
            if len(self.closed) % self.accumulate == 0:
                self.applied += len(self.closed) > self.delay * self.accumulate
                self.trace.append(("boundary", k, self.applied))

    def is_full(self, stream):
        return stream in self.open and self.open[stream][1] == self.window

    def take(self, k, stream, flags):
        """Frame k."""
        slide = 0
        if flags & INPUT and self.is_full(stream) and not self.open[stream][2] and not flags & BEGIN:
            slide = -(-self.window // 2)
            self.open[stream][1] -= slide
        elif flags & BEGIN or (flags & INPUT and self.is_full(stream)):
            self.close(stream, k)
        if flags & INPUT:
            if stream not in self.open:
                self.open[stream] = [next(self.numbers), 0, 0]
            number, row, _ = self.open[stream]
            self.open[stream][1] += 1
            self.trace.append(("step", k, stream, number, row, flags & (BEGIN | NEW), slide))
        if flags & SCORED:
            number, frames, _ = self.open.get(stream, (None, None, None))
            if frames:
                self.open[stream][2] += 1
            self.trace.append(("target", k, number, frames and frames - 1))
        if flags & END or (flags & SCORED and self.is_full(stream)):
            self.close(stream, k + 1)


class Driven:
    """The real schedule, and a stand-in for the stages that learn: at once, or as late as updates let them."""

    def __init__(self, window, accumulate, delay, block, late):
        sizes = Sizes(STREAMS, window, STREAMS + most_closed(accumulate, delay), block)
        self.t, self.late, self.slots = new_schedule(sizes, accumulate, delay), late, sizes.slots
        self.accumulate, self.delay = accumulate, delay
        self.learned = []  # frames, targets, updates applied before
        self.trace = []
        self.number_of = {}  # slot -> window
        self.numbers = count()

    def run(self, frames, first):
        """Take a block whose first frame is number `first`."""
        start = 0
        while start < len(frames):
            end, inputs = scan(self.t, frames, start)
            self.note(frames[start:end], first + start, inputs)
            self.check_slots()
            self.settle(first + end)
            self.check_slots()
            start = end

    def note(self, frames, first, inputs):
        """Add a segment to the trace."""
        planned = iter(self.t.plan[:inputs].tolist())
        for k, frame in enumerate(frames):
            if frame[FLAGS] & INPUT:
                row = next(planned)
                if row[PLAN_ROW] == 0 and not row[PLAN_SLIDE]:
                    self.number_of[row[PLAN_SLOT]] = next(self.numbers)
                window = self.number_of[row[PLAN_SLOT]]
                assert row[PLAN_TOKEN] == frame[TOKEN]
                step = row[PLAN_STREAM], window, row[PLAN_ROW], row[PLAN_BEGIN], row[PLAN_SLIDE]
                self.trace.append(("step", first + k, *step))
            slot, row = self.t.where[k].tolist()
            if frame[FLAGS] & SCORED:
                self.trace.append(("target", first + k, self.number_of.get(slot), row if slot >= 0 else None))
            else:
                assert slot == row == -1
        assert not list(planned)

    def settle(self, k):
        """Learn, and apply the update that is due."""
        counters = self.t.counters
        closed = int(counters[CLOSED])
        group = closed // self.accumulate - 1 - self.delay
        self.learn((group + 1) * self.accumulate if self.late else closed)
        if counters[DUE]:
            counters[APPLIED] += group >= 0
            counters[DUE] = 0
            self.trace.append(("boundary", k, int(counters[APPLIED])))

    def learn(self, number):
        """Learn from the windows below that number."""
        for k in range(self.t.counters[LEARNED], number):
            frames, targets, slot, version = self.t.queue[k % len(self.t.queue)].tolist()
            self.learned.append([frames, targets, version])
            release(self.t, slot)
            self.t.counters[LEARNED] += 1

    def check_slots(self):
        """Every slot is free, or holds an open window or one that is not yet learned from: one of these, once."""
        t = self.t
        free = t.free[: t.counters[FREE]].tolist()
        is_open = [slot for slot in t.streams[:, SLOT].tolist() if slot >= 0]
        waiting = [int(t.queue[k % len(t.queue), SLOT]) for k in range(t.counters[LEARNED], t.counters[CLOSED])]
        assert sorted(free + is_open + waiting) == list(range(self.slots))


def as_frames(listed):
    frames = np.zeros((len(listed), COLUMNS), np.int64)
    for k, (stream, flags) in enumerate(listed):
        frames[k, STREAM], frames[k, FLAGS], frames[k, TOKEN] = stream, flags | EMIT, 100 + k
    return frames


def blocks(length, cuts):
    """(start, end) of each block."""
    return pairwise([0, *sorted(cut for cut in cuts if cut < length), length])


@settings(max_examples=150, deadline=None)
@given(rules, listed_frames, cuts, st.booleans())
def test_the_schedule_does_what_its_model_does(rules, listed, cuts, late):
    frames, model = as_frames(listed), Model(*rules)
    for k, (stream, flags) in enumerate(listed):
        model.take(k, stream, flags)
    driven = Driven(*rules, block=len(listed), late=late)
    for start, end in blocks(len(frames), cuts):
        driven.run(frames[start:end], start)
    assert driven.trace == model.trace
    driven.learn(int(driven.t.counters[CLOSED]))
    assert driven.learned == model.closed
    for stream, (slot_frames, targets, slot) in enumerate(driven.t.streams.tolist()):
        assert (slot >= 0) == (stream in model.open)
        assert [slot_frames, targets] == model.open.get(stream, [0, 0, 0])[1:]


WINDOW = 3
FULL = [(0, INPUT | SCORED)] * WINDOW
BARE = [(0, INPUT)] * WINDOW


@pytest.mark.parametrize(
    ("listed", "closed"),
    [
        (FULL, 1),  # after the target of the last frame
        (BARE, 0),
        ([*BARE, (0, SCORED)], 1),  # the last frame's target came late
        ([*FULL[:-1], (0, INPUT), (0, INPUT)], 1),  # before a frame that finds it full
        ([*FULL[:-1], (0, INPUT), (1, INPUT)], 0),  # another stream's
        ([*BARE, (0, INPUT)], 0),  # slides
        ([*FULL[:1], (0, INPUT)], 0),
        ([*FULL[:1], (0, INPUT | BEGIN)], 1),  # before a frame that begins
        ([*BARE[:1], (0, INPUT | BEGIN)], 0),
        ([(0, INPUT | SCORED | END)], 1),  # after a frame that ends
        ([(0, INPUT), (0, SCORED | END)], 1),
        ([(0, INPUT | END), (0, SCORED)], 0),  # too late
        ([(0, SCORED), (0, SCORED)], 0),  # nothing that it could be the target of
    ],
)
def test_a_window_closes_when_the_rules_say(listed, closed):
    driven = Driven(WINDOW, 1, 0, block=len(listed), late=False)
    driven.run(as_frames(listed), 0)
    assert driven.t.counters[[CLOSED, LEARNED, APPLIED]].tolist() == [closed] * 3


def run_in_blocks(tokens, rules, frames, cuts):
    """Outputs, losses, parameters, states, numbers of updates and counters of a network that gets the frames so cut."""
    window, accumulate, delay = rules
    layer, readout = (sr.LSTM(CLASSES, 3), sr.Softmax(CLASSES)) if tokens else (sr.GRU(2, 3), sr.Linear(2))
    net = sr.Network(
        [layer],
        readout,
        sr.SGD(0.1, 0.5),
        window=window,
        accumulate=accumulate,
        gradient_delay=delay,
        standardize=not tokens,
    )
    sizes = net.sizes(STREAMS, block=max(1, len(frames)))
    stages, t = net.allocate(0, 2, sizes), new_schedule(sizes, accumulate, delay)
    rng = np.random.default_rng(len(frames))
    inputs, scored = (np.cumsum(np.r_[0, frames[:, FLAGS] & flag > 0]) for flag in (INPUT, SCORED))
    X, targets = (rng.normal(size=(0 if tokens else n[-1], 2)) * 9 + 4 for n in (inputs, scored))
    Y = np.zeros((inputs[-1], readout.output_size), np.float32 if tokens else np.float64)
    losses = np.zeros((len(frames), readout.loss_size))
    frames[:, [TOKEN, TARGET]] = rng.integers(CLASSES, size=(len(frames), 2)) if tokens else -1
    for a, b in blocks(len(frames), cuts):
        x, target, y = X[inputs[a] : inputs[b]], targets[scored[a] : scored[b]], Y[inputs[a] : inputs[b]]
        chain.run(table_of(stages), t, frames[a:b], x, target, losses[a:b], y.view(np.float32))
    numbers = [stage.counters[UPDATES] for stage in stages]
    state = [
        array for stage in stages for array in (stage.params, stage.moments, stage.grads, stage.state, stage.stats)
    ]
    return [Y, losses, *state], numbers, t.counters


REUSED = [(0, INPUT | SCORED), (0, INPUT | SCORED | BEGIN | NEW)]


@pytest.mark.parametrize("tokens", [False, True], ids=["vectors", "tokens"])
@settings(max_examples=25, deadline=None)
@given(rules, listed_frames, cuts)
@example((4, 2, 0), REUSED, [1])
def test_blocks_change_nothing(tokens, rules, listed, cuts):
    frames, model = as_frames(listed), Model(*rules)
    for k, (stream, flags) in enumerate(listed):
        model.take(k, stream, flags)
    whole, updates, counters = run_in_blocks(tokens, rules, frames, [])
    assert counters[[CLOSED, LEARNED, APPLIED, DUE]].tolist() == [len(model.closed)] * 2 + [model.applied, 0]
    assert updates == [model.applied] * 2
    for some_cuts in (cuts, range(len(frames))):
        for array, expected in zip(run_in_blocks(tokens, rules, frames, some_cuts)[0], whole, strict=True):
            assert np.array_equal(array, expected, equal_nan=True)


def test_a_reused_number_is_as_good_as_new():
    """The same frames under the number of a stream that is gone, and under one that nobody had: the same bits."""
    gone, rules = [(0, INPUT | SCORED)] * 5, (2, 100, 0)
    reused = [*gone, (0, INPUT | SCORED | BEGIN | NEW), *[(0, INPUT | SCORED)] * 5]
    unused = [*gone, (1, INPUT | SCORED | BEGIN), *[(1, INPUT | SCORED)] * 5]
    (Y, losses, *_), _, _ = run_in_blocks(False, rules, as_frames(reused), range(11))
    (Y_unused, losses_unused, *_), _, _ = run_in_blocks(False, rules, as_frames(unused), range(11))
    assert np.array_equal(Y, Y_unused)
    assert np.array_equal(losses, losses_unused)
