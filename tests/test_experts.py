"""The kernels of forecasts against an oracle that keeps whole matrices and lists."""

import naive
import numpy as np
import pytest

from streamrnn.kernels.experts import memory
from streamrnn.kernels.readouts import CHANNELS, LOSS, RELATIVE
from streamrnn.kernels.readouts.forecast import learn, predict
from streamrnn.kernels.standardize import BLOCKS, UNIFORM, numbers, observe, scale_of, target

HIDDEN = 4
CLOSE = 1e-7  # in scales: two ways to update P, over a thousand targets
PLAIN = {"lags": 3, "seasons": [], "horizons": [1], "band": 0.9, "others": False, "forgetting": 0.996}
OPTIONS = {
    "plain": {},
    "horizons": {"horizons": [1, 2, 7]},
    "seasons": {"seasons": [5, 12]},
    "season shorter than horizon": {"seasons": [3], "horizons": [1, 4]},
    "others": {"others": True},
    "together": {"lags": 6, "seasons": [4, 9], "horizons": [1, 3], "band": 0.8, "others": True, "forgetting": 0.99},
}


class Kernels:
    """The kernels with one stream's buffers."""

    def __init__(self, size, options, fills=False):
        self.size, self.plan = size, memory.plan(size, HIDDEN, **options, fills=fills)
        self.row, self.work = np.zeros(self.plan.numbers), np.zeros(self.plan.spare)
        self.stats = np.zeros(numbers(size, fills))
        self.numbers = len(options["horizons"]) * (7 + len(options["seasons"]))
        self.y, self.dh, self.losses = np.zeros(self.numbers * size), np.zeros(HIDDEN, np.float32), np.zeros(2 + size)

    def scales(self):
        """mean (size,), scales and floors of now."""
        mean, rest, deviation, _, step = np.split(self.stats[1 : 1 + BLOCKS * self.size], BLOCKS)
        scales = np.array([scale_of(*each) for each in zip(deviation, step, strict=True)])
        return mean + rest, scales, np.divide(UNIFORM * step, scales, out=np.zeros(self.size), where=scales > 0)

    def judged(self, x):
        """Scales and floors of a target."""
        out, scales, floors = np.zeros(self.size, np.float32), np.zeros(self.size), np.zeros(self.size)
        target(self.stats, x, out, scales, floors)
        return scales, floors

    def predict(self, h, begin=False):
        predict(self.plan.settings, self.row, self.stats, h, begin, self.work, self.y)
        return self.y.copy()

    def learn(self, x, learning=True):
        scales, floors = self.judged(x)
        places = self.plan.settings, self.row, self.stats, x, scales, floors
        learn(*places, learning, self.work, self.dh, self.losses)
        observe(self.stats, x)
        return self.losses.copy(), self.dh.copy()


def waves(rng, count, size):
    """Channels of different lengths and noise; now and then a jump, and one channel that stands still for a while."""
    t = np.arange(count)[:, None]
    x = (
        np.sin(t / (2 + np.arange(size)))
        + 0.2 * rng.normal(size=(count, size))
        + 5 * (rng.random((count, size)) < 0.01)
    )
    x[: count // 4, -1] = 0.0
    return 10 + 3 * x


def assert_close(seen, wanted, scale):
    np.testing.assert_allclose(seen / scale, wanted / scale, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_forecast_loss_and_gradient_is_the_oracles(options, size, missing):
    """missing: the share of values that are; then one channel also comes late."""
    rng = np.random.default_rng(len(str(options)) + size)
    options = PLAIN | options
    fills = {"fills": missing > 0}
    kernels, oracle = Kernels(size, options, **fills), naive.Forecast(size, HIDDEN, **options, **fills)
    series = waves(rng, 400, size)
    series[rng.random(series.shape) < missing] = np.nan
    series[: 30 if missing else 0, 0] = np.nan
    for t, x in enumerate(series):
        h = rng.normal(size=HIDDEN).astype(np.float32)
        begin = t > 0 and t % 170 == 0
        if begin:
            oracle.begin()
        mean, scales, floors = kernels.scales()
        wanted = oracle.predict(h, mean, scales, floors)
        y = kernels.predict(h, begin).reshape(len(options["horizons"]), -1, size)
        for c in range(size):
            for k in range(len(options["horizons"])):
                assert_close(y[k, :4, c], wanted[c][k][:4], max(scales[c], 1.0))
                np.testing.assert_allclose(y[k, 4:, c], wanted[c][k][4:], rtol=0, atol=1e-5)
        if rng.random() < 0.1 or np.isnan(x).all():  # a target that does not come
            continue
        learning = t % 100 < 90
        judged, floors = kernels.judged(x)
        expected, pull = oracle.learn(x, mean, judged, scales, floors, learning)
        losses, dh = kernels.learn(x, learning)
        known = ~np.isnan(expected)
        np.testing.assert_allclose(losses[RELATIVE], expected[known].sum(), rtol=0, atol=1e-5)
        units = expected[known] + np.log(judged[known])
        np.testing.assert_allclose(losses[CHANNELS:][known], units, rtol=0, atol=1e-5)
        np.testing.assert_allclose(losses[LOSS], units.sum(), rtol=0, atol=1e-5)
        np.testing.assert_allclose(dh, pull, rtol=0, atol=1e-5)


def test_the_gradient_is_that_of_students_loss():
    """By finite differences of the oracle's: the derivative with respect to h, times the scale of the errors."""
    rng = np.random.default_rng(0)
    kernels, oracle = Kernels(1, PLAIN), naive.Forecast(1, HIDDEN, **PLAIN)
    for x in waves(rng, 200, 1):
        h = rng.normal(size=HIDDEN).astype(np.float32)
        mean, scales, floors = kernels.scales()
        oracle.predict(h, mean, scales, floors)
        kernels.predict(h)
        judged, floors = kernels.judged(x)
        oracle.learn(x, mean, judged, scales, floors)
        kernels.learn(x)
    h, x = rng.normal(size=HIDDEN).astype(np.float32), kernels.scales()[0] + 1.0
    mean, scales, floors = kernels.scales()
    w, sigma = oracle.horizons[0][0].models[1].w, oracle.horizons[0][0].scales(floors[0])[-1]
    past = [1.0, *((oracle.values[0][-1 - lag] - mean[0]) / scales[0] for lag in range(PLAIN["lags"]))]

    def loss(h):
        error = (x[0] - mean[0]) / scales[0] - w @ np.concatenate([past, h])
        return 3.0 * np.log(1 + error**2 / (5 * sigma**2))

    slopes = [(loss(h + step) - loss(h - step)) / 2e-6 for step in 1e-6 * np.eye(HIDDEN)]
    kernels.predict(h)
    _, dh = kernels.learn(x)
    np.testing.assert_allclose(dh, np.array(slopes) * sigma, rtol=1e-4)
