"""The five ways of processing a sequence through real daemons; generations side by side, cut off, and stopped."""

import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import psutil
import pytest
import zmq
from daemon import TIMEOUT, Daemon, layers

import streamrnn as sr
from streamrnn.kernels.frames import COLUMNS, EMIT, END, FLAGS, INPUT, TOKEN
from streamrnn.kernels.messages import ACCEPTED, FRAMES
from streamrnn.model.layers import CELLS as LAYERS
from streamrnn.protocol.wire import Message, pack, unpack

CELLS = {name.lower(): cell for name, cell in LAYERS.items()}
READOUTS = {"softmax": sr.Softmax, "linear": sr.Linear, "gaussian": sr.Gaussian}


class Network:
    """A network, to be made in this process and as a daemon."""

    def __init__(self, inputs: str, cells: list[str], readout: str, **settings: int):
        self.kind, size = inputs.split()
        self.readout, outputs = readout.split()
        self.inputs, self.outputs, self.cells = int(size), int(outputs), cells
        self.settings = {"window": 4, "gradient_delay": 1} | settings

    def here(self) -> sr.Network:
        sizes = [self.inputs, *(int(cell.split()[1]) for cell in self.cells)]
        made = [CELLS[cell.split()[0]](*pair) for cell, pair in zip(self.cells, pairwise(sizes), strict=True)]
        return sr.Network(made, READOUTS[self.readout](self.outputs), sr.Adam(0.01), **self.settings)

    def daemon(self) -> Daemon:
        return Daemon(
            predict="target",
            input=f'kind = "{self.kind}"\nsize = {self.inputs}',
            readout=f'kind = "{self.readout}"\nsize = {self.outputs}',
            layers=layers(*self.cells),
            optimizer='kind = "adam"\nlearning_rate = 0.01',
            learning="\n".join(f"{name} = {value}" for name, value in self.settings.items()),
            pipeline="[outputs]\nhistory = 100_000",
        )

    def some_input(self, rng: np.random.Generator):
        """A token, or a vector without the places of what comes back."""
        if self.kind == "tokens":
            return int(rng.integers(self.inputs))
        return rng.normal(size=self.inputs - self.outputs).astype(np.float32)

    def some_target(self, rng: np.random.Generator):
        return int(rng.integers(self.outputs)) if self.readout == "softmax" else rng.normal(size=self.outputs)


class Mode:
    """One way of processing a sequence: what is taught, and what is asked."""

    def __init__(self, network: Network, longest_input: int, longest_target: int, verb: str, teach=None, ask=None):
        self.network, self.longest_input, self.longest_target = network, longest_input, longest_target
        self.verb, self.teach, self.ask = verb, teach or {}, ask or {}

    def lessons(self, count: int, seed: int) -> Iterator[tuple[list, list]]:
        rng = np.random.default_rng(seed)
        for _ in range(count):
            n, m = (int(rng.integers(1, longest + 1)) for longest in (self.longest_input, self.longest_target))
            m = n if "synced" in self.teach else m
            yield [self.network.some_input(rng) for _ in range(n)], [self.network.some_target(rng) for _ in range(m)]

    def run(self, pupil: sr.Network | sr.Client) -> list:
        """Teach it, and return its answers."""
        for seed, (xs, ts) in enumerate(self.lessons(250, seed=1)):
            pupil.teach(xs, ts, seed=seed, **self.teach)
        return [getattr(pupil, self.verb)(xs, **self.ask) for xs, _ in self.lessons(8, seed=2)]


WRITE = {"max_length": 12, "temperature": 0.9, "seed": 3}
MODES = {
    "fixed to fixed": Mode(Network("vector 6", ["gru 8"], "softmax 3", gradient_delay=0), 1, 1, "classify"),
    "sequence input": Mode(Network("tokens 6", ["gru 8", "lstm 6"], "softmax 2"), 12, 1, "classify"),
    "synced": Mode(
        Network("vector 4", ["rnn 8", "gru 6"], "linear 2", gradient_delay=2), 12, 12, "label", {"synced": True}
    ),
    "sequence output": Mode(Network("vector 6", ["lstm 8"], "softmax 4"), 1, 12, "generate", {}, WRITE | {"until": 3}),
    "sequence of values": Mode(
        Network("vector 5", ["gru 8"], "gaussian 2", window=32), 1, 12, "generate", {"own": 0.5}, WRITE
    ),
    "sequence to sequence": Mode(
        Network("tokens 8", ["gru 8", "lstm 6"], "softmax 4", accumulate=3), 9, 9, "transduce", {"own": 0.2}, WRITE
    ),
}


def run_there(mode: Mode, *options: str) -> tuple[list, str]:
    """The answers of a daemon, and the hash of what it has learned."""
    with mode.network.daemon() as daemon:
        daemon.start(*options)
        with daemon.client() as client:
            answers = mode.run(client)
        daemon.stop()
        net = sr.load(daemon.checkpoint())
        assert net.names == {}
        return answers, net.parameters_sha256()


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_library_pipeline_and_fused_learn_and_say_the_same_bits(mode):
    net = mode.network.here()
    before, expected = net.parameters_sha256(), mode.run(net)
    assert net.parameters_sha256() != before
    assert len({repr(answer) for answer in expected}) > 1
    with ThreadPoolExecutor() as pool:
        for answers, sha256 in pool.map(lambda options: run_there(mode, *options), [(), ("--fused",)]):
            for answer, wanted in zip(answers, expected, strict=True):
                np.testing.assert_array_equal(answer, wanted, strict=True)
            assert sha256 == net.parameters_sha256()


# --- long sequences --------------------------------------------------------------------------------------------------

LONG = 200_000
TOKENS = Network("tokens 8", ["gru 8", "lstm 6"], "softmax 4", window=16)


def tokens(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, TOKENS.inputs, count)


def peak(workers: dict[str, psutil.Process], asked: Future) -> np.ndarray:
    """The most memory that each of them has until something is done."""
    most = np.zeros(len(workers))
    while not asked.done():
        most = np.maximum(most, [worker.memory_info().rss for worker in workers.values()])
    return most


def test_a_sequence_of_200_000_frames_leaves_memory_flat(taught):
    """It takes no more than a quarter of it does; and what is said of it is what the library says."""
    workers = taught.workers()
    with taught.client() as client, ThreadPoolExecutor(1) as pool:
        client.label(tokens(LONG))  # fills the caches, which are bounded
        quarter, whole = (pool.submit(client.label, tokens(count)) for count in (LONG // 4, LONG))
        growth = -peak(workers, quarter) + peak(workers, whole)
        assert np.array_equal(whole.result(), taught.net.label(tokens(LONG)))
        assert np.array_equal(client.classify(tokens(LONG)), whole.result()[-1])
    assert growth.max() < 2**22, dict(zip(workers, growth, strict=True))


def test_a_long_sequence_in_the_library_adds_no_memory_that_stays():
    net = TOKENS.here()
    net.classify(tokens(LONG // 10))
    gc.collect()
    before = psutil.Process().memory_info().rss
    net.classify(tokens(LONG))
    gc.collect()
    assert psutil.Process().memory_info().rss - before < 2**21  # 10 bytes a frame


# --- feedback, ends, and generations ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def taught():
    """A daemon that has learned to say 0, 1, 2, 0, 1, ... and never 3; `net` is the same in this process."""
    with TOKENS.daemon() as daemon:
        daemon.net = TOKENS.here()
        daemon.start()
        with daemon.client() as client:
            for pupil in (daemon.net, client):
                for k in range(300):
                    pupil.teach([k % 8], [0, 1, 2] * 3)
            client.flush()
        yield daemon
        daemon.stop()


def becomes(what: Callable[[], object], wanted: object) -> bool:
    """Whether it does, within a deadline."""
    deadline = time.monotonic() + TIMEOUT
    while what() != wanted and time.monotonic() < deadline:
        pass
    return what() == wanted


def streams(client: sr.Client) -> Callable[[], int]:
    return lambda: client.status()["streams"]


def test_a_generation_ends_with_its_length_where_the_stop_symbol_never_comes(taught):
    with taught.client() as client:
        written = client.generate(0, max_length=1000, temperature=0, until=3)
        assert written == taught.net.generate(0, max_length=1000, temperature=0, until=3)
        assert (len(written), set(written)) == (1000, {0, 1, 2})


def test_nothing_is_fed_back_to_a_stream_that_has_nothing(taught):
    def send_none() -> None:
        client.send(None, stream="bare")
        client.flush()

    with taught.client() as client:
        for before in ([], [{}], [{"end": True}]):  # frames whose output does not come back, or that ended
            for flags in before:
                client.send(5, stream="bare", **flags)
            with pytest.raises(sr.FrameRefused, match="nothing to feed back"):
                send_none()
            with pytest.raises(sr.FrameRefused, match="nothing to feed back"):
                client.step(None, stream="bare")
        for flags in ({"begin": True}, {"end": True}):
            client.step(5, stream="bare", end="end" in flags)
            with pytest.raises(sr.FrameRefused, match="nothing to feed back"):
                client.step(None, stream="bare", begin="begin" in flags)
        client.forget("bare")
        with pytest.raises(sr.FrameRefused, match="nothing to feed back"):
            client.step(None, stream="bare")
        with pytest.raises(sr.FrameRefused, match='no stream "bare"'):
            client.forget("bare")


def test_a_frame_that_feeds_back_goes_on_with_the_stream(taught):
    with taught.client() as client:
        y = client.step(5, stream="fed").y
        assert np.array_equal(y, client.step(5, stream="given").y)
        for _ in range(20):
            said = 4 + int(y.argmax())  # what comes back takes the last 4 of 8 tokens
            y = client.step(None, stream="fed").y
            assert np.array_equal(y, client.step(said, stream="given").y)
        for name in ("fed", "given"):
            client.forget(name)


def test_targets_are_fed_back_where_there_are_any():
    """Sent frame by frame, what `teach` makes of a sequence and its targets: the same parameters."""
    net, there = TOKENS.here(), TOKENS.here()
    with TOKENS.daemon() as daemon:
        daemon.start()
        with daemon.client() as client:
            for k in range(50):
                there.teach([k % 8], [3, k % 4, 1])
                for pupil in (net.learn, client.send):
                    pupil(k % 8, 3, "s", begin=True)
                    pupil(None, k % 4, "s")
                    pupil(None, 1, "s", end=True)
            client.flush()
        daemon.stop()
        learned = sr.load(daemon.checkpoint()).parameters_sha256()
    assert learned == net.parameters_sha256() == there.parameters_sha256() != TOKENS.here().parameters_sha256()


def request(daemon: Daemon, stream: str, *frames: tuple[int, int]) -> None:
    """Send frames, each its flags and its token, and wait until they are in."""
    rows = np.zeros((len(frames), COLUMNS), np.int64)
    rows[:, [FLAGS, TOKEN]] = frames
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(f"ipc://{daemon.folder}/gate")
        socket.send_multipart([stream.encode(), pack(Message(FRAMES, 0, 1, rows))])
        assert socket.poll(int(TIMEOUT * 1000))
        assert unpack(socket.recv()).kind == ACCEPTED


def test_an_end_that_is_not_emitted_is_not_published_and_ends_the_sequence(taught):
    frames = [(INPUT | EMIT, 1), (INPUT | END, 2), (INPUT | EMIT, 1), (INPUT | EMIT, 2)]
    with taught.client() as client, client.subscribe("quiet", timeout=TIMEOUT) as heard:
        request(taught, "quiet", *frames)
        outputs = [next(heard) for _ in range(3)]
        assert [out.seq - outputs[0].seq for out in outputs] == [0, 2, 3]
        assert np.array_equal(outputs[0].y, outputs[1].y)
        assert np.array_equal(np.array([out.y for out in outputs[1:]]), taught.net.label([1, 2]))
        client.forget("quiet")


@pytest.mark.long
def test_generations_side_by_side_write_what_each_writes_alone(taught):
    """And a stream that steps on meanwhile says what it says without them."""
    options = [{"max_length": 3000, "temperature": 1.2, "seed": seed} for seed in (1, 2)]
    start = threading.Barrier(3)

    def generate(some: dict) -> list[int]:
        with taught.client() as client:
            start.wait(TIMEOUT)
            return client.generate([1, 2, 3], **some)

    given = tokens(100_000, seed=5)
    with taught.client() as client, ThreadPoolExecutor() as pool:
        asked = [pool.submit(generate, some) for some in options]
        start.wait(TIMEOUT)
        said = []
        while not all(each.done() for each in asked):
            said.append(client.step(given[len(said)], stream="steady").y)
        client.forget("steady")
        alone = [client.generate([1, 2, 3], **some) for some in options]
    assert [each.result() for each in asked] == alone == [taught.net.generate([1, 2, 3], **some) for some in options]
    assert alone[0] != alone[1]
    assert len(said) > 100
    assert np.array_equal(np.array(said), taught.net.label(given[: len(said)]))


def test_a_client_s_own_stream_is_there_for_as_long_as_the_client(taught):
    with taught.client() as watching:
        assert becomes(streams(watching), 0)
        with taught.client() as client:
            client.classify([1, 2, 3])
            client.generate([1, 2, 3], max_length=3)
            client.step(1, stream="named")
            assert becomes(streams(watching), 2)
        assert becomes(streams(watching), 1)
        watching.forget("named")
        assert becomes(streams(watching), 0)


ENDLESS = """
import sys
import streamrnn as sr
with sr.Client(sys.argv[1], timeout=60) as client:
    client.generate([1, 2, 3], max_length=10_000_000)
"""


@pytest.fixture
def endless(taught):
    """A process that has the daemon write on and on; it is killed in the end."""
    control = f"ipc://{taught.folder}/control"
    with taught.client() as client:
        assert becomes(streams(client), 0)
        before = client.status()["frames"]
        with subprocess.Popen([sys.executable, "-c", ENDLESS, control]) as process:
            try:
                assert becomes(lambda: client.status()["frames"] > before + 1000, True)
                assert process.poll() is None
                yield process
            finally:
                process.kill()
        assert becomes(streams(client), 0)


def test_a_generation_holds_up_no_other_stream(taught, endless):
    """What is asked meanwhile is answered, and right; frames of the generation are let in before it and behind."""
    given = tokens(30_000)
    with taught.client() as client:
        outs = [client.step(token, stream="other") for token in given[:300]]
        label = client.label(given)
        last = client.step(0, stream="other").seq
        assert endless.poll() is None
        assert becomes(streams(client), 3)
        client.forget("other")
    assert outs[-1].seq - outs[0].seq > 400
    assert last - outs[-1].seq > len(given) + 1
    assert np.array_equal(np.array([out.y for out in outs]), label[:300])
    assert np.array_equal(label, taught.net.label(given))


def test_a_client_that_is_killed_leaves_no_stream_behind(taught, endless):
    """Nor does the daemon write on for it."""
    with taught.client() as client:
        assert becomes(streams(client), 1)
        endless.send_signal(signal.SIGKILL)
        endless.wait(TIMEOUT)
        assert becomes(streams(client), 0)
        outs = [client.step(token, stream="other") for token in tokens(300)]
        client.forget("other")
    assert outs[-1].seq - outs[0].seq == 299
    assert np.array_equal(np.array([out.y for out in outs]), taught.net.label(tokens(300)))


def test_a_generation_is_refused_when_the_daemon_stops():
    with TOKENS.daemon() as daemon, ThreadPoolExecutor() as pool:
        daemon.start()
        with daemon.client() as client, daemon.client() as watching:
            client.step(1, stream="kept")
            asked = pool.submit(client.generate, [1, 2, 3], max_length=10_000_000)
            assert becomes(lambda: watching.status()["frames"] > 1000, True)
            daemon.stop()
            with pytest.raises(sr.FrameRefused, match=r"the daemon is stopping: \d+ frames were taken"):
                asked.result(TIMEOUT)
        assert sr.load(daemon.checkpoint()).names.keys() == {"kept"}


BEFORE_A_FRAME = {
    "a frame that begins": [(1, 2, False), (3, 1, False), (5, 0, True), (2, 1, False)],
    "a frame that finds it full": [(1, 2, False), (3, 1, False), (5, 0, False), (2, None, False), (6, 3, False)],
}


@pytest.mark.parametrize("delay", [0, 1])
@pytest.mark.parametrize("frames", BEFORE_A_FRAME.values(), ids=BEFORE_A_FRAME)
def test_a_window_that_closes_before_a_frame_is_learned_from(frames, delay):
    network = Network("tokens 8", ["gru 8", "lstm 6"], "softmax 4", gradient_delay=delay)
    net = network.here()
    with network.daemon() as daemon:
        daemon.start()
        with daemon.client() as client:
            for x, target, begin in frames * 20:
                given = (x,) if target is None else (x, target)
                (net.step if target is None else net.learn)(*given, stream="s", begin=begin)
                client.send(*given, stream="s", begin=begin)
            client.flush()
        daemon.stop()
        learned = sr.load(daemon.checkpoint()).parameters_sha256()
    assert learned == net.parameters_sha256() != network.here().parameters_sha256()
