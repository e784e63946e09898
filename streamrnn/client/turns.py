"""The coroutines of `Core` as methods of a client, and the process that may call them.

A client has a method `_do`, which does what a coroutine says, one call after another.
"""

import os
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from streamrnn.model.verbs import named_as

P = ParamSpec("P")
T = TypeVar("T")
Written = Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]


def check_process(made_in: int) -> None:
    """Raises RuntimeError in another process than the one with that id: sockets do not outlive a fork."""
    if os.getpid() != made_in:
        raise RuntimeError(
            f"this client was made in process {made_in}, and its sockets do not work in process {os.getpid()}: "
            "make a Client after the fork, in the process that uses it"
        )


def blocking(method: Written[P, T]) -> Callable[Concatenate[Any, P], T]:
    """The method of a client whose callers wait for its end."""

    def call(self: Any, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = self._do(partial(method, self, *args, **kwargs))
        return result

    return named_as(method, call)  # type: ignore[no-any-return]


def awaited(method: Written[P, T]) -> Written[P, T]:
    """The method of a client whose callers await its end."""

    async def call(self: Any, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = await self._do(partial(method, self, *args, **kwargs))
        return result

    return named_as(method, call)  # type: ignore[no-any-return]
