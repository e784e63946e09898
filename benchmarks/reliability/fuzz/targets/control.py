"""What answers questions about a daemon."""

import json
import tempfile
from random import Random
from typing import Any

import msgspec

from benchmarks.reliability.fuzz.standins import AuthenticatedSocket, Socket
from benchmarks.reliability.fuzz.targets.config import EVERY_KEY
from benchmarks.reliability.fuzz.targets.target import Target
from streamrnn import config
from streamrnn.workers.supervisor import Supervisor

QUESTIONS = [
    b'{"ask": "hello"}',
    b'{"ask": "status"}',
    b'{"ask": "history", "stream": "a"}',
    b'{"ask": "history", "stream": "\\u00fc", "after": 5, "before": 1000}',
    b'{"ask": "history", "stream": "a", "after": -1, "before": 0}',
    b'{"ask": "shutdown"}',
    b'["ask"]',
    b'{"ask": {"ask": "hello"}}',
    b'{"ask": "hello", "x": ' + b"[" * 5000 + b"}",
    b'{"ask": "history", "stream": "\xff"}',
]


class Control(Target):
    """The supervisor's answers to whoever asks, each of which must go out as JSON."""

    name, share = "control", 50

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        text = EVERY_KEY.read_text().replace("/tmp/", f"{self.folder.name}/")
        self.supervisor: Any = Supervisor(config.parse(text))
        self.supervisor.group.inner, self.supervisor.frontend = Socket(), AuthenticatedSocket()

    def make(self) -> list[bytes]:
        parts = [self.spoiled(self.random.choice(QUESTIONS), QUESTIONS, 0.7)]
        return parts * self.random.choice([1] * 30 + [0, 2])

    def take(self, parts: list[bytes]) -> bool:
        refused = self.supervisor.refused
        answer = self.supervisor.control.answer(b"\0me", parts)
        orders = [json.loads(order) for _, order in self.supervisor.group.inner.taken()]
        assert (answer is None) == (len(orders) == 1)
        if answer is not None:
            assert len(msgspec.json.encode(answer)) < 10_000
            assert ("error" in answer) == (self.supervisor.refused == refused + 1)
        return answer is None or "error" not in answer

    def close(self) -> None:
        self.supervisor.group.inner = None
        self.supervisor.close()
        self.folder.cleanup()
