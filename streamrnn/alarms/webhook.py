"""A webhook: each message in JSON by an HTTP POST, signed as the Standard Webhooks specification says.

    webhook-id           the message's `id`
    webhook-timestamp    when this try was made, in seconds since 1970
    webhook-signature    v1, and the HMAC-SHA256 of "ID.TIMESTAMP.BODY" in base64; only with a secret

See https://www.standardwebhooks.com. It answers with a status from 200 to 299; a redirect is not followed.
"""

import base64
import hmac
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import SplitResult, urlsplit

import msgspec

from streamrnn.alarms.outbox import Message
from streamrnn.alarms.table import Carrier, ReceiverTable, Surroundings
from streamrnn.protocol.secrets import secret
from streamrnn.sinks.sink import Problems, SinkError, reason
from streamrnn.tables import NonEmpty

if TYPE_CHECKING:
    from http.client import HTTPConnection
    from socket import socket

PREFIX = "whsec_"  # of secrets


class WebhookCarrier(Carrier):
    def __init__(self, table: "WebhookConfig") -> None:
        import ssl

        self._table = table
        try:
            self._url = address(secret(table.url_file) if table.url_file else table.url or "")
            self._secret = key(secret(table.secret_file)) if table.secret_file else b""
            self._tls = ssl.create_default_context(cafile=table.ca) if self._url.scheme == "https" else None
        except ValueError as error:
            raise SinkError(f"{table.url_file or table.secret_file}: {error}") from None
        except OSError as error:
            raise SinkError(f"{table.line}: {error}") from None

    def deliver(self, message: Message) -> None:
        from http.client import HTTPException

        body = msgspec.json.encode(message)
        try:
            with closing(self._connection()) as connection:
                connection.connect()
                with ended_after(self._table.timeout, connection.sock):
                    connection.request("POST", self._path, body, self._headers(message["id"], body))
                    answer = connection.getresponse()
        except HTTPException as error:
            raise self._error(f"does not answer as HTTP does ({type(error).__name__})") from None
        except OSError as error:
            raise self._error(reason(error)) from None
        if not 200 <= answer.status < 300:
            more = ", and redirects are not followed" if 300 <= answer.status < 400 else ""
            raise self._error(f"answers {answer.status} {answer.reason}{more}")

    def _connection(self) -> "HTTPConnection":
        from http.client import HTTPConnection, HTTPSConnection

        host, port = self._url.hostname or "", self._url.port
        if self._tls:
            return HTTPSConnection(host, port, timeout=self._table.timeout, context=self._tls)
        return HTTPConnection(host, port, timeout=self._table.timeout)

    @property
    def _path(self) -> str:
        return (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")

    def _headers(self, name: str, body: bytes) -> dict[str, str]:
        stamp = str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "user-agent": f"streamrnn/{version('streamrnn')}",
            "webhook-id": name,
            "webhook-timestamp": stamp,
        }
        if self._secret:
            digest = hmac.digest(self._secret, f"{name}.{stamp}.".encode() + body, "sha256")
            headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
        return headers

    def _error(self, text: str) -> SinkError:
        return SinkError(f"{self._table.line}: {text}")


class WebhookConfig(ReceiverTable, frozen=True, kw_only=True, tag="webhook"):
    paths: ClassVar[tuple[str, ...]] = ("url_file", "secret_file", "ca")

    url: NonEmpty | None = None  # http:// or https://
    url_file: NonEmpty | None = None  # or a file of mode 600 with it, where it is a secret itself
    secret_file: NonEmpty | None = None  # of mode 600, base64 in it: messages are signed with that
    ca: NonEmpty | None = None  # file of the certificates to trust; default: the system's

    @property
    def place(self) -> str:
        return f"webhook {self.url or self.url_file}"

    @property
    def line(self) -> str:
        return self.url or self.url_file or ""

    def problems(self) -> Problems:
        if (self.url is None) == (self.url_file is None):
            yield "url", "or url_file must be given, one of the two"
        if self.url is not None:
            try:
                address(self.url)
            except ValueError as error:
                yield "url", str(error)

    def carrier(self, about: Surroundings) -> WebhookCarrier:
        return WebhookCarrier(self)


def address(url: str) -> SplitResult:
    """Its parts. Raises ValueError, with what is wrong."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable() or " " in url or parts.fragment:
        raise ValueError("must be http://HOST:PORT/PATH or https://HOST:PORT/PATH")
    if parts.username is not None or parts.password is not None:
        raise ValueError("cannot have a user in it")
    return parts


def key(text: str) -> bytes:
    """The bytes of a secret. Raises ValueError."""
    try:
        found = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except ValueError:
        found = b""
    if not found:
        raise ValueError(f"must hold {PREFIX} and base64, as of: openssl rand -base64 32")
    return found


@contextmanager
def ended_after(seconds: float, connection: "socket") -> Iterator[None]:
    """A connection that ends then, also where something comes all the time. Raises TimeoutError."""
    from http.client import HTTPException
    from socket import SHUT_RDWR, socket

    late = threading.Event()

    def end() -> None:
        late.set()
        with suppress(OSError):
            socket.shutdown(connection, SHUT_RDWR)  # past TLS, which belongs to the other thread

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, HTTPException):
        if late.is_set():
            raise TimeoutError(f"does not answer within {seconds:g} s") from None
        raise
    finally:
        timer.cancel()
