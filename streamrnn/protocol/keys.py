"""The keys by which a daemon and its clients know each other (CURVE), and the files that they are in.

    FOLDER/daemon.key         the daemon's key
    FOLDER/clients/NAME.pub   the public key of a client that it lets in

A client's key is in a file of its own, wherever the client is. Keys are in Z85, files in JSON.
"""

import os
import re
import struct
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import zmq
from zmq.utils import z85

from streamrnn.storage import private

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}", re.ASCII)

Z85 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}\Z")]


class KeysError(ValueError):
    """A key cannot be had or made; the text is one clear line."""


class Public(msgspec.Struct, forbid_unknown_fields=True):
    """What a daemon has of a client."""

    public: Z85


class Key(Public, forbid_unknown_fields=True):
    """A client's key, and the public key of its daemon; a daemon's own key has that twice."""

    secret: Z85
    daemon: Z85


Kind = TypeVar("Kind", bound=Public)


def load(path: str | os.PathLike[str]) -> Key:
    """The key in a file that nobody else can read; `~` is the home folder. Raises KeysError."""
    path = Path(os.path.expanduser(path))
    try:
        key = _decode(private.read(path), path, Key)
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}" if error.strerror else str(error)) from None
    if _public_of(key.secret) != key.public:
        raise KeysError(f"{path}: damaged, its public key is not that of its secret key")
    try:
        z85.decode(key.daemon)
    except struct.error:  # five such characters may say more than four bytes can hold
        raise KeysError(f"{path}: damaged, its daemon's key is none") from None
    return key


def connect_with(socket: zmq.Socket, key: Key) -> None:
    """Have a socket show this key, and speak to that daemon only."""
    socket.curve_serverkey = key.daemon.encode()
    socket.curve_publickey, socket.curve_secretkey = key.public.encode(), key.secret.encode()


class Keys:
    """A daemon's folder of keys, made if there is none. Raises KeysError if others may write there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._clients = folder, folder / "clients"
        self.path = folder / "daemon.key"
        try:
            private.make_folder(folder)
            private.make_folder(self._clients)
            if not self.path.exists():
                public, secret = _new_pair()
                private.write_new(self.path, msgspec.json.encode(Key(public, secret, public)))
        except FileExistsError:  # another process has just made it
            pass
        except OSError as error:
            raise KeysError(str(error)) from None

    def own(self) -> Key:
        """The daemon's key. Raises KeysError."""
        return load(self.path)

    def clients(self) -> dict[str, str]:
        """The public keys of the clients that may come in, by name; a damaged one is empty, and lets nobody in."""
        found = {}
        for path in sorted(self._clients.glob("*.pub")):
            try:
                found[path.stem] = _decode(path.read_bytes(), path, Public).public
            except FileNotFoundError:  # revoked just now
                continue
            except KeysError:
                found[path.stem] = ""
        return found

    def new(self, name: str, out: Path) -> None:
        """Make a client's key, into a file of its own, and let it in. Raises KeysError, and nothing is made."""
        public, secret = _new_pair()
        key, known = Key(public, secret, self.own().public), self._path(name)
        try:
            private.write_new(known, msgspec.json.encode(Public(public)))
        except FileExistsError:
            raise KeysError(f"{name} has a key: revoke it before you make another, or choose another name") from None
        try:
            private.write_new(out, msgspec.json.format(msgspec.json.encode(key)))
        except OSError as error:
            known.unlink()
            raise KeysError(f"{out}: {error.strerror}; name another file") from None

    def revoke(self, name: str) -> None:
        """Let a client in no more. Raises KeysError if none has that name."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            there = ", ".join(self.clients()) or "nobody"
            raise KeysError(f"{name} has no key that could be revoked; {there} has one") from None

    def made(self, name: str) -> float:
        """When a client's key was made, in seconds since 1970."""
        return self._path(name).stat().st_mtime

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise KeysError(f'"{name}" cannot be a name: 1 to 64 letters, digits, "-", "_" and ".", no dot in front')
        return self._clients / f"{name}.pub"


def _decode(data: bytes, path: Path, kind: type[Kind]) -> Kind:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise KeysError(f"{path}: damaged, or not a key of streamrnn: {error}") from None


def _new_pair() -> tuple[str, str]:
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def _public_of(secret: str) -> str:
    """Empty if that is no secret key."""
    try:
        return zmq.curve_public(secret.encode()).decode()
    except zmq.ZMQError:
        return ""
