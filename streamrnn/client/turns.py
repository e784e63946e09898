"""Who may use a client's sockets when: the process that made them, and one thread at a time."""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


def check_process(made_in: int) -> None:
    """Raises RuntimeError in another process than the one with that id: sockets do not outlive a fork."""
    if os.getpid() != made_in:
        raise RuntimeError(
            f"this client was made in process {made_in}, and its sockets do not work in process {os.getpid()}: "
            "make a Client after the fork, in the process that uses it"
        )


def in_turn(method: Method) -> Method:
    """A method of a client that threads call one after another. Raises RuntimeError in a forked process."""

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        check_process(self._process)  # first: in a fork, the lock may be held for ever
        with self._lock:
            return method(self, *args, **kwargs)

    return call  # type: ignore[return-value]
