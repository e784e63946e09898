"""Missing readings: what stands in for them, what of a target is scored, and that nothing else changes."""

import copy
import types
from collections import namedtuple
from math import nan

import naive
import numpy as np
import pytest
from daemon import Daemon, layers

import streamrnn as sr
from streamrnn.kernels.experts import memory
from streamrnn.workers.supervision.runs import lasting

SHARES = [0.0, 0.1, 0.3, 0.6]
READOUTS = {"Linear": sr.Linear, "Gaussian": sr.Gaussian, "Forecast": sr.Forecast}
FORECAST = {"lags": 4, "seasons": [5], "horizons": [1, 3], "others": True}
ANOMALY = {"anomaly": {"day": 48, "threshold": 2.0, "normal": 150}}
shares = pytest.mark.parametrize("share", SHARES)
readouts = pytest.mark.parametrize("readout", READOUTS)
masks = pytest.mark.parametrize("mask", [False, True], ids=["", "mask"])


def waves(count=400, size=3, share=0.3, seed=0):
    """Autoregressions of different lengths; the first channel comes late, the last but one never moves for a while."""
    rng = np.random.default_rng(seed)
    x = np.zeros((count, size))
    for t in range(1, count):
        x[t] = x[t - 1] * np.linspace(0.3, 0.99, size) + rng.normal(size=size)
    x = 10 + np.arange(1, size + 1) * x
    x[: count // 8, -2] = x[0, -2]
    x[rng.random(x.shape) < share] = nan
    if share:
        x[: count // 4, 0] = nan
        x[0] = nan
        x[count // 2 : count // 2 + 12] = nan
    return x


def network(readout="Linear", size=3, mask=False, missing="fill", predict="next", options=None, **settings):
    made = READOUTS[readout](size, **(options or {}))
    settings = {"window": 4, "optimizer": sr.Adam(0.01)} | settings
    stack = [sr.GRU(size * (1 + mask), 7), sr.LSTM(7, 5)]
    return sr.Network(stack, made, predict=predict, standardize=True, missing=missing, mask=mask, **settings)


def state(net):
    """All numbers of a network, as bytes: some are NaN."""
    names = ("params", "moments", "state", "stats", "experts")
    return [getattr(owner.stage, name).tobytes() for owner in net.stages for name in names]


# --- networks against the oracle -------------------------------------------------------------------------------------


def oracle_of(net, mask, **settings):
    return naive.FillingNetwork(net, naive.SGD(0.05), mask, **settings)


@shares
@masks
@pytest.mark.parametrize("predict", ["next", "target"])
@pytest.mark.parametrize("readout", ["Linear", "Gaussian"])
def test_networks_learn_what_the_oracle_learns(readout, predict, mask, share):
    """Losses, those of each channel, and parameters; two streams, and sequences that begin anew."""
    settings = {"window": 4, "clip_norm": 1.0, "predict": predict}
    net = network(readout, mask=mask, optimizer=sr.SGD(0.05), **settings)
    oracle = oracle_of(net, mask, **settings)
    for t, (x, target) in enumerate(zip(waves(share=share), waves(share=share, seed=1), strict=True)):
        stream = "ab"[t % 3 == 0]
        if t % 61 == 60:
            net.reset(stream)
            oracle.reset(stream)
        if predict == "next":
            net.step(x, stream)
            oracle.step(x, stream)
            there = oracle.stream(stream)
        else:
            loss = net.learn(x, target, stream)
            wanted = oracle.learn(x, target, stream)
            there = oracle.stream(stream)
            np.testing.assert_allclose(loss, wanted, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(net.loss(stream), there.last_loss, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(net.channel_losses(stream), there.losses, rtol=1e-3, atol=1e-4)
    for owner, params in zip(net.stages, oracle.params(), strict=True):
        for name, value in owner.params.items():
            np.testing.assert_allclose(value, params[name], rtol=0, atol=1e-4)


@masks
@pytest.mark.parametrize("readout", ["Linear", "Gaussian"])
def test_gradients_are_those_of_finite_differences(readout, mask):
    """One window with missing inputs and targets: the slope of the oracle's loss by each of some parameters."""
    settings = {"window": 6, "clip_norm": None, "predict": "target"}
    net = network(readout, mask=mask, optimizer=sr.SGD(1.0), **settings)
    oracle = naive.FillingNetwork(net, naive.SGD(1e-30), mask, **settings)
    x, targets = waves(126, seed=2), waves(126, seed=3)
    net.learning_rate = 0.0
    for k in range(120):
        net.learn(x[k], targets[k], end=k == 119)
        oracle.learn(x[k], targets[k])
    oracle.end()
    before = [{name: value.astype(np.float64) for name, value in owner.params.items()} for owner in net.stages]
    x[120, 2], targets[123, 2], targets[122] = nan, nan, nan
    targets[124, 0] = 1.0
    net.learning_rate = 1.0
    for frame in zip(x[120:], targets[120:], strict=True):
        net.learn(*frame)

    def loss():
        """The mean over the window's targets, in scales."""
        run, total, count = copy.deepcopy(oracle), 0.0, 0
        run.close = types.MethodType(lambda *_: None, run)
        for frame in zip(x[120:], targets[120:], strict=True):
            if not np.isnan(run.learn(*frame)):
                total, count = total + run.stream("").relative, count + 1
        return total / count

    rng = np.random.default_rng(4)
    for k, owner in enumerate(net.stages):
        for name, now in owner.params.items():
            slopes, wanted = before[k][name] - now, oracle.modules[k].params[name]
            for _ in range(5):
                at = tuple(rng.integers(now.shape))
                values = []
                for step in (1e-5, -1e-5):
                    wanted[at] += step
                    values.append(loss())
                    wanted[at] -= step
                assert slopes[at] == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("missing", [[0], [1], [0, 1], [0, 1, 2]], ids=str)
@readouts
def test_a_missing_target_is_not_scored_and_nothing_is_learned_of_it(readout, missing):
    """The loss is the sum of the others, NaN where there are none; then the network is as if no target had come."""
    options = FORECAST if readout == "Forecast" else None
    net = network(readout, predict="target", window=1, options=options, optimizer=sr.SGD(0.05))
    x = waves(60, share=0.0)
    for row in x[:-1]:
        net.learn(row, row)
    target = x[-1].copy()
    target[missing] = nan
    whole, some, none = (copy.deepcopy(net) for _ in range(3))
    earlier, loss = net.loss(), some.learn(x[-1], target)
    whole.learn(x[-1], x[-1])
    none.step(x[-1])
    if len(missing) == 3:
        assert np.isnan(loss)
        assert some.loss() == earlier
        assert state(some) == state(none)
        assert np.array_equal(some.step(x[0]), none.step(x[0]))
        return
    there = [c for c in range(3) if c not in missing]
    assert np.isnan(some.channel_losses()[missing]).all()
    np.testing.assert_array_equal(some.channel_losses()[there], whole.channel_losses()[there])
    assert loss == some.loss() == pytest.approx(whole.channel_losses()[there].sum())
    if readout != "Forecast":
        before, after = net.readout.params["b_y"], some.readout.params["b_y"]
        assert np.array_equal(before.reshape(-1, 3)[:, missing], after.reshape(-1, 3)[:, missing])
        assert (before != after).any()


def experts_of(net, channel):
    """What weights, intervals and least squares of a channel are, at all horizons; not its values and forecasts."""
    settings, row = net.readout.stage.settings, net.readout.stage.experts[0]
    hidden, rows, numbers = settings[[memory.HIDDEN, memory.ROWS, memory.CHANNEL]].astype(int)
    own = row[memory.HEAD + rows * hidden + channel * numbers :][:numbers]
    first = memory.SETTINGS + int(settings[memory.SEASONS])
    places = settings[first : first + 2 * int(settings[memory.HORIZONS])].astype(int).reshape(-1, 2)
    ends = [*places[1:, 1], numbers]
    parts = zip(places, ends, strict=True)
    return np.concatenate([own[place : end - memory.SAID * frames] for (frames, place), end in parts])


def test_what_is_missing_moves_no_expert_and_no_interval():
    net, x = network("Forecast", window=1, options=FORECAST), waves(200, share=0.0)
    net.run(x[:-1])
    before = [experts_of(net, c).copy() for c in range(3)]
    net.step([nan, *x[-1, 1:]])
    assert np.array_equal(experts_of(net, 0), before[0])
    for c in (1, 2):
        assert (experts_of(net, c) != before[c]).mean() > 0.5


@shares
@masks
@readouts
def test_a_b_x_gives_what_x_gives(readout, mask, share):
    x, options = waves(share=share), FORECAST if readout == "Forecast" else None
    plain, other = (network(readout, mask=mask, options=options) for _ in range(2))
    Y, losses = plain.run(x)
    Z, more = other.run(1e6 + 2.0**-20 * x)
    size = 3
    means, others = Y[150:, :size], (Z[150:, :size] - 1e6) * 2.0**20
    np.testing.assert_allclose(others, means, rtol=0, atol=1e-3 * np.nanstd(x))
    assert np.array_equal(np.isnan(losses), np.isnan(more))


# --- bits ------------------------------------------------------------------------------------------------------------


@readouts
@masks
def test_run_has_the_bits_of_step(readout, mask):
    x, options = waves(), FORECAST | ANOMALY if readout == "Forecast" else None
    one, whole = (network(readout, mask=mask, options=options) for _ in range(2))
    Y, losses = whole.run(x)
    for row, y, loss in zip(x, Y, losses, strict=True):
        np.testing.assert_array_equal(one.step(row), y)
        assert np.isnan(loss) or loss == one.loss()
    assert np.array_equal(np.isnan(losses[1:]), np.isnan(x[1:]).all(axis=1))
    assert state(one) == state(whole)
    assert one.loss() == whole.loss()


@readouts
def test_run_with_targets_has_the_bits_of_learn(readout):
    x, targets = waves(), waves(seed=1)
    options = FORECAST | ANOMALY if readout == "Forecast" else None
    one, whole = (network(readout, predict="target", options=options) for _ in range(2))
    _, losses = whole.run(x, targets)
    np.testing.assert_array_equal([one.learn(*frame) for frame in zip(x, targets, strict=True)], losses)
    assert state(one) == state(whole)
    np.testing.assert_array_equal(one.channel_losses(), whole.channel_losses())
    targets[-3:] = nan
    one, whole = (network(readout, predict="target", options=options) for _ in range(2))
    whole.run(x, targets)
    for frame in zip(x, targets, strict=True):
        one.learn(*frame)
    assert one.loss() == whole.loss()
    assert np.array_equal(one.step(None), whole.step(None)) if readout != "Gaussian" else True


@readouts
def test_where_nothing_is_missing_the_bits_are_those_of_refusing(readout):
    x, options = waves(share=0.0), FORECAST | ANOMALY if readout == "Forecast" else None
    fills, refuses = (network(readout, missing=missing, options=options) for missing in ("fill", "refuse"))
    for seen, wanted in zip(fills.run(x), refuses.run(x), strict=True):
        np.testing.assert_array_equal(seen, wanted)
    assert fills.parameters_sha256() == refuses.parameters_sha256()


@readouts
@masks
def test_copies_and_checkpoints_go_on_with_the_same_bits(readout, mask, tmp_path):
    x, options = waves(), FORECAST | ANOMALY if readout == "Forecast" else None
    net = network(readout, mask=mask, options=options, gradient_delay=1)
    net.run(x[:203])
    net.save(tmp_path / "kept")
    others = [copy.deepcopy(net), sr.load(tmp_path / "kept")]
    wanted = net.run(x[203:])
    for other in others:
        assert (other.missing, other.mask) == ("fill", mask)
        for seen, each in zip(other.run(x[203:]), wanted, strict=True):
            np.testing.assert_array_equal(seen, each)
        assert state(other) == state(net)


def test_a_spec_without_the_settings_refuses():
    spec = network(missing="refuse").spec()
    older = {name: value for name, value in spec.items() if name not in ("missing", "mask")}
    net = sr.Network.from_spec(older)
    assert (net.missing, net.mask) == ("refuse", False)
    assert lasting(older) == lasting(spec)
    assert lasting(older) != lasting(network(missing="fill").spec())


# --- edges -----------------------------------------------------------------------------------------------------------


@readouts
@masks
def test_nothing_at_all_nothing_of_a_channel_and_nothing_at_first(readout, mask):
    """A stream that says nothing, a channel that never comes, one that comes late far from 0: all stays finite."""
    options = FORECAST | ANOMALY if readout == "Forecast" else None
    for scale in (1.0, 1e9):
        x = 1e9 + scale * waves(300, share=0.3)
        x[:, 1] = nan
        x[:30] = nan
        net = network(readout, mask=mask, options=options)
        Y, losses = net.run(x)
        assert np.isfinite(Y).all()
        assert all(
            np.isfinite(owner.stage.params).all() and np.isfinite(owner.stage.stats).all() for owner in net.stages
        )
        there = ~np.isnan(x).all(axis=1)
        there[: np.argmax(there) + 1] = False
        assert np.isfinite(losses[there]).all()
        error = np.abs(Y[250:-1, 2] - x[251:, 2])
        assert np.nanmean(error) < 5 * np.nanstd(x[:, 2])
    Y, losses = network(readout, mask=mask, options=options).run(np.full((50, 3), nan))
    assert np.isfinite(Y).all()
    assert np.isnan(losses).all()


def test_alarms_go_on_counting_where_nothing_comes():
    """A channel of which half the days are missing is watched at the right time of day, and stays quiet."""
    t = np.arange(48 * 40)
    rng = np.random.default_rng(7)
    x = (np.sin(2 * np.pi * t / 48) + 0.05 * rng.normal(size=len(t)))[:, None]
    x[rng.random(len(t)) < 0.4] = nan
    x[48 * 10 : 48 * 12] = nan
    x[-20:-10] = 5.0
    net = sr.Network(
        [sr.GRU(1, 4)],
        sr.Forecast(1, anomaly={"day": 48, "threshold": 2.0}),
        sr.Adam(0.002),
        window=1,
        predict="next",
        standardize=True,
        missing="fill",
    )
    Y, _ = net.run(x)
    seen = net.readout.anomalies(Y)
    begins = np.flatnonzero(seen.event == 1)
    assert len(x) - 20 in begins
    assert (begins >= 0).sum() <= 4
    gone = np.isnan(x[:, 0])
    gone[0] = False
    assert not seen.evidence[gone].any()
    assert seen.evidence[-20:-10].any()


# --- what may be missing, and how that is said -----------------------------------------------------------------------


class NAType:
    """As pandas marks it."""


Row = namedtuple("Row", "a b c")
CHANNELS = ["a", "b", "c"]
SAID = {
    "NaN": [1.0, nan, 3.0],
    "an array": np.array([1.0, nan, 3.0]),
    "float32": np.array([1.0, nan, 3.0], np.float32),
    "None": [1, None, 3],
    "objects": np.array([1, None, 3], object),
    "NA": np.array([1, NAType(), 3], object),
    "a mask": np.ma.array([1, 2, 3], mask=[0, 1, 0]),
    "masked": [1, np.ma.masked, 3],
    "a dict": {"a": 1, "b": None, "c": 3},
    "no name": {"c": 3, "a": 1},
    "a named tuple": Row(1, None, 3),
}
said = pytest.mark.parametrize("x", SAID.values(), ids=SAID)


@said
@pytest.mark.filterwarnings("error")
def test_what_is_missing_can_be_said_in_many_ways(x):
    one, other = (network(channels=CHANNELS) for _ in range(2))
    for row in ([1.0, 2.0, 3.0], x, [2.0, 1.0, 2.0]):
        y = one.step(row)
    for row in ([1.0, 2.0, 3.0], SAID["NaN"], [2.0, 1.0, 2.0]):
        wanted = other.step(row)
    np.testing.assert_array_equal(y, wanted)
    np.testing.assert_array_equal(one.label([[1.0, 2, 3], x, x]), one.label([[1.0, 2, 3], SAID["NaN"], SAID["NaN"]]))
    if not hasattr(x, "keys") and not hasattr(x, "_fields"):
        np.testing.assert_array_equal(one.run([[1.0, 2, 3], x])[0], other.run([[1.0, 2, 3], SAID["NaN"]])[0])


@said
@pytest.mark.filterwarnings("error")
def test_it_is_refused_where_it_is_not_to_be_filled_in(x):
    net = network(missing="refuse", channels=CHANNELS)
    with pytest.raises(ValueError, match="the names are not those" if x is SAID["no name"] else "missing=.fill"):
        net.step(x)


@pytest.mark.parametrize(
    "x", [[1.0, np.inf, 3.0], [1.0, nan, -np.inf], [1.0, 1e301, nan], [1.0, nan], ["1", None, "3"]]
)
def test_what_is_no_number_is_refused_always(x):
    with pytest.raises(ValueError, match=r"infinity|shape|expected"):
        network().step(x)
    with pytest.raises(ValueError, match=r"infinity|shape|expected"):
        network(predict="target").learn([1.0, 2.0, 3.0], x)
    with pytest.raises(ValueError, match=r"infinity|shape|expected|row 0"):
        network().run([x])


def test_a_table_may_lack_values_and_columns():
    one, other = (network(channels=CHANNELS) for _ in range(2))
    Y, _ = one.run({"c": [1.0, None, 2.0], "a": np.ma.array([3.0, 1.0, 9.0], mask=[0, 0, 1])})
    wanted, _ = other.run([[3.0, nan, 1.0], [1.0, nan, nan], [nan, nan, 2.0]])
    np.testing.assert_array_equal(Y, wanted)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"missing": "fill", "standardize": False}, "missing cannot be"),
        ({"missing": "refuse", "mask": True, "standardize": True}, "mask needs"),
        ({"missing": "drop", "standardize": True}, "missing must be"),
        ({"missing": "fill", "mask": True, "standardize": True}, "even number"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        sr.Network([sr.GRU(3, 4)], sr.Linear(3), sr.SGD(0.1), **settings)


def test_classes_are_learned_from_vectors_with_gaps():
    """Targets that are classes are never missing."""
    x, rng = waves(300, share=0.4), np.random.default_rng(5)
    classes = rng.integers(4, size=len(x))
    one, whole = (
        sr.Network([sr.GRU(6, 5)], sr.Softmax(4), sr.Adam(0.01), standardize=True, missing="fill", mask=True)
        for _ in range(2)
    )
    _, losses = whole.run(x, classes)
    assert np.isfinite(losses).all()
    assert [one.learn(*frame) for frame in zip(x, classes.tolist(), strict=True)] == losses.tolist()
    assert one.loss() == whole.loss() == losses[-1]


@masks
def test_teaching_and_feeding_back_with_gaps(mask):
    net = network(predict="target", mask=mask)
    assert net.teach([[1.0, 2, 3], [2.0, nan, 1]], [[1.0, nan, 2], [nan, 1, 1]], synced=True) is not None
    assert net.teach([[1.0, 2, 3]], [[nan, nan, nan]]) is None
    loss = net.teach([[1.0, 2, 3]], [[1.0, 2, 3], [nan, nan, nan], [nan, 2, 3]])
    assert np.isfinite(loss)
    net.learn([1.0, 2, 3], [nan, 1.0, 2.0])
    assert np.isfinite(net.step(None)).all()


# --- a daemon --------------------------------------------------------------------------------------------------------

READOUT = "\n".join(
    ['kind = "forecast"', "size = 3", "lags = 4", "seasons = [5]", "horizons = [1, 3]", "others = true"]
)
INPUT = 'kind = "vector"\nsize = 3\nstandardize = true\nmissing = "fill"\nmask = true\nchannels = ["a", "b", "c"]'


@pytest.mark.parametrize("options", [(), ("--fused",)], ids=["piped", "fused"])
def test_a_daemon_fills_in_with_the_bits_of_the_library_also_after_its_processes_are_killed(options):
    x = waves(400)
    net = network("Forecast", mask=True, options=FORECAST, window=3, gradient_delay=1, channels=CHANNELS)
    wanted, losses = net.run(x)
    with Daemon(
        predict="next",
        input=INPUT,
        readout=READOUT,
        layers=layers("gru 7", "lstm 5"),
        optimizer='kind = "adam"\nlearning_rate = 0.01',
        learning="window = 3\ngradient_delay = 1",
        state="checkpoint_frames = 100",
    ) as daemon:
        daemon.start(*options)
        with daemon.client() as client:
            for k, frame in enumerate(x):
                if k == 250:
                    daemon.workers()["stages-0" if options else "stages-1"].kill()
                named = {name: value for name, value in zip(CHANNELS, frame, strict=True) if k % 2 or value == value}
                output = client.step(named)
                np.testing.assert_array_equal(output.y, wanted[k])
                np.testing.assert_array_equal(output.loss, losses[k])
            with pytest.raises(ValueError, match="infinity"):
                client.step([1.0, nan, np.inf])
        daemon.stop()
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()


def test_targets_from_a_client_may_be_missing():
    """In a daemon of three workers, with the bits of the library: some of a target, or all."""
    x, targets = waves(200), waves(200, seed=1)
    net = network("Gaussian", predict="target", optimizer=sr.SGD(0.05))
    _, losses = net.run(x, targets)
    with Daemon(
        predict="target",
        input='kind = "vector"\nsize = 3\nstandardize = true\nmissing = "fill"',
        readout='kind = "gaussian"\nsize = 3',
        layers=layers("gru 7", "lstm 5"),
        optimizer='kind = "sgd"\nlearning_rate = 0.05',
        learning="window = 4",
    ) as daemon:
        daemon.start()
        with daemon.client() as client:
            seen = [client.step(*frame).loss for frame in zip(x[:100], targets[:100], strict=True)]
            client.send_many(x[100:], targets[100:])
            client.flush()
        daemon.stop()
        np.testing.assert_array_equal(seen, losses[:100])
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()
