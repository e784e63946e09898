"""What the gate lets in: every frame is checked once, numbered, and laid out as the rows of the next message.

A self-supervised frame becomes two rows with one SEQ: the target of its stream's frame before, then an input.
"""

from typing import Any

import numpy as np

from streamrnn.checkpoint import by_number
from streamrnn.frames import BEGIN, COLUMNS, EMIT, END, FLAGS, INPUT, LEARN, NEW, SCORED, SEQ, STREAM, TARGET, TOKEN
from streamrnn.wire import FRAMES, NAME, Message, as_text, pack

LONGEST_NAME = 255  # bytes


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
        self.stale.add(number)

    def add_tokens(self, number: int, tokens: np.ndarray) -> None:
        """Frames of a self-supervised stream of tokens: each is the target of the one before, then an input."""
        rows = np.zeros((2 * len(tokens), COLUMNS), np.int64)
        rows[:, SEQ] = np.repeat(np.arange(self.seq, self.seq + len(tokens)), 2)
        rows[:, STREAM] = number
        rows[0::2, FLAGS], rows[0::2, TARGET] = SCORED, tokens
        rows[1::2, FLAGS], rows[1::2, TOKEN] = INPUT | EMIT, tokens
        self._append(number, rows[self._begin(number, rows[1]) :], len(tokens))

    def add_vectors(self, number: int, vectors: np.ndarray) -> None:
        """The same for vectors (n, size)."""
        rows = np.zeros((2 * len(vectors), COLUMNS), np.int64)
        rows[:, SEQ] = np.repeat(np.arange(self.seq, self.seq + len(vectors)), 2)
        rows[:, STREAM], rows[:, TOKEN] = number, -1
        rows[0::2, FLAGS], rows[1::2, FLAGS] = SCORED, INPUT | EMIT
        first = self._begin(number, rows[1])
        self.vectors.append(vectors)
        self.extra.append(vectors[first:].reshape(-1))
        self._append(number, rows[first:], len(vectors))

    def _begin(self, number: int, row: np.ndarray) -> int:
        """Flag the first frame of a sequence; 1 if there is no frame before it that it could be the target of."""
        if number in self.begun:
            return 0
        row[FLAGS] |= BEGIN
        if number in self.stale:
            row[FLAGS] |= NEW
            self.stale.discard(number)
        self.begun.add(number)
        return 1

    def _append(self, number: int, rows: np.ndarray, frames: int) -> None:
        self.rows.append(rows)
        self.count += len(rows)
        self.seq += frames

    def add_message(self, name: str, message: Message) -> tuple[int, bytes]:
        """Let a client's frames in; returns the first one's number and a NAME message or nothing. May raise Refused."""
        self.check(name, message)
        number, naming = self.stream(name)
        first = self.seq
        input_row, target_row = 0, 0
        for source in message.frames:
            flags = int(source[FLAGS])
            vector = message.vectors[input_row : input_row + 1] if self.inputs and flags & INPUT else None
            input_row += vector is not None
            rows = np.zeros((2, COLUMNS), np.int64)
            rows[:, SEQ], rows[:, STREAM] = self.seq, number
            rows[1, TOKEN] = source[TOKEN] if self.classes else -1
            rows[1, FLAGS] = flags & ~LEARN
            use = rows[1:]
            if flags & BEGIN:
                self.begun.discard(number)
            begins = self._begin(number, rows[1]) if flags & INPUT else 0
            if flags & SCORED:
                rows[1, TARGET] = source[TARGET]
                if self.targets:
                    self.extra.append(message.extra[target_row : target_row + self.targets])
                    target_row += self.targets
            elif self.predict_next and flags & LEARN and not begins:
                rows[0, FLAGS], rows[0, TARGET] = SCORED, source[TOKEN]
                use = rows
                if vector is not None:
                    self.extra.append(vector[0])
            if vector is not None:
                self.vectors.append(vector)
            if flags & END:
                self.begun.discard(number)
            (self.waiting.discard if flags & (SCORED | END) else self.waiting.add)(number)
            self._append(number, use, 1)
        return first, naming

    def check(self, name: str, message: Message) -> None:
        """Raise Refused if a client's message does not fit this network."""
        frames = message.frames
        if not 0 < len(name.encode()) <= LONGEST_NAME or "\0" in name:
            raise Refused(f"a stream's name has 1 to {LONGEST_NAME} bytes and no zero byte")
        if message.kind != FRAMES:
            raise Refused(f"a message of kind {message.kind} is not for the gate")
        if not 1 <= len(frames) <= self.order["block"] // 2:
            raise Refused(f"a message brings 1 to {self.order['block'] // 2} frames, not {len(frames)}")
        flags = frames[:, FLAGS]
        if (flags & ~(BEGIN | INPUT | SCORED | EMIT | END | LEARN)).any():
            raise Refused("a frame has an unknown flag")
        if not (flags & (INPUT | SCORED)).all() or (flags & BEGIN > flags & INPUT).any():
            raise Refused("a frame needs an input or a target, and one that begins a sequence needs an input")
        self._check_targets(self.names.get(name, -1) in self.waiting, flags)
        inputs, scored = flags & INPUT > 0, flags & SCORED > 0
        if self.predict_next and scored.any():
            raise Refused('this daemon predicts the next input (predict = "next"): send no targets')
        self._check_numbers("input", frames[inputs, TOKEN], message.vectors, self.classes, self.inputs)
        if message.extra.size != self.targets * int(scored.sum()):
            raise Refused(f"{int(scored.sum())} targets of {self.targets} numbers expected, {message.extra.size} came")
        targets = message.extra.reshape(-1, self.targets) if self.targets else message.vectors[:0, :0]
        self._check_numbers("target", frames[scored, TARGET], targets, self.target_classes, self.targets)

    @staticmethod
    def _check_targets(waiting: bool, flags: np.ndarray) -> None:
        for flag in flags:
            if not (flag & INPUT or waiting):
                raise Refused("a target came for no frame: its frame has one already, or there is none")
            waiting = not flag & (SCORED | END)

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
