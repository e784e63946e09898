"""The client against a real daemon: what it hears, what it is refused, and that refusals change nothing."""

import contextlib

import numpy as np
import pytest
import zmq
from daemon import TEXT, VECTOR, Daemon, layers

import streamrnn as sr
from streamrnn.client import draw
from streamrnn.frames import COLUMNS, EMIT, FLAGS, INPUT
from streamrnn.wire import FRAMES, Message, pack

RNG = np.random.default_rng(3)
XS, TARGETS = RNG.standard_normal((60, 4)).astype(np.float32), RNG.standard_normal((60, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors():
    """A daemon that takes vectors and targets from clients."""
    with Daemon(**VECTOR, layers=layers("lstm 8", "gru 8")) as daemon:
        daemon.refused = 0
        yield daemon.start()
        daemon.stop()


@pytest.fixture(scope="module")
def text():
    """A daemon that predicts bytes."""
    with Daemon(**TEXT, layers=layers("gru 16")) as daemon:
        yield daemon.start()
        daemon.stop()


def same_here(**settings) -> sr.Network:
    net = sr.Network([sr.LSTM(4, 8), sr.GRU(8, 8)], sr.Linear(2), sr.Adam(0.002), window=8, **settings)
    return net


def test_outputs_and_losses_are_the_library_s(vectors):
    net = same_here()
    with vectors.client() as client, client.subscribe("a", timeout=20) as heard:
        for x, target in zip(XS, TARGETS, strict=True):
            out = client.step(x, target, stream="a")
            loss = net.learn(x, target)
            again = next(heard)
            assert (again.seq, again.loss) == (out.seq, out.loss)
            assert out.stream == "a"
            assert np.float32(loss) == out.loss
    assert np.array_equal(out.y, again.y)


def test_interleaved_streams_are_as_if_alone(vectors):
    with vectors.client() as client:
        together = [(client.step(x, stream="b").y, client.step(-x, stream="c").y) for x in XS[:20]]
        alone = [[client.step(sign * x, stream=name).y for x in XS[:20]] for name, sign in (("d", 1), ("e", -1))]
    for (b, c), d, e in zip(together, *alone, strict=True):
        assert np.array_equal(b, d)
        assert np.array_equal(c, e)


def test_reset_forgets(vectors):
    with vectors.client() as client:
        first = client.step(XS[0], stream="f").y
        second = client.step(XS[0], stream="f").y
        client.reset("f")
        assert not np.array_equal(first, second)
        assert np.array_equal(client.step(XS[0], stream="f").y, first)


def raw(daemon: Daemon, *parts: bytes) -> str:
    """What the gate answers to these bytes."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(f"ipc://{daemon.folder}/gate")
        socket.send_multipart(parts)
        assert socket.poll(20_000)
        return socket.recv()[64:].rstrip(b"\0").decode()


def frame(flags: int = INPUT | EMIT) -> np.ndarray:
    row = np.zeros((1, COLUMNS), np.int64)
    row[0, FLAGS] = flags
    return row


def wrong(vector, flags=INPUT | EMIT, extra=()) -> bytes:
    vectors = np.array(vector, np.float32).reshape(1, -1) if len(vector) else np.zeros((0, 4), np.float32)
    return pack(Message(FRAMES, 0, 7, frame(flags), vectors, np.array(extra, np.float32)))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ((b"g", wrong([1, 2, 3])), "inputs are vectors of 4 numbers, got 3 numbers"),
        ((b"g", wrong([])), "inputs are vectors of 4 numbers, got a token"),
        ((b"g", wrong([1, 2, np.nan, 4])), "the input holds NaN or infinity"),
        ((b"g", wrong([1, 2, np.inf, 4])), "the input holds NaN or infinity"),
        ((b"g", wrong([1, 2, 3, 4], INPUT | EMIT | 4)), "1 targets of 2 numbers expected, 0 came"),
        ((b"g", wrong([1, 2, 3, 4], INPUT | EMIT | 4, [1, np.nan])), "the target holds NaN or infinity"),
        ((b"g", wrong([1, 2, 3, 4], 1 << 30)), "a frame has an unknown flag"),
        ((b"", wrong([1, 2, 3, 4])), "a stream's name has 1 to 255 bytes and no zero byte"),
        ((b"\xff", wrong([1, 2, 3, 4])), "can't decode"),
        ((b"g", b"garbage"), "a message of 7 bytes is shorter than its header"),
        ((b"g", b"\0" * 100), "not a streamrnn message, or of another version"),
        ((b"g", wrong([1, 2, 3, 4])[:-4]), "does not have the size its header tells"),
        ((b"g",), "has two parts"),
    ],
)
def test_a_bad_frame_is_refused_counted_and_changes_nothing(vectors, parts, reason):
    def answer() -> np.ndarray:
        client.reset("h")
        return client.step(XS[0], stream="h").y

    with vectors.client() as client:
        before = answer()
        assert reason in raw(vectors, *parts)
        vectors.refused += 1
        assert np.array_equal(answer(), before)
        while client.status()["refused"] < vectors.refused:
            pass  # the gate reports a few times a second; pytest's own time limit is the CI's
        assert client.status()["refused"] == vectors.refused


def test_an_oversized_message_is_refused_or_gets_no_further_than_the_socket(vectors):
    assert "a message of 2097152 bytes is over the limit" in raw(vectors, b"g", bytes(2**21))
    vectors.refused += 1
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(f"ipc://{vectors.folder}/gate")
        socket.send_multipart([b"g", bytes(2**26 + 1)])
        assert not socket.poll(200)
    with vectors.client() as client:
        assert client.step(XS[0], stream="i").y.shape == (2,)


def test_a_refused_send_is_raised_by_a_later_call_at_the_latest_by_flush(vectors):
    def send(client: sr.Client) -> None:
        client.send(XS[0], stream="x" * 300)
        client.flush()

    with vectors.client() as client:
        with pytest.raises(sr.FrameRefused, match="a stream's name"):
            send(client)
        vectors.refused += 1
        with pytest.raises(ValueError, match="shape"):
            client.send(XS[0][:3])


def test_streams_are_limited_and_their_places_are_given_again(vectors):
    made = []
    with vectors.client() as client:
        with contextlib.suppress(sr.FrameRefused):
            for k in range(65):
                first = client.step(XS[0], stream=f"many {k}").y
                made.append(f"many {k}")
        with pytest.raises(sr.FrameRefused, match="all 64 streams are in use"):
            client.step(XS[0], stream="one more")
        for name in made:
            client.forget(name)
        with pytest.raises(sr.FrameRefused, match='no stream "many 0"'):
            client.forget("many 0")
        assert np.array_equal(client.step(XS[0], stream="another").y, first)
    vectors.refused += 3


def test_a_subscriber_hears_every_frame_of_its_stream_and_only_those(text):
    data = b"abcabcabcabc" * 20
    with text.client() as client, client.subscribe("j", timeout=20) as one, client.subscribe(timeout=20) as every:
        for token in data:
            client.send(token, stream="j")
            client.send(token, stream="k")
        client.flush()
        heard = [next(one) for _ in data]
        assert [out.stream for out in heard] == ["j"] * len(data)
        assert [out.seq - heard[0].seq for out in heard] == list(range(0, 2 * len(data), 2))
        assert np.isnan(heard[0].loss)
        for before, out, token in zip(heard, heard[1:], data[1:], strict=False):
            assert out.loss == pytest.approx(-np.log(before.y[token]), abs=1e-5)
        both = [next(every) for _ in range(2 * len(data))]
        assert [out.stream for out in sorted(both, key=lambda out: out.seq)] == ["j", "k"] * len(data)
        assert heard[-1].loss < heard[10].loss


def test_generate_is_reproducible_and_learns_nothing(text):
    with text.client() as client:
        before = client.step(97, stream="l", learn=False)
        greedy = client.generate("abc", 20, temperature=0)
        assert greedy == client.generate("abc", 20, temperature=0)
        drawn = client.generate(b"abc", 20, temperature=1.0, seed=5)
        assert drawn == client.generate(b"abc", 20, temperature=1.0, seed=5)
        assert (len(greedy.encode(errors="replace")) >= 20, len(drawn)) == (True, 20)
        client.reset("l")
        assert np.array_equal(client.step(97, stream="l", learn=False).y, before.y)
        with pytest.raises(sr.FrameRefused, match='there is no stream "generate-5-'):
            client.forget(f"generate-5-{id(client):x}")  # it has been given back
        with pytest.raises(ValueError, match="prefix"):
            client.generate("", 5)


def test_generate_needs_a_daemon_that_predicts_bytes(vectors):
    with vectors.client() as client, pytest.raises(ValueError, match="does not predict bytes"):
        client.generate("abc", 5)


def test_status_tells_how_things_are(text):
    with text.client() as client:
        status = client.status()
    assert status["state"] == "running"
    assert [name for name, _, _ in status["workers"]] == ["gate", "stages-0", "stages-1", "publisher"]
    assert {pid for _, _, pid in status["workers"]} == {worker.pid for worker in text.workers().values()}


@pytest.mark.parametrize("asked", [b"", b"garbage", b"[]", b'{"ask": 1}', b'{"ask": "shutdown"}'])
def test_an_unknown_question_is_answered_with_what_can_be_asked(text, asked):
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(f"ipc://{text.folder}/control")
        socket.send(asked)
        assert socket.poll(20_000)
        assert b"status" in socket.recv()


def test_a_daemon_that_is_not_there_is_said_to_be(tmp_path):
    with pytest.raises(sr.DaemonGone, match=r"no daemon answers at ipc:///nowhere.* is it running\?"):
        sr.Client("ipc:///nowhere/at-all", timeout=0.2)


def test_draw_follows_the_temperature():
    rng = np.random.default_rng(0)
    p = np.array([0.1, 0.6, 0.3])
    assert draw(p, 0, rng) == 1
    counts = np.bincount([draw(p, 1.0, rng) for _ in range(4000)], minlength=3) / 4000
    assert np.abs(counts - p).max() < 0.03
    sharp = np.bincount([draw(p, 0.5, rng) for _ in range(4000)], minlength=3) / 4000
    assert np.abs(sharp - p**2 / (p**2).sum()).max() < 0.03
