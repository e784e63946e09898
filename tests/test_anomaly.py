"""What scores and detectors of anomalies are given and say: nothing of later rows, windows where they were."""

import numpy as np
import pytest

from benchmarks.quality.anomaly.departure import departures
from benchmarks.quality.anomaly.detector import alarms_at_rate, detect
from benchmarks.quality.anomaly.distort import DISTORTIONS, distorted
from benchmarks.quality.anomaly.files import File
from benchmarks.quality.anomaly.peers import out_of_range

ROWS, CUT = 900, 700


def wave(rows=ROWS, channels=2):
    rng = np.random.default_rng(0)
    x = np.sin(np.arange(rows)[:, None] / 20 + np.arange(channels)) + 0.1 * rng.standard_normal((rows, channels))
    x[CUT - 50 : CUT + 50] += 3
    return x


def test_nothing_of_later_rows():
    x = wave()
    for find in (lambda x: detect(x, 96), lambda x: detect(x, 96, alarms_per_day=1.0), lambda x: departures(x, 400)):
        every, part = find(x), find(x[:CUT])
        np.testing.assert_array_equal(every.score[:CUT], part.score)
        np.testing.assert_array_equal(every.alarm[:CUT], part.alarm)


def test_a_jump_is_found():
    assert detect(wave(), 96).alarm[CUT - 50 : CUT].any()
    said = departures(wave(), 400)
    assert said.alarm[CUT - 40 : CUT + 50].all()
    assert not said.alarm[: CUT - 50].any()
    assert not said.alarm[-50:].any()


def test_a_rate_is_kept_in_the_long_run():
    score = np.random.default_rng(0).exponential(size=400_000)
    assert alarms_at_rate(score, 1 / 500).mean() == pytest.approx(1 / 500, rel=0.2)


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
