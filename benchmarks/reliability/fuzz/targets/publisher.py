"""What sends outputs to subscribers."""

from random import Random
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
from safetensors.numpy import save as save_tensors

from benchmarks.reliability.fuzz.messages import BLOCK, EPOCH, rows
from benchmarks.reliability.fuzz.mutate import WORDS
from benchmarks.reliability.fuzz.standins import AuthenticatedSocket, Worker
from benchmarks.reliability.fuzz.targets.target import Target
from streamrnn.kernels.frames import COLUMNS, EMIT, END, INPUT, SCORED
from streamrnn.kernels.messages import EVICT, NAME, OUTPUT, RESTORE
from streamrnn.protocol.wire import Message, as_numbers, as_text, pack, unpack
from streamrnn.workers.publisher import Publisher

PLACES = 3
READOUT = {
    "epoch": EPOCH,
    "streams": ["a", None, "b"],
    "places": PLACES,
    "history": 50_000,
    "run": "r",
    "written": None,
    "losses": 1,
    "targets": 0,
    "forecast": None,
    "resume": None,
}
READOUT |= {"keys": None, "block": BLOCK, "in_flight": 4 * BLOCK, "checkpoints": ""}
READOUT |= dict.fromkeys(("outputs", "frames_in", "to_gate"), "")
TOPICS = [b"", b"a\0", b"b\0", b"c\0", b"\xff"]


class Publishing(Target):
    """The publisher: what a readout would send, subscriptions, and questions for the history."""

    name, share = "publisher", 50

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.worker = Worker(READOUT)
        with patch("streamrnn.workers.publisher.open_authenticated", AuthenticatedSocket):
            self.publisher: Any = Publisher(self.worker)  # type: ignore[arg-type]
        self.publisher.save = lambda number: None
        self.seq = 0
        self.letters = [self.letter() for _ in range(20)]

    def letter(self) -> bytes:
        """Outputs of a few frames."""
        random, flags = self.random, [INPUT | EMIT, INPUT | EMIT | SCORED, INPUT, SCORED, INPUT | EMIT | END]
        chosen = [random.choice(flags) for _ in range(random.choice([1, 2, 5, BLOCK]))]
        frames = rows(chosen, seq=self.seq + np.arange(len(chosen)), stream=[random.choice([0, 2]) for _ in chosen])
        self.seq += len(chosen)
        Y = np.ones((sum(f & (INPUT | EMIT) == INPUT | EMIT for f in chosen), 4), np.float32)
        losses = np.array([0.5 if f & SCORED else np.nan for f in chosen], np.float32)
        return pack(Message(OUTPUT, EPOCH, 0, frames, Y, losses))

    def make(self) -> list[bytes]:
        random, kind = self.random, self.random.random()
        if kind < 0.7:
            name = as_text(random.choice(["a", "preview", "ü"]))
            number = random.choice([0, 1, 2, 3, -1, 2**62])
            state = {"gate": np.frombuffer(b'{"name": "ab"}  ', np.uint8), "newest": np.array([self.seq])}
            named = [
                Message(NAME, EPOCH, number, extra=name),
                Message(EVICT, EPOCH, number, rows([0], seq=5)),
                Message(RESTORE, EPOCH, number, extra=as_numbers(save_tensors(state))),
            ]
            data = pack(random.choice(named)) if random.random() < 0.2 else self.letter()
            return [b"frames", self.spoiled(data, self.letters, 0.7)]
        if kind < 0.9:
            data = random.choice([b"\0", b"\1", b"\1", b"\2", b""]) + random.choice(TOPICS)
            return [b"subscription", self.spoiled(data, self.letters, 0.3)]
        places = [random.choice([-1, 0, self.seq, 2 * self.seq, *WORDS]) for _ in range(2)]
        return [b"history", random.choice("abcü").encode(), *(str(place).encode() for place in places)]

    def take(self, parts: list[bytes]) -> bool:
        what, *data = parts
        if what == b"frames":
            rows, bad = self.publisher.rows, self.publisher.bad
            self.publisher.take(data[0])
            assert rows <= self.publisher.rows <= rows + len(data[0]) // (8 * COLUMNS)
            accepted = bool(self.publisher.bad == bad)
        elif what == b"subscription":
            bad = self.publisher.bad
            self.publisher.hear(data[0])
            accepted = bool(self.publisher.bad == bad)
        else:
            after, before = map(int, data[1:])
            self.publisher.tell(
                {"asker": "", "number": 0, "stream": data[0].decode(), "after": after, "before": before}
            )
            accepted = True
        self.published()
        return accepted

    def published(self) -> None:
        """See that what goes out holds together, and can be said in JSON."""
        for topic, data in self.publisher.frontend.socket.taken():
            message = unpack(data)
            if message.kind == OUTPUT:
                assert topic.endswith(b"\0")
                assert len(message.frames) == len(message.extra)
        for kind, data, facts in self.worker.reports:
            assert kind == "history"
            msgspec.json.encode(facts)
            for part in data:
                assert len(unpack(part).frames)
        self.worker.reports.clear()
        assert self.publisher.history.nbytes <= self.publisher.history.most
        msgspec.json.encode(self.publisher.facts())
