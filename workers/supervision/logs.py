"""The log of a daemon, on standard error: one event a line, in plain words or as a JSON object.

Workers write nothing there, they report to the supervisor.
"""

import logging
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
from rich.file_proxy import FileProxy

from streamrnn.workers.supervision.wording import left_line, printable

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
REFUSED_EVERY = 60.0  # seconds between lines about refused messages
CATCHING_UP_EVERY = 5.0  # seconds between lines about what is left of catching up
LOGGER = logging.getLogger("streamrnn")


class Plain(logging.Formatter):
    """Words, whatever they are made of on one line; behind those of a bug, its traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return f"streamrnn: {printable(record.getMessage())}"


class JSON(logging.Formatter):
    """An object with `ts` (ISO 8601, UTC), `level`, `event`, `message`, and what belongs to the event."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", ""),
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode({name: encodable(value) for name, value in event.items()}).decode()


def encodable(value: Any) -> Any:
    """Without what UTF-8 has no bytes for: the names of files may hold it."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


class StandardError(logging.Handler):
    """A log that cannot be written, to a full disk or a pipe that nobody reads, stops nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=standard_error(), flush=True)
        except OSError:
            return


def standard_error() -> TextIO:
    """As rich draws around it on a terminal; past rich where it is a file, for rich would put that on the screen."""
    stream = sys.stderr
    if isinstance(stream, FileProxy) and not stream.isatty():
        return stream.rich_proxied_file  # type: ignore[return-value]
    return stream


FORMATS = {"plain": Plain(), "json": JSON()}
DEFAULT_LEVELS = {"plain": "warning", "json": "info"}  # in plain words, the console tells the rest
HANDLER = StandardError()
HANDLER.setFormatter(FORMATS["plain"])
LOGGER.addHandler(HANDLER)
LOGGER.propagate = False


def set_up(format: str, level: str | None) -> None:
    """Write the events of that level and above, from now on; without one, what the format has by default."""
    HANDLER.setFormatter(FORMATS[format])
    LOGGER.setLevel(LEVELS[level or DEFAULT_LEVELS[format]])


def tell(level: str, event: str, text: str, **facts: Any) -> None:
    """Write an event: in words, and as facts for the JSON object."""
    LOGGER.log(LEVELS[level], text, extra={"event": event, "facts": facts})


def tell_bug(error: Exception, code: int) -> None:
    """Write an exception that nobody expected, with its traceback."""
    text = f"{type(error).__name__}: {error}: this is a bug in streamrnn"
    LOGGER.error(text, exc_info=error, extra={"event": "bug", "facts": {"code": code}})


class Changes:
    """Tells of what comes and goes in the status of a daemon: a journal without room, refused messages, catching up."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full, self._refused, self._told = "", 0, -REFUSED_EVERY
        self._caught_up_told = -CATCHING_UP_EVERY

    def look(self, status: Mapping[str, Any]) -> None:
        """Take the status as it is now."""
        self._look_for_room(status["full"])
        self._look_for_refused(status["refused"])
        self._look_for_catching_up(status["catching_up"])

    def _look_for_room(self, full: str) -> None:
        if full and full != self._full:
            tell("warning", "journal_full", f"no frames are taken: {full}", reason=full)
        elif self._full and not full:
            tell("warning", "journal_room", "there is room again, frames are taken")
        self._full = full

    def _look_for_refused(self, refused: int) -> None:
        if refused > self._refused and self._clock() - self._told >= REFUSED_EVERY:
            self._told = self._clock()
            more = refused - self._refused
            tell("info", "refused", f"{more:,} messages refused, {refused:,} in all", messages=more, in_all=refused)
            self._refused = refused
        self._refused = min(self._refused, refused)  # a new gate counts from 0

    def _look_for_catching_up(self, left: Mapping[str, Any] | None) -> None:
        if left and self._clock() - self._caught_up_told >= CATCHING_UP_EVERY:
            self._caught_up_told = self._clock()
            tell("info", "catching_up", f"catching up: {left_line(left)}", **left)
