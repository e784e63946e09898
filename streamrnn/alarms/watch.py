"""What outputs are alarms, and what is said of them: messages, plain values that are named once, here.

id       which it is: RUN-SEQ-KIND; what is sent again has the same
daemon   its name
run, seq, stream, time    the output, see `streamrnn.sinks.records`
kind     "anomaly", of the detectors; "loss", above a limit; "test"
event    "begins" or "ends"
began    where it ends, the ID of what began it
text     what a person reads
loss     of the output, in nats
held     messages of the stream that were held back before this one
"""

from collections.abc import Sequence
from typing import NamedTuple

from streamrnn.alarms.outbox import Message, Outbox
from streamrnn.client.output import Output
from streamrnn.kernels.anomaly import EVENT
from streamrnn.model.anomalies import EVENTS, Alarm, alarm
from streamrnn.model.tables import AnyReadout, Forecast
from streamrnn.sinks.records import iso, known

BEGINS, ENDS = "begins", "ends"
ANOMALY, LOSS = "anomaly", "loss"
IN_OUTPUT = "stream", "seq", "event", "words"  # of an alarm, that a message has anyway


class Observation(NamedTuple):
    """What of an output may be an alarm."""

    run: str
    output: Output
    alarm: Alarm | None  # of the detectors


class Observations:
    """Makes observations of a network's outputs."""

    def __init__(self, readout: AnyReadout, channels: Sequence[str] | None) -> None:
        """channels: their names."""
        self._channels = channels
        self._readout = readout if isinstance(readout, Forecast) and readout.anomaly else None

    def of(self, output: Output, run: str) -> Observation:
        """That of an output."""
        return Observation(run, output, self._alarm(output))

    def _alarm(self, output: Output) -> Alarm | None:
        readout = self._readout
        if readout is None or int(output.y[readout.forecasts + EVENT]) not in EVENTS:
            return None
        return alarm(output.stream, output.seq, readout.anomalies(output.y), self._channels)


class Limit(NamedTuple):
    """Losses that are an alarm: those of so many scored frames in a row, each above it."""

    above: float  # nats
    frames: int


class Watch:
    """Looks through the outputs of a daemon, and puts what is to be said into an outbox."""

    def __init__(self, daemon: str, outbox: Outbox, limit: Limit | None, anomalies: bool) -> None:
        """daemon: its name; anomalies: whether alarms of detectors count."""
        self._daemon, self._outbox, self._limit, self._anomalies = daemon, outbox, limit, anomalies

    def look(self, seen: Observation) -> bool:
        """Take the next output; whether that has changed the outbox."""
        changed = False
        if seen.alarm and self._anomalies:
            plain = {name: value for name, value in seen.alarm.plain().items() if name not in IN_OUTPUT}
            changed |= self._say(seen, ANOMALY, seen.alarm.event, seen.alarm.words, **plain)
        if self._limit:
            changed |= self._look_at_loss(seen, self._limit)
        if changed:
            self._outbox.seq = seen.output.seq
        return changed

    def _look_at_loss(self, seen: Observation, limit: Limit) -> bool:
        stream, loss, above = seen.output.stream, seen.output.loss, self._outbox.above
        if loss > limit.above:
            above[stream] = min(above.get(stream, 0) + 1, limit.frames)
            if above[stream] == limit.frames and not self._has_begun(stream, LOSS):
                text = f"loss {loss:.4g} nats, above {limit.above:g} for {limit.frames:,} frames"
                self._say(seen, LOSS, BEGINS, text, threshold=limit.above)
            return True
        if loss <= limit.above and stream in above:
            del above[stream]
            text = f"loss {loss:.4g} nats, no longer above {limit.above:g}"
            self._say(seen, LOSS, ENDS, text, threshold=limit.above)
            return True
        return False

    def _has_begun(self, stream: str, kind: str) -> bool:
        return kind in self._outbox.open.get(stream, {})

    def _say(self, seen: Observation, kind: str, event: str, text: str, **facts: object) -> bool:
        """What ends is said only where it was said that it began."""
        output = seen.output
        if event == ENDS and not self._has_begun(output.stream, kind):
            return False
        begun = self._outbox.open.setdefault(output.stream, {})
        name = f"{seen.run}-{output.seq}-{kind}"
        began = begun.pop(kind, None) if event == ENDS else None
        if event == BEGINS:
            begun[kind] = name
        if not begun:
            del self._outbox.open[output.stream]
        cleared = "cleared: " if event == ENDS else ""
        message: Message = {
            "id": name,
            "daemon": self._daemon,
            "run": seen.run,
            "seq": output.seq,
            "stream": output.stream,
            "time": None if output.time is None else iso(output.time),
            "kind": kind,
            "event": event,
            "began": began,
            "text": f"{self._daemon}, stream {output.stream}, frame {output.seq:,}: {cleared}{text}",
            "loss": known(output.loss),
            **facts,
        }
        self._outbox.waiting.append(message)
        return True
