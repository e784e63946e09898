"""The gate's socket for clients: who can be reached, and answers that wait for clients whose line broke."""

import math
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import zmq

from streamrnn.kernels.messages import ALIVE
from streamrnn.protocol.wire import Message, pack
from streamrnn.workers.authenticated_socket import AuthenticatedSocket, open_authenticated
from streamrnn.workers.worker import Worker

MOST_ANSWERS = 10_000  # that a client has not read; it loses those beyond
SEEN_TIME = 0.2  # seconds for which a client that was there counts as there
LARGEST_READ = 1 << 22  # bytes; whoever sends more is cut off by the socket
MOST_UNREAD = 100  # messages of a client that wait in the socket; it must wait with those beyond
RETURN_TIME = 1.0  # seconds in which clients whose line broke come back


def open_frontend(worker: Worker, order: dict[str, Any]) -> AuthenticatedSocket:
    """The socket where clients come in. Raises Failure if its address cannot be had."""
    limits = {
        zmq.MAXMSGSIZE: LARGEST_READ,
        zmq.SNDHWM: MOST_ANSWERS,
        zmq.RCVHWM: MOST_UNREAD,
        zmq.ROUTER_MANDATORY: 1,
        zmq.ROUTER_HANDOVER: 1,  # a client that comes back keeps its name
        # not ZeroMQ's heartbeat: libzmq 4.3 aborts when one is due to a peer that has gone with its messages unread
        zmq.TCP_KEEPALIVE: 1,
        zmq.TCP_KEEPALIVE_IDLE: 10,
        zmq.TCP_KEEPALIVE_INTVL: 5,
        zmq.TCP_KEEPALIVE_CNT: 2,
    }
    return open_authenticated(worker, zmq.ROUTER, order["gate"], limits, order["keys"])


class Connections:
    """Sends to clients, and knows which of them are there."""

    def __init__(self, frontend: AuthenticatedSocket) -> None:
        self.frontend = frontend
        self.seen: dict[bytes, float] = {}  # clients that were there, and when
        self.away: dict[bytes, tuple[float, deque[Message]]] = {}  # clients that cannot be reached, since when, answers

    def reply(self, to: bytes, message: Message) -> None:
        """Answer a client; one whose line is broken may come back for it."""
        if to in self.away or not self.reach(to, message):
            _, answers = self.away.setdefault(to, (time.monotonic(), deque()))
            answers.append(message)

    def reach(self, to: bytes, message: Message) -> bool:
        """Whether a client is there; if it does not read its answers, it goes without."""
        try:
            self.frontend.socket.send_multipart([to, pack(message)], zmq.DONTWAIT)
        except zmq.Again:
            pass
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True

    def is_there(self, client: bytes) -> bool:
        """Whether a client can be reached, or could a moment ago."""
        now = time.monotonic()
        if now - self.seen.get(client, -math.inf) >= SEEN_TIME:
            if not self.reach(client, Message(ALIVE)):
                return False
            self.seen[client] = now
        return True

    def forget_seen(self, now: float) -> None:
        """Forget when clients were there that have not been for a moment."""
        self.seen = {sender: when for sender, when in self.seen.items() if now - when < SEEN_TIME}

    def lost(self) -> Iterator[bytes]:
        """Answer the clients that have come back; those that have been away for too long."""
        for sender, (since, answers) in list(self.away.items()):
            while answers and self.reach(sender, answers[0]):
                answers.popleft()
            if not answers:
                del self.away[sender]
            elif time.monotonic() - since > RETURN_TIME:
                del self.away[sender]
                yield sender
