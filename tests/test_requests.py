"""A client's requests, on a line that is interrupted."""

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
