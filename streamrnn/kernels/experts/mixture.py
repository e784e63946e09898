"""A mixture of experts: densities of Student's t, each with a scale that follows its errors, and Bayesian weights.

Experts are judged with heavier tails than they learn with, so that one surprise does not decide between them. A share
of the weight goes back to all after each target, so that one that was bad may come back (fixed share, Herbster and
Warmuth 1998).
"""

from math import sqrt

from streamrnn.kernels.experts.least_squares import weight
from streamrnn.kernels.jit import inlined, kernel

SHARE = 0.01  # of the weight, to all alike
RATE = 0.02  # at which a scale follows the errors
LEAST = 0.01  # of a scale, in those of the channel
FREEDOM = 3.0  # degrees of freedom of Student's t
PEAK = 0.36755259694786135  # 2 / (pi sqrt(3)): Student's density at 0, 3 degrees of freedom and scale 1


@inlined
def density(error, scale):
    """Student's t with 3 degrees of freedom."""
    ratio = error / scale
    rest = 1.0 + ratio * ratio / FREEDOM
    return PEAK / (scale * rest * rest)


@kernel
def follow(variances, i, error, scale, seen):
    """Let an expert's squared scale follow its error, by one step of expectation maximisation for Student's t."""
    rate = max(1.0 / (seen + 1.0), RATE)
    variances[i] += rate * (weight(error, scale, seen) * error * error - variances[i])


@inlined
def scale_of(variance, floor):
    """Of an expert, in scales of the channel."""
    return max(sqrt(variance), max(LEAST, floor))


@kernel
def judge(weights, variances, means, target, floor):
    """Weigh each expert by the density that it gave the target; returns that of the mixture."""
    experts, total = weights.shape[0], 0.0
    for i in range(experts):
        weights[i] *= density(target - means[i], scale_of(variances[i], floor))
        total += weights[i]
    for i in range(experts):
        weights[i] = (1.0 - SHARE) * weights[i] / total + SHARE / experts
    return total


@kernel
def mean_of(weights, means):
    """Of the mixture."""
    mean = 0.0
    for i in range(weights.shape[0]):
        mean += weights[i] * means[i]
    return mean


@kernel
def spread_of(weights, variances, means, mean, floor):
    """How far targets lie from the mean of the mixture: root of the mean square of scale and distance."""
    square = 0.0
    for i in range(weights.shape[0]):
        scale, distance = scale_of(variances[i], floor), means[i] - mean
        square += weights[i] * (scale * scale + distance * distance)
    return sqrt(square)
