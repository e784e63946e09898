"""A client's requests, on a socket that is interrupted."""

import numpy as np
import pytest
import zmq

from streamrnn.client.errors import DaemonGone
from streamrnn.client.requests import Requests
from streamrnn.kernels.frames import COLUMNS
from streamrnn.kernels.messages import FRAMES, HURRY
from streamrnn.protocol.wire import Message, unpack


class InterruptedSocket:
    """Ctrl-C comes right behind a frame, where it tells the gate that an answer is waited for, or where it waits."""

    def __init__(self, where: str) -> None:
        self.where = where

    def send_multipart(self, parts: list[bytes], flags: int = 0) -> None:
        kind = unpack(parts[1]).kind
        if kind == FRAMES and self.where == "full":
            raise zmq.Again
        if kind == {"sending": FRAMES, "hurrying": HURRY}.get(self.where):
            raise KeyboardInterrupt

    def poll(self, timeout: int) -> int:
        raise KeyboardInterrupt


@pytest.mark.parametrize("where", ["hurrying", "waiting"])
def test_nothing_of_an_interrupted_wait_is_kept(where):
    requests = Requests(InterruptedSocket(where), "test", 0)
    for _ in range(3):
        number = requests.post("main", Message(FRAMES, frames=np.zeros((1, COLUMNS), np.int64)), 1.0)
        with pytest.raises(KeyboardInterrupt):
            requests.wait_for(number, 1.0)
    assert (requests._acknowledged, requests._results) == ({}, {})


@pytest.mark.parametrize(("where", "error", "kept"), [("sending", KeyboardInterrupt, [1]), ("full", DaemonGone, [])])
def test_a_number_that_may_have_gone_out_is_used_once_and_one_that_has_not_again(where, error, kept):
    requests = Requests(InterruptedSocket(where), "test", 0)
    frame = Message(FRAMES, frames=np.zeros((1, COLUMNS), np.int64))
    with pytest.raises(error):
        requests.post("main", frame, 1.0)
    assert list(requests._pending) == kept
    requests._socket.where = ""
    assert requests.post("main", frame, 1.0) == len(kept) + 1
