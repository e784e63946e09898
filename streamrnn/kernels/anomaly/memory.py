"""What the detectors of a stream remember, behind its experts in one row of float64; see `experts.memory`.

of the stream
    FRAMES                     scored so far
    PLACE, WITHIN              the newest place in time, see `envelope`, and frames in it so far
    OPEN, QUIET                whether there is an event; frames since it was last beyond its end
    NEWEST, ALARMS             FRAMES when the newest alarm began, and how many there were
    tail of the score
    facts (FACTS,)             of the newest frame, see `kernels.anomaly`
of each channel
    VARIANCE                   the squared scale of the forecast's errors
    values, means, losses      rings: the newest values, their means over RECENT, the forecast's losses
    evidence, amounts          (detectors,) of the newest frame
    patience                   (detectors,) evidence is divided by 1 more: it grows where alarms are dismissed
    tails (detectors, TAIL)
    days, weeks                see `envelope`
    MISSED, LACKING            frames in which it was missing, and of those in the newest place; where values may be
of the channels together, where the first frames are known to be normal; see `departure`
    near, usual                (size,) each: means over a few frames, and over many
    covariance                 (size, size); then its Cholesky factor
    rest                       (size,): spare room
"""

from typing import NamedTuple

import numpy as np

from streamrnn.kernels.anomaly import DETECTORS, FACTS
from streamrnn.kernels.anomaly.tail import TAIL
from streamrnn.kernels.instructions import matrix
from streamrnn.kernels.jit import inlined

RECENT = 100  # values whose mean is the level
LOSSES = 30
SCALES = 1, 6, 12, 24  # values whose mean must lie in the envelope
DAYS, NEAR = 14, 6  # days of the envelope, and how many places off the time of day may be
WEEK = 7
TWICE = 1.45e-3  # alarms a channel and frame at a threshold of 2, on recorded streams; as 1 / threshold**1.4 elsewhere
HIGHEST = 10.0  # threshold where few are asked for: half of what a score may be
FINEST = 288  # places in a day at most: five minutes
COUNT = len(DETECTORS)
# of settings
SIZE, DAY, PLACES, LIMIT, RATE, CHANNEL, NORMAL, SETTINGS = range(8)
# of a stream, before the tail of its score
FRAMES, PLACE, WITHIN, OPEN, QUIET, NEWEST, ALARMS, HEAD = range(8)
FACTS_AT = HEAD + TAIL
CHANNELS_AT = FACTS_AT + FACTS
# of a channel
VARIANCE = 0
VALUES_AT = 1
MEANS_AT = VALUES_AT + RECENT
LOSSES_AT = MEANS_AT + RECENT
EVIDENCE_AT = LOSSES_AT + LOSSES
AMOUNTS_AT = EVIDENCE_AT + COUNT
PATIENCE_AT = AMOUNTS_AT + COUNT
TAILS_AT = PATIENCE_AT + COUNT
DAYS_AT = TAILS_AT + COUNT * TAIL
MISSED, LACKING, GAPS = range(3)


class Plan(NamedTuple):
    """What detectors add to a readout."""

    settings: np.ndarray  # float64: see above
    numbers: int  # of a stream's row


NONE = Plan(np.zeros(0), 0)


def plan(size: int, day: int, threshold: float | None, alarms_per_day: float, normal: int, fills: bool = False) -> Plan:
    """For so many channels; day: in frames; alarms_per_day: how many there shall be, where no threshold says it.

    LIMIT is the threshold, at the start where RATE, alarms a frame, is not 0. normal: the number of the first frames
    that are known to be normal, or 0. fills: values may be missing.
    """
    places = min(day, FINEST)
    channel = DAYS_AT + len(SCALES) * days_of(places) * 2 + weeks_of(places) + (GAPS if fills else 0)
    rate = 0.0 if threshold else alarms_per_day / day
    limit = threshold or round(min(2.0 * (TWICE * size / rate) ** 0.7, HIGHEST), 6)
    settings = np.array([size, day, places, limit, rate, channel, normal], np.float64)
    together = size * (size + 3) if normal else 0
    return Plan(settings, CHANNELS_AT + size * channel + together)


@inlined
def days_of(places):
    """Places in the ring of the envelope."""
    return DAYS * places + NEAR + 1


@inlined
def weeks_of(places):
    """Places in the ring of means."""
    return WEEK * places + 1


@inlined
def channel_of(settings, row, c):
    """All that is of one channel."""
    size = int(settings[CHANNEL])
    return row[CHANNELS_AT + c * size : CHANNELS_AT + (c + 1) * size]


@inlined
def together_of(settings, row):
    """near, usual (size,), covariance (size, size) and rest (size,)."""
    size, at = int(settings[SIZE]), CHANNELS_AT + int(settings[SIZE]) * int(settings[CHANNEL])
    end = at + 2 * size + size * size
    covariance = matrix(row, at + 2 * size, size, size)
    return row[at : at + size], row[at + size : at + 2 * size], covariance, row[end : end + size]


@inlined
def tail_of(channel, detector):
    """(TAIL,)."""
    return channel[TAILS_AT + detector * TAIL : TAILS_AT + (detector + 1) * TAIL]


@inlined
def range_of(settings, channel, k):
    """(places of the ring, 2): the least and the largest mean over SCALES[k] values in each place."""
    n = days_of(int(settings[PLACES]))
    return matrix(channel, DAYS_AT + k * n * 2, n, 2)


@inlined
def means_of(settings, channel):
    """(places of the ring,): the mean value in each place."""
    places = int(settings[PLACES])
    first = DAYS_AT + len(SCALES) * days_of(places) * 2
    return channel[first : first + weeks_of(places)]


@inlined
def gaps_of(settings, channel):
    """[MISSED, LACKING]; (0,) where nothing may be missing."""
    places = int(settings[PLACES])
    return channel[DAYS_AT + len(SCALES) * days_of(places) * 2 + weeks_of(places) :]


@inlined
def seen(settings, row, channel):
    """Frames in which a channel was there."""
    gaps = gaps_of(settings, channel)
    return row[FRAMES] - gaps[MISSED] if gaps.shape[0] > 0 else row[FRAMES]


@inlined
def seen_within(settings, row, channel):
    """Those of them in the newest place."""
    gaps = gaps_of(settings, channel)
    return row[WITHIN] - gaps[LACKING] if gaps.shape[0] > 0 else row[WITHIN]
