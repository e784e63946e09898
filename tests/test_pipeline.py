"""The daemon learns the same bits however it is spread over processes, interrupted, and looked at."""

import itertools
import signal

import numpy as np
import pytest
from daemon import TEXT, TIMEOUT, Daemon, have_come, layers, wait_for

import streamrnn as sr
from streamrnn.model.layers import CELLS as LAYERS

CELLS = {name.lower(): cell for name, cell in LAYERS.items()}
COUNT = 5000
LETTERS = np.random.default_rng(1).integers(97, 105, COUNT)
PATTERN = bytes(np.where(np.arange(COUNT) % 3 == 0, np.roll(LETTERS, 4), LETTERS).tolist())  # something to learn
LEARNING = "window = 8\ngradient_delay = {}\naccumulate = {}"


def learn_here(cell: str, depth: int, delay: int, streams: int) -> sr.Network:
    """PATTERN learned in this process, its bytes dealt to that many streams."""
    made = [CELLS[cell](a, b) for a, b in itertools.pairwise([256] + [12] * depth)]
    settings = {"window": 8, "gradient_delay": delay, "accumulate": streams, "predict": "next"}
    net = sr.Network(made, sr.Softmax(256), sr.Adam(0.002), **settings)
    for k, token in enumerate(PATTERN):
        net.step(token, stream=f"stream {k % streams}")
    return net


def daemon_for(cell: str, depth: int, delay: int, streams: int, more: str = "") -> Daemon:
    learning = LEARNING.format(delay, streams)
    daemon = Daemon(**TEXT, layers=layers(*[f"{cell} 12"] * depth), learning=learning, pipeline=more)
    (daemon.folder / "text").write_bytes(PATTERN)
    return daemon


def run_text(daemon: Daemon, *options: str) -> dict:
    return daemon.run("--source", str(daemon.folder / "text"), *options)


def run_streams(daemon: Daemon, streams: int) -> str:
    """PATTERN through a client, its bytes dealt to that many streams; the daemon ends when it has had them all."""
    daemon.start("--max-frames", str(COUNT))
    with daemon.client() as client:
        for k, token in enumerate(PATTERN):
            client.send(token, stream=f"stream {k % streams}")
        client.flush()
    daemon.process.communicate(timeout=TIMEOUT)
    return sr.load(daemon.checkpoint()).parameters_sha256()


SHAPES = list(itertools.product([1, 2, 3], [0, 1, 2], [1, 3]))  # depth, delay, streams
EVERY = [(cell, *shape) for shape in SHAPES for cell in CELLS]
QUICK = EVERY[::7]  # each cell, depth, delay and number of streams with several of the others


@pytest.mark.parametrize(
    ("cell", "depth", "delay", "streams"),
    [pytest.param(*case, marks=[] if case in QUICK else pytest.mark.long) for case in EVERY],
)
def test_a_pipeline_learns_the_same_bits_as_one_process(cell, depth, delay, streams):
    expected = learn_here(cell, depth, delay, streams).parameters_sha256()
    with daemon_for(cell, depth, delay, streams) as daemon:
        if streams == 1:
            result = run_text(daemon)
            assert result["frames"] == COUNT
            assert result["parameters_sha256"] == expected
        else:
            assert run_streams(daemon, streams) == expected


@pytest.mark.long
@pytest.mark.parametrize(("cell", "depth", "delay"), [("lstm", 2, 1), ("gru", 3, 2)])
def test_fused_twice_piped_twice_and_placed_by_hand_give_the_same_bits(cell, depth, delay):
    with daemon_for(cell, depth, delay, 1) as daemon:
        results = [run_text(daemon, "--new", *options) for options in ((), (), ("--fused",))]
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace("[pipeline]\n", f"[pipeline]\nplacement = [{depth}, 1]\nblock = 7\n"))
        results.append(run_text(daemon, "--new"))
    assert len({result["parameters_sha256"] for result in results}) == 1
    assert len({result["loss"] for result in results}) == 1


@pytest.mark.parametrize("second", [(), ("--fused",)])
def test_a_resumed_run_goes_on_bit_identically(second):
    with daemon_for("lstm", 2, 2, 1) as daemon:
        whole = run_text(daemon)
        first = run_text(daemon, "--new", "--max-frames", "3003")
        rest = run_text(daemon, *second)
    assert [(result["frames"], result["new_frames"]) for result in (first, rest)] == [
        (3003,) * 2,
        (COUNT, COUNT - 3003),
    ]
    assert rest["loss"] == whole["loss"]
    assert rest["parameters_sha256"] == whole["parameters_sha256"] != first["parameters_sha256"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_saves_and_ends_well(number):
    with daemon_for("gru", 2, 1, 3) as daemon:
        daemon.start()
        with daemon.client() as client:
            for k, token in enumerate(PATTERN[:1000]):
                client.send(token, stream=f"stream {k % 3}")
            client.flush()
        printed = daemon.stop(number)
        assert "1,000" in printed
        assert "sha256" in printed
        net = sr.load(daemon.checkpoint())
        assert net.names.keys() == {"stream 0", "stream 1", "stream 2"}
        daemon.start("--max-frames", str(COUNT - 1000))
        with daemon.client() as client:
            for k, token in enumerate(PATTERN[1000:], 1000):
                client.send(token, stream=f"stream {k % 3}")
            client.flush()
        daemon.process.communicate(timeout=TIMEOUT)
        resumed = sr.load(daemon.checkpoint()).parameters_sha256()
    for k, token in enumerate(PATTERN[1000:], 1000):
        net.step(token, stream=f"stream {k % 3}")
    assert net.parameters_sha256() == resumed
    assert resumed == learn_here("gru", 2, 1, 3).parameters_sha256()


def test_a_worker_that_dies_too_often_ends_the_daemon_with_one_line():
    with daemon_for("rnn", 1, 0, 1, "[supervision]\nrestarts = 0") as daemon:
        daemon.start()
        ends = daemon.ends()
        daemon.workers()["stages-0"].kill()
        printed, _ = daemon.process.communicate(timeout=TIMEOUT)
        assert (daemon.process.returncode, have_come(ends)) == (3, True)
    assert printed.splitlines()[-1] == (
        "streamrnn: worker stages-0 ended with exit code -9; given up after 0 restarts in 60 s"
    )
    assert "Traceback" not in printed


def test_workers_end_with_a_killed_supervisor_also_one_that_is_stopped():
    with daemon_for("rnn", 1, 0, 1) as daemon:
        daemon.start()
        ends = daemon.ends()
        daemon.workers()["stages-0"].suspend()
        daemon.process.kill()
        assert len(ends) >= 4
        assert have_come(ends)


@pytest.mark.long
def test_a_million_frames_leave_memory_flat():
    with Daemon(**TEXT, layers=layers("rnn 4"), learning="window = 64", source='kind = "text"\npasses = 0') as daemon:
        daemon.start()
        workers = daemon.workers()
        sizes: dict[int, list[int]] = {}
        with daemon.client() as client:
            wait_for(lambda: client.status()["checkpoint"] is not None)  # what is needed to write one stays
            first = client.status()["frames"] + 200_000  # by then the caches are full, which are bounded
            wait_for(lambda: client.status()["frames"] >= first)
            while (frames := client.status()["frames"]) < first + 800_000:
                if frames not in sizes:
                    sizes[frames] = [worker.memory_info().rss for worker in workers.values()]
        daemon.stop()
    assert len(sizes) > 3
    growth = np.subtract(sizes[max(sizes)], sizes[min(sizes)])
    assert growth.max() < 2**22, dict(zip(workers, growth, strict=True))  # under 6 bytes a frame: nothing is kept
