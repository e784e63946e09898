"""What the first layer sees of vectors in which readings are missing, against an oracle that keeps them all."""

from datetime import UTC, datetime
from fractions import Fraction
from math import cos, log, nan, pi, sin

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamrnn as sr
from streamrnn.kernels import entrance, standardize
from streamrnn.kernels.columns import NO_TIME
from streamrnn.model.entrance import PERIODS, Entrance


def waves(count, size, share):
    """Autoregressions of different lengths, of which a share is missing; the first channel comes late."""
    rng = np.random.default_rng(0)
    x = np.zeros((count, size))
    for t in range(1, count):
        x[t] = x[t - 1] * np.linspace(-0.5, 0.99, size) + rng.normal(size=size)
    x = 10 + np.arange(1, size + 1) * x
    x[rng.random(x.shape) < share] = nan
    x[: count // 4 if share else 0, 0] = nan
    return x


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("mask", [False, True], ids=["", "mask"])
def test_what_the_first_layer_sees_is_what_an_oracle_says_that_keeps_all(share, mask):
    x = waves(1500, 4, share)
    stats, oracle = np.zeros(entrance.numbers(4, True)), naive.Entrance(4, mask)
    for row in x:
        out = np.zeros(4 * (1 + mask), np.float32)
        entrance.enter(stats, row, int(mask), out)
        np.testing.assert_allclose(out, oracle.enter(row), rtol=1e-5, atol=1e-5)


def test_a_value_decays_by_its_autocorrelation_and_one_that_has_never_come_is_the_mean():
    rng, x = np.random.default_rng(1), np.zeros(5000)
    for t in range(1, len(x)):
        x[t] = 0.8 * x[t - 1] + rng.normal()
    stats, out = np.zeros(entrance.numbers(2, True)), np.zeros(2, np.float32)
    seen = []
    for value in [*x, nan, nan, nan]:
        entrance.enter(stats, np.array([value, nan]), 0, out)
        seen.append(out.copy())
    last, *filled = np.array(seen)[-4:, 0]
    np.testing.assert_allclose(filled, last * 0.8 ** np.arange(1, 4), rtol=0.2)
    assert not np.array(seen)[:, 1].any()


def test_statistics_pass_over_what_is_missing():
    """They are those of a stream in which nothing is missing; the counts of a channel are its own."""
    x = waves(700, 3, 0.4)
    stats = np.zeros(standardize.numbers(3, True))
    for row in x:
        standardize.observe(stats, row)
    for c in range(3):
        alone, there = np.zeros(standardize.numbers(1, False)), x[~np.isnan(x[:, c]), c]
        for value in there:
            standardize.observe(alone, np.array([value]))
        np.testing.assert_array_equal(stats[1 + c : 1 + 15 : 3], alone[1:])
        assert stats[0] - stats[16 + c] == alone[0] == len(there)


@given(st.floats(-4, 4))
def test_the_sine_is_that_of_mathematics(turns):
    assert entrance.sine(turns) == pytest.approx(sin(2 * pi * turns), abs=2e-11)


TIMES = st.lists(st.none() | st.integers(-(10**18), 4 * 10**18), min_size=1, max_size=40)


@settings(deadline=None)
@given(TIMES, st.booleans(), st.booleans(), st.sampled_from([(), ("day",), ("hour", "week", "year")]))
def test_where_in_the_calendar_a_frame_is_and_how_long_ago_the_one_before_was(times, with_elapsed, mask, calendar):
    """Step by step with what anybody would write: sines by the library, and a plain mean of the times between."""
    about = Entrance(2, True, "fill" if mask else "refuse", mask, calendar, with_elapsed)
    told, out = np.array(about.settings), np.zeros(about.inputs, np.float32)
    steps = np.zeros(entrance.STEPS)
    before, gaps = None, []
    for time in times:
        if about.beside:
            entrance.tell_time(steps, NO_TIME if time is None else time, told, out)
        beside = out[4 if mask else 2 :]
        for k, name in enumerate(calendar):
            turns = 0 if time is None else Fraction(time, PERIODS[name] * 10**9) % 1
            wanted = (0, 0) if time is None else (sin(2 * pi * turns), cos(2 * pi * turns))
            np.testing.assert_allclose(beside[2 * k : 2 * k + 2], wanted, rtol=0, atol=1e-6)
        if with_elapsed:
            wanted = 0.0
            if time is not None:
                gap = None if before is None else max(float(time) - float(before), 0.0)
                if gaps and sum(gaps) > 0:
                    wanted = min(max(log(max(gap / (sum(gaps) / len(gaps)), 1e-3)), -8), 8)
                if gap is not None:
                    gaps.append(gap)
                before = time
            assert beside[-1] == pytest.approx(wanted, abs=1e-4)


def timed(**settings):
    calendar = settings.get("calendar", ())
    size = 2 + 2 * len(calendar) + settings.get("elapsed", False)
    return sr.Network(
        [sr.GRU(size, 8)], sr.Forecast(2, lags=3), sr.Adam(1e-2), window=1, predict="next", standardize=True, **settings
    )


def test_the_bits_of_frames_with_times_are_the_same_one_by_one_at_once_and_saved(tmp_path):
    rng = np.random.default_rng(0)
    X, times = rng.normal(size=(60, 2)), np.cumsum(rng.integers(1, 10**12, 60))
    about = {"calendar": ("hour", "day"), "elapsed": True}
    one, whole = timed(**about), timed(**about)
    said = np.array([one.step(x, time=int(time)) for x, time in zip(X[:30], times[:30], strict=True)])
    one.save(tmp_path / "kept")
    one = sr.load(tmp_path / "kept")
    assert (one.calendar, one.elapsed) == (["hour", "day"], True)
    said = np.vstack([said, [one.step(x, time=int(time)) for x, time in zip(X[30:], times[30:], strict=True)]])
    Y, _ = whole.run(X, times=times)
    assert said.tobytes() == Y.tobytes()
    assert one.parameters_sha256() == whole.parameters_sha256()
    assert timed().run(X)[0].tobytes() == timed().run(X, times=times)[0].tobytes()


def test_a_time_is_a_datetime_or_nanoseconds():
    moment, X = datetime(2024, 5, 1, 12), np.ones((3, 2))
    said = [
        timed(calendar=("day",)).step(X[0], time=time).tobytes()
        for time in (moment, moment.replace(tzinfo=UTC), int(moment.replace(tzinfo=UTC).timestamp()) * 10**9)
    ]
    assert len(set(said)) == 1
    with pytest.raises(ValueError, match="a time is a datetime or nanoseconds"):
        timed(calendar=("day",)).step(X[0], time="noon")
    with pytest.raises(ValueError, match="as many times"):
        timed(calendar=("day",)).run(X, times=[1, 2])


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"calendar": ("month",)}, "calendar must be of hour, day, week, year"),
        ({"calendar": ("day",), "standardize": False}, "calendar needs standardize"),
        ({"elapsed": True, "standardize": False}, "elapsed needs standardize"),
    ],
)
def test_settings_of_time_that_do_not_go_together_are_named(about, said):
    with pytest.raises(ValueError, match=said):
        sr.Network([sr.GRU(4, 3)], sr.Gaussian(2), sr.Adam(1e-3), **{"standardize": True, **about})


def test_a_day_that_repeats_is_learned_from_the_time_of_day():
    """What happens at a time of day is foreseen by a network that is told the time, and else not: it cannot count."""
    steps = 4000
    noise = np.random.default_rng(1).normal(0, 0.1, steps)
    x = (np.where(np.arange(steps) % 24 < 12, 5.0, 0.0) + noise)[:, np.newaxis]
    times = np.arange(steps) * 3600 * 10**9
    errors = []
    for calendar in ((), ("day",)):
        net = sr.Network(
            [sr.GRU(1 + 2 * len(calendar), 16)],
            sr.Gaussian(1),
            sr.Adam(1e-2),
            window=4,
            predict="next",
            standardize=True,
            calendar=calendar,
        )
        said = net.run(x, times=times)[0][:, 0]
        errors.append(np.abs(x[2001:, 0] - said[2000:-1]).mean())
    assert errors[1] < 0.7 * errors[0]
