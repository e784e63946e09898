"""The control protocol: a numbered question in JSON, and the answer with the same number."""

from itertools import count
from typing import Any

import msgspec

from streamrnn.client.connection import RETRY
from streamrnn.client.lines import Line

CONTROL = "tcp://127.0.0.1:5703"  # where a daemon answers unless its config says otherwise
QUESTIONS = count(1)  # their numbers


async def ask(line: Line, question: dict[str, Any], timeout: float) -> tuple[dict[str, Any], list[bytes]] | None:
    """The answer to a question, and the messages that go with it; None if there is none within `timeout` seconds.

    A daemon that recovers, or opens its sockets anew, may lose a question, so it is asked again and again; late answers
    to earlier questions are passed over.
    """
    number, deadline = next(QUESTIONS), line.now() + timeout
    while (left := deadline - line.now()) > 0:
        line.send([msgspec.json.encode({**question, "number": number})])
        while parts := await line.receive(min(left, RETRY)):
            answer, *data = parts
            facts = msgspec.json.decode(answer)
            if facts.pop("number", None) == number:
                return facts, data
    return None
