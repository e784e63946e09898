"""What was usual at this time of day: the least and the largest value, and their mean, in every place of a day.

A day has as many places as frames, at most FINEST. An amount is how far a value lies outside of what it was around
this place on that of the last DAYS days which it suits best: what has been there once lately is not unusual. Before
there is a whole day, what counts is the last places of all. A place in which a channel was missing throughout is empty.
"""

from math import inf, isnan, nan

from streamrnn.kernels.anomaly.memory import (
    DAY,
    DAYS,
    FRAMES,
    LACKING,
    MISSED,
    NEAR,
    PLACE,
    PLACES,
    SCALES,
    WEEK,
    WITHIN,
    gaps_of,
    means_of,
    range_of,
    seen_within,
)
from streamrnn.kernels.jit import inlined, kernel


@kernel
def enter(settings, row):
    """Go on by a frame: FRAMES, PLACE and WITHIN become those of the newest one."""
    place = int(row[FRAMES] * settings[PLACES] / settings[DAY])
    fresh = row[FRAMES] == 0.0 or place != int(row[PLACE])
    row[FRAMES] += 1.0
    row[PLACE] = float(place)
    row[WITHIN] = 1.0 if fresh else row[WITHIN] + 1.0


@kernel
def enter_channel(settings, row, channel, missing):
    """Count whether a channel that may be missing is so in the newest frame, 1 or 0; a new place of it is empty."""
    gaps = gaps_of(settings, channel)
    if gaps.shape[0] > 0:
        gaps[MISSED] += missing
        gaps[LACKING] = missing if row[WITHIN] == 1.0 else gaps[LACKING] + missing
        if row[WITHIN] == 1.0:
            clear(settings, row, channel)


@inlined
def clear(settings, row, channel):
    """Have nothing in the newest place."""
    place, means = int(row[PLACE]), means_of(settings, channel)
    means[place % means.shape[0]] = nan
    for k in range(len(SCALES)):
        ranges = range_of(settings, channel, k)
        at = place % ranges.shape[0]
        ranges[at, 0], ranges[at, 1] = inf, -inf


@kernel
def excess(settings, row, ranges, y):
    """How far y lies outside of the best of the last days, 0 within."""
    place, places = int(row[PLACE]), int(settings[PLACES])
    if row[FRAMES] <= settings[DAY]:
        end = place if row[WITHIN] == 1.0 else place + 1
        return finite(outside(ranges, max(place - 2 * NEAR - 1, 0), end, y))
    least = inf
    for day in range(1, DAYS + 1):
        centre = place - day * places
        if centre + NEAR < 0:
            break
        least = min(least, outside(ranges, max(centre - NEAR, 0), centre + NEAR + 1, y))
    return finite(least)


@inlined
def finite(excess):
    """0 where there is nothing to lie outside of."""
    return excess if excess < inf else 0.0


@inlined
def outside(ranges, first, end, y):
    """How far y lies outside of the places from `first` on; infinity where they are empty."""
    low, high = inf, -inf
    at = first % ranges.shape[0]
    for _ in range(end - first):
        low, high = min(low, ranges[at, 0]), max(high, ranges[at, 1])
        at = at + 1 if at + 1 < ranges.shape[0] else 0
    return max(0.0, max(y - high, low - y)) if low <= high else inf


@inlined
def widen(row, ranges, y):
    """Take y into its place."""
    at = int(row[PLACE]) % ranges.shape[0]
    if row[WITHIN] == 1.0:
        ranges[at] = y
    else:
        ranges[at, 0], ranges[at, 1] = min(ranges[at, 0], y), max(ranges[at, 1], y)


@kernel
def off_last_week(settings, row, channel, value, before):
    """How far a value lies from the mean in its place a week ago; at first a day ago, or from the value before."""
    means, place, places = means_of(settings, channel), int(row[PLACE]), int(settings[PLACES])
    at, within = place % means.shape[0], seen_within(settings, row, channel)
    means[at] = value if within == 1.0 else means[at] + (value - means[at]) / within
    if place >= places:
        yesterday = means[(place - places) % means.shape[0]]
        before = before if isnan(yesterday) else yesterday
    if place >= WEEK * places:
        last_week = means[(place - WEEK * places) % means.shape[0]]
        before = before if isnan(last_week) else last_week
    return abs(value - before)
