"""What the benchmark of alarms is given: windows where they were, after distortions too."""

import numpy as np
import pytest

from benchmarks.quality.anomaly.distort import DISTORTIONS, distorted
from benchmarks.quality.anomaly.files import File
from benchmarks.quality.anomaly.peers import out_of_range

ROWS, CUT = 900, 700


def wave(rows=ROWS, channels=2):
    rng = np.random.default_rng(0)
    x = np.sin(np.arange(rows)[:, None] / 20 + np.arange(channels)) + 0.1 * rng.standard_normal((rows, channels))
    x[CUT - 50 : CUT + 50] += 3
    return x


@pytest.mark.parametrize("name", DISTORTIONS)
def test_windows_stay(name):
    times = 300.0 * np.arange(ROWS)
    file = File("a", times, wave()[:, 0], [(times[300], times[331])])
    after = distorted(file, name)
    ((first, last),) = after.truth.windows
    assert file.times[300] <= after.times[first] < file.times[303]
    assert file.times[328] < after.times[last] <= file.times[331]
    assert len(after.values) == len(after.times)
    np.testing.assert_array_equal(after.values, distorted(file, name).values)


def test_out_of_range():
    assert out_of_range(np.array([0.0, 2.0, 1.0, 3.0, -1.0])).tolist() == [0.0, np.inf, 0.0, 0.5, 1 / 3]
