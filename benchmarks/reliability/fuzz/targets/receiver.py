"""What receives a message in compiled code."""

from random import Random

import zmq

import streamrnn as sr
from benchmarks.reliability.fuzz.messages import BLOCK, EPOCH, letters
from benchmarks.reliability.fuzz.targets.target import Target
from streamrnn.kernels.frames import COLUMNS
from streamrnn.kernels.messages import MAGIC
from streamrnn.workers.kernels import loop
from streamrnn.workers.stages import make_links


class Receiver(Target):
    """`receive` of the compiled loop, through a real socket."""

    name, share = "compiled loop", 300
    seeds = letters()

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.context = zmq.Context()
        self.ours, theirs = self.context.socket(zmq.PUSH), self.context.socket(zmq.PULL)
        theirs.bind("inproc://fuzz")
        self.ours.connect("inproc://fuzz")
        net = sr.Network([sr.LSTM(3, 3)], sr.Linear(3), sr.SGD(0.1))
        order = {"block": BLOCK, "epoch": EPOCH, "token_targets": False}
        self.links, self.theirs = make_links(net, 0, 2, order, [theirs.underlying, 0, 0, 0, 0, 0]), theirs

    def make(self) -> list[bytes]:
        return [self.spoiled(self.random.choice(self.seeds), self.seeds)]

    def take(self, parts: list[bytes]) -> bool:
        buffer, data, bad = self.links.incoming, parts[0], int(self.links.state[loop.BAD])
        self.ours.send(data)
        size = loop.receive(self.links, loop.FRAMES_IN, buffer)
        assert (size >= 0) == self.good(data, buffer.nbytes), f"accepted {size} of {len(data)} bytes"
        assert self.links.state[loop.BAD] - bad == (size < 0), "not counted"
        assert size < 0 or buffer.tobytes()[:size] == data
        return bool(size >= 0)

    @staticmethod
    def good(data: bytes, room: int) -> bool:
        """What ought to be accepted, in whole numbers of any size."""
        header = [int.from_bytes(data[at : at + 8], "little", signed=True) for at in range(0, 72, 8)]
        frames, vectors, width, each, extra = header[4:]
        size = 72 + 8 * COLUMNS * frames + each * vectors * width + 8 * extra
        counted = all(0 <= count <= room for count in header[4:]) and each in (4, 8)
        return 72 <= len(data) == size <= room and counted and header[0] == MAGIC and header[2] == EPOCH

    def close(self) -> None:
        self.context.destroy(linger=0)
