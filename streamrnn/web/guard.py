"""Who may see the page: whoever has the token, and came to the right door.

A page of another site that runs in the same browser can send requests here too. It is kept out by the Host header, also
where its name has been made to point here (DNS rebinding), by Origin and Sec-Fetch-Site, and by a cookie that no other
site's request brings along.
"""

import hmac
from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qs

COOKIE = "streamrnn-{port}"  # cookies hold for all ports of a host
READING = "GET", "HEAD"
FROM_HERE = "same-origin", "none"  # Sec-Fetch-Site of the page itself, and of an address that was typed
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
HOW = "open the address with the token that was printed at the start, or send it as Authorization: Bearer\n"


class Guard:
    """ASGI middleware: an application behind it is reached only by who may, and cannot be changed anything of.

    hosts: what the Host header may be, each with its port.
    """

    def __init__(self, app: Any, token: str, port: int, hosts: Collection[str], secure: bool) -> None:
        self._app, self._token = app, token
        self._cookie = COOKIE.format(port=port)
        self._hosts, self._secure = hosts, secure
        self._origins = [f"{'https' if secure else 'http'}://{host}" for host in hosts]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *encoded(HEADERS)]
            await send(message)

        headers = Headers(scope["headers"])
        if fault := self._fault(scope["method"], headers):
            await answer(guarded, *fault)
        elif given := parse_qs(scope["query_string"].decode("latin-1")).get("token"):
            if not self._knows(given[-1]):
                await answer(guarded, 401, f"this is not the token: {HOW}")
                return
            cookie = f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/"
            cookie += "; Secure" if self._secure else ""
            await answer(guarded, 303, "", {"Location": "/", "Set-Cookie": cookie})
        elif not self._knows(headers.cookie(self._cookie)) and not self._knows(headers.bearer()):
            await answer(guarded, 401, HOW, {"WWW-Authenticate": "Bearer"})
        else:
            await self._app(scope, receive, guarded)

    def _fault(self, method: str, headers: "Headers") -> tuple[int, str] | None:
        """Why a request is refused whatever it brings along, None where it is not."""
        if headers.all("host") not in ([host] for host in self._hosts):
            return 403, "this is no address of this page\n"
        if any(origin not in self._origins for origin in headers.all("origin")):
            return 403, "another site may not read this page\n"
        if any(site not in FROM_HERE for site in headers.all("sec-fetch-site")):
            return 403, "another site may not read this page: type the address, or paste it\n"
        return None if method in READING else (405, "this page can only be read\n")

    def _knows(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


class Headers:
    """Of a request."""

    def __init__(self, raw: Collection[tuple[bytes, bytes]]) -> None:
        self._raw = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw]

    def all(self, wanted: str) -> list[str]:
        """The values of a header, as often as it came."""
        return [value for name, value in self._raw if name == wanted]

    def cookie(self, wanted: str) -> str:
        """A cookie; empty where it did not come."""
        pairs = (pair.strip().partition("=") for value in self.all("cookie") for pair in value.split(";"))
        return next((value for name, _, value in pairs if name == wanted), "")

    def bearer(self) -> str:
        """The token of the Authorization header; empty where there is none."""
        scheme, _, token = next(iter(self.all("authorization")), "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""


async def answer(send: Any, status: int, text: str, headers: dict[str, str] | None = None) -> None:
    """Answer with a line of text."""
    about = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text.encode())), **(headers or {})}
    await send({"type": "http.response.start", "status": status, "headers": encoded(about)})
    await send({"type": "http.response.body", "body": text.encode()})


def encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """As ASGI has them."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
