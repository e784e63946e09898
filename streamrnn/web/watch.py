"""What is looked at in a daemon, for all browsers together: a few times a second its status, and the streams shown.

Streams are read from the daemon's history, in parts that end with the frame that the status names; nothing is
subscribed to. Of a stream with more outputs than READ at a look, the newest READ are taken and the others left out.
"""

import asyncio
import time
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import streamrnn as sr
from streamrnn.web.busy import Busy
from streamrnn.web.series import Series

LOOK, IDLE = 0.25, 1.0  # seconds between looks, and where nobody looks on
READ = 128  # outputs of a stream taken at a look
FIRST = 1024  # frames of all streams that a stream is first looked for in
ANSWER = 2.0  # seconds that the daemon has to answer
SAMPLES, MARKS = 1200, 256  # that are kept
SAMPLE = 0.5  # seconds between two samples
STREAMS = 16  # that are read at once
KEPT = 30.0  # seconds that a stream is read on without anybody who looks: a reload loses nothing


class Followed:
    """A stream that somebody looks at."""

    def __init__(self, name: str, client: sr.Client) -> None:
        self.name, self.series = name, Series(client)
        self.watchers, self.left = 0, time.monotonic()
        self._seq = -1  # up to which it has been read
        self._share = 1.0  # of all frames, those that are its
        self.ready = False

    def read(self, client: sr.Client, seq: int) -> None:
        """Take what has come before that SEQ. Raises DaemonGone."""
        if not self.ready:
            self._seq = max(seq - FIRST, 0) - 1
            if self._take(client, seq) < READ and seq > FIRST:  # not among the newest: look through all that is kept
                self.series, self._seq = Series(client), -1
                self._take(client, seq)
            self.ready = True
        elif seq > self._seq + 1:
            self._take(client, seq)

    def _take(self, client: sr.Client, seq: int) -> int:
        begin = self._seq
        if self.ready:
            begin = max(begin, int(seq - 1 - READ / self._share))
        count = self.series.add(self.name, client.messages(self.name, begin, seq), begin > self._seq)
        self._share = max(count / (seq - 1 - begin), 1e-6) if seq - 1 > begin else self._share
        self._seq = seq - 1
        return count


class Mark(NamedTuple):
    """What has happened."""

    kind: str  # "checkpoint", "recovery" or "rate"
    frames: int  # scored by then
    when: float  # seconds since 1970
    words: str


class Watch:
    """Looks until it is cancelled: see `run`.

    status   the newest one, None where the daemon does not answer: `trouble` says why
    samples  (seconds since 1970, frames scored, loss over all, recent loss, frames a second): of the last minutes
    marks    what has happened since this process began, and the newest checkpoint of before
    """

    def __init__(self, control: str, key: Path | None) -> None:
        self._control, self._key = control, key
        self.client: sr.Client | None = None
        self.status: dict[str, Any] | None = None
        self.trouble = ""
        self.samples: deque[tuple[float, int, float | None, float | None, float]] = deque(maxlen=SAMPLES)
        self._checkpoints: deque[Mark] = deque(maxlen=MARKS)  # of which there are many
        self._rare: deque[Mark] = deque(maxlen=MARKS)
        self.watchers = 0
        self._before: dict[str, Any] | None = None  # the last status that there was
        self.followed: dict[str, Followed] = {}
        self._epoch, self._again = 0, -1  # of the daemon, and the SEQ that it must be behind to have all before again
        self._looked = asyncio.Event()
        self._wanted = asyncio.Event()
        self._busy = Busy()

    async def run(self) -> None:
        """Look again and again."""
        try:
            while True:
                begun = time.monotonic()
                await asyncio.to_thread(self._look)
                self._looked.set()
                self._looked = asyncio.Event()
                pause = LOOK if self.watchers else IDLE
                self._wanted.clear()
                try:
                    await asyncio.wait_for(self._wanted.wait(), max(pause - (time.monotonic() - begun), 0.05))
                except TimeoutError:
                    continue
        finally:
            self._close()

    @property
    def marks(self) -> list[Mark]:
        """See above."""
        return [*self._checkpoints, *self._rare]

    async def looked(self) -> None:
        """Wait for the next look."""
        await self._looked.wait()

    def follow(self, name: str) -> Followed | None:
        """Read a stream from the next look on, until `leave`; None where too many are."""
        if name not in self.followed:
            if not self.client or sum(one.watchers > 0 for one in self.followed.values()) >= STREAMS:
                return None
            self.followed[name] = Followed(name, self.client)
        self.followed[name].watchers += 1
        self._wanted.set()
        return self.followed[name]

    def leave(self, followed: Followed) -> None:
        """Nobody looks at it here any more."""
        followed.watchers -= 1
        followed.left = time.monotonic()

    def come(self) -> None:
        """Somebody looks on."""
        self.watchers += 1
        self._wanted.set()

    def go(self) -> None:
        """And no longer."""
        self.watchers -= 1

    def _look(self) -> None:
        try:
            if not self.client:
                self.client = sr.Client(self._control, ANSWER, self._key)
                self.followed.clear()
            status = self.client.status()
            if self._before and status["run"] != self._before["run"]:  # other frames with those numbers
                self._close()
                self.samples.clear()
                self._checkpoints.clear()
                self._rare.clear()
                self.status = self._before = None
                self.trouble = "the daemon has begun anew"
                return
            if self._has_history(status):
                self._read(self.client, status["seq"])
        except (sr.DaemonGone, sr.KeysError, OSError) as error:
            self._close()
            self.status, self.trouble = None, str(error)
            return
        self._note(status)
        shown = status | {"state": "recovering"} if self._went_by(status) else status
        self.trouble, self.status, self._before = "", shown, status

    def _went_by(self, status: dict[str, Any]) -> bool:
        """Whether a recovery has come and gone since the last look, which the next one is to show all the same."""
        before = self._before or status
        return before["state"] == status["state"] == "running" and status["recoveries"] > before["recoveries"]

    def _has_history(self, status: dict[str, Any]) -> bool:
        """Whether all outputs before the SEQ that it names are there: after a failure they come again first."""
        if status["state"] not in ("running", "draining") or status["epoch"] != self._epoch:
            self._epoch, self._again = status["epoch"], status["seq"] if self._epoch else -1
        return bool(status["seq"] > self._again)

    def _read(self, client: sr.Client, seq: int) -> None:
        for one in list(self.followed.values()):
            if one.watchers or time.monotonic() - one.left < KEPT:
                one.read(client, seq)
            else:
                del self.followed[one.name]

    def _note(self, status: dict[str, Any]) -> None:
        """Keep what is to be seen of it later."""
        now, before = time.time(), self._before or {}
        self._share(status["workers"], time.monotonic())
        if not self.samples or now - self.samples[-1][0] >= SAMPLE:
            figures = status["scored"], status["loss"], status["recent_loss"], status["frames_per_second"]
            self.samples.append((now, *figures))
        point, rate = status["checkpoint"], status["learning_rate"]
        if point and point["number"] != (before.get("checkpoint") or {}).get("number"):
            mark = Mark("checkpoint", point["frames"], now - point["seconds"], f"checkpoint {point['number']}")
            self._checkpoints.append(mark)
        if not before:
            return
        if status["epoch"] != before["epoch"]:
            again = status["recoveries"] > before["recoveries"]
            words = (
                f"recovery {status['recoveries']}: all workers started anew" if again else "the daemon started again"
            )
            self._rare.append(Mark("recovery", status["scored"], now, words))
        if before["learning_rate"] and rate and rate != before["learning_rate"]:
            words = f"learning rate {before['learning_rate']:g} to {rate:g}"
            self._rare.append(Mark("rate", status["scored"], now, words))

    def _share(self, workers: list[dict[str, Any]], now: float) -> None:
        """How busy each worker was of late, as a share of time, and the rows that wait before it."""
        shares = self._busy.look(workers, now)
        for before, worker, share in zip([None, *workers], workers, shares, strict=False):
            worker["share"] = share
            worker["queue"] = max(before["rows"] - worker["rows"], 0) if before else None

    def _close(self) -> None:
        if self.client:
            self.client.close()
        self.client = None
