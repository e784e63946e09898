"""The client against a real daemon: what it hears, what it is refused, and that refusals change nothing."""

import contextlib
import json
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice

import numpy as np
import pytest
import zmq
from daemon import TEXT, TIMEOUT, VECTOR, Daemon, layers

import streamrnn as sr
from streamrnn.client import Subscription
from streamrnn.client.history import History
from streamrnn.client.lines import Line, at_once
from streamrnn.kernels.frames import BEGIN, COLUMNS, ECHO, EMIT, END, FEEDBACK, FLAGS, INPUT, NEW, SCORED, SEQ
from streamrnn.kernels.messages import ACCEPTED, ALIVE, FRAMES, OUTPUT, REFUSED, RESULT
from streamrnn.protocol.wire import Message, pack, text_of, unpack

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
            assert loss == out.loss
    assert np.array_equal(out.y, again.y)


@pytest.mark.parametrize("placement", ['"single"', "[1, 1]"])
def test_units_and_offsets_cost_nothing_on_the_way(placement):
    """Numbers that float32 cannot tell apart come to the daemon, through its journal and back, to the bit."""
    parts = {
        "input": f"{VECTOR['input']}\nstandardize = true",
        "readout": 'kind = "gaussian"\nsize = 4',
        "predict": "next",
    }
    net = sr.Network([sr.GRU(4, 8)], sr.Gaussian(4), sr.Adam(0.002), window=8, predict="next", standardize=True)
    series = [1.7e9, 0, 1e-30, -1e200] + np.array([1, 1e-6, 1e-33, 1e190]) * XS
    with Daemon(**parts, pipeline=f"placement = {placement}", layers=layers("gru 8")) as daemon:
        daemon.start()
        with daemon.client() as client:
            for k, x in enumerate(series):
                if k == 30:
                    daemon.workers()["gate"].kill()
                out, y = client.step(x, stream="a"), net.step(x)
                assert (out.y.dtype, out.y.tobytes()) == (np.float64, y.tobytes())
                np.testing.assert_equal((out.loss, out.losses), (net.loss(), net.channel_losses()))
            with pytest.raises(ValueError, match="larger than 1e"):
                client.step([1e301, 0, 0, 0], stream="a")
        daemon.stop()
    assert out.losses.sum() == pytest.approx(out.loss)
    assert np.abs(out.y[:4] - series.mean(0)).max() < 1e191


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


def answers(daemon: Daemon, *parts: bytes) -> list[Message]:
    """What the gate answers to these bytes, up to the last word on them."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(f"ipc://{daemon.folder}/gate")
        socket.send_multipart(parts)
        messages: list[Message] = []
        while not messages or messages[-1].kind not in (ACCEPTED, REFUSED):
            assert socket.poll(20_000)
            messages.append(unpack(socket.recv()))
        return messages


def refusal(daemon: Daemon, *parts: bytes) -> str:
    """The reason for which the gate refuses these bytes; nothing else is answered."""
    (message,) = answers(daemon, *parts)
    assert message.kind == REFUSED
    return text_of(message)


def message(X=(), *flags: int, targets=()) -> bytes:
    """Frames with these flags, vectors X and target numbers."""
    frames = np.zeros((len(flags), COLUMNS), np.int64)
    frames[:, FLAGS] = flags
    X = np.array(X, np.float32) if len(X) else np.zeros((0, 4), np.float32)
    return pack(Message(FRAMES, 0, 7, frames, X, np.array(targets, np.float32)))


def one(vector, flags=INPUT | EMIT, targets=()) -> bytes:
    return message([vector] if len(vector) else [], flags, targets=targets)


def becomes(what: Callable[[], object], wanted: object) -> bool:
    """Whether it does, within a deadline; the gate reports how things are a few times a second."""
    deadline = time.monotonic() + 30
    while what() != wanted and time.monotonic() < deadline:
        pass
    return what() == wanted


X = [1, 2, 3, 4]
WRONG = [
    ((b"g", one([1, 2, 3])), "inputs are vectors of 4 numbers, got 3 numbers"),
    ((b"g", one([])), "inputs are vectors of 4 numbers, got a token"),
    ((b"g", one([1, 2, np.nan, 4])), "the input holds NaN or infinity"),
    ((b"g", one([1, 2, np.inf, 4])), "the input holds NaN or infinity"),
    ((b"g", one(X, INPUT | EMIT | SCORED)), "1 targets of 2 numbers expected, 0 came"),
    ((b"g", one(X, INPUT | EMIT | SCORED, [1, np.nan])), "the target holds NaN or infinity"),
    ((b"g", one([], SCORED, [1, 2])), "a target came for no frame"),
    ((b"g", one(X, 1 << 30)), "a frame has an unknown flag"),
    ((b"g", one(X, INPUT | NEW)), "a frame has an unknown flag"),
    ((b"g", one([], INPUT | FEEDBACK)), "there is nothing to feed back"),
    ((b"g", one([], BEGIN | INPUT | FEEDBACK)), "there is nothing to feed back"),
    ((b"g", message([X], INPUT | END, INPUT | FEEDBACK)), "there is nothing to feed back"),
    ((b"g", message([X], INPUT, FEEDBACK)), "a frame needs an input or a target"),
    ((b"x" * 256, one(X)), "a stream's name has 1 to 255 bytes and no zero byte"),
    ((b"g\0", one(X)), "a stream's name has 1 to 255 bytes and no zero byte"),
    ((b"~1", one(X)), "streams whose names begin with ~ are the daemon's"),
    ((b"\xff", one(X)), "can't decode"),
    ((b"g", b"garbage"), "a message of 7 bytes is shorter than its header"),
    ((b"g", b"\0" * 100), "not a streamrnn message, or of another version"),
    ((b"g", one(X)[:-4]), "does not have the size its header tells"),
    ((b"g", message()), "a message brings at least one frame"),
    ((b"g",), "a stream's name, frames, and perhaps options, not 1 parts"),
    ((b"g", one(X), b"{}", b""), "a stream's name, frames, and perhaps options, not 4 parts"),
    ((b"g", one(X), b"garbage"), "JSON is malformed"),
    ((b"g", one(X), b'{"tempratur": 1}'), "tempratur"),
    ((b"g", one(X), b'{"temperature": -1}'), "temperature must be from 0 to"),
    ((b"g", one(X), b'{"max_length": 2, "until": 1}'), "the stop symbol 1 is outside"),
    ((b"g", one(X, INPUT | END), b'{"max_length": 2}'), "only a frame with an input that does not end"),
]


@pytest.mark.parametrize(("parts", "reason"), WRONG, ids=[f"{k} {reason}" for k, (_, reason) in enumerate(WRONG)])
def test_a_bad_frame_is_refused_counted_and_changes_nothing(vectors, parts, reason):
    def answer() -> np.ndarray:
        client.reset("h")
        return client.step(XS[0], stream="h").y

    with vectors.client() as client:
        before = answer()
        assert reason in refusal(vectors, *parts)
        vectors.refused += 1
        assert np.array_equal(answer(), before)
        assert becomes(lambda: client.status()["refused"], vectors.refused)
        with pytest.raises(sr.FrameRefused, match='no stream "g"'):
            client.forget("g")
        vectors.refused += 1


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_stream_without_a_name_is_refused_at_once(vectors, name):
    with vectors.client() as client:
        for call in (client.step, client.send, client.send_many):
            with pytest.raises(ValueError, match="a stream's name"):
                call(X, stream=name)


def test_an_oversized_message_is_refused_or_gets_no_further_than_the_socket(vectors):
    assert "a message of 2097153 bytes is over the limit of 1048576" in refusal(vectors, b"g", bytes(2**21))
    vectors.refused += 1
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(f"ipc://{vectors.folder}/gate")
        socket.send_multipart([b"g", bytes(2**22 + 1)])
        assert not socket.poll(200)
    with vectors.client() as client:
        assert client.step(XS[0], stream="i").y.shape == (2,)


def test_a_message_holds_as_many_frames_as_its_bytes_allow(vectors):
    """The largest there can be, and one frame more; what the last 20 come to is what they come to one by one."""
    with vectors.client() as client:
        count = (at_once(client._ask("hello"))["largest_message"] - len(message()) - len("big")) // (
            8 * COLUMNS + 4 * 4
        )
        data = np.resize(XS, (count, 4))
        flags = [INPUT] * (count - 20) + [INPUT | BEGIN] + [INPUT] * 18 + [INPUT | ECHO]
        result, accepted = answers(vectors, b"big", message(data, *flags))
        assert (result.kind, accepted.kind) == (RESULT, ACCEPTED)
        assert result.frames[0, SEQ] == accepted.frames[0, SEQ] + count - 1
        assert "is over the limit" in refusal(vectors, b"big", message([*data, X], *flags, INPUT))
        vectors.refused += 1
        steps = [client.step(x, stream="small", begin=not k).y for k, x in enumerate(data[-20:])]
        client.forget("big")
    assert count > 16_000
    assert np.array_equal(result.vectors, steps[-1:])


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


def lose(outputs):
    """The next message of a subscription never arrives."""
    assert outputs._line.socket.poll(20_000)
    outputs._line.socket.recv_multipart()


def test_what_a_subscriber_misses_comes_in_its_place(text):
    with (
        text.client() as client,
        client.subscribe("m", timeout=20) as broken,
        client.subscribe("m", timeout=20) as whole,
    ):
        heard = []
        for k, token in enumerate(b"abcdefgh" * 5):
            client.step(token, stream="m")
            if k % 7 in (2, 3):
                lose(broken)
            else:
                heard.append(same(next(broken)))
        heard += [same(out) for out in islice(broken, 40 - len(heard))]
        told = [same(out) for out in islice(whole, 40)]
        assert heard == told
        assert broken.missed == []
        assert [same(out) for out in client.outputs("m", told[10][1], told[20][1])] == told[11:20]
        assert client.outputs("never", -1, 10**9) == []


def same(out):
    """Of an output, its bits."""
    return out.stream, out.seq, out.y.tobytes(), np.float32(out.loss).tobytes()


def test_what_came_last_while_the_line_was_broken_comes_when_it_is_there_again(text):
    with text.client() as client, client.subscribe("n", timeout=20) as broken:
        told = [same(client.step(97, stream="n"))]
        heard = [same(next(broken))]
        broken._line.socket.disconnect(broken._line.endpoint)
        told += [same(client.step(token, stream="n")) for token in b"bcd"]
        broken._line.socket.connect(broken._line.endpoint)
        heard += [same(out) for out in islice(broken, 3)]
        told += [same(client.step(token, stream="n")) for token in b"ef"]
        heard += [same(out) for out in islice(broken, 2)]
        assert heard == told
        assert broken.missed == []


def test_what_the_history_no_longer_holds_is_said_to_be_missed():
    with Daemon(pipeline="[outputs]\nhistory = 4000") as daemon:
        daemon.start()
        with daemon.client() as client, client.subscribe("l", timeout=20) as broken:
            seqs, heard = [], []
            for k in range(20):
                seqs.append(client.step(65, stream="l").seq)
                if 2 < k < 15:
                    lose(broken)
                else:
                    heard.append(next(broken).seq)
        daemon.stop()
    assert heard[:3] == seqs[:3]
    assert heard[3] > seqs[3]
    assert broken.missed == [("l", seqs[2], heard[3])]


def test_generate_is_reproducible_and_learns_nothing(text):
    with text.client() as client:
        before = client.step(97, stream="l", learn=False)
        greedy = client.generate("abc", max_length=20, temperature=0)
        assert greedy == client.generate("abc", max_length=20, temperature=0)
        assert greedy == client.generate("abc", max_length=20, temperature=2.0, top_k=1)
        drawn = client.generate(b"abc", max_length=20, seed=5)
        assert drawn == client.generate(b"abc", max_length=20, seed=5)
        assert drawn != client.generate(b"abc", max_length=20, seed=6)
        assert list(drawn) == client.generate([97, 98, 99], max_length=20, seed=5)
        assert (len(greedy.encode(errors="replace")) >= 20, len(drawn)) == (True, 20)
        client.reset("l")
        assert np.array_equal(client.step(97, stream="l", learn=False).y, before.y)


def test_generate_stops_before_the_stop_symbol(text):
    with text.client() as client:
        drawn = client.generate(b"abc", max_length=30, seed=7)
        stop = drawn[10]
        assert client.generate(b"abc", max_length=30, seed=7, until=stop) == drawn[: drawn.index(stop)]
        assert client.generate(b"abc", max_length=30, seed=7, until=bytes([stop])) == drawn[: drawn.index(stop)]
        missing = next(token for token in range(256) if token not in drawn)
        assert client.generate(b"abc", max_length=30, seed=7, until=missing) == drawn


def test_what_is_written_on_a_stream_can_be_gone_on_from(text):
    with text.client() as client:
        whole = client.generate(b"abc", max_length=12, temperature=0)
        assert client.generate(b"abc", max_length=8, temperature=0, stream="n") == whole[:8]
        assert [int(client.step(None, stream="n").y.argmax()) for _ in range(4)] == list(whole[8:])


@pytest.mark.parametrize(
    ("start", "options", "reason"),
    [
        ("", {}, "at least one frame"),
        ([], {}, "at least one frame"),
        ([256], {}, r"token 256 is outside \[0, 256\)"),
        ([[0.5] * 256], {}, "token"),
        ("a", {"max_length": 0}, "max_length must be at least 1"),
        ("a", {"until": "ab"}, "until must be one byte"),
        ("a", {"until": 256}, r"token 256 is outside \[0, 256\)"),
        ("a", {"temperature": -1.0}, "temperature must be from 0 to"),
        ("a", {"top_k": -1}, "top_k must not be negative"),
        ("a", {"seed": -1}, "seed must not be negative"),
    ],
)
def test_what_cannot_be_generated_is_said(text, start, options, reason):
    with text.client() as client:
        before = client.generate("abc", max_length=5, seed=1)
        with pytest.raises(ValueError, match=reason):
            client.generate(start, **options)
        assert client.generate("abc", max_length=5, seed=1) == before


def test_a_text_needs_a_daemon_that_takes_bytes(vectors):
    with vectors.client() as client, pytest.raises(ValueError, match="a text needs a network that takes 256"):
        client.generate("abc", max_length=5)


def test_values_are_fed_back_as_they_are(vectors):
    with vectors.client() as client:
        written = client.generate(XS[0], max_length=5)
        x = XS[0]
        for value in written:
            out = client.step(x, stream="v")
            assert np.array_equal(value, out.y)
            x = [0, 0, *out.y]


def test_status_tells_how_things_are(text):
    with text.client() as client:
        status = client.status()
    assert status["state"] == "running"
    assert [worker["name"] for worker in status["workers"]] == ["gate", "stages-0", "stages-1", "publisher"]
    assert {worker["pid"] for worker in status["workers"]} == {worker.pid for worker in text.workers().values()}


def test_an_answer_that_comes_late_is_not_taken_for_a_later_one():
    with Daemon() as daemon:
        daemon.start()
        with daemon.client() as client:
            daemon.process.send_signal(signal.SIGSTOP)
            waking = threading.Timer(1.3, daemon.process.send_signal, [signal.SIGCONT])
            waking.start()
            assert client.status()["frames"] == 0  # asked again meanwhile: more answers will come
            waking.join()
            client.step(65)
            with daemon.client() as other:
                assert becomes(lambda: other.status()["frames"], 1)
            assert client.status()["frames"] == 1
        daemon.stop()


def test_a_request_that_was_lost_is_sent_again_although_the_daemon_shows_that_it_lives(text, tmp_path):
    with text.client() as client:
        facts = at_once(client._ask("hello"))
    counts, over = {}, threading.Event()

    def daemon():
        with zmq.Context() as context, context.socket(zmq.ROUTER) as control, context.socket(zmq.ROUTER) as gate:
            control.bind(f"ipc://{tmp_path}/control")
            gate.bind(facts["gate"])
            while not over.is_set():
                if control.poll(50):
                    asker, question = control.recv_multipart()
                    answer = facts | {"number": json.loads(question)["number"]}
                    control.send_multipart([asker, json.dumps(answer).encode()])
                while gate.poll(0):
                    sender, _, data = gate.recv_multipart()
                    message = unpack(data)
                    counts[message.kind] = counts.get(message.kind, 0) + 1
                    gate.send_multipart([sender, pack(Message(ALIVE))])
                    if counts.get(FRAMES, 0) == 3:
                        gate.send_multipart([sender, pack(Message(ACCEPTED, 0, 1, message.frames[:1]))])
                if counts:
                    gate.send_multipart([sender, pack(Message(ALIVE))])

    facts |= {"gate": f"ipc://{tmp_path}/gate"}
    thread = threading.Thread(target=daemon)
    thread.start()
    try:
        with sr.Client(f"ipc://{tmp_path}/control", 20.0) as client:
            client.send(65)
            client.flush()
    finally:
        over.set()
        thread.join()
    assert counts[FRAMES] == 3


def listening(context: zmq.Context, endpoint: str, history, replays: bool = True) -> Subscription:
    """A subscription to stream a."""
    socket = context.socket(zmq.SUB)
    socket.subscribe(b"a\0")
    socket.connect(endpoint)
    return Subscription(Line(socket, endpoint), history, "a", 20.0, replays)


class KnownHistory:
    """A history of one output."""

    def __init__(self):
        self.asked = []

    async def messages(self, stream, after, before):
        self.asked.append((stream, after))
        rows = np.zeros((1, COLUMNS), np.int64)
        rows[0, [SEQ, FLAGS]] = 4, INPUT | EMIT
        return [Message(OUTPUT, 2, 7, rows, np.ones((1, 2), np.float32), np.zeros(1, np.float32))], []

    def close(self):
        pass


def test_a_subscriber_that_has_heard_nothing_asks_for_what_came_while_its_line_was_broken(tmp_path):
    endpoint, history = f"ipc://{tmp_path}/outputs", KnownHistory()
    with zmq.Context() as context, contextlib.ExitStack() as stack:
        for epoch, place in ((1, 7), (2, 9)):
            with zmq.Context() as its_own, its_own.socket(zmq.XPUB) as publisher:
                publisher.bind(endpoint)
                if epoch == 1:
                    outputs = stack.enter_context(listening(context, endpoint, history))
                assert any(publisher.poll(50) or outputs._line.socket.poll(0) for _ in range(400))
                assert publisher.recv() == b"\1a\0"
                publisher.send_multipart([b"a\0", pack(Message(ALIVE, epoch, place))])
                outputs.wait(20.0)
        assert history.asked == [("a", 7)]
        assert next(outputs).seq == 4


def said(epoch: int, first: int, count: int) -> list[bytes]:
    """What a publisher sends of so many frames of stream a, a row each."""
    rows = np.zeros((count, COLUMNS), np.int64)
    rows[:, SEQ], rows[:, FLAGS] = range(first, first + count), INPUT | EMIT
    message = Message(OUTPUT, epoch, 2 * first - 1, rows, np.ones((count, 2), np.float32), np.zeros(count, np.float32))
    return [b"a\0", pack(message)]


def test_what_is_replayed_is_not_heard_again_in_however_many_messages_it_comes(tmp_path):
    endpoint = f"ipc://{tmp_path}/outputs"
    with zmq.Context() as context, context.socket(zmq.PUB) as publisher:
        publisher.bind(endpoint)
        with listening(context, endpoint, KnownHistory()) as outputs:
            while not outputs._line.socket.poll(5):
                publisher.send_multipart([b"a\0", pack(Message(ALIVE, 1, -1))])
            for epoch, first, count in [(1, 0, 6), (2, 0, 2), (2, 2, 2), (2, 4, 4), (2, 8, 1), (3, 5, 1), (3, 6, 4)]:
                publisher.send_multipart(said(epoch, first, count))
            assert [output.seq for output in islice(outputs, 10)] == list(range(10))
            for first in (0, 1):  # a new run
                publisher.send_multipart(said(1, first, 1))
            assert [output.seq for output in islice(outputs, 2)] == [0, 1]


@pytest.mark.parametrize(
    ("answers", "then"),
    [
        ([(False, 10, [])], (5, 9)),  # nothing is left
        ([(False, 16, [6, 7])], (8, 15)),  # the newest are left
        ([(True, 8, [3]), (False, 16, [6, 7])], (8, 15)),  # some are let go of between two answers
        ([(True, 8, [3]), (False, 10, []), (True, 16, [5, 6, 7])], (8, 15)),
        ([(False, 6, [])], (3, 6)),  # no output is lacking, but the row of its target
    ],
)
def test_missed_names_the_outputs_that_are_lacking_and_no_others(tmp_path, monkeypatch, answers, then):
    """answers: of the history, whether it is whole, up to which place it goes, and its frames; then: the frame that is
    published after the first three, and the place of the row before it."""
    given = iter(answers)

    async def ask(*_):
        whole, until, seqs = next(given)
        return {"whole": whole, "until": until}, [said(1, seq, 1)[1] for seq in seqs]

    monkeypatch.setattr("streamrnn.client.history.ask", ask)
    endpoint, (last, before) = f"ipc://{tmp_path}/outputs", then
    with zmq.Context() as context, context.socket(zmq.PUB) as publisher:
        publisher.bind(endpoint)
        history = History(Line(context.socket(zmq.DEALER)), 20.0)
        with listening(context, endpoint, history, replays=False) as outputs:
            while not outputs._line.socket.poll(5):
                publisher.send_multipart([b"a\0", pack(Message(ALIVE, 1, -1))])
            publisher.send_multipart(said(1, 0, 3))
            publisher.send_multipart([b"a\0", pack(unpack(said(1, last, 1)[1])._replace(number=before))])
            heard = [0]
            while heard[-1] != last:
                heard.append(next(outputs).seq)
            stretches = [range(after + 1, end) for _, after, end in outputs.missed]
    assert all(stretches)
    assert sorted(seq for stretch in stretches for seq in stretch) == sorted(set(range(last)) - set(heard))


@pytest.mark.parametrize("asked", [b"", b"garbage", b"[]", b'{"ask": 1}', b'{"ask": "shutdown"}'])
def test_an_unknown_question_is_answered_with_what_can_be_asked(text, asked):
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(f"ipc://{text.folder}/control")
        socket.send(asked)
        assert socket.poll(20_000)
        assert b"status" in socket.recv()


def test_threads_that_share_a_client_get_what_each_would_get_alone(vectors):
    def ask(client, number):
        out = [client.step(x * (number + 1), stream=f"thread {number}").y for x in XS[:30]]
        return np.array([*out, *client.label(XS[:10] * (number + 1), stream=f"thread {number}")])

    with vectors.client() as client, ThreadPoolExecutor(3) as pool:
        together = list(pool.map(partial(ask, client), range(3)))
        for number in range(3):
            client.forget(f"thread {number}")
    with vectors.client() as client:
        for number in range(3):
            assert np.array_equal(ask(client, number), together[number])
            client.forget(f"thread {number}")


def test_a_client_in_a_forked_process_says_at_once_that_it_needs_one_of_its_own(vectors):
    calls = {
        "step": lambda client: client.step(XS[0], stream="fork"),
        "send": lambda client: client.send(XS[0], stream="fork"),
        "label": lambda client: client.label(XS[:2], stream="fork"),
        "status": lambda client: client.status(),
        "subscribe": lambda client: client.subscribe(),
    }
    with vectors.client() as client, client.subscribe("fork") as heard:
        before = client.step(XS[0], stream="fork")
        calls["iteration"] = lambda _: list(islice(heard, 2))
        reader, writer = os.pipe()
        if not (child := os.fork()):
            for name, call in calls.items():
                try:
                    call(client)
                    os.write(writer, f"{name}: no error\n".encode())
                except Exception as error:
                    os.write(writer, f"{name}: {error}\n".encode())
            client.close()  # does nothing
            os._exit(0)
        os.close(writer)
        said = b""
        while not said.endswith(b"\n") or said.count(b"\n") < len(calls):
            assert select.select([reader], [], [], 20)[0], said
            said += os.read(reader, 4096)
        os.close(reader)
        assert os.waitpid(child, 0)[1] == 0
        assert said.count(b"make a Client after the fork") == len(calls), said
        assert client.step(XS[1], stream="fork").seq > before.seq  # the parent's goes on
        client.forget("fork")


def test_a_daemon_that_is_not_there_is_said_to_be(tmp_path):
    with pytest.raises(sr.DaemonGone, match=r"no daemon answers at ipc:///nowhere.* is it running\?"):
        sr.Client("ipc:///nowhere/at-all", timeout=0.2)


async def not_at_all() -> None:
    pass


def test_the_answers_of_a_daemon_that_ends_are_heard_by_who_reads_them_later(monkeypatch):
    frames = 3500
    with Daemon(layers=layers("rnn 2")) as daemon:
        daemon.start("--max-frames", str(frames))
        with daemon.client() as client:
            monkeypatch.setattr(client, "_keep_up", not_at_all)
            for k in range(frames):
                client.send(k % 256)
            daemon.process.communicate(timeout=TIMEOUT)
            client.flush()
