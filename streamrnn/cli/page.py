"""The page beside `streamrnn run`: a process of its own that ends with the daemon, and whose end the daemon ignores."""

import os
import socket
import subprocess
import sys
import webbrowser
from pathlib import Path
from typing import NoReturn

from streamrnn.cli.exits import Exit, fail

PORT = 8787
SOCKET, TOKEN, DAEMON = (f"STREAMRNN_PAGE_{name}" for name in ("SOCKET", "TOKEN", "DAEMON"))  # how the child is told
GRACE = 2.0  # seconds that it gets to end


class Page:
    """Its address is known at once; who opens it before it is served waits for a moment."""

    def __init__(self, port: int | None) -> None:
        """port: without one it is PORT, or a free one where that is taken. Raises OSError."""
        from streamrnn.web import server

        try:
            self._listening = server.listen(server.HERE, PORT if port is None else port)
        except OSError:
            if port is not None:
                raise
            self._listening = server.listen(server.HERE, 0)
        self._token = server.new_token()
        self.address = f"{server.address_of(self._listening, server.HERE, secure=False)}?token={self._token}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, control: str, key: Path | None, show: bool) -> None:
        """Serve it; show: open it in this user's browser."""
        number = self._listening.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streamrnn.cli.page", control, *([str(key)] if key else [])],
            env=os.environ | {SOCKET: str(number), TOKEN: self._token, DAEMON: str(os.getpid())},
            pass_fds=[number],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the daemon
        )
        self._listening.close()
        if show:
            webbrowser.open(self.address)

    @property
    def pid(self) -> int:
        """Of its process, 0 before it is served."""
        return self._process.pid if self._process else 0

    def close(self) -> None:
        """End it."""
        self._listening.close()
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def wanted(web: bool | None, port: int | None, show: bool, watched: bool) -> bool:
    """Whether a daemon gets a page: as asked for, else where somebody watches it and the extra is installed.

    Ends the command where it is asked for and cannot be.
    """
    from streamrnn.cli.web import installed

    asked = web or show or port is not None
    if asked and web is False:
        fail("--no-web is for no page: --open and --port are for one", Exit.USAGE)
    if asked and not installed():
        fail("the page needs more than is installed: pip install streamrnn[web]", Exit.USAGE)
    return bool(asked or (web is None and watched and installed()))


def main() -> NoReturn:
    """The child: it serves until the daemon is gone."""
    from streamrnn.workers.worker import end_with_parent

    end_with_parent()
    if os.getppid() != int(os.environ.pop(DAEMON)):  # it has ended already
        sys.exit()
    from streamrnn.web import server

    listening = socket.socket(fileno=int(os.environ.pop(SOCKET)))
    control, *key = sys.argv[1:]
    path = Path(key[0]) if key else None
    server.serve(listening, server.HERE, os.environ.pop(TOKEN), control, path, page=True)
    sys.exit()


if __name__ == "__main__":
    main()
