"""A detector of anomalies, in Numba: evidence of ten kinds, each held against its own past, and summed.

Each kind says how unusual a row is, by its own measure. The past of that measure makes it a probability: above the
quantile of 0.98 its tail is taken as exponential. The sum of -log10 of these, over 3, is the score. Of a vector each
channel has one, and the largest counts. Everything is of the row and those before; no row is seen twice.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

DAYS, SLACK = 14, 6  # that the envelope looks back; rows to both sides of the same time of day
ENVELOPES, SURPRISES, LEVEL = (1, 6, 12, 24), (5, 30), 100  # rows of moving means
WEEK = 7  # days
NU, RATE, FLOOR = 3.0, 0.001, 0.01  # degrees of freedom; of the squared scale; least scale, in standard deviations
TAIL, FIRST, MOST = 0.02, 100, 6.0  # share; rows before anything is unusual; -log10 of the least probability
PARTS = 3.0  # that the sum is divided by
AGE, AT = 0.3, 3000  # by how much the threshold grows as a stream gets ten times as old; where it is as given
SILENCE, SHARE = 100, 0.03  # rows after an alarm, and as a share of the age
USUAL, STEP, LEAST = 0.002, 0.1, 0.1  # alarms a row at a threshold of 1; of a threshold that seeks a rate; the lowest


class Detection(NamedTuple):
    """How unusual each row is, and where an alarm was raised."""

    score: np.ndarray  # (n,) float64
    alarm: np.ndarray  # (n,) bool


def detect(values: np.ndarray, day: int, threshold: float = 2.4, alarms_per_day: float | None = None) -> Detection:
    """Of values (n, channels) with that many rows a day; with alarms a day asked for, the threshold is sought."""
    scores = np.stack([evidence(channel, day).sum(axis=1) / PARTS for channel in np.ascontiguousarray(values.T)])
    score = scores.max(axis=0)
    if alarms_per_day is None:
        return Detection(score, alarms(score, threshold))
    return Detection(score, alarms_at_rate(score, alarms_per_day / day))


def evidence(x: np.ndarray, day: int) -> np.ndarray:
    """-log10 of the probability of each row by each kind (n, kinds), x (n,)."""
    unexpected = surprise(x)
    level = mean_of(x, LEVEL)
    before = level[np.maximum(np.arange(len(x)) - LEVEL, 0)]
    before[:LEVEL] = x[0]
    kinds = [outside(mean_of(x, rows), day) for rows in ENVELOPES]
    kinds += [mean_of(unexpected, rows) for rows in SURPRISES]
    kinds += [week(x, day), level, -level, np.abs(level - before)]
    return np.stack([tail(kind) for kind in kinds], axis=1)


@njit(cache=True)
def mean_of(x: np.ndarray, rows: int) -> np.ndarray:
    """Of the last rows, of fewer at the start; x (n,)."""
    means = np.empty_like(x)
    for t in range(len(x)):
        means[t] = x[max(0, t - rows + 1) : t + 1].mean()
    return means


@njit(cache=True)
def outside(y: np.ndarray, day: int) -> np.ndarray:
    """By how much y (n,) is outside of what it was around this time of day, on the day where that is least."""
    excess = np.zeros_like(y)
    for t in range(1, len(y)):
        if t < day:
            around = y[max(0, t - 2 * SLACK - 1) : t]
            excess[t] = max(y[t] - around.max(), around.min() - y[t], 0.0)
            continue
        least = np.inf
        for back in range(day, min(DAYS * day, t) + 1, day):
            around = y[max(0, t - back - SLACK) : min(t, t - back + SLACK + 1)]
            least = min(least, max(y[t] - around.max(), around.min() - y[t], 0.0))
        excess[t] = least
    return excess


@njit(cache=True)
def surprise(x: np.ndarray) -> np.ndarray:
    """-log of Student's density of the change of x (n,), without its constant; its scale is learned online by EM."""
    said = np.zeros_like(x)
    mean, squares, square = x[0], 0.0, 0.0
    for t in range(1, len(x)):
        error = x[t] - x[t - 1]
        least = max(FLOOR**2 * squares / t, 1e-18)
        ratio = error**2 / max(square, least)
        said[t] = 0.5 * np.log(max(square, least)) + 0.5 * (NU + 1) * np.log1p(ratio / NU) if square > 0 else 0.0
        weight = (NU + 1) / (NU + ratio) if t > 10 else 1.0
        square = max(square + max(1 / t, RATE) * (weight * error**2 - square), least)
        before = x[t] - mean
        mean += before / (t + 1)
        squares += before * (x[t] - mean)
    return said


@njit(cache=True)
def week(x: np.ndarray, day: int) -> np.ndarray:
    """The change of x (n,) since a week ago; since a day ago in the first week, since the last row on the first day."""
    change = np.zeros_like(x)
    for t in range(1, len(x)):
        back = WEEK * day if t >= WEEK * day else day if t >= day else 1
        change[t] = abs(x[t] - x[t - back])
    return change


@njit(cache=True)
def tail(s: np.ndarray) -> np.ndarray:
    """-log10 of the probability of as much as s (n,), each held against those before."""
    past = np.empty_like(s)
    said = np.zeros_like(s)
    for t in range(len(s)):
        if t >= FIRST:
            at = int((1 - TAIL) * t)
            if s[t] > past[at]:
                scale = (past[at:t] - past[at]).mean()
                over = (s[t] - past[at]) / scale if scale > 0 else np.inf
                said[t] = min(MOST, over / np.log(10) - np.log10(TAIL))
        place = np.searchsorted(past[:t], s[t])
        past[place + 1 : t + 1] = past[place:t].copy()
        past[place] = s[t]
    return said


@njit(cache=True)
def alarms(score: np.ndarray, threshold: float) -> np.ndarray:
    """Where the score (n,) reaches the threshold, which grows with age, and the last alarm is long enough ago."""
    alarm = np.zeros(len(score), np.bool_)
    last = -len(score)
    for t in range(len(score)):
        needed = threshold + AGE * np.log10(max(t, FIRST) / AT)
        if score[t] >= needed and t - last > max(SILENCE, SHARE * t):
            alarm[t] = True
            last = t
    return alarm


@njit(cache=True)
def alarms_at_rate(score: np.ndarray, rate: float) -> np.ndarray:
    """About as many alarms a row as asked for: a threshold that rises at each and falls in between, so that in the long
    run they balance, and that starts where scores (n,) of most streams come to that rate."""
    alarm = np.zeros(len(score), np.bool_)
    threshold, last = (USUAL / rate) ** 0.8, -len(score)
    for t in range(len(score)):
        if score[t] >= threshold and t - last > min(SILENCE, 0.25 / rate):
            alarm[t] = True
            last = t
            threshold += STEP
        threshold = max(threshold - STEP * rate, LEAST)
    return alarm
