"""An interval that holds the share of targets that is asked for, on any stream: adaptive conformal inference.

Each end lies some spreads from the mean. It moves out by a step when a target lies beyond, and in by a small one when
none does, so that the share beyond comes to what is asked for, whatever the distribution (Gibbs and Candès 2021; the
step is relative, as in the quantile tracking of Angelopoulos, Candès and Tibshirani 2023).
"""

from streamrnn.kernels.jit import inlined

STEP = 0.05  # relative
FIRST = 2.0  # spreads


@inlined
def follow(end, beyond, share):
    """How many spreads from the mean an end lies from here on; share: of targets that may lie beyond it."""
    return end * (1.0 + STEP * ((1.0 if beyond else 0.0) - share))
