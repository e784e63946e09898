"""Ctrl-C between two steps of a long piece of work, and not in the middle of one."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Ctrl-C waits until what this gives is called, or for the end. Other threads than the main one never get it."""
    handler, waiting = signal.getsignal(signal.SIGINT), list[Any]()

    def let_through() -> None:
        if waiting and callable(handler):
            handler(*waiting.pop())

    if current_thread() is not main_thread() or not callable(handler):
        yield let_through
        return
    signal.signal(signal.SIGINT, lambda *what: waiting.append(what))
    try:
        yield let_through
    finally:
        signal.signal(signal.SIGINT, handler)
    let_through()
