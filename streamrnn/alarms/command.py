"""A command: it is run with each message as JSON on its standard input, and answers by ending with 0."""

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from typing import Annotated, BinaryIO

import msgspec
from msgspec import Meta

from streamrnn.alarms.outbox import Message
from streamrnn.alarms.table import Carrier, ReceiverTable, Surroundings
from streamrnn.sinks.sink import Problems, SinkError, reason

LAST = 500  # bytes of what it says that may be told


class CommandCarrier(Carrier):
    def __init__(self, table: "CommandConfig") -> None:
        self._table = table

    def deliver(self, message: Message) -> None:
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(
                    self._table.command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    start_new_session=True,
                )
            except OSError as error:
                raise self._error(reason(error)) from None
            try:
                process.communicate(msgspec.json.encode(message), self._table.timeout)
            except subprocess.TimeoutExpired:
                raise self._error(f"does not end within {self._table.timeout:g} s") from None
            finally:
                with suppress(ProcessLookupError):  # it, and what it has started
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.returncode:
                raise self._error(f"ends with {process.returncode}{last_line(said)}")

    def _error(self, text: str) -> SinkError:
        return SinkError(f"{self._table.line}: {text}")


class CommandConfig(ReceiverTable, frozen=True, kw_only=True, tag="command"):
    command: Annotated[list[str], Meta(min_length=1)]  # a program, found as a shell does, and its arguments

    @property
    def place(self) -> str:
        return f"command {self.command}"

    @property
    def line(self) -> str:
        return shlex.join(self.command)

    def problems(self) -> Problems:
        program = self.command[0]
        if any("\0" in part for part in self.command):
            yield "command", "holds a NUL character; take it out"
        elif os.sep in program and not os.path.isabs(program):
            yield "command", f'must begin with a whole path or a name in PATH, not "{program}"'
        elif shutil.which(program) is None:
            yield "command", f'begins with "{program}", which is no program that can be run'

    def carrier(self, about: Surroundings) -> CommandCarrier:
        return CommandCarrier(self)


def last_line(said: BinaryIO) -> str:
    """The last line that there is, behind a colon; empty where there is none."""
    said.seek(max(0, said.seek(0, os.SEEK_END) - LAST))
    lines = said.read().decode(errors="replace").split("\n")
    text = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {text}" if text else ""
