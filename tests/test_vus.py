"""VUS-PR against one written from its definition, threshold by threshold, without a sort."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.anomaly.vus import vus_pr


def anomalies(label):
    """The rows of each, as sets."""
    found = []
    for row in range(len(label)):
        if label[row]:
            found[-1:] = [found[-1] | {row}] if row and label[row - 1] else [*found[-1:], {row}]
    return found


def soft_label(label, row, width):
    if label[row]:
        return 1.0
    away = [min(abs(row - each) for each in rows) for rows in anomalies(label)]
    return min(1.0, sum(np.sqrt(1 - k / width) for k in away if k <= width // 2))


def with_slopes(label, width):
    """Anomalies and their slopes, as one where they share a row."""
    found = []
    for rows in anomalies(label):
        wide = {row for row in range(len(label)) if min(abs(row - each) for each in rows) <= width // 2}
        found[-1:] = [found[-1] | wide] if found and found[-1] & wide else [*found[-1:], wide]
    return found


def naive(label, score, tolerance, thresholds):
    rows, falling, areas = len(score), sorted(score, reverse=True), []
    for width in range(tolerance + 1):
        soft = [soft_label(label, row, width) for row in range(rows)]
        runs = with_slopes(label, width)
        area, last = 0.0, 0.0
        for rank in np.linspace(0, rows - 1, thresholds).astype(int):
            said = [row for row in range(rows) if score[row] >= falling[rank]]
            hit = sum(soft[row] for row in said)
            slope = sum(soft[row] for row in said if not label[row])
            existence = sum(any(row in run for row in said) for run in runs) / len(runs)
            recall = min(hit / ((sum(label) + sum(label) + slope) / 2), 1.0) * existence
            area += (recall - last) * hit / len(said)
            last = recall
        areas.append(area)
    return np.mean(areas)


@given(st.integers(0, 2**32), st.integers(5, 40), st.integers(0, 8), st.integers(2, 12))
def test_vus(seed, rows, tolerance, thresholds):
    rng = np.random.default_rng(seed)
    label, score = rng.random(rows) < rng.random(), rng.integers(0, 6, rows) / 5
    label[rng.integers(rows)] = True
    assert vus_pr(label, score, tolerance, thresholds) == pytest.approx(naive(label, score, tolerance, thresholds))


def test_a_perfect_score():
    label = np.zeros(1000, bool)
    label[400:500] = True
    assert vus_pr(label, label.astype(float), tolerance=0) == pytest.approx(1.0)
    assert vus_pr(label, np.roll(label, 5).astype(float)) > vus_pr(label, np.roll(label, 50).astype(float))


def test_noise_is_as_good_as_the_share_of_anomalies():
    label = np.zeros(20_000, bool)
    label[5000:7000] = True
    assert vus_pr(label, np.random.default_rng(0).random(20_000)) == pytest.approx(0.1, abs=0.02)
