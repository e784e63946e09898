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
from streamrnn.wire import FRAMES, NAME, NO_VECTORS, Message, as_text, pack

LONGEST_NAME = 255  # bytes
OWN = "~"  # the names of clients' own streams begin with it


def check_name(name: str) -> None:
    """Raise Refused if no stream of a client can have that name."""
    if not 0 < len(name.encode()) <= LONGEST_NAME or "\0" in name:
        raise Refused(f"a stream's name has 1 to {LONGEST_NAME} bytes and no zero byte")
    if name.startswith(OWN):
        raise Refused(f"streams whose names begin with {OWN} are the daemon's")


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
        self.last: dict[int, Last] = {}  # what can be fed back to each stream
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
        flags, seqs = frames[:, FLAGS], self.seq + np.arange(len(frames))
        inputs, scored = flags & INPUT > 0, flags & SCORED > 0
        begins = self._begins(number, flags)
        own = (
            (flags & LEARN > 0) & inputs & ~begins & self.predict_next
        )  # a row of their own brings the target of the frame before
        rows = np.zeros((len(frames), 2, COLUMNS), np.int64)
        rows[:, :, SEQ], rows[:, :, STREAM] = seqs[:, None], number
        rows[:, 0, FLAGS], rows[:, 0, TOKEN] = SCORED, -1
        rows[:, 0, TARGET] = frames[:, TOKEN] if self.classes else 0
        rows[:, 1, FLAGS] = flags & ~LEARN
        rows[begins, 1, FLAGS] |= BEGIN
        if number in self.stale and begins.any():
            rows[begins.argmax(), 1, FLAGS] |= NEW
            self.stale.discard(number)
        rows[:, 1, TOKEN] = frames[:, TOKEN] if self.classes else -1
        rows[scored, 1, TARGET] = frames[scored, TARGET]
        if self.inputs:
            self.vectors.append(X[inputs])
        if self.targets:
            self.extra.append((targets[scored] if not self.predict_next else X[own]).reshape(-1))
        keep = np.ones((len(frames), 2), bool)
        keep[:, 0] = own
        self.rows.append(rows[keep])
        self.count += len(self.rows[-1])
        self.seq += len(frames)
        self._note(number, flags)
        return int(seqs[0])

    def _begins(self, number: int, flags: np.ndarray) -> np.ndarray:
        """Which of a stream's frames begin a sequence: those that say so, the first ever, the first after an END."""
        inputs = flags & INPUT > 0
        turns = np.flatnonzero(inputs | (flags & END > 0))
        before = np.r_[number in self.begun, flags[turns[:-1]] & END == 0]
        begins = np.zeros(len(flags), bool)
        begins[turns] = ~before[: len(turns)]
        return inputs & (begins | (flags & BEGIN > 0))

    def _note(self, number: int, flags: np.ndarray) -> None:
        """Remember how the stream stands after these frames."""
        turns = flags[flags & (INPUT | END) > 0]
        if len(turns):
            (self.begun.discard if turns[-1] & END else self.begun.add)(number)
        (self.waiting.discard if flags[-1] & (SCORED | END) else self.waiting.add)(number)

    def keep(self, number: int, last: Last) -> None:
        """Keep what can be fed back to a stream whose sequence goes on."""
        if number in self.begun:
            self.last[number] = last
        else:
            self.last.pop(number, None)

    def unroll(self, name: str, message: Message, drawing: Drawing) -> tuple[int, bytes, Unrolling]:
        """A client's frames, checked: their stream's number, a NAME message or nothing, and what is to be let in.

        Raises Refused, and nothing has changed then.
        """
        self.check(name, message, drawing)
        frames, count = message.frames.copy(), len(message.frames)
        given = frames[:, FLAGS] & (INPUT | FEEDBACK) == INPUT
        X = np.zeros((count, self.inputs), np.float32)
        targets = np.zeros((count, self.targets), np.float32)
        if self.inputs:
            X[given] = message.vectors
        if self.targets:
            targets[frames[:, FLAGS] & SCORED > 0] = message.extra.reshape(-1, self.targets)
        last = self.last.get(self.names.get(name, -1), Last())
        try:
            unrolling = Unrolling(self.shape, frames, X, targets, drawing, last)
        except ValueError as error:
            raise Refused(str(error)) from None
        return *self.stream(name), unrolling

    def check(self, name: str, message: Message, drawing: Drawing) -> None:
        """Raise Refused if a client's message does not fit this network."""
        frames = message.frames
        if message.kind != FRAMES:
            raise Refused(f"a message of kind {message.kind} is not for the gate")
        if not len(frames):
            raise Refused("a message brings at least one frame")
        flags = frames[:, FLAGS]
        if (flags & ~(BEGIN | INPUT | SCORED | EMIT | END | LEARN | FEEDBACK | ECHO)).any():
            raise Refused("a frame has an unknown flag")
        inputs, scored, fed = flags & INPUT > 0, flags & SCORED > 0, flags & FEEDBACK > 0
        if not (inputs | scored).all() or (flags & (BEGIN | FEEDBACK | ECHO) > 0)[~inputs].any():
            raise Refused("a frame needs an input or a target; BEGIN, FEEDBACK and ECHO need an input")
        self._check_targets(self.names.get(name, -1) in self.waiting, flags)
        if self.predict_next and scored.any():
            raise Refused('this daemon predicts the next input (predict = "next"): send no targets')
        if self.predict_next and (fed & (flags & LEARN > 0)).any():
            raise Refused("what is fed back is not learned from: leave LEARN out")
        given = inputs & ~fed
        self._check_numbers("input", frames[given, TOKEN], message.vectors, self.classes, self.inputs)
        if message.extra.size != self.targets * int(scored.sum()):
            raise Refused(f"{int(scored.sum())} targets of {self.targets} numbers expected, {message.extra.size} came")
        targets = message.extra.reshape(-1, self.targets) if self.targets else message.vectors[:0, :0]
        self._check_numbers("target", frames[scored, TARGET], targets, self.target_classes, self.targets)
        if drawing.until is not None and drawing.until >= self.target_classes:
            raise Refused(f"the stop symbol {drawing.until} is outside [0, {self.target_classes})")

    @staticmethod
    def _check_targets(waiting: bool, flags: np.ndarray) -> None:
        """A frame that only brings a target needs one before it that has none yet."""
        before = np.r_[not waiting, flags[:-1] & (SCORED | END) > 0]
        if (before & (flags & INPUT == 0)).any():
            raise Refused("a target came for no frame: its frame has one already, or there is none")

    @staticmethod
    def _check_numbers(what: str, tokens: np.ndarray, vectors: np.ndarray, classes: int, size: int) -> None:
        if classes:
            if vectors.size:
                raise Refused(f"this daemon takes tokens, the {what} is a vector")
            if ((tokens < 0) | (tokens >= classes)).any():
                raise Refused(f"the {what} token is outside [0, {classes})")
        elif len(vectors) != len(tokens) or (len(tokens) and vectors.shape[1] != size):
            came = f"{vectors.shape[1]} numbers" if vectors.size else "a token"
            raise Refused(f"{what}s are vectors of {size} numbers, got {came}")
        elif not np.isfinite(vectors).all():
            raise Refused(f"the {what} holds NaN or infinity")

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps: frames accepted, names by number, and streams whose next frame begins a sequence."""
        fresh = [number for number in self.names.values() if number not in self.begun]
        return {"frames": self.seq, "names": by_number(self.names, self.used), "fresh": fresh}

    def block(self) -> bytes:
        """The frames let in since the last call, as one message."""
        vectors = np.concatenate(self.vectors) if self.vectors else np.zeros((0, self.inputs), np.float32)
        extra = np.concatenate(self.extra) if self.extra else np.zeros(0, np.float32)
        message = Message(FRAMES, self.order["epoch"], 0, np.concatenate(self.rows), vectors, extra)
        self.rows, self.vectors, self.extra, self.count = [], [], [], 0
        return pack(message)
