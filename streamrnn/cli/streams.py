"""The standard streams of a command: open, able to show any text, and no reason for a daemon to stop."""

import codecs
import errno
import io
import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from streamrnn.workers.supervision import logs

PLAIN = {"→": "->", "←": "<-", "–": "-", "…": "...", "↵": "/", "·": ".", "µ": "u", "━": "=", "─": "-", "│": "|"}
PLAIN |= dict.fromkeys("╭╮╰╯", "+") | dict(zip("▁▂▃▄▅▆▇█", "_.-:=+*#", strict=True))
HANDLER = "streamrnn-plain"  # the name that Python knows `plain` by
UNWRITABLE = errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE
PIECE = select.PIPE_BUF  # bytes that a pipe takes without waiting where it takes any
PATIENCE = 200  # milliseconds until a stream that takes nothing counts as unread


def plain(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that a stream cannot show."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


codecs.register_error(HANDLER, plain)


def prepare() -> None:
    """Leave no closed stream's place to the next socket, and let no character be an error.

    Where standard input was closed, `sys.stdin` is None and stays so.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout, sys.stderr = (stream or os.fdopen(os.dup(1), "w") for stream in (sys.stdout, sys.stderr))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def output_fault(raised: Exception | None) -> OSError | None:
    """Why what a command has printed could not be written, whether that is what ended it or comes out only now."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left of it
        return error
    if isinstance(raised, OSError) and raised.filename is None and raised.errno in UNWRITABLE:
        return raised
    return None


class Steady:
    """A stream that stops nobody: what it does not take at once is left out, which the log says once each time."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream, self._name = stream, name
        self._descriptor = unblocked(stream.fileno())
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLOUT)
        self._lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As much as it takes."""
        data = text.encode(self._stream.encoding, HANDLER)
        while data and (count := self._write(data[:PIECE])):
            data = data[count:]
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""

    def _write(self, data: bytes) -> int:
        """The number of bytes written, 0 if it takes none."""
        try:
            if not self._poll.poll(0 if self._lost else PATIENCE):
                raise TimeoutError(0, "nobody reads it")
            count = os.write(self._descriptor, data)
        except OSError as error:
            if not self._lost:
                self._lost = True
                text = f"{self._name} cannot be written ({error.strerror}): the daemon goes on without it"
                logs.tell("warning", "output_lost", text, reason=error.strerror)
            return 0
        self._lost = False
        return count


def unblocked(descriptor: int) -> int:
    """The same pipe or terminal, opened once more so that no write to it waits; anything else as it is."""
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode) or os.isatty(descriptor):
        with suppress(OSError):  # nobody reads the pipe, or the terminal is another user's
            return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    return descriptor


def steadied(stream: TextIO, name: str) -> Any:
    """A stream as a daemon needs it; as it is where it is no file."""
    try:
        stream.flush()
        return Steady(stream, name)
    except OSError:
        return stream


@contextmanager
def steady() -> Iterator[None]:
    """Within it, neither standard output nor standard error stops anybody."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = steadied(sys.stdout, "standard output"), steadied(sys.stderr, "standard error")
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
