"""An update: the gradient of some windows, clipped by its norm, through the optimiser of the stage."""

from math import isfinite, sqrt

from numba import float32, float64, int64, none

from streamrnn.kernels.buffers import OPTIMIZER, SKIPPED, UPDATES, stage_at
from streamrnn.kernels.jit import inlined, kernel, linked_table
from streamrnn.kernels.optimizers import CLIP, DECAY_STEPS, MOMENTS, RATE
from streamrnn.kernels.tiles import dot

LONGEST = 1e18  # of a gradient: the sum of the squares of many is still a float32
FARTHEST = 1e30  # that an update may go
vector, matrix = float32[::1], float32[:, ::1]
step = linked_table(
    "streamrnn.kernels.optimizers",
    MOMENTS,
    "step",
    0,
    none,
    vector,
    vector,
    matrix,
    float64[::1],
    float32,
    float64,
    int64,
)


@kernel
def length(g):
    """Euclidean norm, also of a vector whose squares overflow float32."""
    return root(float64(dot(g, g)), g)


@inlined
def root(square, g):
    """Of the sum of squares of g, which is made anew where it has overflown."""
    if not isfinite(square):
        square = 0.0
        for j in range(g.shape[0]):
            square += float64(g[j]) * float64(g[j])
    return sqrt(square)


@kernel
def update(stages, i, group, windows):
    """Apply gradient buffer `group` of stage i, the sum over that many windows, clipped by its norm; zero it.

    An update is left out and counted where the gradient is not finite, or so long that moments or parameters might
    not stay finite.
    """
    s = stage_at(stages, i)
    g = s.grads[group]
    rate, scale = begin(s.hyper, s.counters, length(g), windows)
    if rate < 0.0:
        g[:] = 0
    else:
        step(s.config[OPTIMIZER], s.params, g, s.moments, s.hyper, float32(scale), rate, s.counters[UPDATES])


@inlined
def begin(hyper, counters, length, windows):
    """The rate of an update and the scale of its gradient, whose length is that over so many windows; counts it.

    A rate below 0: it is left out.
    """
    norm = length / windows
    rate = hyper[RATE] / (1.0 + counters[UPDATES] / hyper[DECAY_STEPS])
    clipped = min(norm, hyper[CLIP])
    if not (isfinite(norm) and clipped <= LONGEST and rate * clipped <= FARTHEST):
        counters[SKIPPED] += 1
        return -1.0, 0.0
    counters[UPDATES] += 1
    return rate, min(1.0, hyper[CLIP] / norm) / windows if norm > 0 else 1.0 / windows
