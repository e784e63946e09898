"""What lets clients in."""

import json
import tempfile
from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.reliability.fuzz.messages import BLOCK, EPOCH, rows
from benchmarks.reliability.fuzz.mutate import WORDS, mutated
from benchmarks.reliability.fuzz.pipeline import Pipeline
from benchmarks.reliability.fuzz.standins import AuthenticatedSocket, Worker
from benchmarks.reliability.fuzz.targets.target import Target
from streamrnn.kernels.frames import BEGIN, ECHO, EMIT, END, FEEDBACK, INPUT, LEARN, SCORED, TARGET
from streamrnn.kernels.messages import CLOSE, FRAMES, GREETING, REFUSED, RESEND
from streamrnn.protocol.wire import NO_VECTORS, Message, pack, text_of, unpack
from streamrnn.workers.gate import Gate

STREAMS = 3
PLACES = 2 * STREAMS + 2


def network(predict: str, classes: int, target_classes: int, inputs: int, targets: int) -> dict[str, Any]:
    """What the gate must know of a network; sizes are 0 for tokens, classes for vectors."""
    found = {"predict": predict, "classes": classes, "target_classes": target_classes}
    found |= {"largest": 1e30, "missing": "refuse", "evict": "idle", "dismissals": targets << 10}
    return found | {"input_size": inputs, "target_size": targets}


NETWORKS = [
    network("next", 5, 5, 0, 0),
    network("next", 0, 0, 3, 3),
    network("target", 5, 7, 0, 0),
    network("target", 5, 3, 0, 0),
    network("target", 5, 0, 0, 2),
    network("target", 0, 4, 4, 0),
    network("target", 0, 0, 3, 2),
]
NEXT_FLAGS = [INPUT | EMIT, INPUT | EMIT | LEARN, INPUT | LEARN | END, INPUT | EMIT | BEGIN, INPUT | EMIT | ECHO]
NEXT_FLAGS += [INPUT | EMIT | FEEDBACK, INPUT]
TARGET_FLAGS = [INPUT | EMIT | SCORED, INPUT | EMIT, SCORED, INPUT | EMIT | SCORED | END, INPUT | EMIT | FEEDBACK]
TARGET_FLAGS += [INPUT | EMIT | BEGIN, INPUT | EMIT | SCORED | FEEDBACK, INPUT | EMIT | ECHO | SCORED]
OPTIONS = [
    {},
    {"max_length": 3},
    {"max_length": 5, "until": 1, "temperature": 0.7, "seed": 1},
    {"own": 0.5, "seed": 2},
    {"max_length": 10**9, "temperature": 1e308},
    {"temperature": 5e-324, "top_k": 10**30, "max_length": 2, "seed": 10**40},
]
NAMES = [b"a", b"b", b"c", b"d", b"", b"preview", b"~1", "ü".encode(), b"a" * 255]


class Clients(Target):
    """The gate: greetings, requests and frames of several clients, with a pipeline behind it that answers anything."""

    name, share = "gate", 100

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self.net = random.choice(NETWORKS)
        self.order = self.net | {
            "max_streams": STREAMS,
            "places": PLACES,
            "block": BLOCK,
            "in_flight": 4 * BLOCK,
            "epoch": EPOCH,
            "frames": 0,
            "streams": [],
            "fresh": [],
            "kept": {},
            "last": {},
            "rate": 0.1,
            "overload": random.choice(["block", "reject", "drop-oldest"]),
            "keys": None,
            "sources": [],
            "backfill": None,
            "position": 0,
            "max_frames": None,
            "left": None,
            "run": "run",
            "journal": f"{self.folder.name}/journal",
            "evicted": f"{self.folder.name}/streams",
            "parts": 2,
            "resume": None,
            "checkpoints": "",
            "journal_start": 0,
            "journal_bytes": 2**30,
            "journal_enabled": True,
            "acknowledge": "written",
            "gate": "",
            "to_gate": "",
            "frames_out": "",
        }
        with patch("streamrnn.workers.admission.connections.open_authenticated", AuthenticatedSocket):
            self.gate: Any = Gate(Worker(self.order))  # type: ignore[arg-type]
        self.gate.open = True
        self.gate.eviction.is_there = lambda client: random.random() < 0.7
        self.pipeline = Pipeline(self.net, PLACES, Random(random.randrange(2**32)))
        self.following = dict.fromkeys([b"1", b"2", b"3"], 1)  # the number of each client's next request
        self.letters: list[bytes] = [self.letter(0, 0) for _ in range(20)]

    def letter(self, epoch: int, number: int) -> bytes:
        """A good message of frames, more often than not."""
        random, net = self.random, self.net
        kinds = NEXT_FLAGS if net["predict"] == "next" else TARGET_FLAGS
        flags = [random.choice(kinds) for _ in range(random.choice([1, 1, 2, 3, 6, 20, 40]))]
        frames = rows(flags, token=[random.randrange(max(net["classes"], 1)) for _ in flags])
        frames[:, TARGET] = [random.randrange(max(net["target_classes"], 1)) for _ in flags]
        given = sum(f & (INPUT | FEEDBACK) == INPUT for f in flags)
        scored = sum(f & SCORED > 0 for f in flags)
        X = np.full((given, net["input_size"]), 0.5, np.float32) if net["input_size"] else NO_VECTORS
        return pack(Message(FRAMES, epoch, number, frames, X, np.ones(scored * net["target_size"], np.float32)))

    def make(self) -> list[bytes]:
        random = self.random
        sender = random.choice([*self.following, b"4"])  # who never greets
        number = self.following.get(sender, 0) if random.random() < 0.8 else random.choice(WORDS)
        epoch = random.choice([EPOCH, EPOCH, EPOCH, EPOCH, 0, 0, EPOCH - 1, -1])
        kind = random.random()
        if kind < 0.1:
            unanswered = sorted(random.sample(range(1, 60), random.choice([0, 0, 1, 5])))
            data = pack(Message(GREETING, EPOCH, number, rows([0] * len(unanswered), seq=unanswered)))
        elif kind < 0.2:
            data = pack(Message(CLOSE, epoch, number))
        else:
            data = self.letter(epoch, number)
        parts = [random.choice(NAMES), self.spoiled(data, self.letters, 0.5)]
        if random.random() < 0.3:
            parts.append(self.spoiled(json.dumps(random.choice(OPTIONS)).encode(), self.letters, 0.3))
        if random.random() < 0.05:
            parts = [mutated(random, part, self.letters) for part in parts * random.choice([0, 1, 2])]
        return [sender, *parts]

    def take(self, parts: list[bytes]) -> bool:
        sender, *message = parts
        self.gate.clients.take(sender, message)
        if self.gate.order["overload"] == "drop-oldest":
            self.gate.pending.drop_oldest(self.gate.order["in_flight"])
        for _ in range(3):
            self.gate.outbox.flush()
            self.pipeline.turn(self.gate)
        self.gate.answers.send()
        refused = False
        for to, data in self.gate.frontend.socket.taken():
            answer = unpack(data)
            refused |= answer.kind in (REFUSED, RESEND)
            assert answer.kind != REFUSED or text_of(answer)
            if to in self.following and answer.number == self.following[to]:
                self.following[to] += 1
        return not refused

    def close(self) -> None:
        """A gate that begins anew from the journal must know what this one knew."""
        self.gate.outbox.flush()
        self.gate.journal.close()
        self.gate.eviction.disk.close()
        with patch("streamrnn.workers.admission.connections.open_authenticated", AuthenticatedSocket):
            again: Any = Gate(Worker(self.order | {"epoch": EPOCH + 1}))  # type: ignore[arg-type]
        try:
            again.obey({"kind": "open", "rate": 0.1})
            self.pipeline.replay(again)
            assert self.gate.eviction.on_disk == again.eviction.on_disk
            for name in ("seq", "names", "free", "begun", "waiting", "stale", "used"):
                before, after = getattr(self.gate.intake, name), getattr(again.intake, name)
                assert before == after, f"{name} was {before} and is {after} after a failure"
        finally:
            again.journal.close()
            again.eviction.disk.close()
            self.folder.cleanup()
