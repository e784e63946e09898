"""Whether a vector has left the state it was in: a MEWMA chart (Lowry et al. 1992) that follows drift.

Of rows known to be normal it takes how far the newest moving mean a is usually from a slow one, mu, as a covariance S.
Later the score is d' S^-1 d / channels, d = a - mu. A row is flagged from where the score reaches ON until it is below
OFF, so that an event stays flagged while it lasts, and mu waits meanwhile.
"""

import numpy as np
from numba import njit

from benchmarks.quality.anomaly.detector import Detection

FAST, SLOW = 5, 400  # rows of the two exponential means
ON, OFF = 9.0, 4.5  # deviations squared, mean of the channels
SETTLED = 50  # rows until both means count
RIDGE = 1e-9  # of a channel's variance


def departures(values: np.ndarray, known: int) -> Detection:
    """The score and the flag of each row of values (n, channels), of which the first `known` are normal."""
    fast, slow = means(values[:known], known)
    away = (fast - slow)[SETTLED:]
    spread = away.T @ away / len(away)
    scale = np.sqrt(np.diag(spread)) + np.finfo(float).tiny ** 0.5
    related = spread / np.outer(scale, scale) + RIDGE * np.eye(len(scale))
    white = np.linalg.inv(np.linalg.cholesky(related)) / scale  # (channels, channels), white.T white = S^-1
    return Detection(*follow(values, white, fast[-1], slow[-1], known))


def means(values: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The fast and the slow mean after each row, both (n, channels); the slow one is that of all rows at the start."""
    fast, slow = np.empty_like(values), np.empty_like(values)
    fast[0] = slow[0] = values[0]
    for t in range(1, len(values)):
        fast[t] = fast[t - 1] + (values[t] - fast[t - 1]) / FAST
        slow[t] = slow[t - 1] + (values[t] - slow[t - 1]) * max(1 / (t + 1), 1 / SLOW)
    return fast, slow


@njit(cache=True)
def follow(
    values: np.ndarray, white: np.ndarray, fast: np.ndarray, slow: np.ndarray, known: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and flags (n,) of all rows, 0 and False for the known ones; the means are those after the last of them."""
    rows, channels = values.shape
    score, flag = np.zeros(rows), np.zeros(rows, np.bool_)
    fast, slow = fast.copy(), slow.copy()
    for t in range(known, rows):
        fast += (values[t] - fast) / FAST
        for i in range(channels):
            part = 0.0
            for j in range(i + 1):
                part += white[i, j] * (fast[j] - slow[j])
            score[t] += part * part / channels
        flag[t] = score[t] >= (OFF if flag[t - 1] else ON)
        if not flag[t]:
            slow += (values[t] - slow) / SLOW
    return score, flag
