"""What the gate lets in: every frame is checked once, numbered, and laid out as the rows of the next message.

A self-supervised frame becomes two rows with one SEQ: the target of its stream's frame before, then an input.
"""

from typing import Any

import numpy as np

from streamrnn.checkpoint import by_number
from streamrnn.feedback import Drawing, Last, Shape, Unrolling
from streamrnn.frames import (
    BEGIN,
    COLUMNS,
    ECHO,
    EMIT,
    END,
    FEEDBACK,
    FLAGS,
    INPUT,
    LEARN,
    NEW,
    SCORED,
    SEQ,
    STREAM,
    TARGET,
    TOKEN,
)
from streamrnn.jit import kernel
from streamrnn.wire import FRAMES, NAME, NO_VECTORS, Message, as_text, pack, text_of

LONGEST_NAME = 255  # bytes
OWN = "~"  # the names of clients' own streams begin with it


def check_name(name: str) -> None:
    """Raise Refused if no stream of a client can have that name."""
    if not 0 < len(name.encode()) <= LONGEST_NAME or "\0" in name:
        raise Refused(f"a stream's name has 1 to {LONGEST_NAME} bytes and no zero byte")
    if name.startswith(OWN):
        raise Refused(f"streams whose names begin with {OWN} are the daemon's")


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
)
KNOWN = BEGIN | INPUT | SCORED | EMIT | END | LEARN | FEEDBACK | ECHO


@kernel
def look_at(frames, waiting, predict_next, classes, target_classes):
    """The number of the first fault of a client's frames, 0 for none; how many bring an input, how many a target.

    `waiting`: the stream's newest frame may still get its target; `classes` are 0 where numbers are vectors.
    """
    given, scored = 0, 0
    for k in range(frames.shape[0]):
        flags, token, target = frames[k, FLAGS], frames[k, TOKEN], frames[k, TARGET]
        if flags & ~KNOWN:
            return 2, 0, 0
        if not flags & (INPUT | SCORED) or (flags & (BEGIN | FEEDBACK | ECHO) and not flags & INPUT):
            return 3, 0, 0
        if not (flags & INPUT or waiting):
            return 4, 0, 0
        if flags & SCORED and predict_next:
            return 5, 0, 0
        if flags & FEEDBACK and flags & LEARN and predict_next:
            return 6, 0, 0
        if flags & INPUT and not flags & FEEDBACK:
            given += 1
            if classes and not 0 <= token < classes:
                return 7, 0, 0
        if flags & SCORED:
            scored += 1
            if target_classes and not 0 <= target < target_classes:
                return 8, 0, 0
        waiting = not flags & (SCORED | END)
    return 0 if frames.shape[0] else 1, given, scored


@kernel
def lay_out(frames, rows, seq, stream, begun, stale, predict_next):
    """Write frames of one stream as rows (two for one whose input is a target too), the first with number `seq`.

    `begun`: a sequence is under way; `stale`: the number was another stream's before. Returns how many rows, whether a
    sequence is under way, whether the last frame may still get its target, and `stale` anew.
    """
    count, waiting = 0, False
    for k in range(frames.shape[0]):
        flags = frames[k, FLAGS]
        begins = flags & INPUT and (flags & BEGIN or not begun)
        if flags & INPUT and flags & LEARN and predict_next and not begins:
            row = rows[count]
            row[SEQ], row[STREAM], row[FLAGS], row[TOKEN], row[TARGET] = seq + k, stream, SCORED, -1, frames[k, TOKEN]
            count += 1
        row = rows[count]
        row[SEQ], row[STREAM], row[FLAGS], row[TOKEN] = seq + k, stream, flags & ~LEARN, frames[k, TOKEN]
        row[TARGET] = frames[k, TARGET] if flags & SCORED else 0
        if begins:
            row[FLAGS] |= BEGIN | NEW if stale else BEGIN
            stale = False
        count += 1
        begun = (begun or flags & INPUT != 0) and not flags & END
        waiting = not flags & (SCORED | END)
    return count, begun, waiting, stale


def warm_up() -> None:
    """Compile these kernels, or load them from disk."""
    frames = np.zeros((0, COLUMNS), np.int64)
    look_at(frames, False, False, 0, 0)
    lay_out(frames, frames, 0, 0, False, False, False)


class Refused(ValueError):
    """A message from a client that is not let in; says why."""


class Intake:
    """Which streams there are, and the frames that go down in the next message."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.inputs, self.targets = order["input_size"], order["target_size"]  # 0 for tokens
        self.classes, self.target_classes = order["classes"], order["target_classes"]  # 0 for vectors
        self.predict_next = order["predict"] == "next"
        self.names: dict[str, int] = {}
        self.free = list(range(order["max_streams"] - 1, -1, -1))
        self.used = 0  # highest number in use so far, plus one
        self.stale: set[int] = set()  # numbers that were another stream's before
        self.begun: set[int] = set()  # streams that have had a frame, and whose sequence has not ended
        self.waiting: set[int] = set()  # streams whose newest frame may still get its target
        self.last = {int(number): Last.of(plain) for number, plain in order["last"].items()}  # what can be fed back
        classes = self.target_classes
        self.shape = Shape(self.inputs or self.classes, self.targets or classes, not self.inputs, classes > 0)
        self.seq = order["frames"]
        self.rows: list[np.ndarray] = []
        self.vectors: list[np.ndarray] = []
        self.extra: list[np.ndarray] = []
        self.count = 0
        for number, name in enumerate(order["streams"]):
            if name is not None:
                self.free.remove(number)
                self.names[name] = number
            else:
                self.stale.add(number)
        self.used = len(order["streams"])
        self.begun = set(self.names.values()) - set(order["fresh"])
        if kept := order["kept"]:
            self.free, self.stale, self.waiting = kept["free"], set(kept["stale"]), set(kept["waiting"])

    def stream(self, name: str) -> tuple[int, bytes]:
        """The number of a stream, and the message that names it if it is new."""
        number = self.names.get(name)
        if number is not None:
            return number, b""
        if not self.free:
            raise Refused(
                f"all {self.order['max_streams']} streams are in use: close one or raise pipeline.max_streams"
            )
        number = self.free.pop()
        self.names[name] = number
        self.used = max(self.used, number + 1)
        return number, pack(Message(NAME, self.order["epoch"], number, extra=as_text(name)))

    def close(self, name: str) -> None:
        """Forget a stream; its number may serve another."""
        number = self.names.pop(name, None)
        if number is None:
            raise Refused(f'there is no stream "{name}"')
        self.free.append(number)
        self.begun.discard(number)
        self.waiting.discard(number)
        self.last.pop(number, None)
        self.stale.add(number)

    def add_tokens(self, number: int, tokens: np.ndarray) -> None:
        """Frames of the daemon's own source: a self-supervised stream of tokens."""
        frames = np.zeros((len(tokens), COLUMNS), np.int64)
        frames[:, FLAGS], frames[:, TOKEN] = INPUT | EMIT | LEARN, tokens
        self.last.pop(number, None)
        self.add(number, frames, NO_VECTORS, NO_VECTORS)

    def add_vectors(self, number: int, vectors: np.ndarray) -> None:
        """The same for vectors (n, size)."""
        frames = np.zeros((len(vectors), COLUMNS), np.int64)
        frames[:, FLAGS], frames[:, TOKEN] = INPUT | EMIT | LEARN, -1
        self.last.pop(number, None)
        self.add(number, frames, vectors, NO_VECTORS)

    def add(self, number: int, frames: np.ndarray, X: np.ndarray, targets: np.ndarray) -> int:
        """Let in frames of one stream; X and targets have a row for each where they are vectors. The first SEQ."""
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
        X = np.zeros((count, self.inputs), np.float32)
        targets = np.zeros((count, self.targets), np.float32)
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
        fault, given, scored = look_at(
            message.frames.copy(), waiting, self.predict_next, self.classes, self.target_classes
        )
        if fault:
            raise Refused(FAULTS[fault].format(classes=self.classes, target_classes=self.target_classes))
        self._check_vectors(given, message.vectors, self.inputs)
        if message.extra.size != self.targets * scored:
            raise Refused(f"{scored} targets of {self.targets} numbers expected, {message.extra.size} came")
        if not np.isfinite(message.extra).all():
            raise Refused("the target holds NaN or infinity")
        if drawing.until is not None and drawing.until >= self.target_classes:
            raise Refused(f"the stop symbol {drawing.until} is outside [0, {self.target_classes})")

    @staticmethod
    def _check_vectors(count: int, vectors: np.ndarray, size: int) -> None:
        if size and (len(vectors) != count or (count and vectors.shape[1] != size)):
            came = f"{vectors.shape[1]} numbers" if vectors.size else "a token"
            raise Refused(f"inputs are vectors of {size} numbers, got {came}")
        if not np.isfinite(vectors).all():
            raise Refused("the input holds NaN or infinity")

    def facts(self) -> dict[str, Any]:
        """For a manifest: frames accepted, names by number, streams that begin next, what can be fed back."""
        fresh = [number for number in self.names.values() if number not in self.begun]
        last = {number: last.plain() for number, last in self.last.items()}
        return {"frames": self.seq, "names": by_number(self.names, self.used), "fresh": fresh, "last": last}

    def notes(self) -> dict[str, Any]:
        """What else a checkpoint keeps of it."""
        return {"free": self.free, "stale": sorted(self.stale), "waiting": sorted(self.waiting)}

    def replay(self, message: Message) -> None:
        """Note what a message that goes down again says of the streams, as when it was let in."""
        if message.kind == NAME:
            name = text_of(message)
            self.free.remove(message.number)
            self.names[name] = message.number
            self.used = max(self.used, message.number + 1)
            return
        for number in np.unique(message.frames[:, STREAM]).tolist():
            flags = message.frames[message.frames[:, STREAM] == number, FLAGS]
            turns = flags[flags & (INPUT | END) > 0]  # a sequence begins with an input and ends with END
            if len(turns):
                (self.begun.discard if turns[-1] & END else self.begun.add)(number)
            (self.waiting.discard if flags[-1] & (SCORED | END) else self.waiting.add)(number)
            if (flags & NEW).any():
                self.stale.discard(number)
        self.seq = int(message.frames[-1, SEQ]) + 1

    def block(self) -> bytes:
        """The frames let in since the last call, as one message."""
        vectors = np.concatenate(self.vectors) if self.vectors else np.zeros((0, self.inputs), np.float32)
        extra = np.concatenate(self.extra) if self.extra else np.zeros(0, np.float32)
        message = Message(FRAMES, self.order["epoch"], 0, np.concatenate(self.rows), vectors, extra)
        self.rows, self.vectors, self.extra, self.count = [], [], [], 0
        return pack(message)
