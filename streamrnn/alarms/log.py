"""The daemon's log: a line for each alarm by loss; those of detectors it has by itself."""

from typing import ClassVar

from streamrnn.alarms.outbox import Message
from streamrnn.alarms.table import Carrier, ReceiverTable, Surroundings
from streamrnn.sinks.sink import Problems


class LogCarrier(Carrier):
    def __init__(self, about: Surroundings) -> None:
        self._about = about

    def deliver(self, message: Message) -> None:
        for each in (*message["held"], message):
            self._about.tell("alarm", each["text"])


class LogConfig(ReceiverTable, frozen=True, kw_only=True, tag="log"):
    anomalies: ClassVar[bool] = False

    @property
    def place(self) -> str:
        return "log"

    @property
    def line(self) -> str:
        return "the daemon's log"

    def problems(self) -> Problems:
        if self.above is None:
            yield "above", "must be given: the alarms of [anomaly] are in the log anyway"

    def carrier(self, about: Surroundings) -> LogCarrier:
        return LogCarrier(about)
