"""What networks that standardise promise: any units and offsets, losses in those, and surprise that stays bounded."""

from math import log

import numpy as np
import pytest

import streamrnn as sr


def network(size=1, readout=sr.Gaussian):
    return sr.Network([sr.GRU(size, 32)], readout(size), sr.Adam(1e-3), window=16, predict="next", standardize=True)


def waves(count=1500, noise=0.1):
    return np.sin(np.arange(count) / 10) + noise * np.random.default_rng(3).normal(size=count)


UNITS = [(0, 2.0**-300), (0, 1e-6), (0, 1e200), (1.7e9, 1), (1e7, 3.0), (273.15, 0.1), (-1e12, 1e6), (1e-9, 1e-12)]


@pytest.mark.parametrize("readout", [sr.Gaussian, sr.Linear])
@pytest.mark.parametrize(("offset", "unit"), UNITS, ids=str)
def test_a_network_gives_the_same_in_any_units_and_from_any_zero(offset, unit, readout):
    x = waves()
    plain, losses = network(readout=readout).run(x[:, None])
    scaled, more = network(readout=readout).run((offset + unit * x)[:, None])
    scaled[:, 0] -= offset
    assert np.abs(scaled[1:] / unit - plain[1:]).max() < 1e-6 * x.std()
    if readout is sr.Gaussian:
        assert more[2:] == pytest.approx(losses[2:] + log(unit), abs=1e-4)
    elif 1e-100 < unit < 1e100:
        assert more[2:] == pytest.approx(losses[2:] * unit**2, rel=1e-3, abs=1e-6 * unit**2)


def test_channels_may_differ_as_they_like():
    x, other = waves(), waves(noise=0.3)
    plain, _ = network(2).run(np.stack([x, other], 1))
    scaled, _ = network(2).run(np.stack([1.7e9 + x, 1e-6 * other], 1))
    assert np.abs(scaled[1:, [0, 2]] - [1.7e9, 0] - plain[1:, [0, 2]]).max() < 1e-6
    assert np.abs(scaled[1:, [1, 3]] / 1e-6 - plain[1:, [1, 3]]).max() < 1e-6


def test_the_loss_is_that_of_the_published_density_in_the_units_of_the_stream():
    x = np.stack([1e6 + 50 * waves(), 1e-3 * waves(noise=0.3)], 1)
    net = network(2)
    before, seen = None, 0
    for value in x:
        y = net.step(value)
        if before is not None and np.isfinite(before).all() and seen > 1:
            mean, deviation = before[:2], before[2:]
            z = (value - mean) / deviation
            if np.abs(z).max() < 7.9:
                wanted = np.log(deviation) + 0.5 * z**2 + 0.5 * log(2 * np.pi)
                assert net.channel_losses() == pytest.approx(wanted, abs=2e-4)
                assert net.loss() == pytest.approx(wanted.sum(), abs=4e-4)
        before, seen = y, seen + 1
    assert seen == len(x)


def test_the_loss_of_values_is_half_the_squared_error_in_the_units_of_the_stream():
    x, net = 1e6 + 50 * waves(), network(readout=sr.Linear)
    outputs, losses = net.run(x[:, None])
    assert losses[3:] == pytest.approx(0.5 * (x[3:] - outputs[2:-1, 0]) ** 2, rel=1e-3, abs=1e-3)
    assert net.channel_losses() == pytest.approx([losses[-1]])


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_the_second_frame_is_not_judged_in_raw_units(unit):
    net = network()
    net.step([5 * unit])
    net.step([8 * unit])
    assert net.loss() == 0  # there was no target before, so its scale is not known
    net.step([6 * unit])
    assert 0 < net.loss() - log(unit) < 10


def test_surprise_stays_bounded_after_any_flatness():
    rng = np.random.default_rng(0)
    for start in ([], np.full(5, 21.5), 21.5 + rng.normal(size=2000), 21.5 + np.round(rng.normal(size=500), 1)):
        steps = np.full(400, 21.5)
        steps[::40] += 0.5
        x = np.concatenate([start, np.full(36_000, 21.5), steps, 21.5 + rng.normal(size=500)])
        losses = network().run(x[:, None])[1][1:]
        assert np.isfinite(losses).all()
        assert losses[-900:].max() - losses[-1000:].min() < 60


def test_of_two_channels_the_one_with_an_event_of_sixty_deviations_ranks_first():
    rng = np.random.default_rng(1)
    for flicker_first in (True, False):
        x = np.stack([rng.normal(size=6000), np.full(6000, 21.5)], 1)
        flicker, event = (4000, 5000) if flicker_first else (5000, 4000)
        x[flicker, 1] += 0.1
        x[event, 0] += 60
        _, losses = network(2).run(x)
        assert np.nanargmax(losses[100:]) + 100 == event


def test_a_network_that_is_not_standardized_takes_no_number_that_float32_does_not_hold():
    net = sr.Network([sr.GRU(1, 4)], sr.Linear(1), sr.SGD(0.1))
    with pytest.raises(ValueError, match="larger than 3"):
        net.step([1e39])
    with pytest.raises(ValueError, match="larger than 1e"):
        network().step([1e301])
