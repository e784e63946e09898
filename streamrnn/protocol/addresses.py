"""Addresses of sockets: `ipc://PATH` and `tcp://HOST:PORT`."""

import ipaddress

EVERYWHERE = ("*", "0.0.0.0")  # hosts that stand for every interface of the machine
HERE = "127.0.0.1"


def host_of(endpoint: str) -> str:
    """Of a tcp address; empty for any other."""
    scheme, _, address = endpoint.partition("://")
    return address.rpartition(":")[0] if scheme == "tcp" else ""


def is_local(endpoint: str) -> bool:
    """Whether only this machine can reach it."""
    host = host_of(endpoint)
    try:
        return not host or host == "localhost" or ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


def as_seen_with(control: str, endpoint: str) -> str:
    """Where a daemon's socket is for who reaches its control socket at that address: where it listens on every
    interface, at the same host."""
    if host_of(endpoint) not in EVERYWHERE:
        return endpoint
    host = host_of(control)
    if not host or host in EVERYWHERE:
        host = HERE
    return f"tcp://{host}:{endpoint.rpartition(':')[2]}"
