"""The errors of forecasts beside naive ones: what someone with paper and pencil gets, however the frames came."""

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.kernels.frames import BEGIN, COLUMNS, EMIT, FLAGS, INPUT, SCORED, SEQ, STREAM
from streamrnn.kernels.messages import OUTPUT
from streamrnn.kernels.readouts import CHANNELS
from streamrnn.protocol.wire import Message
from streamrnn.workers.channel_errors import ChannelErrors

SIZE, SEASON, PREVIEW = 2, 3, 7


class Frame:
    """A frame of a stream: values (None where a sequence begins), and the forecast that is published of the next."""

    def __init__(self, stream, values, forecast):
        self.stream, self.values, self.forecast = stream, values, forecast


numbers = st.sampled_from([nan, 0.0, 1.5, -2.25, 10.0, 3.0])
vectors = st.tuples(numbers, numbers)
frames = st.builds(
    Frame, st.sampled_from([0, 1, PREVIEW]), st.none() | vectors, st.none() | st.tuples(*[st.floats(-9, 9)] * 2)
)


def message(seq, part):
    """As the readout sends them: a row for the target of the frame before, then one for the input."""
    rows, means, targets = [], [], []
    for k, frame in enumerate(part):
        if frame.values is not None:
            rows.append((seq + k, frame.stream, SCORED))
            targets.append(frame.values)
        begin = BEGIN if frame.values is None else 0
        rows.append((seq + k, frame.stream, INPUT | begin | (0 if frame.forecast is None else EMIT)))
        targets.append((nan, nan))
        if frame.forecast is not None:
            means.append(frame.forecast)
    table = np.zeros((len(rows), COLUMNS), np.int64)
    table[:, [SEQ, STREAM, FLAGS]] = rows
    beside = np.hstack([np.full((len(rows), CHANNELS + SIZE), nan), targets])
    return Message(OUTPUT, frames=table), np.array(means).reshape(-1, SIZE), beside


def halves(whole, at):
    """A message as two, cut before that row."""
    message, means, beside = whole
    flags = message.frames[:at, FLAGS]
    first = int(((flags & INPUT > 0) & (flags & EMIT > 0)).sum())
    yield message._replace(frames=message.frames[:at]), means[:first], beside[:at]
    yield message._replace(frames=message.frames[at:]), means[first:], beside[at:]


def by_hand(came):
    """Mean absolute errors of each channel, frame by frame."""
    wrong = {name: [[], []] for name in ("forecast", "same_again", "season_forecast", "season")}
    for stream in (0, 1):
        own = [frame for frame in came if frame.stream == stream]
        for c in range(SIZE):
            seen = nan
            for t, frame in enumerate(own):
                value = nan if frame.values is None else frame.values[c]
                said = own[t - 1].forecast if t else None
                said = nan if said is None else said[c]
                if not any(map(isnan, (value, said, seen))):
                    wrong["forecast"][c].append(abs(value - said))
                    wrong["same_again"][c].append(abs(value - seen))
                ago = own[t - SEASON].values if t >= SEASON else None
                ago = nan if ago is None else ago[c]
                if not any(map(isnan, (value, said, ago))):
                    wrong["season_forecast"][c].append(abs(value - said))
                    wrong["season"][c].append(abs(value - ago))
                seen = seen if isnan(value) else value
    return [len(each) for each in wrong["forecast"]], {
        name: [sum(each) / len(each) if each else None for each in channels] for name, channels in wrong.items()
    }


@settings(deadline=None)
@given(
    st.lists(st.lists(frames, min_size=1, max_size=8), min_size=1, max_size=8), st.integers(0, 8), st.integers(0, 16)
)
def test_the_errors_are_those_of_frame_by_frame(parts, saved, cut):
    errors, seq = ChannelErrors(SIZE, SEASON), 0
    for k, part in enumerate(parts):
        if k == saved:
            errors, before = ChannelErrors(SIZE, SEASON), errors
            errors.restore(before.tensors())
        for half in halves(message(seq, part), cut):
            errors.add(*half, PREVIEW)
        seq += len(part)
    scored, means = by_hand([frame for part in parts for frame in part])
    facts = errors.facts()
    assert facts.pop("scored") == scored
    assert facts.keys() == means.keys()
    for name, wanted in means.items():
        for found, right in zip(facts[name], wanted, strict=True):
            assert (found is None) == (right is None)
            assert right is None or found == pytest.approx(right, rel=1e-12, abs=1e-12)


def test_a_number_that_means_another_stream_is_not_compared_with_the_one_before():
    errors = ChannelErrors(SIZE, 0)
    errors.add(*message(0, [Frame(0, (1.0, 1.0), (1.0, 1.0)), Frame(0, (2.0, 2.0), (1.0, 1.0))]), PREVIEW)
    errors.forget(0)
    errors.add(*message(2, [Frame(0, (9.0, 9.0), (9.0, 9.0))]), PREVIEW)
    assert errors.facts() == {"scored": [1, 1], "forecast": [1.0, 1.0], "same_again": [1.0, 1.0]}


def test_seasons_of_many_streams_take_no_more_room_than_there_is(monkeypatch):
    monkeypatch.setattr("streamrnn.workers.channel_errors.MOST", 2 * SEASON * SIZE)
    errors = ChannelErrors(SIZE, SEASON)
    for stream in range(6):
        errors.add(*message(stream, [Frame(stream, (1.0, 1.0), (1.0, 1.0))]), PREVIEW)
    kept = [name for name in errors.tensors() if "seasons" in name]
    assert len(kept) == 2
