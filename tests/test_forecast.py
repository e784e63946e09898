"""What forecasts promise, on streams of many kinds."""

import numpy as np
import pytest
from daemon import Daemon, layers, wait_for

import streamrnn as sr
from streamrnn.cli.client import as_json, as_line
from streamrnn.kernels.experts import least_squares
from streamrnn.storage.network_state import checked


def test_least_squares_stay_positive_definite_where_nothing_is_learned():
    """200,000 targets of features that stand still, then of one that wakes: D stays within its bounds."""
    n, f = 3, np.array([1.0, 0.0, 0.0])
    w, U, D, k = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    least_squares.start(w, U, D, 1, 0.05)
    for t in range(200_000):
        f[2] = 1e-6 if t > 100_000 else 0.0
        least_squares.learn(w, U, D, f, 0.1, 1.0, 0.99, k)
    assert (D > 0).all()
    assert (D <= least_squares.MOST).all()
    assert np.isfinite(w).all()


def network(size=1, **options):
    readout = sr.Forecast(size, **options)
    return sr.Network([sr.GRU(size, 8)], readout, sr.Adam(2e-3), window=1, predict="next", standardize=True)


def covered(net, x):
    """Whether each value but the first lies in the interval that was given before."""
    Y, _ = net.run(x[:, None])
    said = net.readout.read(Y[:-1])[1]
    return (x[1:] >= said.lower[:, 0]) & (x[1:] <= said.upper[:, 0])


@pytest.mark.parametrize("band", [0.5, 0.9])
def test_the_interval_holds_its_share_and_holds_it_again_500_frames_after_a_shift(band):
    rng = np.random.default_rng(1)
    noise = rng.standard_t(3, 9000)
    x = np.concatenate([noise[:3000], 50 + noise[3000:6000], 50 + 20 * noise[6000:]])
    inside = covered(network(band=band), x)
    for start in (1500, 3500, 6500):
        assert abs(inside[start : start + 2400].mean() - band) < 0.025


def test_it_is_no_worse_than_persistence_on_a_random_walk_and_much_better_on_a_season():
    rng = np.random.default_rng(2)
    walk = np.cumsum(rng.normal(size=4000))
    season = np.tile(rng.normal(size=48), 60) + 0.1 * rng.normal(size=2880)
    for x, most, options in ((walk, 1.02, {}), (season, 0.25, {"seasons": [48]})):
        net = network(**options)
        Y, _ = net.run(x[:, None])
        errors = np.abs(x[1:] - net.readout.read(Y[:-1])[1].mean[:, 0])[500:]
        assert errors.mean() < most * np.abs(np.diff(x))[500:].mean()


def test_targets_that_are_no_inputs_are_forecast_from_their_own_past():
    """An autoregression of order 2 that the inputs say nothing of; some targets do not come."""
    rng = np.random.default_rng(7)
    y = np.zeros(3000)
    for t in range(2, len(y)):
        y[t] = 1.6 * y[t - 1] - 0.8 * y[t - 2] + rng.normal()
    net = sr.Network([sr.GRU(3, 4)], sr.Forecast(1), sr.Adam(2e-3), window=1, standardize=True)
    errors = []
    for target in y:
        x = rng.normal(size=3)
        if rng.random() < 0.02:
            net.step(x)
            continue
        net.learn(x, [target])
        errors.append(net.loss())
    best = 0.5 * np.log(2 * np.pi * np.e)  # of the density that the values are drawn from
    assert best < np.mean(errors[1500:]) < best + 0.25


def test_outputs_are_read_by_name():
    net = network(2, seasons=[4], horizons=[1, 6])
    Y, losses = net.run(np.random.default_rng(3).normal(size=(200, 2)))
    said = net.readout.read(Y)
    assert list(said) == [1, 6]
    assert said[6].mean.shape == (200, 2)
    assert list(said[1].weights) == ["persistence", "season 4", "autoregression", "network"]
    np.testing.assert_allclose(sum(said[6].weights.values()), 1)
    assert (said[1].lower[10:] < said[1].mean[10:]).all()
    assert (said[1].mean[10:] < said[1].upper[10:]).all()
    assert np.isfinite(losses[1:]).all()
    with pytest.raises(ValueError, match="32 numbers, not 3"):
        net.readout.read(np.zeros(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lags": 0}, "lags"),
        ({"horizons": [2, 3]}, "rise from 1 on"),
        ({"horizons": [1, 1]}, "rise from 1 on"),
        ({"band": 1.0}, "band"),
        ({"seasons": [0]}, "seasons"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sr.Forecast(1, **options)


def test_it_needs_standardised_inputs():
    with pytest.raises(ValueError, match="standardize"):
        sr.Network([sr.GRU(1, 2)], sr.Forecast(1), sr.Adam(0.01), predict="next")


def test_units_change_nothing():
    """What comes of a + b x is what comes of x."""
    x = np.random.default_rng(4).normal(size=(500, 1)).cumsum(axis=0)
    plain, other = network(), network()
    Y, _ = plain.run(x)
    Z, _ = other.run(1e6 + 2.0**20 * x)
    np.testing.assert_allclose((Z[5:, 0] - 1e6) / 2.0**20, Y[5:, 0], rtol=0, atol=1e-6)


def test_a_copy_and_a_checkpoint_go_on_with_the_same_bits(tmp_path):
    x = np.random.default_rng(5).normal(size=(300, 2))
    net = network(2, horizons=[1, 5], seasons=[7])
    net.run(x[:150])
    net.save(tmp_path / "kept")
    other = sr.load(tmp_path / "kept")
    assert repr(other.readout) == repr(net.readout)
    np.testing.assert_array_equal(net.run(x[150:])[0], other.run(x[150:])[0])


def test_what_experts_remember_is_checked_when_it_comes_back():
    for counts in ([0.5, 1], [-1, 0], [np.nan, 0], [1e300, 1e300], [3, 5]):
        with pytest.raises(ValueError, match="cannot be"):
            checked(np.array([*counts, 1.0, 0.0]))


FORECAST = "\n".join(
    ['kind = "forecast"', "size = 2", "lags = 5", "seasons = [7]", "horizons = [1, 4]", "others = true"]
)


@pytest.mark.parametrize("options", [(), ("--fused",)], ids=["piped", "fused"])
def test_a_daemon_forecasts_with_the_bits_of_the_library_also_after_its_processes_are_killed(options):
    x = np.random.default_rng(6).normal(size=(400, 2)).cumsum(axis=0)
    net = sr.Network(
        [sr.GRU(2, 6), sr.GRU(6, 5)],
        sr.Forecast(2, lags=5, seasons=[7], horizons=[1, 4], others=True),
        sr.Adam(0.01),
        window=3,
        gradient_delay=1,
        predict="next",
        standardize=True,
    )
    wanted, losses = net.run(x)
    with Daemon(
        predict="next",
        input='kind = "vector"\nsize = 2\nstandardize = true',
        readout=FORECAST,
        layers=layers("gru 6", "gru 5"),
        optimizer='kind = "adam"\nlearning_rate = 0.01',
        learning="window = 3\ngradient_delay = 1",
        state="checkpoint_frames = 100",
    ) as daemon:
        daemon.start(*options)
        with daemon.client() as client:
            for k, frame in enumerate(x):
                if k == 250:
                    daemon.workers()["stages-0" if options else "stages-2"].kill()
                output = client.step(frame)
                np.testing.assert_array_equal(output.y, wanted[k])
                np.testing.assert_array_equal(output.loss, losses[k])
            assert client.readout.read(output.y)[4].mean.tolist() == net.readout.read(wanted[-1])[4].mean.tolist()
            wait_for(lambda: client.status()["experts"])
            weights = client.status()["experts"]
            assert list(weights) == ["persistence", "season 7", "autoregression", "network"]
            assert sum(weights.values()) == pytest.approx(1, abs=1e-3)
            line = as_line(output.y, client)
            assert line.startswith(f"channel 1 {output.y[0]:.4g} ({output.y[4]:.4g} to {output.y[6]:.4g}), channel 2 ")
            plain = as_json(output, client.readout)["forecasts"]
            assert plain[4]["mean"] == output.y[16:18].tolist()
            assert list(plain[1]["weights"]) == list(weights)
        daemon.stop()
        daemon.start(*options)  # goes on from what is there
        daemon.stop()
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()
