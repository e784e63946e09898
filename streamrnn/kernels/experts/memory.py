"""What the experts of a stream's values remember: one row of float64 for each stream.

    COUNT, PRESENTED, STARTED      values and forecasts since the sequence began; whether weights are there
    hidden vectors (rows, H)       a ring: those of the newest forecasts, as many as the largest horizon
    of each channel
        values (ring,)             a ring: the newest ones, in the units of the stream; NaN before the channel's first
        of each horizon k
            SEEN                   targets learned from
            w, D (features,), U    of least squares, of those without the network first
            weights, variances     (experts,) of the mixture
            ends (2,)              of the interval, in spreads
            forecasts (k, 5)       a ring: what both least squares and the mixture said, and the interval's ends, less
                                   the newest value of then, in the units of the stream
    what detectors of anomalies remember, where there are any; see `anomaly.memory`

Rings are written in order of COUNT and PRESENTED. `settings` says how many there are of everything, and where.
"""

from collections.abc import Sequence
from math import isnan
from typing import Any, NamedTuple

import numpy as np

from streamrnn.kernels.anomaly import memory as anomaly_memory
from streamrnn.kernels.columns import COUNT
from streamrnn.kernels.instructions import matrix
from streamrnn.kernels.jit import inlined, kernel

HEAD = 3  # numbers before the rings
# of settings, before the periods of seasons, and for each horizon the number of frames and where its part begins
SIZE, HIDDEN, LAGS, OTHERS, SEASONS, HORIZONS, KNOWN, FEATURES, EXPERTS, ROWS, RING, CHANNEL = range(12)
FORGETTING, BEYOND, ANOMALY, ANOMALY_SETTINGS, SETTINGS = range(12, 17)  # ANOMALY: where its part of a row begins
SEEN = 0  # of a part
ALONE, WITH_NETWORK = range(2)  # least squares
MIXED, LOWER, UPPER, SAID = range(2, 6)  # of a forecast, behind what least squares said


class Plan(NamedTuple):
    """What a stage with experts needs."""

    settings: np.ndarray  # float64: see above
    numbers: int  # of a stream's row
    spare: int  # numbers of spare room


def plan(
    size: int,
    hidden: int,
    *,
    lags: int,
    others: bool,
    seasons: Sequence[int],
    horizons: Sequence[int],
    forgetting: float,
    band: float,
    anomaly: dict[str, Any] | None = None,
    fills: bool = False,
) -> Plan:
    """For so many channels and units; periods and horizons are in frames; anomaly: of `anomaly.memory.plan`.

    fills: values may be missing.
    """
    known = 1 + lags + 2 * len(seasons) + others * (size - 1)
    features = known + hidden
    experts, furthest = 3 + len(seasons), max(horizons)
    oldest = [lags - 1, *(period * -(-k // period) for period in seasons for k in horizons)]
    ring = max(oldest) + furthest
    places, at = [], ring
    for k in horizons:
        places += [k, at]
        at += 1 + sum(2 * n + n * (n - 1) // 2 for n in (known, features)) + 2 * experts + 2 + SAID * k
    first = [size, hidden, lags, others, len(seasons), len(horizons), known, features, experts, furthest, ring, at]
    numbers = HEAD + furthest * hidden + size * at
    watch = anomaly_memory.plan(size, **anomaly, fills=fills) if anomaly else anomaly_memory.NONE
    behind = SETTINGS + len(seasons) + len(places)
    last = [forgetting, (1 - band) / 2, numbers, behind if anomaly else 0, *seasons, *places]
    settings = np.array([*first, *last, *watch.settings], np.float64)
    return Plan(settings, numbers + watch.numbers, max(2 * features + experts, size))


@inlined
def watches(settings):
    """Whether there are detectors of anomalies."""
    return settings[ANOMALY_SETTINGS] > 0.0


@inlined
def anomaly_of(settings, row):
    """The settings of detectors, and what they remember of the stream."""
    return settings[whole(settings, ANOMALY_SETTINGS) :], row[whole(settings, ANOMALY) :]


@inlined
def whole(settings, k):
    """A setting that is an integer."""
    return int(settings[k])


@inlined
def hidden_vectors(settings, row):
    """(rows, H)."""
    return matrix(row, HEAD, whole(settings, ROWS), whole(settings, HIDDEN))


@inlined
def channel_of(settings, row, channel):
    """All that is of one channel."""
    size = whole(settings, CHANNEL)
    first = HEAD + whole(settings, ROWS) * whole(settings, HIDDEN) + channel * size
    return row[first : first + size]


@inlined
def season_age(settings, season, horizon):
    """Age of the value as far into its season as now is, whole periods before a target `horizon` frames ahead.

    That of the value as far into its season as the target is, is less by `horizon`.
    """
    period = whole(settings, SETTINGS + season)
    return (horizon + period - 1) // period * period


@inlined
def horizon_of(settings, k):
    """In frames."""
    return whole(settings, SETTINGS + whole(settings, SEASONS) + 2 * k)


@inlined
def part_of(settings, channel, k):
    """[SEEN], weights, variances, ends and forecasts (k, SAID) of a channel's horizon, as views."""
    experts, place = whole(settings, EXPERTS), SETTINGS + whole(settings, SEASONS) + 2 * k
    seen = whole(settings, place + 1)
    a = seen + 1 + squares(whole(settings, KNOWN)) + squares(whole(settings, FEATURES))
    b = a + experts
    c = b + experts
    forecasts = matrix(channel, c + 2, whole(settings, place), SAID)
    return channel[seen : seen + 1], channel[a:b], channel[b:c], channel[c : c + 2], forecasts


@inlined
def squares(n):
    """Numbers of least squares with n features."""
    return 2 * n + n * (n - 1) // 2


@inlined
def least_squares_of(settings, channel, k, which):
    """w (n,), D (n,) and U of ALONE or WITH_NETWORK, of a channel's horizon, as views."""
    at = whole(settings, SETTINGS + whole(settings, SEASONS) + 2 * k + 1) + 1
    n = whole(settings, KNOWN)
    if which == WITH_NETWORK:
        at += squares(n)
        n = whole(settings, FEATURES)
    return channel[at : at + n], channel[at + n : at + 2 * n], channel[at + 2 * n : at + squares(n)]


@inlined
def place_of(newest, age, ring):
    """Where in a ring that is which came `age` before the one at `newest`."""
    place = newest - age
    return place if place >= 0 else place + ring


@kernel
def value(settings, row, channel, age, unknown):
    """A channel's value that came `age` before the newest one; `unknown` where none did, or none had ever come."""
    count, ring = int(row[COUNT]), whole(settings, RING)
    if age >= count:
        return unknown
    known = channel[place_of((count - 1) % ring, age, ring)]
    return unknown if isnan(known) else known


@kernel
def push(settings, row, channel, newest):
    """Remember a value; COUNT is up to whoever has pushed those of all channels."""
    channel[int(row[COUNT]) % whole(settings, RING)] = newest
