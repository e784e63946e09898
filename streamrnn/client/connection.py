"""A client's sockets: how they connect to a daemon's."""

import zmq

from streamrnn.protocol.keys import Key, connect_with

RETRY = 0.5  # seconds without an answer, after which a request is sent again
LARGEST_ANSWER = 1 << 26  # bytes; a daemon that sends more is cut off by the socket


def connect(socket: zmq.Socket, endpoint: str, key: Key | None) -> None:
    """Connect a client's socket to a daemon's, with a key where the daemon asks for one."""
    socket.setsockopt(zmq.MAXMSGSIZE, LARGEST_ANSWER)
    if key:
        connect_with(socket, key)
    socket.connect(endpoint)


def open_dealer(
    context: zmq.Context, endpoint: str, key: Key | None, timeout: float, identity: bytes = b""
) -> zmq.Socket:
    """A connected socket for requests; sending, and what is left to send when it closes, take `timeout` seconds."""
    socket = context.socket(zmq.DEALER)
    if identity:
        socket.setsockopt(zmq.IDENTITY, identity)
    socket.setsockopt(zmq.RCVHWM, 0)  # where a daemon ends, libzmq loses what is beyond
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
    socket.setsockopt(zmq.LINGER, int(timeout * 1000))
    socket.setsockopt(zmq.SNDTIMEO, int(timeout * 1000))
    connect(socket, endpoint, key)
    return socket
