"""Commands to a running daemon, on a socket of their own in its state folder, which only its user can reach.

A command is a JSON object such as {"do": "stop"}; each is answered with one: {"done": ...} or {"error": ...}.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import msgspec
import zmq

from streamrnn.storage.files import NOT_JSON
from streamrnn.workers.worker import bind, received

LARGEST = 1 << 12  # bytes of a message
MESSAGES = 64  # before the rest of the work goes on


class Command(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be done."""

    do: Literal["stop", "reload", "checkpoint"]


@contextmanager
def endpoint(folder: Path) -> Iterator[str]:
    """Where the daemon of a state folder takes commands, for who binds or connects: short, however long its path is."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"ipc:///proc/self/fd/{descriptor}/command"
    finally:
        os.close(descriptor)


class CommandSocket:
    """The daemon's end: `hear` takes what has come. Raises Failure if the address cannot be had."""

    def __init__(self, context: zmq.Context, folder: Path) -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 1000)
        self.socket.setsockopt(zmq.MAXMSGSIZE, LARGEST)
        with endpoint(folder) as address:
            bind(self.socket, address)
        self._waiting: list[bytes] = []  # for a checkpoint

    def hear(self, actions: dict[str, Callable[[], Any]]) -> int:
        """Do what has come; how many were no commands. A checkpoint is answered by `answer_waiting`."""
        refused = 0
        for identity, *parts in received(self.socket, MESSAGES):
            try:
                command = msgspec.json.decode(parts[0] if len(parts) == 1 else b"", type=Command)
            except NOT_JSON:
                refused += 1
                self._answer(identity, error='say what to do: {"do": "stop"}, "reload" or "checkpoint"')
                continue
            actions[command.do]()
            if command.do == "checkpoint":
                self._waiting.append(identity)
            else:
                self._answer(identity, done=command.do)
        return refused

    def answer_waiting(self, **facts: str) -> None:
        """Answer those who wait for a checkpoint."""
        while self._waiting:
            self._answer(self._waiting.pop(), **facts)

    def _answer(self, identity: bytes, **facts: Any) -> None:
        with suppress(zmq.Again):
            self.socket.send_multipart([identity, msgspec.json.encode(facts)], zmq.DONTWAIT)


def ask(folder: Path, do: str, timeout: float) -> str:
    """Have the daemon of a state folder do something; what it has done. Raises ConnectionError, ValueError."""
    if not folder.is_dir():
        raise ConnectionError(f"no daemon runs with {folder}: there is no such folder")
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket, endpoint(folder) as address:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, LARGEST)
        socket.connect(address)
        socket.send(msgspec.json.encode({"do": do}))
        if not socket.poll(int(timeout * 1000)):
            raise ConnectionError(f"no daemon answers that runs with {folder} (waited {timeout} s)")
        answer = msgspec.json.decode(socket.recv())
    if "error" in answer:
        raise ValueError(answer["error"])
    return str(answer["done"])
