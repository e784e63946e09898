"""NAB's score against one written from the rules, window by window and row by row."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.anomaly.scorer import Profile, Truth, best_threshold, counts, score

STANDARD, LOW_FP, LOW_FN = Profile(1.0, 0.11, 1.0), Profile(1.0, 0.22, 1.0), Profile(1.0, 0.11, 2.0)
LEVELS = 0.0, 0.25, 0.5, 1.0


@st.composite
def truths(draw):
    """A file with windows, of two rows or more, that do not touch; some may be in the rows that are not scored."""
    gaps = draw(st.lists(st.tuples(st.integers(1, 30), st.integers(2, 20)), max_size=4))
    windows, end = [], 0
    for gap, width in gaps:
        windows.append((end + gap, end + gap + width - 1))
        end += gap + width
    return Truth(end + draw(st.integers(1, 40)), windows)


@st.composite
def corpora(draw):
    """Files, the first with a window that is scored, and a score for each of their rows; low ones are more frequent."""
    files = [Truth(100, [(50, 60)]), *draw(st.lists(truths(), max_size=3))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    often = np.array([1, *(draw(st.floats(0, 1)) for _ in LEVELS[1:])])
    return files, [rng.choice(LEVELS, truth.rows, p=often / often.sum()) for truth in files]


def worth(position):
    return -1.0 if position >= 3 else 2 / (1 + math.exp(5 * position)) - 1


def file_score(truth, alarm, profile):
    """The sum of a file as NAB defines it, without a shortcut."""
    start = min(math.floor(0.15 * truth.rows), 750)
    total = 0.0
    for first, last in truth.windows:
        if last < start:
            continue
        best = -profile.missed
        for row in range(max(first, start), last + 1):
            if alarm[row]:
                best = max(best, profile.found * worth(-(last - row + 1) / (last - first + 1)) / worth(-1.0))
        total += best
    for row in range(start, truth.rows):
        if not alarm[row] or any(first <= row <= last for first, last in truth.windows):
            continue
        behind = [(row - last) / (last - first) for first, last in truth.windows if last < row]
        total += profile.outside * (worth(behind[-1]) if behind else -1.0)
    return total


def corpus_score(files, alarms, profile):
    """Between silence, 0, and all windows found at once, 100."""
    raw, none = 0.0, 0.0
    for truth, alarm in zip(files, alarms, strict=True):
        raw += file_score(truth, alarm, profile)
        none += file_score(truth, np.zeros(truth.rows, bool), profile)
    best = profile.found * sum(len(truth.windows) for truth in files)
    return 100 * (raw - none) / (best - none)


@pytest.mark.parametrize("profile", [STANDARD, LOW_FP, LOW_FN])
@given(corpora())
def test_score(profile, corpus):
    files, scores = corpus
    alarms = [each >= 0.5 for each in scores]
    assert score(files, alarms, profile) == pytest.approx(corpus_score(files, alarms, profile), abs=1e-9)


@given(corpora())
def test_best_threshold(corpus):
    files, scores = corpus
    every = {level: corpus_score(files, [s >= level for s in scores], STANDARD) for level in (*LEVELS, np.inf)}
    threshold, best = best_threshold(files, scores, STANDARD)
    assert best == pytest.approx(max(every.values()), abs=1e-9)
    assert corpus_score(files, [s >= threshold for s in scores], STANDARD) == pytest.approx(best, abs=1e-9)


def test_perfect_and_silent():
    files = [Truth(100, [(30, 39), (60, 79)]), Truth(50, [])]
    alarms = [np.zeros(100, bool), np.zeros(50, bool)]
    assert score(files, alarms, STANDARD) == 0
    alarms[0][[30, 60]] = True
    assert score(files, alarms, STANDARD) == pytest.approx(100)


def test_first_rows_do_not_count():
    truth, alarm = Truth(10_000, [(5000, 5099)]), np.zeros(10_000, bool)
    alarm[:750] = True
    assert score([truth], [alarm], STANDARD) == 0
    assert counts(truth, alarm) == (1, 0, 0, 0)


def test_counts():
    truth, alarm = Truth(100, [(30, 39), (60, 79)]), np.zeros(100, bool)
    alarm[[3, 20, 31, 33, 90]] = True
    assert counts(truth, alarm) == (2, 1, 2, 2)
