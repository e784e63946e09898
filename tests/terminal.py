"""A daemon on a pseudo terminal, and what a person sees there."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from contextlib import suppress

from daemon import TIMEOUT, Daemon

PANEL = re.compile(r"╭─ [^╯]*╯|\+- [a-z].*?-\+.*?-\+", re.DOTALL)
CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")


class Terminal:
    """Runs a daemon in a terminal of that many columns and rows; a context manager."""

    def __init__(self, daemon: Daemon, columns: int = 100, rows: int = 40, **environment: str) -> None:
        self._main, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._process = daemon.process = subprocess.Popen(
            daemon._command("--no-web"),
            stdin=subprocess.DEVNULL,
            stdout=other,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"TERM": "xterm", "COLUMNS": str(columns), "LINES": str(rows)} | environment,
            start_new_session=True,
        )
        os.close(other)
        self._data, self._more = b"", threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # where it has not been stopped
        self._reader.join()
        os.close(self._main)

    def _read(self) -> None:
        """What comes, at once; until the daemon has ended."""
        with suppress(OSError):
            while data := os.read(self._main, 1 << 16):
                with self._more:
                    self._data = self._data[-(1 << 16) :] + data
                    self._more.notify()

    def see(self, *wanted: str) -> list[str]:
        """The lines of a panel that has all of these patterns."""
        lines: list[str] = []

        def seen() -> bool:
            nonlocal lines
            panels = PANEL.findall(CONTROL.sub("", self._data.decode(errors="ignore")))
            lines = panels[-1].splitlines() if panels else []
            return all(re.search(each, "\n".join(lines)) for each in wanted)

        with self._more:
            assert self._more.wait_for(seen, TIMEOUT), "\n".join(lines)
        return lines
