"""The publisher: the score against plain Python, and outputs that go to each stream's own topic."""

from hashlib import sha256
from math import isnan, nan

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, load_file, save

from streamrnn.kernels.frames import BEGIN, COLUMNS, EMIT, END, FLAGS, INPUT, SCORED, SEQ, STREAM
from streamrnn.kernels.messages import ALIVE, BARRIER, EVICT, NAME, OUTPUT, RESTORE
from streamrnn.protocol.stream_names import PREVIEW
from streamrnn.protocol.wire import Message, as_numbers, as_text, bytes_of, pack, unpack
from streamrnn.storage import checkpoint, files
from streamrnn.workers import history as history_module
from streamrnn.workers import publisher
from streamrnn.workers.history import History
from streamrnn.workers.publisher import SCORE_FILE, Publisher, Score, publish, topic


@pytest.fixture
def small(monkeypatch):
    """Constants of a size that a test can go through."""
    for name, value in {"RECENT": 5, "LAST": 20, "CURVE": 8, "CURVE_STEP": 3}.items():
        monkeypatch.setattr(publisher, name, value)


def mean(values):
    return sum(values) / len(values) if values else None


def curve(losses, points=8, step=3):
    """Means of `step` losses each, neighbours taken together whenever there are too many points."""
    whole = [losses[k : k + step] for k in range(0, len(losses) - step + 1, step)]
    return curve(losses, points, 2 * step) if len(whole) >= points else ([mean(part) for part in whole], step)


messages_of_losses = st.lists(st.lists(st.just(nan) | st.floats(0, 10, width=32), max_size=40), max_size=30)


@pytest.mark.usefixtures("small")
@settings(deadline=None)
@given(messages_of_losses)
@example([[1.0] * 27, [2.0] * 3])
@example([[float(k)] for k in range(100)])
def test_the_score_is_that_of_the_losses_in_a_row(messages):
    score, losses = Score(), []
    for message in messages:
        score.add(np.array(message, np.float32))
        losses += [loss for loss in message if not isnan(loss)]
        facts = score.facts()
        assert facts["scored"] == len(losses)
        for name, values in (("loss", losses), ("recent_loss", losses[-5:]), ("last_loss", losses[-20:])):
            assert facts[name] == pytest.approx(mean(values))
        assert score.mean(3) == pytest.approx(mean(losses[-3:]) or 0 if losses else nan, nan_ok=True)
        points, step = curve(losses)
        assert facts["curve_step"] == step
        assert facts["curve"] == pytest.approx(points)


def test_a_score_keeps_the_last_hundred_thousand():
    score, losses = Score(), np.random.default_rng(0).random(250_300)
    for part in np.array_split(losses, 400):
        score.add(part)
    assert score.mean() == pytest.approx(losses.mean())
    assert score.mean(10_000) == pytest.approx(losses[-10_000:].mean())
    assert score.mean(10**9) == score.mean(100_000) == pytest.approx(losses[-100_000:].mean())
    assert len(score.curve) == 250
    assert score.curve[7] == pytest.approx(losses[7000:8000].mean())


# --- publishing ------------------------------------------------------------------------------------------------------


class Socket:
    """Keeps what is sent."""

    def __init__(self):
        self.sent = []

    def send_multipart(self, parts):
        self.sent.append(parts)

    send = send_multipart


FLAG_SETS = [
    INPUT | EMIT,
    INPUT | EMIT | BEGIN,
    INPUT,
    SCORED,
    SCORED | EMIT,
    INPUT | SCORED,
    INPUT | SCORED | EMIT | END,
]


def outputs(listed, width=3):
    """What a readout sends of frames (stream, flags): each number says which frame it is of."""
    frames = np.zeros((len(listed), COLUMNS), np.int64)
    for k, (stream, flags) in enumerate(listed):
        frames[k, SEQ], frames[k, STREAM], frames[k, FLAGS] = 100 + k, stream, flags
    emitted = [k for k, (_, flags) in enumerate(listed) if flags & INPUT and flags & EMIT]
    vectors = np.repeat(np.float32(emitted)[:, None], width, 1)
    losses = np.array([k if flags & SCORED else nan for k, (_, flags) in enumerate(listed)])
    return Message(OUTPUT, 4, 0, frames, vectors, losses)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(FLAG_SETS)), max_size=20))
def test_each_stream_gets_its_own_outputs_in_order(listed):
    socket, message = Socket(), outputs(listed)
    publish(socket, message, {k: topic(f"stream {k}") for k in range(4)}, np.array([7, 8, 9, -1]))
    streams = sorted({stream for stream, _ in listed})
    assert sorted(name for name, _ in socket.sent) == [b"stream %d\0" % stream for stream in streams]
    for name, part in socket.sent:
        came, number = unpack(part), int(name[-2:-1])
        assert came[:3] == (OUTPUT, 4, [7, 8, 9, -1][number])
        own = [k for k, (stream, _) in enumerate(listed) if stream == number]
        assert np.array_equal(came.frames, message.frames[own])
        assert np.array_equal(came.extra, message.extra[own], equal_nan=True)
        emitted = [k for k in own if listed[k][1] & INPUT and listed[k][1] & EMIT]
        assert came.vectors.tolist() == [[k] * 3 for k in emitted]


@settings(deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(FLAG_SETS)), min_size=1, max_size=5), max_size=12),
    st.integers(500, 3000),
    st.tuples(st.integers(-1, 130), st.integers(0, 130)),
    st.integers(100, 10_000),
)
def test_the_history_gives_what_it_holds_of_a_stream(sent, most, between, answer):
    history, rows, (after, before) = History(most), [], between
    for listed in sent:
        message = outputs(listed)
        message.frames[:, SEQ] = np.arange(len(rows), len(rows) + len(listed))
        rows += message.frames.tolist()
        history.add(message, pack(message), {})
    assert history.nbytes <= most
    found, until = [], after
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_module, "ANSWER", answer)
        while until < before - 1:
            data, until = history.part(1, until, before)
            found += [row for part in data for row in unpack(part).frames.tolist()]
    place = [2 * row[SEQ] + bool(row[FLAGS] & INPUT) for row in rows]
    assert found == [
        row for row, at in zip(rows, place, strict=True) if row[STREAM] == 1 and max(history.gone, after) < at < before
    ]


# --- the worker ------------------------------------------------------------------------------------------------------


class AuthenticatedSocket:
    """One that anybody may use and nobody does."""

    rejected = 0

    def __init__(self, *_):
        self.socket = Socket()


@pytest.fixture(autouse=True)
def no_door(monkeypatch):
    monkeypatch.setattr(publisher, "open_authenticated", AuthenticatedSocket)


class Supervision:
    """What a publisher's process gets from its `Worker`."""

    def __init__(self, streams):
        self.order = {
            "epoch": 4,
            "streams": streams,
            "places": 8,
            "history": 2000,
            "run": "r",
            "written": None,
            "forecast": None,
            "channels": None,
            "losses": 1,
            "targets": 0,
            "resume": None,
            "keys": None,
        }
        self.order |= dict.fromkeys(("outputs", "frames_in", "to_gate"), "")
        self.reports = []

    def first_order(self):
        return self.order

    def socket(self, *_, **__):
        return Socket()

    def save(self, number, write, **facts):
        self.report("saved", number=number, sha256=write(), **facts)

    def report(self, kind, data=(), **facts):
        self.reports.append((kind, facts))
        self.data = data


def name(number, text, epoch=4):
    return pack(Message(NAME, epoch, number, extra=as_text(text)))


def test_a_publisher_counts_scores_and_publishes(tmp_path):
    worker = Publisher(Supervision(["a"]))
    worker.order["checkpoints"] = str(tmp_path)
    folder = files.temporary_folder(tmp_path / checkpoint.number_name(6))
    worker.take(pack(outputs([(0, INPUT | EMIT | SCORED)])))
    assert worker.frontend.socket.sent == []  # nobody listens
    worker.hear(b"\1")
    worker.frontend.socket.sent.clear()
    worker.take(name(1, "b"))
    data = pack(outputs([(0, SCORED), (0, INPUT | EMIT), (1, INPUT | EMIT | SCORED)]))
    worker.take(data)
    assert [parts[0] for parts in worker.frontend.socket.sent] == [b"a\0", b"b\0"]
    facts = worker.facts()
    assert (worker.rows, facts["inputs"], facts["scored"], facts["bad"]) == (4, 3, 3, 0)
    assert facts["loss"] == pytest.approx((0 + 0 + 2) / 3)
    worker.take(pack(Message(BARRIER, 4, 6)))
    digest = sha256((folder / SCORE_FILE).read_bytes()).hexdigest()
    assert worker.worker.reports == [("saved", {"number": 6, "sha256": {SCORE_FILE: digest}, **facts})]
    again = Score()
    again.restore(load_file(folder / SCORE_FILE))
    assert again.facts() == worker.score.facts()
    assert load_file(folder / SCORE_FILE)["newest"].tolist() == [203, 205, *[-1] * 6]


def test_what_is_no_message_or_of_another_epoch_is_counted_and_passed_over():
    worker = Publisher(Supervision(["a"]))
    worker.hear(b"\1")
    worker.frontend.socket.sent.clear()
    frame = outputs([(0, INPUT | EMIT | SCORED)])
    for data in (b"", b"x" * 100, pack(frame)[:-1], pack(frame._replace(epoch=3)), name(0, "b", epoch=5)):
        worker.take(data)
    assert worker.facts()["bad"] == 5
    assert (worker.rows, worker.inputs, worker.score.scored) == (0, 0, 0)
    assert worker.frontend.socket.sent == []
    worker.take(pack(frame))
    assert worker.frontend.socket.sent == [[b"a\0", pack(frame._replace(number=-1))]]


@pytest.mark.parametrize("streams", [["a"], ["a", PREVIEW]])
def test_samples_of_the_live_view_are_published_and_not_counted(streams):
    worker = Publisher(Supervision(streams))
    worker.hear(b"\1")
    worker.frontend.socket.sent.clear()
    worker.take(name(1, PREVIEW))
    worker.take(pack(outputs([(1, INPUT | EMIT), (1, INPUT | EMIT), (0, INPUT | EMIT)])))
    assert (worker.rows, worker.inputs) == (3, 1)
    assert sorted(parts[0] for parts in worker.frontend.socket.sent) == [b"a\0", topic(PREVIEW)]
    worker.take(name(1, "b"))  # the number serves again
    worker.take(pack(outputs([(1, INPUT | EMIT)])))
    assert worker.inputs == 2
    assert worker.frontend.socket.sent[-1][0] == b"b\0"


def test_whoever_subscribes_is_answered_and_nobody_can_unsubscribe_another():
    worker = Publisher(Supervision(["a"]))
    for data in (b"\1a\0", b"\1", b"\0a\0", b"\0", b"\0", b"\0never", b"nonsense", b"\2"):
        worker.hear(data)
    assert [(topic, unpack(data).kind) for topic, data in worker.frontend.socket.sent] == [
        (b"a\0", ALIVE),
        (b"", ALIVE),
    ]
    assert worker.facts()["bad"] == 2
    worker.take(pack(outputs([(0, INPUT | EMIT)])))
    assert worker.frontend.socket.sent[-1][0] == b"a\0"


def test_outputs_that_do_not_hold_together_are_counted_and_passed_over():
    worker = Publisher(Supervision(["a"]))
    good = outputs([(0, INPUT | EMIT), (0, SCORED)])
    strange = outputs([(0, INPUT | EMIT), (5, SCORED)])
    fewer = good._replace(extra=good.extra[1:]), good._replace(vectors=good.vectors[1:])
    for message in (strange, *fewer, outputs([])):
        worker.take(pack(message))
    for number in (-1, 8, 2**62):
        worker.take(name(number, "b"))
    assert (worker.bad, worker.rows, worker.history.nbytes) == (7, 0, 0)
    worker.take(pack(good))
    assert (worker.bad, worker.rows) == (7, 2)


def test_a_stream_that_was_evicted_is_published_again_and_known_by_its_last_place():
    worker = Publisher(Supervision(["a", "b"]))
    worker.hear(b"\1")
    worker.take(pack(outputs([(0, INPUT | EMIT), (1, INPUT | EMIT)])))
    worker.credit.sent.clear()
    worker.take(pack(Message(EVICT, 4, 0, np.array([[17, 0, 0, 0, 0, 0]]))))
    (sent,) = worker.credit.sent
    part = unpack(sent)
    assert part[:3] == (EVICT, 4, 17)
    assert worker.topics == {1: b"b\0"}
    worker.take(name(0, "c"))
    worker.take(pack(outputs([(0, INPUT | EMIT)])))
    state = load(bytes_of(part)) | {"gate": np.frombuffer(b'{"name": "a"}   ', np.uint8)}
    worker.take(pack(Message(RESTORE, 4, 5, np.array([[18, 0, 0, 0, 0, 0]]), extra=as_numbers(save(state)))))
    worker.take(pack(outputs([(5, INPUT | EMIT)])))
    assert worker.bad == 0
    topics = [(parts[0], unpack(parts[1]).number) for parts in worker.frontend.socket.sent[1:]]
    assert topics == [(b"a\0", -1), (b"b\0", -1), (b"c\0", -1), (b"a\0", 201)]
    assert past(worker, "a", 201, 1000)[1]  # all since its last output, that it came back is none
    assert not past(worker, "a", -1, 1000)[1]


def test_evictions_that_do_not_fit_are_counted_and_passed_over():
    worker = Publisher(Supervision(["a"]))
    row = np.zeros((1, 5), np.int64)
    for number in (1, -1, 8, 2**62):
        worker.take(pack(Message(EVICT, 4, number, row)))
    worker.take(pack(Message(EVICT, 4, 0)))
    nameless = {"gate": np.frombuffer(b"[]      ", np.uint8), "newest": np.array([0])}
    for extra in (b"", b"nonsense", save(nameless), save({"newest": np.array([0])})):
        worker.take(pack(Message(RESTORE, 4, 1, row, extra=as_numbers(extra))))
    assert (worker.bad, worker.topics) == (9, {0: b"a\0"})


def past(worker, stream, after, before):
    """What is answered to a question for the history."""
    worker.tell({"asker": "me", "number": 7, "stream": stream, "after": after, "before": before})
    kind, facts = worker.worker.reports[-1]
    assert (kind, facts["asker"], facts["number"]) == ("history", "me", 7)
    return [seq for part in worker.worker.data for seq in unpack(part).frames[:, SEQ].tolist()], facts["whole"]


def test_who_missed_something_can_ask_for_it():
    worker = Publisher(Supervision(["a", "b"]))
    first = outputs([(0, INPUT | EMIT), (1, INPUT | EMIT), (0, INPUT | EMIT)])
    first.frames[:, SEQ] -= 100
    worker.take(pack(first))
    worker.take(pack(outputs([(0, INPUT | EMIT)])))
    assert past(worker, "a", -1, 1000) == ([0, 2, 100], True)
    assert past(worker, "a", 1, 201) == ([2], True)
    assert past(worker, "b", -1, 1000) == ([1], True)
    assert past(worker, "c", -1, 1000) == ([], False)
    worker.take(name(1, "c"))  # the number serves again
    assert past(worker, "c", -1, 1000) == ([], True)
    while worker.history.gone < 5:
        worker.take(pack(outputs([(0, INPUT | EMIT)])))
    assert past(worker, "a", 3, 1000)[1] is False


def all_streams(worker, after, asker="me", wait=False):
    """What is answered to a question for the history of all streams; None if the answer waits."""
    worker.worker.reports.clear()
    question = {"asker": asker, "number": 7, "stream": None, "after": after, "before": 2**62, "wait": wait}
    worker.tell_all(question)
    if not worker.worker.reports:
        return None
    ((_, facts),) = worker.worker.reports
    found = []
    for part, names in zip(worker.worker.data, facts["names"], strict=True):
        rows = unpack(part).frames
        found += [(int(row[SEQ]), names[int(row[STREAM])]) for row in rows]
    return found, facts["gone"], facts["begins"], facts["run"]


def test_who_wants_all_streams_is_told_what_they_were_called_and_may_wait():
    worker = Publisher(Supervision(["a", "b"]))
    first = outputs([(0, INPUT | EMIT), (1, INPUT | EMIT)])
    first.frames[:, SEQ] -= 100
    worker.take(pack(first))
    worker.take(name(1, "c"))
    assert all_streams(worker, 3, wait=True) is None
    worker.answer_waiting()
    assert worker.worker.reports == []
    worker.take(pack(outputs([(1, INPUT | EMIT)])))
    worker.answer_waiting()
    assert [kind for kind, _ in worker.worker.reports] == ["history"]
    assert worker.waiting == {}
    assert all_streams(worker, -1) == ([(0, "a"), (1, "b"), (100, "c")], -1, -1, "r")
    assert all_streams(worker, 3) == ([(100, "c")], -1, -1, "r")
    assert all_streams(worker, 201) == ([], -1, -1, "r")
    worker.history.most = 0
    last = outputs([(1, INPUT | EMIT)])
    last.frames[:, SEQ] += 1
    worker.take(pack(last))
    assert all_streams(worker, 201, wait=True) == ([], 203, -1, "r")  # it was too large to be kept
    for k in range(100):
        all_streams(worker, 203, asker=str(k), wait=True)
    assert len(worker.waiting) == publisher.MOST_WAITING


@pytest.mark.parametrize("run", ["r", "another"])
def test_what_sinks_have_not_written_is_in_the_checkpoint_of_their_run(tmp_path, run):
    supervision = Supervision(["a", "b"])
    supervision.order |= {"checkpoints": str(tmp_path), "written": -1}
    worker = Publisher(supervision)
    folder = files.temporary_folder(tmp_path / checkpoint.number_name(6))
    for seq in range(5):
        message = outputs([(seq % 2, INPUT | EMIT)])
        message.frames[:, SEQ] = seq
        worker.take(pack(message))
    worker.floor = 5
    worker.take(pack(Message(BARRIER, 4, 6)))
    again = Supervision(["a", "b"])
    again.order |= {"run": run, "epoch": 5, "written": -1}
    restored = Publisher(again)
    restored.place = restored.history.gone = 9
    restored.history.restore(load_file(folder / SCORE_FILE), run, 5)
    restored.begins = restored.history.gone
    if run == "r":
        assert all_streams(restored, 5) == ([(3, "b"), (4, "a")], 5, 5, "r")
        assert {unpack(part).epoch for part in again.data} == {5}
    else:
        assert all_streams(restored, 5) == ([], 9, 9, "another")
