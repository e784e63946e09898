"""exp, sigmoid and tanh against float64 NumPy, over the whole of float32."""

import numpy as np
import pytest

from streamrnn.kernels.activations import HIGHEST, LOWEST, exp, log, sigmoid, tanh
from streamrnn.kernels.jit import DISABLED, kernel

STRIDE = 1_000_003 if DISABLED else 1009  # of the 2**32 floats
EVERYWHERE = np.arange(0, 2**32, STRIDE, np.uint32).view(np.float32)
BUSY = np.linspace(-20, 20, 3001 if DISABLED else 1_000_001, dtype=np.float32)  # where sigmoid and tanh bend
EXTREMES = np.float32([-np.inf, -3e38, -89, -88, -87, -1e-45, -0.0, 0.0, 1e-45, 87, 88, 89, 3e38, np.inf])
NUMBERS = np.concatenate([EVERYWHERE[~np.isnan(EVERYWHERE)], BUSY, EXTREMES])


@kernel
def evaluate(x, e, s, t):
    for j in range(x.shape[0]):
        e[j] = exp(x[j])
    for j in range(x.shape[0]):
        s[j] = sigmoid(x[j])
    for j in range(x.shape[0]):
        t[j] = tanh(x[j])


def evaluated(x):
    """exp, sigmoid and tanh of x."""
    e, s, t = np.zeros((3, len(x)), np.float32)
    evaluate(x, e, s, t)
    return e, s, t


def test_errors_stay_below_what_is_promised():
    e, s, t = evaluated(NUMBERS)
    x = NUMBERS.astype(np.float64)
    with np.errstate(over="ignore"):
        assert np.abs(e / np.exp(np.clip(x, LOWEST, HIGHEST)) - 1).max() < 3e-7
        assert np.abs(s - 1 / (1 + np.exp(-x))).max() < 2e-7
    assert np.abs(t - np.tanh(x)).max() < 2e-7


def test_values_stay_in_range():
    e, s, t = evaluated(NUMBERS)
    assert np.isfinite(e).all()
    assert e.min() > 0
    assert s.min() >= 0
    assert s.max() <= 1
    assert np.abs(t).max() <= 1


def test_saturation():
    e, s, t = evaluated(np.float32([-np.inf, -3e38, -100, 100, 3e38, np.inf]))
    assert e.tolist() == [exp(LOWEST)] * 3 + [exp(HIGHEST)] * 3
    assert s[:3].max() < 1e-37
    assert s[3:].tolist() == [1, 1, 1]
    assert t.tolist() == [-1, -1, -1, 1, 1, 1]


def test_values_at_zero_are_exact():
    assert [float(values[0]) for values in evaluated(np.float32([0]))] == [1, 0.5, 0]


def test_nan_in_nan_out():
    payloads = np.uint32([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF, 0x7FABCDEF]).view(np.float32)
    for values in evaluated(payloads):
        assert np.isnan(values).all()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 15, 16, 17, 33])
def test_a_value_does_not_depend_on_its_place(count):
    """Alone, in the lanes of a vector or in the rest of a loop: the same bits."""
    x = np.random.default_rng(count).normal(0, 3, count).astype(np.float32)
    for function, values in zip((exp, sigmoid, tanh), evaluated(x), strict=True):
        assert values.tolist() == [float(function(value)) for value in x]


def test_log_is_as_good_as_the_system_s():
    x = np.concatenate([np.exp(np.linspace(-86, 88, 20_001)), np.linspace(0.5, 2, 10_001), [1.0, 1 + 1e-9, 1 - 1e-9]])
    found, true = np.array([log(float(value)) for value in x]), np.log(x)
    np.testing.assert_allclose(found, true, rtol=1e-15, atol=0)
    assert np.isnan(log(float("nan")))
