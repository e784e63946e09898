"""How an MQTT broker is reached: what sources and sinks have in common, with the keys of their tables of the config."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from streamrnn.protocol.secrets import secret

if TYPE_CHECKING:
    from ssl import SSLContext

    from paho.mqtt.client import Client

PORTS = {"mqtt": 1883, "mqtts": 8883}
PATHS = ("password_file", "ca", "certificate", "certificate_key")  # keys that are paths
KEEPALIVE = 30  # seconds of silence after which the connection is tried
SLOWEST = 30  # seconds between two tries to connect, at most


class Access(Protocol):
    """What a table says of its broker."""

    @property
    def url(self) -> str: ...  # mqtt://HOST or mqtts://HOST (TLS), and :PORT where it is not 1883 or 8883
    @property
    def user(self) -> str | None: ...
    @property
    def password_file(self) -> str | None: ...  # of mode 600
    @property
    def ca(self) -> str | None: ...  # file of the certificates to trust; None: the system's
    @property
    def certificate(self) -> str | None: ...  # file of one to be shown to the broker
    @property
    def certificate_key(self) -> str | None: ...  # file of its key; None: in the same file


def address(url: str) -> tuple[str, int]:
    """Host and port. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname or parts.username or parts.path.strip("/") or parts.query:
        raise ValueError(url)
    return parts.hostname, parts.port or PORTS[parts.scheme]


def problems(access: Access) -> Iterator[tuple[str, str]]:
    """Keys that cannot be as they are, and why."""
    try:
        address(access.url)
    except ValueError:
        yield "url", f'must be mqtt://HOST:PORT or mqtts://HOST:PORT, not "{access.url}"'
    if access.url.startswith("mqtt:") and (access.ca or access.certificate):
        yield "url", "must begin with mqtts:// where certificates are given"
    if access.password_file and not access.user:
        yield "user", "must be given with a password_file"


def client_for(access: Access, client_id: str, manual_ack: bool = False) -> "Client":
    """A client of version 5 that is not connected yet. Raises OSError where a file of secrets cannot be used."""
    from paho.mqtt.client import Client, MQTTv5
    from paho.mqtt.enums import CallbackAPIVersion

    client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTv5, manual_ack=manual_ack)
    client.reconnect_delay_set(1, SLOWEST)
    client.suppress_exceptions = True  # a thread that ends with one would say nothing
    if access.user:
        client.username_pw_set(access.user, secret(access.password_file) if access.password_file else None)
    if context := tls(access):
        client.tls_set_context(context)
    return client


def tls(access: Access) -> "SSLContext | None":
    """How to encrypt, None where it is not asked for. Raises OSError."""
    if not access.url.startswith("mqtts:"):
        return None
    import ssl

    try:
        context = ssl.create_default_context(cafile=access.ca)
        if access.certificate:
            context.load_cert_chain(access.certificate, access.certificate_key)
    except OSError as error:
        files = ", ".join(filter(None, (access.ca, access.certificate, access.certificate_key)))
        raise OSError(f"{files}: no certificates that can be used: {error}") from None
    return context
