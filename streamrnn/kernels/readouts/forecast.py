"""Values of a stream, forecast by the network and simple experts together, as far ahead as asked for.

Each channel has, for each horizon, a mixture of experts: persistence, seasons, and a linear map of [1, the last values,
values one season back, the other channels, the hidden vector] that recursive least squares learn on every target. They
are of the stream alone, as they follow its values; see `kernels.experts`. An output is, for each horizon in turn,

    means, spreads, lower and upper ends of an interval    (size,) each, in the units of the stream
    weights of the experts                                 (experts, size): persistence, seasons, least squares

and where there are detectors of anomalies, what they said of the newest target:

    FACTS                                                  of the stream; see `kernels.anomaly`
    evidence, amounts                                      (detectors, size)

A target that does not come, or of which a channel is missing, is taken to be the mean of the forecast one frame ahead;
neither experts nor intervals are judged by it. The hidden vector's gradient is that of the linear map's own loss
at the first horizon, 1: Student's negative log-likelihood, times the scale of its errors.
"""

from math import isnan, nan

from numba import float32

from streamrnn.kernels.activations import log
from streamrnn.kernels.anomaly.alarm import be_patient, decide, report
from streamrnn.kernels.anomaly.detectors import miss, observe
from streamrnn.kernels.anomaly.envelope import enter
from streamrnn.kernels.columns import COUNT, PRESENTED, STARTED
from streamrnn.kernels.experts import interval, least_squares, mixture
from streamrnn.kernels.experts.memory import (
    ALONE,
    BEYOND,
    EXPERTS,
    FEATURES,
    FORGETTING,
    HORIZONS,
    KNOWN,
    LAGS,
    LOWER,
    MIXED,
    OTHERS,
    ROWS,
    SEASONS,
    SEEN,
    SIZE,
    UPPER,
    WITH_NETWORK,
    anomaly_of,
    channel_of,
    hidden_vectors,
    horizon_of,
    least_squares_of,
    part_of,
    place_of,
    push,
    season_age,
    value,
    watches,
    whole,
)
from streamrnn.kernels.jit import inlined, kernel
from streamrnn.kernels.readouts import CHANNELS, FORECASTS, LOSS, RELATIVE
from streamrnn.kernels.standardize import UNIFORM, blocks, filling, scale_of, seen

WIDEST = 1e6  # scales; what a value may be off, so that densities stay above 0
START = 0.02, 0.05  # diagonals of P, of least squares alone and with the network
ALONE_FORGETTING = 0.999  # a longer memory than that with the network has: one of them will suit
STEEPEST = 4.0  # of a channel's gradient, before it goes down through the weights
NEWEST = 1  # among the features: behind the constant


@kernel
def predict(settings, row, stats, h, begin, work, out):
    """Forecasts (numbers,) of a stream after its newest hidden vector h (H,) float32; begin: a sequence begins."""
    size = whole(settings, SIZE)
    if row[STARTED] == 0.0:
        start(settings, row)
    if begin:
        row[COUNT], row[PRESENTED] = 0.0, 0.0
    elif row[PRESENTED] > row[COUNT]:
        push_expected(settings, row, stats, work)
    place = int(row[PRESENTED]) % whole(settings, ROWS)
    remembered = hidden_vectors(settings, row)[place]
    for j in range(h.shape[0]):
        remembered[j] = h[j]
    row[PRESENTED] += 1.0
    numbers = (FORECASTS + whole(settings, EXPERTS)) * size
    for c in range(size):
        for k in range(whole(settings, HORIZONS)):
            forecast(settings, row, stats, c, k, work, out[k * numbers :])
    if watches(settings):
        report(*anomaly_of(settings, row), out[whole(settings, HORIZONS) * numbers :])


@kernel
def start(settings, row):
    """The weights of a new stream: each forecast is the newest value."""
    for c in range(whole(settings, SIZE)):
        channel = channel_of(settings, row, c)
        for k in range(whole(settings, HORIZONS)):
            _, weights, _, ends, _ = part_of(settings, channel, k)
            for which in (ALONE, WITH_NETWORK):
                w, D, U = least_squares_of(settings, channel, k, which)
                least_squares.start(w, U, D, NEWEST, START[which])
            weights[:] = 1.0 / weights.shape[0]
            ends[:] = interval.FIRST
    row[STARTED] = 1.0


@kernel
def push_expected(settings, row, stats, work):
    """Take the forecast of one frame ahead for the target that has not come."""
    size = whole(settings, SIZE)
    if watches(settings) and filling(stats, size):
        nothing = work[:size]
        nothing[:] = nan
        watch(settings, row, stats, nothing, nothing, nothing)
    for c in range(size):
        push(settings, row, channel_of(settings, row, c), expected(settings, row, stats, c))
    row[COUNT] += 1.0


@kernel
def expected(settings, row, stats, c):
    """What was forecast of a channel one frame ahead; NaN before its first value, where it may be missing."""
    size, channel = whole(settings, SIZE), channel_of(settings, row, c)
    known = seen(stats, size, c) > 0.0 or not filling(stats, size)
    mean = blocks(stats, size)[0]
    said = part_of(settings, channel, 0)[4]
    return value(settings, row, channel, 0, mean[c] if known else nan) + said[0, MIXED]


@inlined
def spare(settings, work):
    """Room for features (n,), gains (n,) and means (experts,)."""
    n = whole(settings, FEATURES)
    return work[:n], work[n : 2 * n], work[2 * n : 2 * n + whole(settings, EXPERTS)]


@kernel
def features(settings, row, stats, c, k, late, scale, f):
    """Fill f (n,) for the forecast of a channel that was made `late` frames ago; scale: its own."""
    mean, rest, _, _, _ = blocks(stats, whole(settings, SIZE))
    channel, lags = channel_of(settings, row, c), whole(settings, LAGS)
    horizon = horizon_of(settings, k)
    f[0] = 1.0
    for j in range(lags):
        f[NEWEST + j] = (value(settings, row, channel, late + j, mean[c]) - mean[c] - rest[c]) / scale
    at = NEWEST + lags
    for season in range(whole(settings, SEASONS)):
        age = late + season_age(settings, season, horizon)
        for past in (age - horizon, age):
            f[at] = (value(settings, row, channel, past, mean[c]) - mean[c] - rest[c]) / scale
            at += 1
    if settings[OTHERS] > 0.0:
        at = other_features(settings, row, stats, c, late, f, at)
    vectors = hidden_vectors(settings, row)
    newest = (int(row[PRESENTED]) - 1) % whole(settings, ROWS)
    h = vectors[place_of(newest, late, whole(settings, ROWS))]
    for j in range(h.shape[0]):
        f[at + j] = h[j]


@inlined
def other_features(settings, row, stats, c, late, f, at):
    """The newest value of each other channel, in its scales, from f[at] on; returns where they end."""
    size = whole(settings, SIZE)
    mean, rest, deviation, _, step = blocks(stats, size)
    for other in range(size):
        if other != c:
            scale = scale_of(deviation[other], step[other])
            newest = value(settings, row, channel_of(settings, row, other), late, mean[other])
            f[at] = (newest - mean[other] - rest[other]) / scale if scale > 0.0 else 0.0
            at += 1
    return at


@kernel
def expert_means(settings, row, channel, k, late, base, scale, said, means):
    """Fill means (experts,), less the newest value `base` of then, in scales; said: by least squares."""
    horizon, experts = horizon_of(settings, k), whole(settings, EXPERTS)
    means[0] = 0.0
    for season in range(whole(settings, SEASONS)):
        age = late + season_age(settings, season, horizon) - horizon
        means[1 + season] = (value(settings, row, channel, age, base) - base) / scale
    means[experts - 2] = said[ALONE] / scale
    means[experts - 1] = said[WITH_NETWORK] / scale


@kernel
def forecast(settings, row, stats, c, k, work, out):
    """One channel at one horizon, into its places in out."""
    size, experts = whole(settings, SIZE), whole(settings, EXPERTS)
    mean, _, deviation, _, step = blocks(stats, size)
    f, _, means = spare(settings, work)
    channel = channel_of(settings, row, c)
    _, weights, variances, ends, forecasts = part_of(settings, channel, k)
    said = forecasts[(int(row[PRESENTED]) - 1) % forecasts.shape[0]]
    base, scale = value(settings, row, channel, 0, mean[c]), scale_of(deviation[c], step[c])
    said[:] = 0.0
    spread = 0.0
    if scale > 0.0:
        features(settings, row, stats, c, k, 0, scale, f)
        for which in (ALONE, WITH_NETWORK):
            w, _, _ = least_squares_of(settings, channel, k, which)
            said[which] = (least_squares.predict(w, f) - f[NEWEST]) * scale
        expert_means(settings, row, channel, k, 0, base, scale, said, means)
        floor = UNIFORM * step[c] / scale
        mixed = mixture.mean_of(weights, means)
        spread = mixture.spread_of(weights, variances, means, mixed, floor)
        said[MIXED] = mixed * scale
        said[LOWER], said[UPPER] = (mixed - ends[0] * spread) * scale, (mixed + ends[1] * spread) * scale
    out[c], out[size + c] = base + said[MIXED], spread * scale
    out[2 * size + c], out[3 * size + c] = base + said[LOWER], base + said[UPPER]
    for i in range(experts):
        out[(FORECASTS + i) * size + c] = weights[i]


@kernel
def learn(settings, row, stats, target, scales, floors, learning, work, dx, losses):
    """The losses of a target (size,) float64, in the units of the stream, and all that follows from it.

    learning: whether weights of least squares may change. dx (H,) becomes the gradient of the hidden vector.
    """
    losses[:] = 0.0
    dx[:] = float32(0)
    if row[PRESENTED] == row[COUNT]:
        return
    if watches(settings):
        watch(settings, row, stats, target, scales, floors)
    for c in range(whole(settings, SIZE)):
        if scales[c] > 0.0:
            loss = 0.0
            for k in range(whole(settings, HORIZONS) - 1, -1, -1):
                if row[PRESENTED] >= horizon_of(settings, k):
                    loss = learn_one(settings, row, stats, c, k, target[c], scales[c], floors[c], learning, work, dx)
            losses[RELATIVE] += loss
            losses[CHANNELS + c] = loss + log(scales[c])
            losses[LOSS] += losses[CHANNELS + c]
    for c in range(whole(settings, SIZE)):
        newest = expected(settings, row, stats, c) if isnan(target[c]) else target[c]
        push(settings, row, channel_of(settings, row, c), newest)
    row[COUNT] += 1.0


@kernel
def dismiss(settings, row, stats, what):
    """Take back what detectors a client has called a false alarm; see `anomaly.alarm`."""
    if watches(settings):
        be_patient(*anomaly_of(settings, row), what)


@kernel
def watch(settings, row, stats, target, scales, floors):
    """Let the detectors see the target, and how far off its forecast was; what is missing they do not see."""
    mean = blocks(stats, whole(settings, SIZE))[0]
    own, memory = anomaly_of(settings, row)
    enter(own, memory)
    for c in range(whole(settings, SIZE)):
        if isnan(target[c]):
            miss(own, memory, c)
            continue
        channel = channel_of(settings, row, c)
        said = part_of(settings, channel, 0)[4]
        error = target[c] - value(settings, row, channel, 0, mean[c]) - said[0, MIXED]
        observe(own, memory, c, target[c], error, scales[c], floors[c])
    decide(own, memory, target)


@kernel
def learn_one(settings, row, stats, c, k, target, scale, floor, learning, work, dx):
    """Judge the forecast of this target at one horizon, and learn from it. Returns the mixture's loss in scales."""
    experts = whole(settings, EXPERTS)
    f, gains, means = spare(settings, work)
    channel = channel_of(settings, row, c)
    seen, weights, variances, ends, forecasts = part_of(settings, channel, k)
    late = horizon_of(settings, k) - 1
    said = forecasts[int(row[PRESENTED]) % forecasts.shape[0]]
    mean, rest, _, _, _ = blocks(stats, whole(settings, SIZE))
    base = value(settings, row, channel, late, mean[c])
    rise = target - base
    share = settings[BEYOND]
    ends[0] = interval.follow(ends[0], rise < said[LOWER], share)
    ends[1] = interval.follow(ends[1], rise > said[UPPER], share)
    expert_means(settings, row, channel, k, late, base, scale, said, means)
    rise = max(-WIDEST, min(rise / scale, WIDEST))
    loss = -log(mixture.judge(weights, variances, means, rise, floor))
    features(settings, row, stats, c, k, late, scale, f)
    for which in (ALONE, WITH_NETWORK):
        w, D, U = least_squares_of(settings, channel, k, which)
        error = (target - mean[c] - rest[c]) / scale - least_squares.predict(w, f)
        sigma = mixture.scale_of(variances[experts - 2 + which], floor)
        g = least_squares.weight(error, sigma, seen[SEEN])
        if k == 0 and which == WITH_NETWORK:
            pull = max(-STEEPEST, min(g * error / sigma, STEEPEST))
            for j in range(dx.shape[0]):
                dx[j] -= float32(pull * w[whole(settings, KNOWN) + j])
        if learning:
            forgetting = settings[FORGETTING] if which == WITH_NETWORK else ALONE_FORGETTING
            least_squares.learn(w, U, D, f, error, g, forgetting, gains)
    for i in range(experts):
        wrong = rise - means[i]
        mixture.follow(variances, i, wrong, mixture.scale_of(variances[i], floor), seen[SEEN])
    seen[SEEN] += 1.0
    return loss
