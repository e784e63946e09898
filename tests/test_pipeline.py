"""The daemon as a whole: real processes, real sockets."""

import itertools
import re
import signal
import time

import numpy as np
import psutil
import pytest
import zmq
from daemon import TEXT, TIMEOUT, VECTOR, Daemon, layers

import streamrnn as sr
from streamrnn.frames import COLUMNS, EMIT, FLAGS, INPUT, TOKEN
from streamrnn.wire import FRAMES, Message, pack

CELLS = {"rnn": sr.RNN, "lstm": sr.LSTM, "gru": sr.GRU}
FRAMES_EACH = 5000
TEXTS = np.random.default_rng(1).integers(97, 105, FRAMES_EACH).astype(np.uint8)
PATTERN = np.where(np.arange(FRAMES_EACH) % 3 == 0, np.roll(TEXTS, 4), TEXTS).astype(np.uint8)  # something to learn


def write_text(daemon: Daemon, data: np.ndarray = PATTERN) -> str:
    path = daemon.folder / "text"
    path.write_bytes(data.tobytes())
    return f'kind = "text"\npath = "{path}"'


def library(cell: str, depth: int, delay: int, accumulate: int = 1) -> sr.Network:
    """The same network in this process."""
    sizes = [256] + [12] * depth
    made = [CELLS[cell](a, b) for a, b in itertools.pairwise(sizes)]
    return sr.Network(
        made,
        sr.Softmax(256),
        sr.Adam(0.002),
        window=8,
        gradient_delay=delay,
        accumulate=accumulate,
        predict="next",
    )


def send_interleaved(daemon: Daemon, streams: int) -> None:
    """All of PATTERN, frame by frame in turn on that many streams."""
    with daemon.client() as client:
        for k, token in enumerate(PATTERN):
            client.send(int(token), stream=f"stream {k % streams}")
        client.flush()


@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("delay", [0, 1, 2])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_a_pipeline_learns_the_same_bits_as_one_process(cell, depth, delay, streams):
    net = library(cell, depth, delay, streams)
    for k, token in enumerate(PATTERN):
        net.step(int(token), stream=f"stream {k % streams}")
    parts = {**TEXT, "layers": layers(*[f"{cell} 12"] * depth)}
    parts["learning"] = f"window = 8\ngradient_delay = {delay}\naccumulate = {streams}"
    with Daemon(**parts) as daemon:
        if streams == 1:
            path = daemon.folder / "text"
            path.write_bytes(PATTERN.tobytes())
            result = daemon.run("--source", str(path))
        else:
            daemon.start("--json", str(daemon.folder / "out.json"), "--max-frames", str(FRAMES_EACH))
            send_interleaved(daemon, streams)
            daemon.process.communicate(timeout=TIMEOUT)
            result = sr.load(daemon.checkpoint())
            result = {"parameters_sha256": result.parameters_sha256(), "frames": FRAMES_EACH}
    assert result["frames"] == FRAMES_EACH
    assert result["parameters_sha256"] == net.parameters_sha256()
