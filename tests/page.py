"""A real `streamrnn web` for a test, asked by raw HTTP."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 60.0  # seconds


class Web:
    """Runs `streamrnn web` or `streamrnn metrics` for a daemon; a context manager."""

    def __init__(self, control: str, folder: Path, *options: str, command: str = "web") -> None:
        self.token_file = folder / "token"
        given = ["--control", control, "--port", "0", "--token", str(self.token_file), *options]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamrnn", command, *given], stdout=subprocess.PIPE, encoding="utf-8"
        )

    def __enter__(self) -> "Web":
        assert self.process.stdout
        self.printed = self.process.stdout.readline().strip()
        self.token = self.token_file.read_text().strip()
        address = urlsplit(self.printed)
        assert address.hostname
        assert address.port
        self.host, self.port = address.hostname, address.port
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.communicate(timeout=TIMEOUT)
        finally:
            self.process.kill()

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def cookie(self) -> dict[str, str]:
        return {"Cookie": f"streamrnn-{self.port}={self.token}"}

    def ask(self, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
        """The answer to one request, whose body may still come; names of headers with _ for -."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        return connection.getresponse()

    def events(self, path: str, **headers: str) -> Iterator[tuple[str, str, Any]]:
        """Kind, id and data of events as they come."""
        answer = self.ask(path, Accept="text/event-stream", **self.bearer, **headers)
        assert answer.status == 200
        found: dict[str, str] = {}
        try:
            for line in answer:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    found[name] = value
                elif "data" in found:
                    yield found["event"], found.get("id", ""), json.loads(found["data"])
                    found = {}
        finally:
            answer.close()
