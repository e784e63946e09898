"""A public socket: an address where clients come in, those that may.

With keys, everything that passes is encrypted (CURVE), and only a client whose key the daemon knows gets in (ZAP). When
a key is revoked, the connections made with it end too: the socket is closed and bound again, and all other clients
reconnect by themselves. A process has one such socket at most.
"""

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import zmq

from streamrnn.config import Config
from streamrnn.protocol.addresses import is_local
from streamrnn.protocol.keys import Keys
from streamrnn.workers.worker import Failure, Worker, bind

LOOK_INTERVAL = 1.0  # seconds between looks at the keys
CLOSE_TIMEOUT = 5.0  # seconds until an address must be free again
REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
GONE = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL  # as a plain client does when it sees that it must show a key


class AuthenticatedSocket:
    """`keys`: the folder of keys; None lets everybody in."""

    socket: zmq.Socket
    _events: zmq.Socket  # what befalls it

    def __init__(
        self, context: zmq.Context, kind: int, endpoint: str, options: dict[int, int], keys: Path | None
    ) -> None:
        self._context, self._kind, self._endpoint, self._options = context, kind, endpoint, options
        self._keys = Keys(keys) if keys else None
        self._own = self._keys.own() if self._keys else None
        self._authenticator: Any = None
        self._rejected = 0
        self._refused = REFUSED | (GONE if keys else 0)
        self._admitted: set[str] = set()  # keys with which clients have come in
        self._looked = time.monotonic()
        self._open = False

    def open(self) -> None:
        """Let clients in. Raises Failure if the address cannot be had."""
        if self._own and not self._authenticator:
            self._authenticator = self._start_authenticator()  # before anybody can connect: without it all would get in
        self.socket = self._context.socket(self._kind)
        self.socket.setsockopt(zmq.LINGER, 1000)
        for option, value in self._options.items():
            self.socket.setsockopt(option, value)
        if self._own:
            self.socket.curve_secretkey = self._own.secret.encode()
            self.socket.curve_server = True
        address = f"inproc://events-{id(self.socket)}"
        self.socket.monitor(address, self._refused | zmq.EVENT_CLOSED)
        self._events = self._context.socket(zmq.PAIR)
        self._events.setsockopt(zmq.RCVHWM, 0)  # a socket waits where its events are not taken
        self._events.connect(address)
        self._open = True
        bind(self.socket, self._endpoint)

    @property
    def rejected(self) -> int:
        """How many have been turned away."""
        while self._events.poll(0):
            self._take_event()
        return self._rejected

    def look(self) -> bool:
        """See now and then whether a key was revoked with which a client has come in; true if all must come in anew."""
        if not self._keys or time.monotonic() - self._looked < LOOK_INTERVAL:
            return False
        self._looked = time.monotonic()
        try:
            revoked = self._admitted - self._allowed()
        except OSError:  # such as too many open files: the next look will tell
            return False
        if revoked:
            self._admitted -= revoked
            self._leave_address()
            self._close_socket()
            self.open()
        return bool(revoked)

    def close(self) -> None:
        """Let go of everything; what was sent is still delivered."""
        if self._open:
            self._close_socket()
        if self._authenticator:
            self._authenticator.stop()

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether a client may come in: the name by which the authenticator, in a thread of its own, calls it."""
        name = key.decode()
        with suppress(OSError):
            if name in self._allowed():
                self._admitted.add(name)
                return True
        return False

    def _allowed(self) -> set[str]:
        """The keys that are let in: those of clients, and the daemon's own."""
        assert self._keys
        assert self._own
        return {self._own.public, *self._keys.clients().values()}

    def _start_authenticator(self) -> Any:
        from zmq.auth.thread import ThreadAuthenticator  # it takes a while to import, and most daemons have no keys

        authenticator = ThreadAuthenticator(self._context)
        authenticator.start()
        authenticator.configure_curve_callback(credentials_provider=self)
        return authenticator

    def _take_event(self) -> int:
        """Which it was, of what befell the socket."""
        head, _ = self._events.recv_multipart()
        event = int.from_bytes(head[:2], sys.byteorder)
        self._rejected += bool(event & self._refused)
        return event

    def _leave_address(self) -> None:
        """Listen no more; returns when another socket can."""
        self.socket.unbind(str(self.socket.get_string(zmq.LAST_ENDPOINT)))
        until = time.monotonic() + CLOSE_TIMEOUT
        while self._events.poll(int(max(0.0, until - time.monotonic()) * 1000)):
            if self._take_event() == zmq.EVENT_CLOSED:
                return
        raise Failure(f"{self._endpoint} is still in use {CLOSE_TIMEOUT:.0f} s after it was left")

    def _close_socket(self) -> None:
        self.socket.monitor(None, 0)
        self._events.close(0)
        self.socket.close()
        self._open = False


def keys_of(config: Config) -> Path | None:
    """The folder of keys, if sockets need one. Raises KeysError, and Failure where nobody could come in."""
    if not config.security.curve:
        return None
    keys = Keys(config.keys)
    keys.own()
    remote = not all(map(is_local, msgspec.structs.astuple(config.sockets)))
    if remote and not any(keys.clients().values()):
        raise Failure("no client has a key, so nobody could come in: make one with streamrnn keys new CONFIG NAME")
    return config.keys


def open_authenticated(
    worker: Worker, kind: int, endpoint: str, options: dict[int, int], keys: str | None
) -> AuthenticatedSocket:
    """A worker's socket for clients, closed when that ends. Raises Failure if the address cannot be had."""
    frontend = AuthenticatedSocket(worker.context, kind, endpoint, options, Path(keys) if keys else None)
    worker.sockets.append(frontend)
    frontend.open()
    return frontend
