"""In what order a device takes frames, against a model of it in plain Python."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.kernels.buffers import PLAN_COLUMNS, PLAN_ROW, PLAN_SLIDE, PLAN_SLOT, PLAN_STREAM
from streamrnn.kernels.frames import COLUMNS, EMIT, FLAGS, INPUT, SCORED
from streamrnn.kernels.rounds import BEFORE, INPUTS, KEPT, LAST, LINKS, NONE, TARGETS, count_before, group, plan_rounds

STREAMS, SLOTS, WINDOW = 4, 5, 3

of_streams = st.lists(st.integers(0, STREAMS - 1), max_size=30)
one_row = st.tuples(
    st.integers(0, STREAMS - 1), st.integers(0, SLOTS - 1), st.integers(0, WINDOW - 1), st.sampled_from([0, 0, 0, 0, 2])
)
plans = st.lists(one_row, max_size=30)
untimed = settings(deadline=None)


@untimed
@given(of_streams)
def test_rows_are_grouped_by_stream_in_the_order_of_their_first(streams):
    newest, order = np.full(STREAMS, NONE), np.full(len(streams), -9)
    starts = np.full(len(streams) + 2, -9)
    count = group(np.array(streams, np.int64), newest, order, starts)
    groups = [[r for r, each in enumerate(streams) if each == stream] for stream in dict.fromkeys(streams)]
    assert [order[a:b].tolist() for a, b in pairwise(starts[: count + 1])] == groups
    assert (newest == NONE).all()


def first_slide(plan, start):
    """The first row whose window slides behind rows of its stream, or the end."""
    met = set()
    for r, (stream, _, _, slide) in enumerate(plan[start:], start):
        if slide and stream in met:
            return r
        met.add(stream)
    return len(plan)


@untimed
@given(plans)
def test_rounds_have_a_row_of_each_stream_at_most_and_end_where_a_window_slides(listed):
    plan, n = np.zeros((len(listed), PLAN_COLUMNS), np.int64), len(listed)
    plan[:, [PLAN_STREAM, PLAN_SLOT, PLAN_ROW, PLAN_SLIDE]] = np.array(listed, np.int64).reshape(-1, 4)
    newest, writers, links = np.full(STREAMS, NONE), np.full((SLOTS, WINDOW), 99), np.full((n, LINKS), -9)
    number, rows, starts, start = np.full(n, -9), np.full(n, -9), np.full(n + 2, -9), 0
    while start < n:
        end, count = plan_rounds(plan, start, newest, writers, links, number, rows, starts)
        assert end == first_slide(listed, start)
        part = range(start, end)
        same = {r: [q for q in part if listed[q][0] == listed[r][0]] for r in part}  # rows of its stream
        rounds = [[r for r in part if same[r].index(r) == k] for k in range(max(map(len, same.values())))]
        assert [rows[a:b].tolist() for a, b in pairwise(starts[: count + 1])] == rounds
        for r in part:
            assert links[r, BEFORE] == max((q for q in same[r] if q < r), default=NONE)
            assert links[r, LAST] == (same[r][-1] == r)
            assert links[r, KEPT] == all(listed[q][1:3] != listed[r][1:3] for q in range(r + 1, end))
        assert (newest == NONE).all()
        start = end


@untimed
@given(st.lists(st.sampled_from([0, INPUT, SCORED, INPUT | SCORED, INPUT | EMIT]), max_size=20))
def test_what_comes_before_a_frame_is_counted(flags):
    frames, counts = np.zeros((len(flags), COLUMNS), np.int64), np.full((len(flags), 2), -9)
    frames[:, FLAGS] = flags
    count_before(frames, counts)
    for k, found in enumerate(counts):
        assert found[INPUTS] == sum(each & INPUT > 0 for each in flags[:k])
        assert found[TARGETS] == sum(each & SCORED > 0 for each in flags[:k])
