"""Online standardisation against plain Python."""

from math import sqrt

import numpy as np
import pytest

from streamrnn.standardize import LIMIT, SLOWEST, SMALLEST, backward, forward, observe

CLOSE = 2e-4  # float32, over thousands of frames


def statistics(size):
    return np.zeros(1 + 2 * size, np.float32)


def observed(frames):
    """Statistics that have seen these frames (n, size)."""
    stats = statistics(frames.shape[1])
    for x in frames.astype(np.float32):
        observe(stats, x)
    return stats


def standardized(stats, x):
    out = np.zeros(len(x), np.float32)
    forward(stats, np.float32(x), out)
    return out


def presented(stats, y, size):
    y = np.array(y, np.float32)
    backward(stats, y, size)
    return y


def channels(frames, seed=0):
    """Channels of very different level and spread, (frames, 4)."""
    return np.random.default_rng(seed).normal([0, -40, 1e4, 1e-3], [1, 3, 2e3, 1e-4], (frames, 4)).astype(np.float32)


def moments(frames):
    """Mean and variance of each channel by the recursion, in plain Python floats."""
    mean, variance = [0.0] * frames.shape[1], [0.0] * frames.shape[1]
    for n, x in enumerate(frames.tolist(), 1):
        rate = max(1 / n, 1e-3)
        for j, value in enumerate(x):
            difference = value - mean[j]
            mean[j] += rate * difference
            variance[j] = (1 - rate) * (variance[j] + rate * difference**2)
    return mean, variance


@pytest.mark.parametrize("count", [1, 2, 3, 100, 1000])
def test_the_first_frames_weigh_equally(count):
    frames = channels(count)
    stats, exact = observed(frames), frames.astype(np.float64)
    assert stats[0] == count
    assert stats[1:5] == pytest.approx(exact.mean(0), rel=CLOSE, abs=CLOSE)
    assert stats[5:] == pytest.approx(exact.var(0), rel=CLOSE)


def test_later_frames_follow_the_recursion():
    frames = channels(2500)
    mean, variance = moments(frames)
    stats = observed(frames)
    assert stats[1:5] == pytest.approx(mean, rel=CLOSE, abs=CLOSE)
    assert stats[5:] == pytest.approx(variance, rel=CLOSE)
    assert stats[5:] != pytest.approx(frames.astype(np.float64).var(0), rel=CLOSE)


@pytest.mark.parametrize("value", [0.0, 5.0, -1e-3, 3e7])
def test_a_constant_channel_is_zero_and_comes_back(value):
    stats = observed(np.full((300, 1), value))
    assert stats[1:].tolist() == [np.float32(value), 0]
    assert standardized(stats, [value]).tolist() == [0]
    assert standardized(stats, [value + 2]) == pytest.approx([2], rel=1e-6)  # its spread is taken as 1
    assert presented(stats, [0, 1], 1).tolist() == [np.float32(value), 1]


@pytest.mark.parametrize(("variance", "spread"), [(0.25, 0.5), (4.0, 2.0), (1e-11, sqrt(1e-11)), (1e-13, 1.0)])
def test_forward_and_backward_by_hand(variance, spread):
    stats = np.float32([10, 3, variance])
    assert variance > SMALLEST or spread == 1
    assert standardized(stats, [3 + 2 * spread]) == pytest.approx([2], rel=0.1 if spread < 1e-5 else 1e-6)
    assert presented(stats, [2], 1) == pytest.approx([3 + 2 * spread], rel=1e-6)
    assert presented(stats, [2, 0.5], 1) == pytest.approx([3 + 2 * spread, 0.5 * spread], rel=1e-6)


def test_backward_undoes_forward():
    stats = observed(channels(500))
    for x in channels(50, seed=1):
        assert presented(stats, standardized(stats, x), 4) == pytest.approx(x, rel=1e-5, abs=1e-5)
    means_and_spreads = presented(stats, [0, 0, 0, 0, 1, 1, 1, 1], 4)
    assert means_and_spreads[:4].tolist() == stats[1:5].tolist()
    assert means_and_spreads[4:] == pytest.approx(np.sqrt(stats[5:]), rel=1e-6)


def test_forward_works_in_place_and_leaves_the_statistics():
    stats = observed(channels(100))
    before, x = stats.copy(), channels(1)[0]
    expected = standardized(stats, x)
    forward(stats, x, x)
    assert np.array_equal(x, expected)
    assert np.array_equal(stats, before)


def test_what_lies_far_out_is_cut():
    stats = np.float32([10, 1, 4])
    assert [standardized(stats, [x])[0] for x in (-1e30, -16, -15, 1, 17, 18, 1e30)] == [-8, -8, -8, 0, 8, 8, 8]
    assert LIMIT == 8
    assert np.isnan(standardized(stats, [np.nan])).all()


def test_a_channel_that_drifts_stays_standardized():
    """Ten times the memory of 1 / SLOWEST frames after a jump of level and scale, nothing is left of the old ones."""
    rng = np.random.default_rng(2)
    frames = int(10 / SLOWEST)
    stats = observed(np.concatenate([rng.normal(0, 1, (frames, 1)), rng.normal(500, 20, (frames, 1))]))
    recent = np.array([standardized(stats, [x])[0] for x in rng.normal(500, 20, 1000)])
    assert abs(recent.mean()) < 0.2
    assert 0.8 < recent.std() < 1.2
    assert stats[0] == 2 * frames


@pytest.mark.parametrize("first", [0, 1, 20])
@pytest.mark.parametrize("huge", [1e20, -1e25, 3.4e38])
def test_a_huge_value_leaves_everything_finite(first, huge):
    """What is finite is let in, so it must not spoil the channel for ever."""
    frames = channels(first + 41)[:, :1]
    frames[first] = huge
    frames[-1] = -huge
    stats = observed(frames)
    assert np.isfinite(stats).all()
    assert np.isfinite(presented(stats, [0.5, 0.5], 1)).all()
    assert np.isfinite(standardized(stats, [1.0])).all()
