"""A client's requests, on a line that is interrupted."""

import asyncio

import numpy as np
import pytest

from streamrnn.client.errors import DaemonGone
from streamrnn.client.lines import Line, at_once
from streamrnn.client.requests import Requests
from streamrnn.kernels.frames import COLUMNS
from streamrnn.kernels.messages import FRAMES, HURRY
from streamrnn.protocol.wire import Message, unpack


class InterruptedLine(Line):
    """Ctrl-C comes right behind a frame, where it tells the gate that an answer is waited for, or where it waits."""

    def __init__(self, where: str) -> None:
        self.where = where

    def send(self, parts: list[bytes]) -> bool:
        kind = unpack(parts[1]).kind
        if kind == {"sending": FRAMES, "hurrying": HURRY}.get(self.where):
            raise KeyboardInterrupt
        return kind != FRAMES or self.where != "full"

    async def room(self, seconds: float) -> bool:
        return False

    async def receive(self, seconds: float | None) -> list[bytes] | None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("where", ["hurrying", "waiting"])
def test_nothing_of_an_interrupted_wait_is_kept(where):
    requests = Requests(InterruptedLine(where), "test", 0)
    for _ in range(3):
        number = at_once(requests.post("main", Message(FRAMES, frames=np.zeros((1, COLUMNS), np.int64)), 1.0))
        with pytest.raises(KeyboardInterrupt):
            at_once(requests.wait_for(number, 1.0))
    assert (requests._answers, requests._results) == ({}, {})


@pytest.mark.parametrize(("where", "error", "kept"), [("sending", KeyboardInterrupt, [1]), ("full", DaemonGone, [])])
def test_a_number_that_may_have_gone_out_is_used_once_and_one_that_has_not_again(where, error, kept):
    requests = Requests(InterruptedLine(where), "test", 0)
    frame = Message(FRAMES, frames=np.zeros((1, COLUMNS), np.int64))
    with pytest.raises(error):
        at_once(requests.post("main", frame, 1.0))
    assert list(requests._pending) == kept
    requests._line.where = ""
    assert at_once(requests.post("main", frame, 1.0)) == len(kept) + 1


class SilentLine(Line):
    """Nobody answers on it, and time passes only where it is waited."""

    def __init__(self) -> None:
        self.time, self.sent = 0.0, []

    def now(self) -> float:
        return self.time

    def send(self, parts: list[bytes]) -> bool:
        self.sent.append((unpack(parts[1]).kind, self.time))
        return True

    async def receive(self, seconds: float | None) -> list[bytes] | None:
        self.time += seconds


def test_what_is_not_answered_is_sent_again_after_ever_longer_until_the_timeout():
    line = SilentLine()
    requests = Requests(line, "test", 0)
    at_once(requests.post("main", Message(FRAMES, frames=np.zeros((1, COLUMNS), np.int64)), 5.0))
    with pytest.raises(DaemonGone, match=r'"test" has not answered for 5\.0 s'):
        at_once(requests.flush(5.0))
    assert [time for kind, time in line.sent if kind == FRAMES] == [0.0, 0.5, 1.5, 3.5]
    assert line.time == 5.0


def test_a_coroutine_that_needs_an_event_loop_is_not_run_without_one():
    with pytest.raises(RuntimeError, match="event loop"):
        at_once(asyncio.sleep(0))
