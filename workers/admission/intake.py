"""What the gate lets in: every frame is checked once, numbered, and laid out as the rows of the next message.

A self-supervised frame becomes two rows with one SEQ: the target of its stream's frame before, then an input.
"""

from typing import Any

import numpy as np

from streamrnn.kernels.frames import (
    COLUMNS,
    DISMISS,
    EMIT,
    FEEDBACK,
    FLAGS,
    INPUT,
    LEARN,
    SCORED,
    SEQ,
    TIME,
    TIMED,
    TOKEN,
)
from streamrnn.kernels.messages import FRAMES, NAME
from streamrnn.model.entrance import FILL
from streamrnn.model.feedback import Drawing, Last, Shape, Unrolling
from streamrnn.model.inputs import beyond, within
from streamrnn.protocol.stream_names import OWN, PREVIEW, SOURCE, problem
from streamrnn.protocol.wire import NO_VECTORS, NOTHING, Message, as_text, pack, text_of
from streamrnn.sources import NO_TIME, Frames
from streamrnn.storage.checkpoint import by_number
from streamrnn.workers.admission.journal_entries import Let
from streamrnn.workers.kernels.admission import check_frames, lay_out

KNOWN_OF_STREAM = "begun", "waiting", "stale"  # of `Intake`: sets of streams' numbers
DAEMONS = SOURCE, PREVIEW  # streams that always have a place


def check_name(name: str) -> None:
    """Raise Refused if no stream of a client can have that name."""
    if reason := problem(name):
        raise Refused(reason)


FAULTS = (
    "",
    "a message brings at least one frame",
    "a frame has an unknown flag",
    "a frame needs an input or a target; BEGIN, FEEDBACK and ECHO need an input",
    "a target came for no frame: its frame has one already, or there is none",
    'this daemon predicts the next input (predict = "next"): send no targets',
    "what is fed back is not learned from: leave LEARN out",
    "the input token is outside [0, {classes})",
    "the target token is outside [0, {target_classes})",
    "there is no such alarm to dismiss, or no [anomaly] in the config; DISMISS goes with nothing else",
)


class Refused(ValueError):
    """A message from a client that is not let in; says why."""


class Intake:
    """Which streams there are, and the frames that go down in the next message."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.inputs, self.targets = order["input_size"], order["target_size"]  # 0 for tokens
        self.classes, self.target_classes = order["classes"], order["target_classes"]  # 0 for vectors
        self.dismissals = order["dismissals"]  # 0 where there are no alarms
        self.predict_next = order["predict"] == "next"
        self.names: dict[str, int] = {}
        self.own = 0  # of these, clients' own
        self.free = list(range(order["places"] - 1, -1, -1))
        self.used = 0  # highest number in use so far, plus one
        self.stale: set[int] = set()  # numbers that were another stream's before
        self.begun: set[int] = set()  # streams that have had a frame, and whose sequence has not ended
        self.waiting: set[int] = set()  # streams whose newest frame may still get its target
        self.newest: dict[int, list[int]] = {}  # of streams of sources: the newest time, see `Screening`
        self.last = {int(number): Last.of(plain) for number, plain in order["last"].items()}  # what can be fed back
        classes = self.target_classes
        size, most = self.inputs or self.classes, order["largest"]
        missing = order["missing"] == FILL
        self.shape = Shape(size, self.targets or classes, not self.inputs, classes > 0, most, missing)
        self.seq = order["frames"]
        self.rows: list[np.ndarray] = []
        self.vectors: list[np.ndarray] = []
        self.extra: list[np.ndarray] = []
        self.count = 0
        self.added: list[Let] = []  # the same as it came in
        for number, name in enumerate(order["streams"]):
            if name is not None:
                self._open(name, number)
            else:
                self.stale.add(number)
        self.used = len(order["streams"])
        self.begun = set(self.names.values()) - set(order["fresh"])
        if kept := order["kept"]:
            there, known = set(self.free), {*kept["free"], *self.names.values()}
            more = [number for number in self.free if number not in known]  # there may be other places than there were
            self.free = more + [number for number in kept["free"] if number in there]
            self.stale, self.waiting = set(kept["stale"]), set(kept["waiting"])
            self.newest = {int(number): newest for number, newest in kept.get("newest", {}).items()}

    def full(self, name: str) -> bool:
        """Whether there is no place for that stream: clients' own ones have as many as those that clients name."""
        if name in DAEMONS:
            return False
        named = len(self.names) - self.own - sum(name in self.names for name in DAEMONS)
        return bool((self.own if name.startswith(OWN) else named) >= self.order["max_streams"])

    def _open(self, name: str, number: int) -> None:
        """Give a free number to a stream."""
        if self.free[-1] == number:
            self.free.pop()
        else:
            self.free.remove(number)
        self.names[name] = number
        self.own += name.startswith(OWN)
        self.used = max(self.used, number + 1)

    def stream(self, name: str) -> tuple[int, bytes]:
        """The number of a stream, and the message that names it if it is new."""
        number = self.names.get(name)
        if number is not None:
            return number, b""
        if self.full(name):
            kind = "clients' own streams" if name.startswith(OWN) else "streams"
            raise Refused(f"all {self.order['max_streams']} {kind} are in use: close one or raise pipeline.max_streams")
        number = self.free[-1]
        self._open(name, number)
        return number, pack(Message(NAME, self.order["epoch"], number, extra=as_text(name)))

    def close(self, name: str) -> None:
        """Forget a stream; its number may serve another."""
        number = self.names.pop(name, None)
        if number is None:
            raise Refused(f'there is no stream "{name}"')
        self.own -= name.startswith(OWN)
        self.free.append(number)
        self.begun.discard(number)
        self.waiting.discard(number)
        self.last.pop(number, None)
        self.newest.pop(number, None)
        self.stale.add(number)

    def evict(self, name: str) -> dict[str, Any]:
        """Close a stream that is to come back; what is known of it, in plain values."""
        number, last = self.names[name], self.last.get(self.names[name])
        known: dict[str, Any] = {kind: number in getattr(self, kind) for kind in KNOWN_OF_STREAM}
        known["newest"] = self.newest.get(number)
        self.close(name)
        return {"name": name, "last": last.plain() if last else None, **known}

    def restore(self, number: int, known: dict[str, Any]) -> None:
        """Open a stream that was evicted, under a free number."""
        self._open(known["name"], number)
        for kind in KNOWN_OF_STREAM:
            numbers = getattr(self, kind)
            (numbers.add if known[kind] else numbers.discard)(number)
        if newest := known.get("newest"):
            self.newest[number] = newest
        if known["last"] is not None:
            self.last[number] = Last.of(known["last"])

    def add_from_source(self, number: int, given: Frames, named: bool) -> None:
        """Frames of a source, self-supervised. named: the journal has named them, and need not hold them."""
        frames = np.zeros((len(given), COLUMNS), np.int64)
        frames[:, FLAGS] = INPUT | EMIT | LEARN
        tokens = given.values.ndim == 1
        frames[:, TOKEN] = given.values if tokens else -1
        if given.times is not None:
            timed = given.times != NO_TIME
            frames[timed, TIME] = given.times[timed]
            frames[timed, FLAGS] |= TIMED
        self.last.pop(number, None)
        self.add(number, frames, NO_VECTORS if tokens else given.values, NO_VECTORS, own=True, named=named)

    def add(
        self,
        number: int,
        frames: np.ndarray,
        X: np.ndarray,
        targets: np.ndarray,
        own: bool = False,
        named: bool = False,
    ) -> int:
        """Let in frames of one stream; X and targets have a row for each where they are vectors. The first SEQ.

        own: they are of a source of the daemon. named: the journal need not hold them.
        """
        if not named:
            self.added.append(Let(number, own, frames, X, targets))
        first, rows = self.seq, np.zeros((2 * len(frames), COLUMNS), np.int64)
        count, begun, waiting, stale = lay_out(
            frames, rows, first, number, number in self.begun, number in self.stale, self.predict_next
        )
        rows = rows[:count]
        flags = frames[:, FLAGS]
        if self.inputs:
            self.vectors.append(X[flags & INPUT > 0])
        if self.targets and self.predict_next:
            self.extra.append(X[rows[rows[:, FLAGS] == SCORED, SEQ] - first].reshape(-1))
        elif self.targets:
            self.extra.append(targets[flags & SCORED > 0].reshape(-1))
        (self.begun.add if begun else self.begun.discard)(number)
        if not (flags & DISMISS).all():
            (self.waiting.add if waiting else self.waiting.discard)(number)
        if not stale:
            self.stale.discard(number)
        self.rows.append(rows)
        self.count += count
        self.seq += len(frames)
        return first

    def keep(self, number: int, last: Last) -> None:
        """Keep what can be fed back to a stream whose sequence goes on."""
        if number in self.begun:
            self.last[number] = last
        else:
            self.last.pop(number, None)

    def unroll(
        self, name: str, message: Message, drawing: Drawing, again: bool = False
    ) -> tuple[int, bytes, Unrolling]:
        """A client's frames, checked: their stream's number, a NAME message or nothing, and what is to be let in.

        again: some of them have been let in before. Raises Refused, and nothing has changed then.
        """
        self.check(name, message, drawing, again)
        frames, count = message.frames.copy(), len(message.frames)
        given = frames[:, FLAGS] & (INPUT | FEEDBACK) == INPUT
        X = np.zeros((count, self.inputs))
        targets = np.zeros((count, self.targets))
        if self.inputs:
            X[given] = message.vectors.reshape(-1, self.inputs)
            frames[:, TOKEN] = -1
        if self.targets:
            targets[frames[:, FLAGS] & SCORED > 0] = message.extra.reshape(-1, self.targets)
        last = self.last.get(self.names.get(name, -1), Last())
        try:
            unrolling = Unrolling(self.shape, frames, X, targets, drawing, last)
        except ValueError as error:
            raise Refused(str(error)) from None
        return *self.stream(name), unrolling

    def check(self, name: str, message: Message, drawing: Drawing, again: bool = False) -> None:
        """Raise Refused if a client's message does not fit this network."""
        if message.kind != FRAMES:
            raise Refused(f"a message of kind {message.kind} is not for the gate")
        if self.classes and message.vectors.size:
            raise Refused("this daemon takes tokens, the input is a vector")
        waiting = again or self.names.get(name, -1) in self.waiting
        fault, given, scored = check_frames(
            message.frames.copy(), waiting, self.predict_next, self.classes, self.target_classes, self.dismissals
        )
        if fault:
            raise Refused(FAULTS[fault].format(classes=self.classes, target_classes=self.target_classes))
        self._check_vectors(given, message.vectors, self.inputs)
        if message.extra.size != self.targets * scored:
            raise Refused(f"{scored} targets of {self.targets} numbers expected, {message.extra.size} came")
        self._check_numbers("target", message.extra)
        if drawing.until is not None and drawing.until >= self.target_classes:
            raise Refused(f"the stop symbol {drawing.until} is outside [0, {self.target_classes})")

    def _check_numbers(self, what: str, values: np.ndarray) -> None:
        most, missing = self.shape.most, self.shape.missing
        if not within(values, most, missing):
            raise Refused(f"the {what} holds {beyond(values, most, missing)}")

    def _check_vectors(self, count: int, vectors: np.ndarray, size: int) -> None:
        if size and (len(vectors) != count or (count and vectors.shape[1] != size)):
            came = f"{vectors.shape[1]} numbers" if vectors.size else "a token"
            raise Refused(f"inputs are vectors of {size} numbers, got {came}")
        self._check_numbers("input", vectors)

    def facts(self) -> dict[str, Any]:
        """For a manifest: frames accepted, names by number, streams that begin next, what can be fed back."""
        fresh = [number for number in self.names.values() if number not in self.begun]
        last = {number: last.plain() for number, last in self.last.items()}
        return {"frames": self.seq, "names": by_number(self.names, self.used), "fresh": fresh, "last": last}

    def notes(self) -> dict[str, Any]:
        """What else a checkpoint keeps of it."""
        return {"free": self.free, "stale": sorted(self.stale), "waiting": sorted(self.waiting), "newest": self.newest}

    def replay(self, message: Message) -> None:
        """Note what a message that names a stream says when it goes down again."""
        self._open(text_of(message), message.number)

    def block(self) -> bytes:
        """The frames let in since the last call, as one message."""
        vectors = np.concatenate(self.vectors) if self.vectors else np.zeros((0, self.inputs))
        extra = np.concatenate(self.extra) if self.extra else NOTHING
        message = Message(FRAMES, self.order["epoch"], 0, np.concatenate(self.rows), vectors, extra)
        self.rows, self.vectors, self.extra, self.count, self.added = [], [], [], 0, []
        return pack(message)
