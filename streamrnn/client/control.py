"""The control protocol: a numbered question in JSON, and the answer with the same number."""

import time
from contextlib import suppress
from itertools import count
from typing import Any

import msgspec
import zmq

from streamrnn.client.connection import RETRY

CONTROL = "tcp://127.0.0.1:5703"  # where a daemon answers unless its config says otherwise
QUESTIONS = count(1)  # their numbers


def ask(socket: zmq.Socket, question: dict[str, Any], timeout: float) -> tuple[dict[str, Any], list[bytes]] | None:
    """The answer to a question, and the messages that go with it; None if there is none within `timeout` seconds.

    A daemon that recovers, or opens its sockets anew, may lose a question, so it is asked again and again; late answers
    to earlier questions are passed over.
    """
    number, deadline = next(QUESTIONS), time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        with suppress(zmq.Again):  # not let in
            socket.send(msgspec.json.encode({**question, "number": number}))
        while socket.poll(int(min(left, RETRY) * 1000)):
            answer, *data = socket.recv_multipart()
            facts = msgspec.json.decode(answer)
            if facts.pop("number", None) == number:
                return facts, data
    return None
