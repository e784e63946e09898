"""How a command that does not end well does: an exit code, and one line that says why."""

from enum import IntEnum
from typing import NoReturn

import typer

from streamrnn.workers.supervision import logs


class Exit(IntEnum):
    """What went wrong."""

    FAILED = 1  # something outside is not as it must be: state, addresses, files, the disk, the daemon that is asked
    USAGE = 2  # wrong usage or config
    GAVE_UP = 3  # workers have died too often
    BUG = 70  # an exception that nobody expected


def fail(reason: str, code: Exit = Exit.FAILED) -> NoReturn:
    """One line in the log, and that exit code."""
    logs.tell("error", "failed", reason, code=code)
    raise typer.Exit(code)
