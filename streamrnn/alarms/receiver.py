"""A receiver: what looks through outputs and sends what is an alarm."""

import time
from collections.abc import Sequence
from hashlib import sha256

from streamrnn.alarms import outbox
from streamrnn.alarms.outbox import Message, Outbox
from streamrnn.alarms.table import Carrier, ReceiverTable, Surroundings
from streamrnn.alarms.watch import Limit, Observation, Watch
from streamrnn.sinks.sink import Sink, SinkError

MOST_WAITING = 1000  # alarms; then no more outputs are looked through until some have gone out
SHORTEST, LONGEST = 0.5, 60.0  # seconds before it is tried again
AT_ONCE = 1.0  # seconds in which what waits is sent, before more outputs are looked through


class Receiver(Sink):
    """Looks through outputs, and sends what is an alarm: what is not answered is tried again while others are read."""

    def __init__(self, table: ReceiverTable, about: Surroundings) -> None:
        self._table, self._about = table, about
        self._path = about.folder / f"{sha256(table.origin.encode()).hexdigest()[:16]}.json"
        self._outbox, self._changed = Outbox(), False
        self._carrier: Carrier | None = None
        self._wait, self._again = SHORTEST, 0.0

    def last(self, run: str) -> int | None:
        self._outbox = outbox.read(self._path)
        self._outbox.begin(run)
        limit = None if self._table.above is None else Limit(self._table.above, self._table.frames)
        self._watch = Watch(self._about.daemon, self._outbox, limit, self._table.anomalies)
        return self._outbox.seq if self._outbox.seq >= 0 else None

    def write(self, records: Sequence[Observation]) -> int:
        count = self._deliver()
        if len(self._outbox) >= MOST_WAITING and not count:
            raise SinkError(f"{self._table.line}: {len(self._outbox):,} alarms wait; {self.trouble or 'soon'}")
        for seen in records:
            self._changed |= self._watch.look(seen)
        return count + self._deliver()

    def flush(self, seconds: float) -> bool:
        if self._changed:
            outbox.write(self._path, self._outbox)
            self._changed = False
        return True

    def close(self) -> None:
        if self._carrier:
            self._carrier.close()

    @property
    def waiting(self) -> int:
        return len(self._outbox)

    def _deliver(self) -> int:
        """Send what is due, for a while; how many alarms were answered.

        The outbox is on the disk before a message is sent, and again when it was answered.
        """
        count, until = 0, time.monotonic() + AT_ONCE
        while self._again <= time.monotonic() < until:
            try:
                self._carrier = self._carrier or self._table.carrier(self._about)
                if not (message := self._next()):
                    self.trouble = ""
                    break
                self._carrier.deliver(message)
            except SinkError as error:
                self.trouble = str(error)
                self._again = time.monotonic() + self._wait
                self._wait = min(2 * self._wait, LONGEST)
                break
            self.trouble, self._wait = "", SHORTEST
            self._outbox.confirm(time.time())
            self._changed = True
            self.flush(0.0)
            count += 1 + len(message["held"])
        return count

    def _next(self) -> Message | None:
        known = self._outbox.sending
        message = self._outbox.next(time.time(), self._table.every)
        self._changed |= message is not known
        self.flush(0.0)
        return message


def trial(daemon: str) -> Message:
    """One that says that messages arrive."""
    name = f"test-{time.time_ns()}"
    text = f"{daemon}: a test, no alarm"
    return {"id": name, "daemon": daemon, "kind": "test", "event": "begins", "text": text, "held": []}
