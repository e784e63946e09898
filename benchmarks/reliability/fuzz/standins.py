"""What a worker is given in the place of its sockets and of its supervisor."""

from typing import Any


class Socket:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def send_multipart(self, parts: list[bytes], *_: Any) -> None:
        self.sent.append(parts)

    def taken(self) -> list[Any]:
        """What was sent since the last call."""
        sent, self.sent = self.sent, []
        return sent


class AuthenticatedSocket:
    """One that anybody may use."""

    rejected = 0

    def __init__(self, *_: Any) -> None:
        self.socket = Socket()

    def close(self) -> None:
        pass


class Worker:
    """What a worker gets from the real one, and no supervisor behind it."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.reports: list[tuple[str, list[bytes], dict[str, Any]]] = []

    def first_order(self) -> dict[str, Any]:
        return self.order

    def socket(self, *_: Any, **__: Any) -> Socket:
        return Socket()

    def report(self, kind: str, data: Any = (), **facts: Any) -> None:
        self.reports.append((kind, list(data), facts))
