"""Alarms: what outputs say when an event of a stream begins or is over."""

from typing import Any

from streamrnn.client.subscription import Subscription
from streamrnn.model.anomalies import Alarm, alarm
from streamrnn.model.tables import Forecast


class Alarms:
    """Alarms as they come; as exact as the outputs that they are in, see `Subscription`. To be closed, or in a `with`.

    Iterating raises DaemonGone when nothing, no output either, has come within the subscription's timeout.
    """

    def __init__(self, outputs: Subscription, readout: Forecast, channels: list[str] | None) -> None:
        self.outputs = outputs
        self._readout, self._channels = readout, channels

    def __iter__(self) -> "Alarms":
        return self

    def __next__(self) -> Alarm:
        while True:
            output = next(self.outputs)
            seen = self._readout.anomalies(output.y)
            if found := alarm(output.stream, output.seq, seen, self._channels):
                return found

    def __enter__(self) -> "Alarms":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        self.outputs.close()
