"""NAB's score of alarms, and the threshold that is best for it (Lavin and Ahmad 2015, and what NAB computes today).

An alarm in a window earns the more the earlier it comes, and only the best one of a window counts; one outside costs
the more the longer the last window is over. A window without an alarm costs too. 100 is what a perfect detector gets, 0
what a silent one gets. The first rows of a file are not scored.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

PROBATION, MOST_PROBATION = 0.15, 750.0  # of a file's rows; rows
STEEPNESS, FAR = 5.0, 3.0  # of the reward; widths behind a window from which on an alarm costs all it can
OUTSIDE = -1


class Truth(NamedTuple):
    """A file's number of rows, and the first and last row of each window, in order."""

    rows: int
    windows: list[tuple[int, int]]


class Profile(NamedTuple):
    """What a window found early earns, and what an alarm outside and a window missed cost."""

    found: float
    outside: float
    missed: float


class Marks(NamedTuple):
    """A file's scored rows."""

    row: np.ndarray  # (k,) which they are
    window: np.ndarray  # (k,) number of the window a row is in, or OUTSIDE
    reward: np.ndarray  # (k,) of an alarm, from -1 to 1, before a profile weighs it


def reward(position: np.ndarray) -> np.ndarray:
    """2 / (1 + exp(5 p)) - 1, and -1 far behind a window; p is -1 at its left edge and 0 past its right one."""
    inside = 2 / (1 + np.exp(STEEPNESS * np.minimum(position, FAR))) - 1
    return np.where(position >= FAR, -1.0, inside)


def marks(truth: Truth) -> Marks:
    """What an alarm at each row would bring. In a window of w rows, k rows before its last: p = -(k + 1) / w, and the
    reward is divided by the first row's; k rows behind it: p = k / (w - 1)."""
    rows = np.arange(truth.rows)
    window = np.full(truth.rows, OUTSIDE)
    position = np.full(truth.rows, FAR)
    for number, (first, last) in enumerate(truth.windows):
        width = last - first + 1
        window[first : last + 1] = number
        position[first : last + 1] = -(last - rows[first : last + 1] + 1) / width
        position[last + 1 :] = (rows[last + 1 :] - last) / max(width - 1, 1)
    every = reward(position)
    every[window != OUTSIDE] /= reward(np.array(-1.0))
    scored = rows >= min(np.floor(PROBATION * truth.rows), MOST_PROBATION)
    return Marks(rows[scored], window[scored], every[scored])


def score(truths: Sequence[Truth], alarms: Sequence[np.ndarray], profile: Profile) -> float:
    """Of alarms, a bool for each row of each file."""
    return best_threshold(truths, alarms, profile, thresholds=(1.0,))[1]


def best_threshold(
    truths: Sequence[Truth], scores: Sequence[np.ndarray], profile: Profile, thresholds: Sequence[float] = ()
) -> tuple[float, float]:
    """The threshold, the same for all files, that is best for this profile, and its score; infinity is no alarm at all.

    Rows with a score of at least the threshold are alarms. `thresholds` are those to choose from; without, all scores.
    """
    levels, raws = curve(truths, scores, profile)
    if len(thresholds):
        lowest = np.searchsorted(-levels, -np.asarray(thresholds, np.float64), side="right") - 1
        levels, raws = np.asarray(thresholds, np.float64), raws[lowest]
    best = int(np.argmax(raws))
    return float(levels[best]), normalised(float(raws[best]), truths, profile)


def curve(truths: Sequence[Truth], scores: Sequence[np.ndarray], profile: Profile) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds, from infinity down, and the sum of what alarms bring at each, before it is normalised."""
    levels, gains = [], []
    for truth, values in zip(truths, scores, strict=True):
        every = marks(truth)
        level = np.asarray(values, np.float64)[every.row]
        order = np.argsort(-level, kind="stable")
        levels.append(level[order])
        gains.append(gains_of(Marks(*(part[order] for part in every)), profile))
    level, gain = np.concatenate(levels), np.concatenate(gains)
    order = np.argsort(-level, kind="stable")
    level, total = level[order], silent(truths, profile) + np.cumsum(gain[order])
    last = np.append(level[1:] != level[:-1], True)  # of rows with the same score
    return np.append(np.inf, level[last]), np.append(silent(truths, profile), total[last])


def gains_of(every: Marks, profile: Profile) -> np.ndarray:
    """By how much each alarm raises the sum if alarms come in this order."""
    gains = profile.outside * every.reward
    for number in np.unique(every.window[every.window != OUTSIDE]):
        inside = every.window == number
        best = np.maximum.accumulate(np.append(-profile.missed, profile.found * every.reward[inside]))
        gains[inside] = np.diff(best)
    return gains


def silent(truths: Sequence[Truth], profile: Profile) -> float:
    """The sum of a detector that never alarms: all windows that have a scored row are missed."""
    every = [marks(truth).window for truth in truths]
    return -profile.missed * sum(len(np.unique(window[window != OUTSIDE])) for window in every)


def normalised(raw: float, truths: Sequence[Truth], profile: Profile) -> float:
    """0 for silence, 100 for an alarm at the first row of each window and nowhere else."""
    none, all_found = silent(truths, profile), profile.found * sum(len(truth.windows) for truth in truths)
    return 100 * (raw - none) / (all_found - none)


class Counts(NamedTuple):
    """Of a file's scored rows."""

    windows: int
    found: int  # windows
    inside: int  # alarms
    outside: int


def counts(truth: Truth, alarm: np.ndarray) -> Counts:
    """What a file's alarms hit; alarm (n,) bool."""
    every = marks(truth)
    hit = every.window[alarm[every.row]]
    inside = hit[hit != OUTSIDE]
    return Counts(len(truth.windows), len(np.unique(inside)), len(inside), len(hit) - len(inside))
