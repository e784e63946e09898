"""Online standardisation against the same in decimals of 60 digits."""

from math import sqrt

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.kernels.standardize import BLOCKS, backward, forward, observe, target

CLOSE = 1e-9  # relative to a channel's deviation: float64, over thousands of frames
LEVELS, SPREADS = [0, -40, 1.7e9, 1e-3, 3e15], [1, 3, 0.7, 1e-4, 2e3]  # of channels of very different kinds


def statistics(size):
    return np.zeros(1 + BLOCKS * size)


def observed(frames):
    """Statistics that have seen these frames (n, size)."""
    stats = statistics(frames.shape[1])
    for x in np.asarray(frames, np.float64):
        observe(stats, x)
    return stats


def oracles(frames):
    """The same, one for each channel."""
    channels = [naive.Channel() for _ in frames.T]
    for x in frames.tolist():
        for channel, value in zip(channels, x, strict=True):
            channel.observe(value)
    return channels


def standardized(stats, x):
    out = np.zeros(len(x), np.float32)
    forward(stats, np.float64(x), out)
    return out


def judged(stats, x):
    """A target in scales, the scales and the floors."""
    out, scales, floors = np.zeros(len(x), np.float32), np.zeros(len(x)), np.zeros(len(x))
    target(stats, np.float64(x), out, scales, floors)
    return out, scales, floors


def presented(stats, y):
    out = np.zeros(len(y))
    backward(stats, (len(stats) - 1) // BLOCKS, np.float32(y), out)
    return out


def frames_of(count, seed=0):
    return np.random.default_rng(seed).normal(LEVELS, SPREADS, (count, len(LEVELS)))


@pytest.mark.parametrize("count", [1, 2, 3, 100, 1000])
def test_the_first_frames_weigh_equally(count):
    frames = LEVELS + np.outer(np.resize([0, 1, 3, -1, 0.5], count), SPREADS)  # none lies so far out that it is cut
    out = presented(observed(frames), [0] * 5 + [1] * 5)
    exact = frames - LEVELS  # so are these differences
    assert (np.abs(out[:5] - LEVELS - exact.mean(0)) <= 2 * np.spacing(np.abs(LEVELS) + SPREADS)).all()
    if count > 1:
        assert out[5:] == pytest.approx(exact.std(0), rel=1e-9)


def test_frames_follow_the_recursion_whatever_their_offset_and_scale():
    frames = frames_of(2500)
    stats, channels = observed(frames), oracles(frames)
    for x in frames_of(20, seed=1):
        wanted = [channel.standardized(value) for channel, value in zip(channels, x.tolist(), strict=True)]
        assert standardized(stats, x) == pytest.approx(wanted, abs=1e-6)
    deviations = presented(stats, [0] * 5 + [1] * 5)[5:]
    assert deviations == pytest.approx([channel.scale for channel in channels], rel=CLOSE)
    assert deviations[0] != pytest.approx(frames[:, 0].std(), rel=1e-3)  # old frames are forgotten


@pytest.mark.parametrize("value", [0.0, 5.0, -1e-3, 3e7, 1.7e9])
def test_a_channel_that_has_never_moved_has_no_scale_and_its_first_step_is_one_of_rounding(value):
    stats = observed(np.full((300, 1), value))
    assert standardized(stats, [value]).tolist() == [0]
    assert [part.tolist() for part in judged(stats, [value])] == [[0], [0], [0]]
    mean, deviation = presented(stats, [0, 1])
    assert mean == value
    assert 0 < deviation <= max(abs(value) * 2**-50, 1e-200)
    out, scales, floors = judged(stats, [value + 2])
    assert (out, scales, floors) == (pytest.approx([sqrt(12)]), pytest.approx([2 / sqrt(12)]), [1])


def test_of_a_stream_that_has_no_frame_nothing_is_judged():
    assert [part.tolist() for part in judged(statistics(1), [7.0])] == [[0], [0], [0]]


def test_a_deviation_is_at_least_that_of_rounding_to_the_smallest_step_seen():
    steps = np.cumsum([0, 0.5, 0.25, -0.25, 0.5, *[0.0] * 36_000])[:, None]
    stats = observed(steps)
    assert presented(stats, [0, 1])[1] == pytest.approx(0.25 / sqrt(12))
    assert presented(stats, [0, 1e-6])[1] == pytest.approx(0.25 / sqrt(12))
    assert judged(stats, steps[-1])[1:] == (pytest.approx([0.25 / sqrt(12)]), pytest.approx([1]))
    assert standardized(stats, steps[-1] + 0.25) == pytest.approx([sqrt(12)])


@pytest.mark.parametrize("spread", [1e-200, 1e-6, 0.5, 2.0, 1e200])
def test_forward_and_backward_by_hand(spread):
    stats = np.array([10, 3, 0, spread, 3, 0])
    assert standardized(stats, [3 + 2 * spread]) == pytest.approx([2] if spread > 1e-15 else [0], rel=1e-6)
    assert presented(stats, [2, 0.5]) == pytest.approx([3 + 2 * spread, 0.5 * spread], rel=1e-6)


def test_backward_undoes_forward_and_both_leave_the_statistics():
    stats = observed(frames_of(500))
    before = stats.copy()
    for x in frames_of(50, seed=1):
        error = presented(stats, standardized(stats, x)) - x
        assert np.abs(error / SPREADS).max() < 1e-6
    assert np.array_equal(stats, before)


def test_what_lies_far_out_is_cut():
    stats = np.array([10, 1, 0, 2, 1, 0.0])
    assert [standardized(stats, [x])[0] for x in (-1e300, -16, -15, 1, 17, 18, 1e300)] == [-8, -8, -8, 0, 8, 8, 8]
    assert [judged(stats, [x])[0] for x in (-1e300, -16, -15, 1, 17, 18, 1e300)] == [-8, -8, -8, 0, 8, 8, 8]
    assert np.isnan(standardized(stats, [np.nan])).all()


def test_a_channel_that_drifts_stays_standardized():
    """Ten times the memory after a jump of level and scale, nothing is left of the old ones."""
    rng = np.random.default_rng(2)
    stats = observed(np.concatenate([rng.normal(0, 1, (10_000, 1)), rng.normal(500, 20, (10_000, 1))]))
    recent = np.array([standardized(stats, [x])[0] for x in rng.normal(500, 20, 1000)])
    assert abs(recent.mean()) < 0.2
    assert 0.8 < recent.std() < 1.2
    assert stats[0] == 20_000


@pytest.mark.parametrize("first", [0, 1, 20])
@pytest.mark.parametrize("huge", [1e20, -1e150, 1e300])
def test_a_huge_value_leaves_everything_finite(first, huge):
    """What is finite is let in, so it must not spoil the channel for ever."""
    frames = frames_of(first + 41)[:, :1]
    frames[first] = huge
    frames[-1] = -huge
    stats = observed(frames)
    assert np.isfinite(stats).all()
    assert np.isfinite(presented(stats, [0.5, 0.5])).all()
    assert np.isfinite(standardized(stats, [1.0])).all()


@given(st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 2)), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_any_short_series_follows_the_recursion(values):
    frames = np.array(values)[:, None]
    stats, (channel,) = observed(frames), oracles(frames)
    for x in (*values[-3:], values[0] + 1):
        out, scales, floors = judged(stats, [x])
        wanted = channel.judged(x)
        assert (out[0], scales[0], floors[0]) == pytest.approx(wanted, rel=1e-5, abs=1e-6)
