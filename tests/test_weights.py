"""Fresh weights: as they are drawn in the papers, and with the bits of a seed."""

import numpy as np
import pytest

from streamrnn.model.weights import glorot, orthogonal


@pytest.mark.parametrize("units", [1, 2, 19, 32])
def test_each_gate_is_orthogonal(units):
    out = np.zeros((units, 3 * units), np.float32)
    orthogonal(np.random.default_rng(0), out)
    gates = np.split(out.astype(np.float64), 3, axis=1)
    for gate in gates:
        np.testing.assert_allclose(gate.T @ gate, np.eye(units), atol=1e-6)
    assert units == 1 or not np.array_equal(gates[0], gates[1])


def test_orthogonal_matrices_favour_no_direction():
    """Of a matrix drawn evenly from all orthogonal ones, each element has mean 0 and variance 1 / H."""
    out, rng = np.zeros((3, 6000), np.float32), np.random.default_rng(0)
    orthogonal(rng, out)
    drawn = out.reshape(3, -1, 3).astype(np.float64)
    assert np.abs(drawn.mean(axis=1)).max() < 0.06
    np.testing.assert_allclose((drawn**2).mean(axis=1), 1 / 3, atol=0.03)


def test_glorot_fills_its_interval():
    out = np.zeros((40, 60), np.float32)
    glorot(np.random.default_rng(0), out, 20)
    limit = np.sqrt(6 / 60)
    assert np.abs(out).max() <= limit
    assert -limit < out.min() < -0.99 * limit
    assert 0.99 * limit < out.max() < limit
    assert abs(out.mean()) < 0.01
