"""The volume under the surface of precision, recall and tolerance, VUS-PR (Paparrizos et al., PVLDB 15, 2022).

Labels get slopes to both sides of an anomaly, so that being a bit early or late costs less; the area under the curve
of precision and recall is taken for slopes of each width from 0 to TOLERANCE, and averaged. Thresholds are scores at
equally spaced ranks.
"""

import numpy as np

TOLERANCE, THRESHOLDS = 100, 250  # rows; of each curve


def vus_pr(label: np.ndarray, score: np.ndarray, tolerance: int = TOLERANCE, thresholds: int = THRESHOLDS) -> float:
    """Of label (n,) bool with an anomaly in it, and score (n,) float64."""
    ranks = np.linspace(0, len(score) - 1, thresholds).astype(int)
    order = np.argsort(-score, kind="stable")
    levels = score[order][ranks]
    predicted = np.searchsorted(-score[order], -levels, side="right")  # rows with at least that score
    spans = spans_of(label)
    areas = [area(label, score, spans, width, order, levels, predicted) for width in range(tolerance + 1)]
    return float(np.mean(areas))


def spans_of(label: np.ndarray) -> list[tuple[int, int]]:
    """First and last row of each anomaly."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], label.astype(np.int8), [0]])))
    return [(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]


def area(
    label: np.ndarray,
    score: np.ndarray,
    spans: list[tuple[int, int]],
    width: int,
    order: np.ndarray,
    levels: np.ndarray,
    predicted: np.ndarray,
) -> float:
    """Under precision and recall, with slopes of that width. `order` (n,) has rows by falling score; at each of
    `levels` (thresholds,) that many rows are `predicted`.

    Of soft labels y and predictions p: precision = y p / sum p, recall = y p / ((P + P + slopes p) / 2) x the share of
    anomalies with a prediction, P the rows labelled.
    """
    soft = slopes(label, spans, width)
    hit = np.cumsum(soft[order])[predicted - 1]
    beside = np.cumsum(np.where(label, 0.0, soft)[order])[predicted - 1]
    highest = np.array([score[first : last + 1].max() for first, last in joined(spans, width, len(label))])
    existence = (highest[None, :] >= levels[:, None]).mean(axis=1)
    recall = np.minimum(hit / (label.sum() + beside / 2), 1) * existence
    return float(np.diff(recall, prepend=0.0) @ (hit / predicted))


def slopes(label: np.ndarray, spans: list[tuple[int, int]], width: int) -> np.ndarray:
    """1 in an anomaly, sqrt(1 - k / width) at k rows from it for k up to half the width, where several are near their
    sum, at most 1."""
    soft = label.astype(np.float64)
    for first, last in spans:
        before, after = min(width // 2, first), min(width // 2, len(label) - 1 - last)
        soft[first - before : first] += np.sqrt(1 - np.arange(before, 0, -1) / max(width, 1))
        soft[last + 1 : last + 1 + after] += np.sqrt(1 - np.arange(1, after + 1) / max(width, 1))
    return np.minimum(soft, 1.0)


def joined(spans: list[tuple[int, int]], width: int, rows: int) -> list[tuple[int, int]]:
    """Anomalies with their slopes, as one where these meet."""
    wide: list[tuple[int, int]] = []
    for first, last in spans:
        start, end = max(first - width // 2, 0), min(last + width // 2, rows - 1)
        if wide and start <= wide[-1][1]:
            wide[-1] = wide[-1][0], end
        else:
            wide.append((start, end))
    return wide
