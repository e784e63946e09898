"""The detectors of a channel: amounts, and what evidence they are, in the order of `kernels.anomaly.DETECTORS`.

range k      how far the mean of the last k values lies outside of the envelope
surprise k   mean over k frames of the forecast's loss: Student's t, whose scale follows the errors slowly
week         how far the value lies from that of a week ago
high, low    the level, which is the mean of the last RECENT values, and minus it
jump         how far the level lies from that RECENT frames ago

Of a channel that may be missing, frames are those in which it was there, but for the time of day and the week.
"""

from streamrnn.kernels.activations import log
from streamrnn.kernels.anomaly import envelope, tail
from streamrnn.kernels.anomaly.memory import (
    AMOUNTS_AT,
    COUNT,
    EVIDENCE_AT,
    LOSSES,
    LOSSES_AT,
    MEANS_AT,
    PATIENCE_AT,
    RECENT,
    SCALES,
    VALUES_AT,
    VARIANCE,
    channel_of,
    range_of,
    seen,
    tail_of,
)
from streamrnn.kernels.experts.least_squares import STEADY
from streamrnn.kernels.experts.mixture import FREEDOM, scale_of
from streamrnn.kernels.jit import inlined, kernel

SLOWEST = 1e-3  # rate at which the scale of errors follows
RANGE, SURPRISE, LONG_SURPRISE, WEEK, HIGH, LOW, JUMP = 0, 4, 5, 6, 7, 8, 9  # detectors
SHORT = 5  # frames of the shorter surprise


@kernel
def observe(settings, row, c, value, error, scale, floor):
    """Take a channel's value, and how far off its forecast was: fills evidence and amounts of the channel.

    scale: the channel's, 0 while it has never moved; floor: the least scale of errors, in it.
    """
    channel = channel_of(settings, row, c)
    envelope.enter_channel(settings, row, channel, 0.0)
    frames = int(seen(settings, row, channel))
    values = channel[VALUES_AT : VALUES_AT + RECENT]
    before = values[(frames - 2) % RECENT] if frames > 1 else value
    values[(frames - 1) % RECENT] = value
    amounts = channel[AMOUNTS_AT : AMOUNTS_AT + COUNT]
    for k in range(len(SCALES)):
        y, ranges = recent_mean(values, frames, SCALES[k]), range_of(settings, channel, k)
        amounts[RANGE + k] = envelope.excess(settings, row, ranges, y)
        envelope.widen(row, ranges, y)
    losses = channel[LOSSES_AT : LOSSES_AT + LOSSES]
    losses[(frames - 1) % LOSSES] = loss(channel, frames, error / scale, floor) + log(scale) if scale > 0.0 else 0.0
    amounts[SURPRISE] = recent_mean(losses, frames, SHORT)
    amounts[LONG_SURPRISE] = recent_mean(losses, frames, LOSSES)
    amounts[WEEK] = envelope.off_last_week(settings, row, channel, value, before)
    observe_level(channel, values, frames, amounts)
    weigh(channel, frames, amounts)


@kernel
def miss(settings, row, c):
    """A channel is missing: no amount, no evidence, and of what is remembered only the time goes on."""
    channel = channel_of(settings, row, c)
    envelope.enter_channel(settings, row, channel, 1.0)
    channel[AMOUNTS_AT : AMOUNTS_AT + COUNT] = 0.0
    channel[EVIDENCE_AT : EVIDENCE_AT + COUNT] = 0.0


@inlined
def recent_mean(ring, frames, k):
    """Of the last k numbers, or as many as there are; the newest of `frames` lies in its place."""
    k = min(k, frames)
    at, total = (frames - k) % ring.shape[0], 0.0
    for _ in range(k):
        total += ring[at]
        at = at + 1 if at + 1 < ring.shape[0] else 0
    return total / k


@inlined
def loss(channel, frames, error, floor):
    """-log density of an error, in scales, up to a constant; then its squared scale follows by one step of EM."""
    sigma = scale_of(channel[VARIANCE], floor)
    ratio = error / sigma
    weight = (FREEDOM + 1.0) / (FREEDOM + ratio * ratio) if frames > STEADY else 1.0
    channel[VARIANCE] += max(1.0 / frames, SLOWEST) * (weight * error * error - channel[VARIANCE])
    return log(sigma) + 2.0 * log(1.0 + ratio * ratio / FREEDOM)


@inlined
def observe_level(channel, values, frames, amounts):
    """High, low and jump."""
    means = channel[MEANS_AT : MEANS_AT + RECENT]
    level, at = recent_mean(values, frames, RECENT), (frames - 1) % RECENT
    earlier = means[at] if frames > RECENT else means[0] if frames > 1 else level
    means[at] = level
    amounts[HIGH], amounts[LOW], amounts[JUMP] = level, -level, abs(level - earlier)


@inlined
def weigh(channel, frames, amounts):
    """What evidence the amounts are; from RECENT frames on they are remembered."""
    for d in range(COUNT):
        one = tail_of(channel, d)
        channel[EVIDENCE_AT + d] = tail.evidence(one, amounts[d]) / (1.0 + channel[PATIENCE_AT + d])
        if frames > RECENT:
            tail.insert(one, amounts[d])
