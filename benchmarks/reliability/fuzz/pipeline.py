"""What stands behind a gate: it sees that workers can take what comes down, and sends back anything."""

import json
from collections import deque
from random import Random
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from benchmarks.reliability.fuzz.messages import BLOCK, EPOCH
from streamrnn.kernels.frames import (
    BEGIN,
    ECHO,
    EMIT,
    END,
    FLAGS,
    INPUT,
    NEW,
    SCORED,
    SEQ,
    STREAM,
    TARGET,
    TOKEN,
)
from streamrnn.kernels.messages import EVICT, FRAMES, NAME, OUTPUT, RESTORE
from streamrnn.protocol.wire import Message, as_numbers, bytes_of, unpack


class Pipeline:
    """Behind a gate with a network of those sizes and so many places for streams; `chance` of what it says."""

    def __init__(self, net: dict[str, Any], places: int, chance: Random) -> None:
        self.net, self.places, self.chance = net, places, chance
        self.evicted: dict[str, bytes] = {}  # what was taken out of each stream
        self.outputs: deque[np.ndarray] = deque()  # rows whose output is yet to be sent back
        self.seq = 0

    def turn(self, gate: Any) -> None:
        """Take what comes down, and answer."""
        for data in gate.down.taken():
            self.take(gate, unpack(data))
        self.answer(gate)

    def replay(self, gate: Any) -> None:
        """Take no more than the streams that come and go while a gate replays its journal, to the end of it."""
        self.evicted.clear()
        while gate.replaying:
            gate.replay()
            gate.credited = gate.sent
            for data in gate.down.taken():
                if (message := unpack(data)).kind in (EVICT, RESTORE):
                    self.named(gate, message)

    def take(self, gate: Any, message: Message) -> None:
        """See that what goes down is what workers can take as it is."""
        if message.kind in (NAME, EVICT, RESTORE):
            assert 0 <= message.number < self.places
            self.named(gate, message)
            return
        assert message.kind == FRAMES
        frames, flags = message.frames, message.frames[:, FLAGS]
        assert 0 < len(frames) <= BLOCK
        assert not (flags & ~(BEGIN | INPUT | SCORED | EMIT | END | NEW | ECHO)).any(), "a flag that nobody knows below"
        assert (flags & (INPUT | SCORED) > 0).all()
        assert ((frames[:, STREAM] >= 0) & (frames[:, STREAM] < self.places)).all(), "a stream that does not exist"
        assert (np.diff(frames[:, SEQ]) >= 0).all()
        assert frames[0, SEQ] >= self.seq
        self.seq = int(frames[-1, SEQ])
        inputs, scored = frames[flags & INPUT > 0], frames[flags & SCORED > 0]
        if self.net["classes"]:
            assert ((inputs[:, TOKEN] >= 0) & (inputs[:, TOKEN] < self.net["classes"])).all(), "an unknown token"
        else:
            assert message.vectors.shape == (len(inputs), self.net["input_size"])
        if self.net["target_classes"]:
            assert ((scored[:, TARGET] >= 0) & (scored[:, TARGET] < self.net["target_classes"])).all()
        assert len(message.extra) == len(scored) * self.net["target_size"]
        assert np.isfinite(message.vectors).all(), "an input that is not finite"
        assert np.isfinite(message.extra).all(), "a target that is not finite"
        if len(asked := inputs[inputs[:, FLAGS] & ECHO > 0]):
            self.outputs.append(asked)

    def named(self, gate: Any, message: Message) -> None:
        """Take a stream out, as two workers do, or see that it comes back as it was."""
        if message.kind == EVICT:
            record = int(message.frames[0, SEQ])
            name = gate.eviction.leaving[record].name
            self.evicted[name] = self.evicted.get(name, b"") + bytes(4)
            for part in ({"0.state": np.frombuffer(self.evicted[name], np.float32)}, {"newest": np.array([record])}):
                extra = as_numbers(save_tensors(part))
                gate.eviction.hear(Message(EVICT, EPOCH, record, extra=extra))
        elif message.kind == RESTORE:
            state = load_tensors(bytes_of(message))
            name = json.loads(state["gate"].tobytes())["name"]
            assert state["0.state"].tobytes() == self.evicted[name]

    def answer(self, gate: Any) -> None:
        """Send outputs back and give credit, as a network would that says anything."""
        classes, size = self.net["target_classes"], self.net["target_size"]
        while self.outputs:
            asked = self.outputs.popleft()
            Y = np.array([[self.chance.random() for _ in range(classes or size)] for _ in asked], np.float32)
            if not classes and self.seq % 2:
                Y = np.concatenate([Y, Y], axis=1)  # means and spreads
            gate.pending.hear(Message(OUTPUT, EPOCH, 0, asked, Y))
        gate.credited = gate.sent
        gate.pending.advance()
