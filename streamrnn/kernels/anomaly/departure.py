"""Whether the channels together have left their normal state: a control chart of their exponentially weighted mean.

The first NORMAL frames are known to be normal. A departure is the squared Mahalanobis distance of the mean over few
frames from that over many, by the covariance that this had then, for each channel (Lowry, Woodall, Champ and Rigdon
1992). The state is left where it reaches ON, three standard deviations, and is back below OFF; in between, the mean
over many frames stands still. So do both, and the departure, of a channel that is missing.
"""

from math import isnan, sqrt

from streamrnn.kernels.anomaly import DEPARTED, DEPARTURE
from streamrnn.kernels.anomaly.memory import FRAMES, NORMAL, SIZE, channel_of, seen, together_of
from streamrnn.kernels.jit import inlined, kernel

NEAR, USUAL = 1 / 5, 1 / 400  # rates of the means over few and over many frames
SETTLED = 50  # frames before distances count
ON, OFF = 9.0, 4.5
LEAST = 1e-9  # of a channel's variance, that the others must leave to it


@kernel
def follow(settings, row, values, facts):
    """Take the newest values (size,): fills DEPARTURE and DEPARTED of the facts."""
    near, usual, covariance, rest = together_of(settings, row)
    frames, size = row[FRAMES], int(settings[SIZE])
    for c in range(size):
        if not isnan(values[c]):
            there = seen(settings, row, channel_of(settings, row, c))
            near[c] += (values[c] - near[c]) * (1.0 if there == 1.0 else NEAR)
            if facts[DEPARTED] == 0.0 or there == 1.0:
                usual[c] += (values[c] - usual[c]) * max(1.0 / there, USUAL)
        rest[c] = near[c] - usual[c]
    if frames <= settings[NORMAL]:
        learn(settings, frames, covariance, rest)
        return
    distance = squared_distance(covariance, rest) / size
    facts[DEPARTURE] = distance
    facts[DEPARTED] = 1.0 if distance >= (OFF if facts[DEPARTED] > 0.0 else ON) else 0.0


@inlined
def learn(settings, frames, covariance, rest):
    """Add to the covariance while the state is known to be normal; with the last such frame it becomes its factor."""
    if frames > SETTLED:
        share = 1.0 / (settings[NORMAL] - SETTLED)
        for i in range(rest.shape[0]):
            for j in range(i + 1):
                covariance[i, j] += share * rest[i] * rest[j]
    if frames == settings[NORMAL]:
        factor(covariance)


@kernel
def factor(S):
    """S (n, n), of which the lower half counts, becomes its Cholesky factor; 0 on the diagonal leaves a channel out."""
    for i in range(S.shape[0]):
        for j in range(i + 1):
            total, variance = S[i, j], S[i, i]
            for k in range(j):
                total -= S[i, k] * S[j, k]
            if i == j:
                S[i, i] = sqrt(total) if total > LEAST * variance else 0.0
            else:
                S[i, j] = total / S[j, j] if S[j, j] > 0.0 else 0.0


@kernel
def squared_distance(L, d):
    """d' S^-1 d, with S = L L'; d (n,) is overwritten."""
    total = 0.0
    for i in range(d.shape[0]):
        for k in range(i):
            d[i] -= L[i, k] * d[k]
        d[i] = d[i] / L[i, i] if L[i, i] > 0.0 else 0.0
        total += d[i] * d[i]
    return total
