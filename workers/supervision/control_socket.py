"""What clients ask about a daemon, answered at its control socket, see `control_protocol`."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import zmq

from streamrnn.storage.files import NOT_JSON
from streamrnn.workers.authenticated_socket import AuthenticatedSocket
from streamrnn.workers.supervision.control_protocol import HistoryRequest, Status, StreamsRequest, control_request
from streamrnn.workers.supervision.placement import PUBLISHER
from streamrnn.workers.worker import received

MESSAGES = 64  # of clients, before workers are heard again


class ControlSocket:
    """`refused` counts messages that asked for nothing.

    order(name, kind, **facts)  tell a worker what to do
    hello(), status()           what these questions are answered with, in plain values
    """

    def __init__(
        self,
        frontend: AuthenticatedSocket,
        order: Callable[..., Any],
        hello: Callable[[], dict[str, Any]],
        status: Callable[[], dict[str, Any]],
    ) -> None:
        self.frontend, self.order, self.hello, self.status = frontend, order, hello, status
        self.refused = 0

    def hear(self) -> None:
        """Answer what has come."""
        for identity, *parts in received(self.frontend.socket, MESSAGES):
            if answer := self.answer(identity, parts):
                self.reply(identity, answer)

    def answer(self, identity: bytes, parts: list[bytes]) -> dict[str, Any] | None:
        """What a client asked for: "hello", "status", "history" or "streams"; the publisher answers these two."""
        try:
            asked = control_request(parts)
        except NOT_JSON:
            self.refused += 1
            return {"error": 'ask for "hello" or "status" with a JSON object such as {"ask": "status"}'}
        if isinstance(asked, HistoryRequest | StreamsRequest):
            kind = "history" if isinstance(asked, HistoryRequest) else "streams"
            self.order(PUBLISHER, kind, asker=identity.hex(), **msgspec.structs.asdict(asked))
            return None
        facts = self.status() if isinstance(asked, Status) else self.hello()
        return {"number": asked.number, **facts}

    def reply(self, identity: bytes, answer: dict[str, Any], data: Sequence[bytes] = ()) -> None:
        """Answer a client, if it reads its answers."""
        with suppress(zmq.Again):
            self.frontend.socket.send_multipart([identity, msgspec.json.encode(answer), *data], zmq.DONTWAIT)
