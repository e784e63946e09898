"""Fresh weights. A seed gives the same bits on every machine.

So they are made of uniform numbers and of sums in one fixed order: an inner product or a decomposition of the machine's
linear algebra library, and the logarithm in numpy's normal numbers, differ from one to the next in the last bits.
"""

from math import sqrt

import numpy as np

from streamrnn.kernels.orthonormal import orthonormalize

SUMMED = 12  # uniform numbers; their sum has variance 1 and is as good as normal


def glorot(rng: np.random.Generator, out: np.ndarray, fan_out: int) -> None:
    """Fill a weight matrix (inputs, outputs) uniformly (Glorot and Bengio 2010); fan_out counts one gate's outputs."""
    limit = sqrt(6.0 / (out.shape[0] + fan_out))
    out[...] = limit * (2 * rng.random(out.shape) - 1)


def orthogonal(rng: np.random.Generator, out: np.ndarray) -> None:
    """Fill a recurrent matrix (H, gates * H) with one random orthogonal matrix for each gate (Saxe et al. 2014)."""
    H = out.shape[0]
    products = np.zeros(H)
    for start in range(0, out.shape[1], H):
        gate = np.full((H, H), -SUMMED / 2)
        for _ in range(SUMMED):
            gate += rng.random((H, H))
        orthonormalize(gate, products)
        out[:, start : start + H] = gate
