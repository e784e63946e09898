"""The score of a frame, and when it is an alarm: once for an event, and as often as was asked for."""

from math import isnan

from streamrnn.kernels.activations import log
from streamrnn.kernels.anomaly import AGE, BEGINS, DEPARTED, ENDS, EVENT, FACTS, GOES_ON, RARITY, SCORE, THRESHOLD, tail
from streamrnn.kernels.anomaly.departure import follow
from streamrnn.kernels.anomaly.memory import (
    ALARMS,
    COUNT,
    DAY,
    EVIDENCE_AT,
    FACTS_AT,
    FRAMES,
    HEAD,
    LIMIT,
    NEWEST,
    NORMAL,
    OPEN,
    PATIENCE_AT,
    QUIET,
    RATE,
    SIZE,
    channel_of,
)
from streamrnn.kernels.jit import inlined, kernel
from streamrnn.kernels.linear import copy

PART = 3.0  # a score is the sum of the evidence, in these
SILENCE, SHARE = 100.0, 0.03  # after an alarm: frames, or a share of all frames
THINNING, FULL_AGE = 0.3, 3000.0  # of the threshold, with the decimal logarithm of the frames over FULL_AGE
DAYS_SHARE, QUARTER = 0.01, 0.25  # where a rate is asked for: a share of a day, at most of the frames between alarms
STEP, LEAST = 0.1, 0.1  # of the threshold: an alarm more than asked for; at least
CALM = 30.0  # frames below the threshold, and the event is over


@kernel
def decide(settings, row, values):
    """Fill the facts of the newest frame, whose values (size,) the detectors have seen, but for those missing, NaN."""
    facts, scores = row[FACTS_AT : FACTS_AT + FACTS], row[HEAD : HEAD + tail.TAIL]
    score, there = 0.0, False
    for c in range(int(settings[SIZE])):
        score = max(score, channel_score(channel_of(settings, row, c)))
        there = there or not isnan(values[c])
    facts[SCORE], facts[RARITY], facts[THRESHOLD] = score, tail.evidence(scores, score), threshold(settings, row)
    if there:
        tail.insert(scores, score)
    if settings[NORMAL] > 0.0:
        follow(settings, row, values, facts)
    facts[EVENT] = event(settings, row, score >= facts[THRESHOLD] or facts[DEPARTED] > 0.0)
    facts[AGE] = row[FRAMES] - row[NEWEST] if facts[EVENT] > 0.0 else 0.0


@kernel
def report(settings, row, out):
    """The facts of the newest frame, then evidence and amounts (detectors, size), into out."""
    size = int(settings[SIZE])
    copy(row[FACTS_AT : FACTS_AT + FACTS], out[:FACTS])
    for c in range(size):
        channel = channel_of(settings, row, c)
        for d in range(2 * COUNT):
            out[FACTS + d * size + c] = channel[EVIDENCE_AT + d]


@kernel
def be_patient(settings, row, what):
    """Weigh evidence less from here on, half of what it was, of a channel and detectors: channel * 2**COUNT + bits."""
    channel = channel_of(settings, row, what >> COUNT)
    for d in range(COUNT):
        if what >> d & 1:
            channel[PATIENCE_AT + d] = 2.0 * channel[PATIENCE_AT + d] + 1.0


@inlined
def channel_score(channel):
    """The sum of a channel's evidence."""
    total = 0.0
    for d in range(COUNT):
        total += channel[EVIDENCE_AT + d]
    return total / PART


@inlined
def threshold(settings, row):
    """What a score must reach: it thins alarms with age, or goes up with each one, and down with each frame."""
    frames, limit, rate = row[FRAMES], settings[LIMIT], settings[RATE]
    if rate > 0.0:
        return limit * max(LEAST, 1.0 + STEP * (row[ALARMS] - rate * frames))
    return limit + THINNING * log(max(frames, SILENCE) / FULL_AGE) / tail.LN_10


@inlined
def event(settings, row, beyond):
    """Whether an event begins with this frame, goes on, ends, or there is none; beyond: it is unusual."""
    frames, rate = row[FRAMES], settings[RATE]
    if rate > 0.0:
        least = min(max(SILENCE, DAYS_SHARE * settings[DAY]), QUARTER / rate)
    else:
        least = max(SILENCE, SHARE * frames)
    if row[OPEN] > 0.0:
        row[QUIET] = 0.0 if beyond else row[QUIET] + 1.0
        if row[QUIET] < min(CALM, least):
            return GOES_ON
        row[OPEN] = 0.0
        return ENDS
    if beyond and frames - row[NEWEST] > least:
        row[OPEN], row[QUIET], row[NEWEST] = 1.0, 0.0, frames
        row[ALARMS] += 1.0
        return BEGINS
    return 0
