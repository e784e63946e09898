"""What a detector has to beat: alarms that look at no data, and the range of all values so far."""

import numpy as np

EVERY = 600  # rows between two alarms of the timer


def timer(rows: int) -> np.ndarray:
    """An alarm each 600 rows (n,) bool, whatever comes."""
    return np.arange(1, rows + 1) % EVERY == 0


def out_of_range(x: np.ndarray) -> np.ndarray:
    """By how much of the range of all values before x (n,) each is outside of it."""
    highest, lowest = np.maximum.accumulate(x)[:-1], np.minimum.accumulate(x)[:-1]
    excess = np.maximum(np.maximum(x[1:] - highest, lowest - x[1:]), 0)
    share = np.divide(excess, highest - lowest, out=np.where(excess > 0, np.inf, 0.0), where=highest > lowest)
    return np.append(0.0, share)
