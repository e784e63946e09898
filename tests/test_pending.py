"""Requests that wait their turn: one line for each stream, outputs that come back, clients that go."""

from collections import Counter, deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.kernels.frames import (
    BEGIN,
    COLUMNS,
    ECHO,
    EMIT,
    END,
    FEEDBACK,
    FLAGS,
    INPUT,
    NEW,
    SCORED,
    SEQ,
    STREAM,
    TARGET,
    TOKEN,
)
from streamrnn.kernels.messages import ACCEPTED, CLOSE, FRAMES, NAME, OUTPUT, REFUSED, RESULT
from streamrnn.model.feedback import Drawing
from streamrnn.protocol.stream_names import PREVIEW
from streamrnn.protocol.wire import NO_VECTORS, NOTHING, Message, text_of, unpack
from streamrnn.workers.admission import pending
from streamrnn.workers.admission.deduplication import Progress, Verdict
from streamrnn.workers.admission.intake import Intake, Refused
from streamrnn.workers.admission.pending import PendingRequests

K, WIDTH, FIRST, PLENTY = 6, 2, 100, 1000
STEP, FED = INPUT | EMIT, INPUT | EMIT | FEEDBACK
PLAIN = Drawing()
ORDER = {
    "dismissals": 0,
    "predict": "target",
    "classes": K,
    "target_classes": K,
    "input_size": 0,
    "target_size": 0,
    "largest": 1e30,
    "missing": "refuse",
    "evict": "idle",
    "max_streams": 4,
    "places": 10,
    "block": 16,
    "epoch": 9,
    "frames": FIRST,
    "streams": [],
    "fresh": [],
    "kept": {},
    "last": {},
}
VALUES = ORDER | {"classes": 0, "target_classes": 0, "input_size": WIDTH, "target_size": WIDTH}


class Streams:
    """Those of a gate whose clients are always there."""

    def knows(self, name):
        return False

    def admit(self, name):
        return True

    def opened(self, number):
        pass

    def use(self, number, client):
        pass

    def close(self, name, record):
        raise Refused(f'there is no stream "{name}"')


class Daemon:
    """Pending requests and an intake; what goes down is kept, and the network says of each token the next one.

    A network of values adds one to each. `room` is how many frames may be let in, `down` holds rows, and names as
    (number, name), `answers` what each client has got.
    """

    def __init__(self, order=ORDER, room=PLENTY):
        self.intake = Intake(order)
        calls = self.space, self.took, self.flush, self.name, self.reply, self.reply
        self.pending = PendingRequests(self.intake, Streams(), lambda: 0, *calls)
        self.room, self.down, self.answers = room, [], []
        self.counted = 0
        self.outputs = deque()  # on their way back

    def space(self, counted):
        return self.room if counted else PLENTY

    def took(self, frames):
        self.room -= frames
        self.counted += frames

    def name(self, data, note, soon=True):
        self.flush()
        if note:
            assert (data, list(note)) == (b"", ["closed"])
            return
        message = unpack(data)
        assert message.kind == NAME
        self.down.append((message.number, text_of(message)))

    def flush(self):
        if self.intake.count:
            block = unpack(self.intake.block())
            self.down += list(map(tuple, block.frames.tolist()))
            inputs = block.frames[block.frames[:, FLAGS] & INPUT > 0]
            X = block.vectors if self.intake.inputs else np.eye(K, dtype=np.float32)[inputs[:, TOKEN] - K + 1]
            for row, x in zip(inputs, X + (self.intake.inputs > 0), strict=True):
                if row[FLAGS] & ECHO:
                    self.outputs.append((row, x))

    def reply(self, to, message):
        self.answers.append((to, message))

    def take(self, sender, name, *flags, token=0, number=1, drawing=PLAIN, kind=FRAMES):
        rows = np.zeros((len(flags), COLUMNS), np.int64)
        rows[:, FLAGS], rows[:, TOKEN], rows[:, TARGET] = flags, token, token
        given = sum(f & FEEDBACK == 0 for f in flags)
        X = np.full((given, WIDTH), token, np.float32) if self.intake.inputs else NO_VECTORS
        self.pending.add(sender, name, Message(kind, 0, number, rows, X), drawing)

    def close(self, sender, name, number=1):
        self.pending.add(sender, name, Message(CLOSE, 0, number), PLAIN)

    def hear(self, count=1):
        """The next outputs come back, in one message."""
        self.flush()
        came = [self.outputs.popleft() for _ in range(count)]
        rows, Y = np.array([row for row, _ in came]), np.array([y for _, y in came])
        rows[:, TOKEN] = -1
        for array in (rows, Y):
            array.setflags(write=False)
        self.pending.hear(Message(OUTPUT, 9, 0, rows, Y))

    def hear_all(self):
        self.flush()
        while self.outputs:
            self.hear()
            self.flush()

    def rows(self, name):
        """(flags, token) of what has gone down for a stream."""
        self.flush()
        number, found = self.intake.names[name], []
        for entry in self.down:
            if len(entry) == 2:
                found = [] if entry[0] == number else found
            elif entry[STREAM] == number:
                found.append((entry[FLAGS], entry[TOKEN]))
        return found

    def tokens(self, name):
        return [token for _, token in self.rows(name)]

    def told(self, sender=None):
        """(kind, number) of the answers to a client, or to all."""
        return [(message.kind, message.number) for to, message in self.answers if sender in (None, to)]

    def reasons(self):
        return [text_of(message) for _, message in self.answers if message.kind == REFUSED]

    @property
    def idle(self):
        return not self.pending.queues and not self.pending.listening and self.pending.waiting == 0


def writing(length, **options):
    return Drawing(max_length=length, **options)


# --- turns -----------------------------------------------------------------------------------------------------------


def test_a_request_is_let_in_at_once_and_answered_with_its_first_frame():
    daemon = Daemon()
    daemon.take(b"x", "a", STEP, STEP, number=7)
    daemon.take(b"y", "b", STEP, number=8)
    daemon.take(b"x", "a", STEP, number=9)
    assert [(to, message.number) for to, message in daemon.answers] == [(b"x", 7), (b"y", 8), (b"x", 9)]
    assert [message.frames[0, SEQ] for _, message in daemon.answers] == [FIRST, FIRST + 2, FIRST + 3]
    assert {message.kind for _, message in daemon.answers} == {ACCEPTED}
    assert daemon.counted == 4
    assert daemon.idle


def test_a_stream_waits_for_an_output_and_others_go_on():
    daemon = Daemon()
    daemon.take(b"x", "a", STEP, token=0, drawing=writing(3))
    daemon.take(b"y", "a", STEP, token=5, number=2)
    daemon.take(b"x", "a", STEP, token=4, number=3)
    daemon.take(b"y", "b", STEP, STEP, number=4)
    assert daemon.told() == [(ACCEPTED, 4)]
    assert daemon.tokens("a") == [0]
    daemon.hear()
    assert daemon.tokens("a") == [0, 1]
    daemon.pending.advance()
    assert daemon.tokens("a") == [0, 1]
    daemon.hear()
    daemon.hear()
    assert daemon.tokens("a") == [0, 1, 2, 5, 4]
    assert daemon.told(b"x") == [(RESULT, 1), (RESULT, 1), (RESULT, 1), (ACCEPTED, 1), (ACCEPTED, 3)]
    assert daemon.told(b"y") == [(ACCEPTED, 4), (ACCEPTED, 2)]
    assert daemon.idle


def test_results_hold_what_was_said_and_drawn():
    daemon = Daemon()
    daemon.take(b"x", "a", STEP | ECHO, STEP, FED | END, token=2, number=5)
    daemon.hear(2)
    (to, result), (_, accepted) = daemon.answers
    assert (to, result.kind, result.number) == (b"x", RESULT, 5)
    assert result.frames[:, SEQ].tolist() == [FIRST, FIRST + 1]
    assert result.frames[:, TOKEN].tolist() == [-1, 3]  # only the second is fed back
    assert result.vectors.tolist() == np.eye(K)[[3, 3]].tolist()
    assert result.extra.size == 0
    assert (accepted.kind, accepted.number, accepted.frames[0, SEQ]) == (ACCEPTED, 5, FIRST)
    assert daemon.rows("a") == [(STEP | ECHO | BEGIN, 2), (STEP | ECHO, 2), (STEP | END, 3)]


def test_results_of_values_hold_the_values():
    daemon = Daemon(VALUES)
    daemon.take(b"x", "a", STEP, token=3, drawing=writing(2))
    daemon.hear_all()
    results = [message for _, message in daemon.answers[:-1]]
    assert daemon.told() == [(RESULT, 1), (RESULT, 1), (ACCEPTED, 1)]
    assert [result.extra.tolist() for result in results] == [[4, 4], [5, 5]]
    assert [result.vectors.tolist() for result in results] == [[[4, 4]], [[5, 5]]]
    assert [result.frames[:, TOKEN].tolist() for result in results] == [[-1], [-1]]


def test_outputs_of_several_streams_come_in_one_message():
    daemon = Daemon()
    for sender, name, token in ((b"x", "a", 1), (b"y", "b", 3)):
        daemon.take(sender, name, STEP | ECHO, STEP | ECHO, token=token, number=token)
    daemon.flush()
    daemon.outputs = deque(daemon.outputs[k] for k in (0, 2, 1, 3))
    daemon.hear(3)
    assert daemon.told() == [(RESULT, 1), (ACCEPTED, 1), (RESULT, 3)]
    daemon.hear()
    assert daemon.told(b"y") == [(RESULT, 3), (RESULT, 3), (ACCEPTED, 3)]
    seqs = [message.frames[:, SEQ].tolist() for _, message in daemon.answers if message.kind == RESULT]
    assert seqs == [[100, 101], [102], [103]]
    assert daemon.idle


def test_what_was_said_is_fed_back_to_the_next_request():
    daemon = Daemon()
    daemon.take(b"x", "a", STEP | ECHO, token=2)
    daemon.take(b"x", "a", FED | ECHO, number=2)
    daemon.take(b"x", "a", FED, number=3)
    daemon.take(b"x", "a", FED, number=4)  # of the last frame nothing is known
    daemon.take(b"x", "a", STEP, token=5, number=5)
    assert daemon.tokens("a") == [2]
    daemon.hear_all()
    assert daemon.tokens("a") == [2, 3, 4, 5]
    kinds = [(RESULT, 1), (ACCEPTED, 1), (RESULT, 2), (ACCEPTED, 2), (ACCEPTED, 3), (REFUSED, 4), (ACCEPTED, 5)]
    assert daemon.told() == kinds
    assert "nothing to feed back" in daemon.reasons()[0]
    assert daemon.pending.refused == 1
    assert daemon.idle


def test_what_is_refused_names_no_stream_and_holds_nothing_up():
    daemon = Daemon()
    for number, flags in enumerate((FED, 0, STEP | NEW)):
        daemon.take(b"x", "a", flags, number=number)
    assert daemon.told() == [(REFUSED, 0), (REFUSED, 1), (REFUSED, 2)]
    assert daemon.intake.names == {}
    assert daemon.down == []
    assert daemon.idle
    daemon.take(b"x", "a", STEP)
    assert daemon.told()[-1] == (ACCEPTED, 1)
    assert daemon.pending.refused == 3


# --- streams and their names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["~", "~1", "a\0b", "x" * 256])
@pytest.mark.parametrize("kind", [FRAMES, CLOSE])
def test_names_that_a_client_cannot_use_are_refused(name, kind):
    daemon = Daemon()
    daemon.take(b"x", "", STEP)
    with pytest.raises(Refused, match="name"):
        daemon.take(b"y", name, *[STEP] * (kind == FRAMES), kind=kind)
    assert len(daemon.intake.names) == 1
    assert daemon.idle


def test_requests_without_a_name_are_for_a_stream_of_the_clients_own():
    daemon = Daemon()
    for sender, token in ((b"x", 1), (b"y", 2), (b"x", 3), (b"y", 4)):
        daemon.take(sender, "", STEP, token=token)
    one, other = daemon.intake.names
    assert one[0] == other[0] == "~"
    assert daemon.tokens(one) == [1, 3]
    assert daemon.tokens(other) == [2, 4]


def test_a_close_waits_for_its_turn():
    daemon = Daemon()
    daemon.take(b"x", "a", STEP, token=0, drawing=writing(2))
    daemon.close(b"x", "a", number=2)
    daemon.take(b"x", "a", STEP, token=4, number=3)
    daemon.close(b"x", "a", number=4)
    daemon.close(b"x", "a", number=5)
    assert daemon.told() == []
    assert list(daemon.intake.names) == ["a"]
    daemon.hear()
    daemon.hear()
    results = [(RESULT, 1), (RESULT, 1)]
    assert daemon.told() == [*results, (ACCEPTED, 1), (ACCEPTED, 2), (ACCEPTED, 3), (ACCEPTED, 4), (REFUSED, 5)]
    accepted = [message.frames[0, SEQ] for _, message in daemon.answers if message.kind == ACCEPTED]
    assert accepted == [FIRST, FIRST + 2, FIRST + 2, FIRST + 3]
    assert daemon.intake.names == {}
    daemon.take(b"x", "b", STEP)
    daemon.flush()
    # what came before goes down before the number has another name
    shown = [entry if len(entry) == 2 else (entry[FLAGS], entry[TOKEN]) for entry in daemon.down]
    step = STEP | ECHO
    assert shown == [
        (0, "a"),
        (step | BEGIN, 0),
        (step, 1),
        (0, "a"),
        (STEP | BEGIN | NEW, 4),
        (0, "b"),
        (STEP | BEGIN | NEW, 0),
    ]
    assert daemon.idle


def test_there_are_only_so_many_streams():
    daemon = Daemon()
    for number, name in enumerate("abcde"):
        daemon.take(b"x", name, STEP, number=number)
    assert daemon.told() == [(ACCEPTED, 0), (ACCEPTED, 1), (ACCEPTED, 2), (ACCEPTED, 3), (REFUSED, 4)]
    assert "4 streams are in use" in daemon.reasons()[0]


# --- room ------------------------------------------------------------------------------------------------------------


def test_without_room_requests_wait():
    daemon = Daemon(room=0)
    daemon.take(b"x", "a", STEP, STEP, STEP)
    daemon.take(b"y", "b", STEP, token=1, number=2)
    for _ in range(2):
        daemon.pending.advance()
    assert daemon.told() == []
    daemon.flush()
    assert [len(entry) for entry in daemon.down] == [2, 2]  # names
    daemon.room = 2
    daemon.pending.advance()
    assert daemon.told() == []
    daemon.room = 2
    daemon.pending.advance()
    assert daemon.told() == [(ACCEPTED, 2), (ACCEPTED, 1)]
    assert [message.frames[0, SEQ] for _, message in daemon.answers] == [FIRST + 2, FIRST]
    assert len(daemon.rows("a")) == 3
    assert daemon.idle


def test_the_previews_frames_have_room_of_their_own():
    daemon = Daemon(room=0)
    daemon.take(b"x", PREVIEW, STEP, STEP)
    assert daemon.told() == [(ACCEPTED, 1)]
    assert daemon.counted == 0


def test_only_so_much_may_wait(monkeypatch):
    daemon, size = Daemon(), 8 * COLUMNS
    monkeypatch.setattr(pending, "MOST_WAITING", 3 * size + 3 * pending.OVERHEAD)
    daemon.take(b"x", "a", STEP, drawing=writing(1))
    daemon.take(b"x", "a", STEP, STEP, number=2)
    daemon.close(b"x", "a", number=3)
    with pytest.raises(Refused, match='too much waits for stream "a"'):
        daemon.close(b"x", "a", number=4)
    daemon.take(b"x", "b", STEP, number=5)
    daemon.hear()
    assert daemon.told() == [(ACCEPTED, 5), (RESULT, 1), (ACCEPTED, 1), (ACCEPTED, 2), (ACCEPTED, 3)]
    assert daemon.idle
    daemon.take(b"x", "a", STEP, drawing=writing(1))
    daemon.take(b"x", "a", STEP, STEP, number=6)
    assert daemon.pending.waiting == 3 * size + 2 * pending.OVERHEAD


def test_numbers_beside_the_frames_weigh_too(monkeypatch):
    daemon, size = Daemon(VALUES), pending.OVERHEAD + 8 * COLUMNS + 4 * WIDTH
    monkeypatch.setattr(pending, "MOST_WAITING", 2 * size - 1)
    daemon.take(b"x", "a", STEP, drawing=writing(1))
    with pytest.raises(Refused, match="too much waits"):
        daemon.take(b"x", "a", STEP, number=2)
    monkeypatch.setattr(pending, "MOST_WAITING", 2 * size)
    daemon.take(b"x", "a", STEP, number=2)
    daemon.hear()
    assert daemon.told() == [(RESULT, 1), (ACCEPTED, 1), (ACCEPTED, 2)]


# --- clients that go, and the end ------------------------------------------------------------------------------------


def test_of_a_client_that_is_gone_what_it_sent_is_let_in_and_nothing_more_is_written():
    daemon = Daemon()
    daemon.take(b"x", "a", STEP, token=0, drawing=writing(100))
    daemon.take(b"x", "a", STEP, STEP, token=3, number=2, drawing=writing(100))
    daemon.take(b"y", "a", STEP, token=5, number=3, drawing=writing(2))
    daemon.hear()
    assert daemon.tokens("a") == [0, 1]
    daemon.pending.lose(b"x")
    daemon.hear_all()
    assert daemon.tokens("a") == [0, 1, 3, 3, 5, 0]
    assert daemon.told(b"y") == [(RESULT, 3), (RESULT, 3), (ACCEPTED, 3)]
    assert daemon.idle


def test_of_a_client_that_is_gone_frames_that_wait_for_room_are_let_in():
    daemon = Daemon(room=1)
    daemon.take(b"x", "a", STEP, STEP, STEP, token=2, drawing=writing(9))
    daemon.pending.lose(b"x")
    daemon.room = PLENTY
    daemon.pending.advance()
    assert daemon.rows("a") == [(STEP | BEGIN, 2), (STEP, 2), (STEP, 2)]
    assert daemon.idle


def test_outputs_that_frames_need_are_waited_for_without_their_client():
    daemon = Daemon()
    own = {"token": 1, "drawing": Drawing(own=1.0)}
    daemon.take(b"x", "a", STEP, FED, FED | END, **own)
    daemon.take(b"x", "a", STEP | SCORED, FED | SCORED, FED, **own)
    daemon.pending.lose(b"x")
    daemon.hear_all()
    assert daemon.tokens("a") == [1, 2, 3, 1, 2, 3]
    assert daemon.idle


def test_the_own_stream_of_a_client_that_is_gone_is_closed_once_its_line_is_done():
    daemon = Daemon()
    daemon.take(b"x", "", STEP, token=0, drawing=writing(50))
    daemon.take(b"x", "", STEP, token=4, number=2)
    daemon.take(b"y", "", STEP, token=5)
    mine, others = daemon.intake.names
    daemon.pending.lose(b"x")
    assert list(daemon.pending.own) == [b"y"]
    assert daemon.tokens(mine) == [0]
    daemon.hear_all()
    assert list(daemon.intake.names) == [others]
    assert [entry[TOKEN] for entry in daemon.down if len(entry) == COLUMNS] == [0, 5, 4]
    assert daemon.idle
    daemon.pending.lose(b"x")
    daemon.pending.lose(b"nobody")
    assert daemon.idle
    daemon.pending.lose(b"y")
    daemon.pending.advance()
    assert daemon.intake.names == {}
    assert daemon.idle


@pytest.mark.parametrize(
    "end", [lambda daemon: daemon.pending.lose(b"x"), lambda daemon: daemon.pending.stop("the end")]
)
def test_a_client_that_never_had_a_stream_leaves_nothing(end):
    daemon = Daemon()
    daemon.take(b"x", "", FED)
    end(daemon)
    assert daemon.told() == [(REFUSED, 1)]
    assert daemon.pending.own == {}
    assert daemon.idle


def test_the_end_refuses_what_is_left_and_says_how_far_it_was():
    daemon = Daemon(room=7)
    daemon.take(b"y", "", STEP, number=9)
    daemon.take(b"x", "a", STEP, STEP, token=0, drawing=writing(9))
    daemon.hear()
    daemon.take(b"x", "a", STEP, number=2)
    daemon.take(b"y", "b", *[STEP] * 5, number=3)
    daemon.take(b"y", "c", *[STEP] * 5, number=4)
    done = len(daemon.answers)
    daemon.pending.stop("the end")
    assert [(to, *kind) for (to, _), kind in zip(daemon.answers, daemon.told(), strict=True)][done:] == [
        (b"x", REFUSED, 1),
        (b"x", REFUSED, 2),
        (b"y", REFUSED, 3),
        (b"y", REFUSED, 4),
    ]
    taken = [3, 0, 3, 0]
    assert daemon.reasons() == [f"the end: {count} frames were taken" for count in taken]
    assert daemon.pending.refused == 4
    assert sorted(daemon.intake.names) == ["a", "b", "c"]
    assert not daemon.pending.queues
    assert not daemon.pending.own
    assert len(daemon.rows("a")) == 3
    assert len(daemon.rows("b")) == 3


def test_at_the_end_what_is_all_in_gets_its_outputs():
    daemon = Daemon()
    daemon.take(b"x", "a", STEP | ECHO, STEP | ECHO)
    daemon.take(b"x", "", STEP, drawing=writing(1), number=2)
    daemon.take(b"x", "b", STEP, drawing=writing(2), number=3)
    daemon.take(b"x", "a", STEP, number=4)
    assert not daemon.pending.stop("the end")
    assert daemon.told() == [(REFUSED, 4), (REFUSED, 3)]
    daemon.hear_all()
    assert daemon.told()[2:] == [(RESULT, 1), (RESULT, 1), (ACCEPTED, 1), (RESULT, 2), (ACCEPTED, 2)]
    assert daemon.pending.own
    assert daemon.pending.stop("the end")
    assert not daemon.pending.own
    assert sorted(daemon.intake.names) == ["a", "b"]
    assert daemon.idle


def test_who_was_gone_while_something_was_written_is_told_so():
    daemon = Daemon()
    daemon.pending.requests.greet(b"x", [], 1)
    for number, stream in ((1, "a"), (2, "b")):
        assert daemon.pending.requests.look(b"x", number)[0] == Verdict.TAKE
        daemon.take(b"x", stream, *[STEP] * number, drawing=writing(9 if number == 1 else 0), number=number)
    daemon.hear()
    daemon.pending.lose(b"x")
    daemon.hear()
    assert daemon.told() == [(ACCEPTED, 2), (RESULT, 1), (RESULT, 1), (REFUSED, 1)]
    assert daemon.reasons() == ["the connection to its client broke: 2 frames were taken"]
    verdict, progress = daemon.pending.requests.look(b"x", 1)
    assert (verdict, progress.reason) == (Verdict.AGAIN, daemon.reasons()[0])
    assert daemon.idle


def test_an_answer_says_how_many_outputs_there_were():
    daemon = Daemon()
    daemon.take(b"x", "a", STEP | ECHO, STEP, STEP | ECHO)
    daemon.take(b"x", "b", STEP, drawing=writing(4), number=2)
    daemon.take(b"x", "c", STEP, number=3)
    daemon.hear_all()
    counts = {message.number: message.frames[0, STREAM] for _, message in daemon.answers if message.kind == ACCEPTED}
    assert counts == {1: 2, 2: 4, 3: 0}


def test_what_was_under_way_at_a_checkpoint_goes_on_with_its_outputs():
    whole, daemon = Daemon(), Daemon()
    for each in (whole, daemon):
        each.take(b"x", "a", STEP | ECHO, STEP, token=3, drawing=writing(5))
    whole.hear_all()
    daemon.hear(2)
    daemon.take(b"y", "b", STEP | ECHO, token=1)
    daemon.flush()
    held, seq = dict(daemon.pending.echoes), daemon.intake.seq
    assert daemon.pending.outputs_before(seq, held) is None  # those of the last frames of both streams are to come
    daemon.hear(2)
    kept = daemon.pending.outputs_before(seq, held)  # b is done by now, and may have to be answered again all the same
    assert kept["rows"][:, [SEQ, STREAM]].tolist() == [[100, 0], [101, 0], [102, 0], [103, 1]]
    order = ORDER | {"streams": ["a", "b"], "frames": seq, "fresh": []}
    again = Daemon(order)
    again.pending.restore(kept["rows"], kept["vectors"])
    assert again.pending.kept == kept["rows"].nbytes + kept["vectors"].nbytes
    for sender, name, taken, first in ((b"x", "a", 3, 100), (b"y", "b", 1, 103)):
        flags, token = ((STEP | ECHO, STEP), 3) if name == "a" else ((STEP | ECHO,), 1)
        rows = np.zeros((len(flags), COLUMNS), np.int64)
        rows[:, FLAGS], rows[:, TOKEN] = flags, token
        drawing = writing(5 if name == "a" else 0)
        again.pending.add(sender, name, Message(FRAMES, 0, 1, rows, NO_VECTORS), drawing, Progress(taken, first))
    again.pending.advance()
    again.hear_all()
    assert again.told(b"y") == [(RESULT, 1), (ACCEPTED, 1)]
    said = [[message for to, message in each.answers if to == b"x"] for each in (again, whole)]
    for results in said:
        assert results[-1].kind == ACCEPTED
        assert results[-1].frames[0, [SEQ, STREAM]].tolist() == [100, 6]
    one, other = (np.concatenate([message.vectors for message in results[:-1]]) for results in said)
    assert one.tolist() == other.tolist()
    assert (again.pending.kept, again.pending.echoes, again.pending.replayed) == (0, {}, {})


def test_outputs_beyond_what_is_kept_are_not_in_a_checkpoint(monkeypatch):
    daemon = Daemon()
    daemon.take(b"x", "a", STEP, drawing=writing(9))
    daemon.take(b"y", "b", STEP, drawing=writing(9))
    daemon.hear(2)
    monkeypatch.setattr(pending, "MOST_KEPT", daemon.pending.kept * 3 // 2)
    daemon.hear()
    assert daemon.pending.kept <= pending.MOST_KEPT
    daemon.hear()
    held, seq = dict(daemon.pending.echoes), daemon.intake.seq - 2
    kept = daemon.pending.outputs_before(seq, held)
    assert set(kept["rows"][:, STREAM].tolist()) == {daemon.intake.names["a"]}
    daemon.hear_all()
    assert daemon.pending.kept == 0
    assert daemon.idle


def test_outputs_for_a_request_that_was_given_up_are_passed_over():
    daemon = Daemon()
    daemon.take(b"x", "a", STEP, token=0, drawing=writing(9))
    daemon.pending.stop("the end")
    daemon.hear()
    assert daemon.told() == [(REFUSED, 1)]
    daemon.take(b"x", "a", STEP | ECHO, token=1, drawing=writing(9), number=2)
    daemon.take(b"x", "a", STEP, token=0, drawing=writing(9), number=3)
    daemon.pending.stop("the end")
    daemon.take(b"y", "a", STEP | ECHO, token=4, number=4)
    daemon.flush()
    assert len(daemon.outputs) == 2
    daemon.hear()
    assert daemon.told() == [(REFUSED, 1), (REFUSED, 2), (REFUSED, 3)]
    daemon.hear()
    assert daemon.told(b"y") == [(RESULT, 4), (ACCEPTED, 4)]
    assert daemon.answers[-2][1].vectors.argmax() == 5


def test_outputs_that_nobody_asked_for_are_passed_over():
    daemon = Daemon()
    daemon.take(b"x", "a", STEP)
    row = np.zeros((1, COLUMNS), np.int64)
    row[0, SEQ] = FIRST
    daemon.pending.hear(Message(OUTPUT, 9, 0, row, np.eye(K, dtype=np.float32)[:1], NOTHING))
    assert daemon.told() == [(ACCEPTED, 1)]
    assert daemon.idle


# --- anything at all -------------------------------------------------------------------------------------------------


@st.composite
def requests(draw):
    """A client, a stream, flags, a token, and how much is written behind it."""
    first = draw(st.sampled_from([STEP, STEP | BEGIN, STEP | ECHO]))
    rest = draw(st.lists(st.sampled_from([STEP, FED, STEP | ECHO, FED | ECHO]), max_size=4))
    length = draw(st.sampled_from([0, 0, 1, 4]))
    return (
        draw(st.sampled_from([b"x", b"y"])),
        draw(st.sampled_from("abc")),
        [first, *rest],
        draw(st.integers(0, 5)),
        length,
    )


def foreseen(asked):
    """The tokens of a stream after these requests: what is fed back is always the next token."""
    tokens = []
    for _, _, flags, token, length in asked:
        for flag in flags:
            tokens.append((tokens[-1] + 1) % K if flag & FEEDBACK else token)
        for _ in range(length - 1):
            tokens.append((tokens[-1] + 1) % K)
    return tokens


@settings(deadline=None)
@given(st.lists(requests(), max_size=10), st.data())
def test_each_stream_gets_its_requests_in_order_whatever_the_room_and_the_time(asked, data):
    daemon, moves = Daemon(room=0), deque(range(len(asked)))
    while moves or daemon.pending.queues:
        daemon.flush()
        can = ["take"] * bool(moves) + ["hear"] * bool(daemon.outputs) + ["advance"]
        move = data.draw(st.sampled_from(can))
        if move == "take":
            number = moves.popleft()
            sender, name, flags, token, length = asked[number]
            daemon.take(sender, name, *flags, token=token, number=number, drawing=writing(length))
        elif move == "hear":
            daemon.hear(data.draw(st.integers(1, len(daemon.outputs))))
        else:
            daemon.room = data.draw(st.integers(1, 6))
            daemon.pending.advance()
    for name in daemon.intake.names:
        assert daemon.tokens(name) == foreseen([request for request in asked if request[1] == name])
    assert sorted(number for kind, number in daemon.told() if kind == ACCEPTED) == list(range(len(asked)))
    check_answers(daemon, asked)
    assert daemon.idle


def check_answers(daemon, asked):
    """Every output that was asked for came to who asked, then the end; of each stream one request after the other."""
    told = [(to, message.number, message.kind, len(message.frames)) for to, message in daemon.answers]
    for name in "abc":
        own = [entry for entry in told if asked[entry[1]][1] == name]
        assert [number for _, number, _, _ in own] == sorted(number for _, number, _, _ in own)
    came = Counter()
    for to, number, kind, count in told:
        sender, _, flags, _, length = asked[number]
        assert to == sender
        if kind == RESULT:
            came[number] += count
        else:
            following = [*flags[1:], FEEDBACK if length else 0]
            given = sum(bool(flag & ECHO or after & FEEDBACK) for flag, after in zip(flags, following, strict=True))
            assert came[number] == given + max(0, length - 1)


def test_streams_are_served_in_turn():
    daemon = Daemon(room=0)
    for name in "abc":
        daemon.take(b"x", name, *[STEP] * 6)
    for _ in range(3):
        daemon.room = 2
        daemon.pending.advance()
    assert [len(daemon.rows(name)) for name in "abc"] == [2, 2, 2]
