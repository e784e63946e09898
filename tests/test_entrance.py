"""What the first layer sees of vectors in which readings are missing, against an oracle that keeps them all."""

from math import nan

import naive
import numpy as np
import pytest

from streamrnn.kernels import entrance, standardize


def waves(count, size, share):
    """Autoregressions of different lengths, of which a share is missing; the first channel comes late."""
    rng = np.random.default_rng(0)
    x = np.zeros((count, size))
    for t in range(1, count):
        x[t] = x[t - 1] * np.linspace(-0.5, 0.99, size) + rng.normal(size=size)
    x = 10 + np.arange(1, size + 1) * x
    x[rng.random(x.shape) < share] = nan
    x[: count // 4 if share else 0, 0] = nan
    return x


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("mask", [False, True], ids=["", "mask"])
def test_what_the_first_layer_sees_is_what_an_oracle_says_that_keeps_all(share, mask):
    x = waves(1500, 4, share)
    stats, oracle = np.zeros(entrance.numbers(4, True)), naive.Entrance(4, mask)
    for row in x:
        out = np.zeros(4 * (1 + mask), np.float32)
        entrance.enter(stats, row, int(mask), out)
        np.testing.assert_allclose(out, oracle.enter(row), rtol=1e-5, atol=1e-5)


def test_a_value_decays_by_its_autocorrelation_and_one_that_has_never_come_is_the_mean():
    rng, x = np.random.default_rng(1), np.zeros(5000)
    for t in range(1, len(x)):
        x[t] = 0.8 * x[t - 1] + rng.normal()
    stats, out = np.zeros(entrance.numbers(2, True)), np.zeros(2, np.float32)
    seen = []
    for value in [*x, nan, nan, nan]:
        entrance.enter(stats, np.array([value, nan]), 0, out)
        seen.append(out.copy())
    last, *filled = np.array(seen)[-4:, 0]
    np.testing.assert_allclose(filled, last * 0.8 ** np.arange(1, 4), rtol=0.2)
    assert not np.array(seen)[:, 1].any()


def test_statistics_pass_over_what_is_missing():
    """They are those of a stream in which nothing is missing; the counts of a channel are its own."""
    x = waves(700, 3, 0.4)
    stats = np.zeros(standardize.numbers(3, True))
    for row in x:
        standardize.observe(stats, row)
    for c in range(3):
        alone, there = np.zeros(standardize.numbers(1, False)), x[~np.isnan(x[:, c]), c]
        for value in there:
            standardize.observe(alone, np.array([value]))
        np.testing.assert_array_equal(stats[1 + c : 1 + 15 : 3], alone[1:])
        assert stats[0] - stats[16 + c] == alone[0] == len(there)
