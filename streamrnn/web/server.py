"""Serves the page: a socket, a token, and the address with it."""

import ipaddress
import os
import secrets
import socket
from pathlib import Path
from typing import NamedTuple

import uvicorn

from streamrnn.protocol.secrets import secret
from streamrnn.storage import private
from streamrnn.web.app import application
from streamrnn.web.guard import Guard
from streamrnn.web.watch import Watch

HERE = "127.0.0.1"
LOOPBACK = HERE, "localhost", "[::1]"
GRACE = 1  # seconds that open connections get in the end


class Tls(NamedTuple):
    """Files in PEM."""

    certificate: Path
    private_key: Path


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A socket at that address; port 0: at a free one. Raises OSError."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, number)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}; --port names another") from None
    return listening


def new_token() -> str:
    """One that nobody guesses."""
    return secrets.token_urlsafe(24)


def token_in(path: Path) -> str:
    """The token in a file that only its user can read, which is made where there is none. Raises OSError."""
    if not path.exists():
        private.write_new(path, f"{new_token()}\n".encode())
    found = secret(str(path))
    if len(found) < 16 or not found.isascii() or not found.replace("-", "").replace("_", "").isalnum():
        raise OSError(f"{path}: a token has at least 16 letters, digits, - and _; remove the file to have one made")
    return found


def address_of(listening: socket.socket, host: str, secure: bool) -> str:
    """Of the page, without its token."""
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if secure else 'http'}://{shown}:{listening.getsockname()[1]}/"


def serve(
    listening: socket.socket, host: str, token: str, control: str, key: Path | None, page: bool, tls: Tls | None = None
) -> None:
    """Until Ctrl-C or SIGTERM."""
    port = listening.getsockname()[1]
    names = {*LOOPBACK, f"[{host}]" if ":" in host else host}
    hosts = {f"{name}:{port}" for name in names}
    if port == (443 if tls else 80):
        hosts |= names
    guard = Guard(application(Watch(control, key), page), token, port, hosts, tls is not None)
    certificate = {"ssl_certfile": os.fspath(tls.certificate), "ssl_keyfile": os.fspath(tls.private_key)} if tls else {}
    config = uvicorn.Config(
        guard,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
        **certificate,  # type: ignore[arg-type]
    )
    uvicorn.Server(config).run(sockets=[listening])
