"""Requests that come again: each is taken once and in its order, whatever was lost between client and gate."""

from hypothesis import given
from hypothesis import strategies as st

from streamrnn.workers.admission import deduplication as requests
from streamrnn.workers.admission.deduplication import Progress, Requests, Verdict

ME = b"me"


def done(number, reason=""):
    return Progress(taken=1, first=100 + number, finished=True, reason=reason)


def greeted(*unanswered, following=1):
    known = Requests([])
    known.greet(ME, list(unanswered), following)
    return known


def test_requests_are_taken_in_order_and_answered_again():
    known = greeted()
    assert known.look(ME, 1) == (Verdict.TAKE, Progress())
    assert known.look(ME, 1)[0] == Verdict.PENDING
    assert known.look(ME, 3)[0] == Verdict.EARLY
    known.note(ME, 1, done(1))
    assert known.look(ME, 1) == (Verdict.AGAIN, done(1))
    assert known.look(ME, 2) == (Verdict.TAKE, Progress())
    assert known.look(ME, 3) == (Verdict.TAKE, Progress())


def test_who_has_not_greeted_must():
    known = Requests([])
    assert known.look(ME, 1)[0] == Verdict.EARLY
    known.note(ME, 1, done(1))
    assert known.facts() == []
    known.greet(ME, [], 0)
    assert known.look(ME, 1)[0] == Verdict.EARLY


def test_only_what_has_come_in_its_turn_is_remembered():
    known = greeted()
    for number in range(-5, 100):
        known.note(ME, number, done(number, "nonsense"))
    assert known.facts() == []
    assert known.refusals() == []
    known.look(ME, 1)
    known.note(ME, 1, done(1, "nonsense"))
    assert known.refusals() == [(ME, 1, done(1, "nonsense"))]


def test_after_a_failure_what_was_taken_goes_on_from_there():
    known = greeted(5, 6, 7, following=8)
    for number in (5, 6, 7):
        assert known.look(ME, number)[0] == Verdict.TAKE
    known.note(ME, 5, Progress(taken=3, first=40))
    known.note(ME, 7, done(7))
    known = Requests(known.facts())
    assert known.look(ME, 5)[0] == Verdict.EARLY
    known.greet(ME, [5, 6, 7], 8)
    assert known.look(ME, 6)[0] == Verdict.EARLY
    assert known.look(ME, 5) == (Verdict.TAKE, Progress(taken=3, first=40))
    assert known.look(ME, 6) == (Verdict.TAKE, Progress())
    assert known.look(ME, 7) == (Verdict.AGAIN, done(7))
    assert known.look(ME, 8) == (Verdict.TAKE, Progress())


def test_what_has_been_answered_need_not_come():
    known = greeted(3, 9, following=12)
    for number in (3, 9, 12):
        assert known.look(ME, number)[0] == Verdict.TAKE
    assert known.look(ME, 5)[0] == Verdict.PENDING  # a copy that was long under way: its answer has been heard
    assert known.look(ME, 14)[0] == Verdict.EARLY


def test_only_what_may_come_again_is_remembered(monkeypatch):
    monkeypatch.setattr(requests, "MOST_CLIENTS", 3)
    monkeypatch.setattr(requests, "MOST_REQUESTS", 5)
    known = greeted()
    for number in range(1, 6):
        known.look(ME, number)
        known.note(ME, number, done(number))
    assert known.look(ME, 6)[0] == Verdict.EARLY
    known.greet(ME, [5], 6)
    assert known.facts() == [[ME.hex(), 5, *done(5)]]
    assert known.look(ME, 6)[0] == Verdict.TAKE
    for other in (b"a", b"b", b"c"):
        known.greet(other, [], 1)
        known.look(other, 1)
        known.note(other, 1, done(1))
    assert {note[0] for note in known.facts()} == {b"a".hex(), b"b".hex(), b"c".hex()}
    known.greet(b"b", [], 0)
    assert {note[0] for note in known.facts()} == {b"a".hex(), b"c".hex()}


def test_who_is_gone_is_forgotten_after_a_minute_and_nothing_of_it_counts_twice():
    known = greeted()
    for number in (1, 2, 3):
        known.look(ME, number)
    known.note(ME, 2, done(2))
    known.greet(b"other", [], 1)
    for now in (0.0, 30.0, 50.0):
        known.forget_gone(lambda sender: False, now)
    assert known.facts()
    known.forget_gone(lambda sender: sender == ME, 55.0)
    known.forget_gone(lambda sender: False, 60.0)
    known.greet(ME, [2, 3], 4)
    assert known.look(ME, 2) == (Verdict.AGAIN, done(2))
    known.forget_gone(lambda sender: False, 120.0)
    assert known.facts() == []
    assert known.look(ME, 4)[0] == Verdict.EARLY
    known = Requests(known.facts(), known.forgotten())  # a failure
    known.greet(ME, [2, 3, 4], 5)
    for number in (2, 3):
        assert known.look(ME, number) == (Verdict.AGAIN, Progress(finished=True, reason=requests.AWAY))
    assert known.look(ME, 4)[0] == Verdict.TAKE
    assert known.look(b"other", 1)[0] == Verdict.EARLY


def test_of_those_forgotten_only_so_many_are_known(monkeypatch):
    monkeypatch.setattr(requests, "MOST_CLIENTS", 1)
    monkeypatch.setattr(requests, "MOST_FORGOTTEN", 2)
    known = Requests([])
    for sender in (b"a", b"b", b"c", b"d"):
        known.greet(sender, [], 1)
        known.look(sender, 1)
    known.greet(b"b", [1], 2)
    assert known.look(b"b", 1)[0] == Verdict.AGAIN
    known.greet(b"a", [1], 2)
    assert known.look(b"a", 1)[0] == Verdict.TAKE


class Way:
    """A client, a way on which messages wait and are lost, and a gate that fails; what it has written down it knows."""

    def __init__(self, chance):
        self.chance, self.known, self.epoch = chance, Requests([]), 1
        self.written, self.refused, self.taken = [], {}, []
        self.sent, self.unanswered, self.believed = 0, [], 1
        self.there, self.back = [], []

    def greet(self):
        self.there.append((self.believed, "greeting", list(self.unanswered), self.sent + 1))

    def send(self):
        self.sent += 1
        self.unanswered.append(self.sent)
        self.there.append((self.believed, self.sent))

    def again(self):
        self.greet()
        self.there += [(self.believed, number) for number in self.unanswered]

    def lose(self):
        self.there = [message for message in self.there if self.chance.random() < 0.5]
        self.back = [message for message in self.back if self.chance.random() < 0.5]

    def fail(self):
        self.epoch += 1
        self.known = Requests(self.written)
        self.back = []

    def deliver(self, count):
        for _ in range(min(count, len(self.there))):
            epoch, *message = self.there.pop(0)
            if epoch != self.epoch:
                self.back.append(("resend", self.epoch))
            elif message[0] == "greeting":
                self.known.greet(ME, *message[1:])
            else:
                self.judge(*message)

    def judge(self, number):
        verdict, progress = self.known.look(ME, number)
        if verdict == Verdict.EARLY:
            self.back.append(("resend", self.epoch))
        elif verdict == Verdict.AGAIN:
            self.back.append(("refused" if progress.reason else "accepted", number))
        elif verdict == Verdict.TAKE and self.chance.random() < 0.3:  # which is not written down
            self.known.note(ME, number, done(number, "full"))
            self.back.append(("refused", number))
        elif verdict == Verdict.TAKE:
            self.taken.append(number)
            self.known.note(ME, number, done(number))
            refused = [[sender.hex(), number, *progress] for sender, number, progress in self.known.refusals()]
            self.written += [*refused, [ME.hex(), number, *done(number)]]
            self.back.append(("accepted", number))

    def hear(self):
        answers, self.back = self.back, []
        for what, number in answers:
            if what == "resend":
                self.believed = number
                self.again()
            elif number in self.unanswered:
                self.unanswered.remove(number)
                self.refused[number] = what == "refused"


@given(
    st.lists(st.sampled_from(["send", "send", "lose", "fail", "deliver", "hear", "again"]), max_size=80),
    st.randoms(use_true_random=False),
)
def test_each_is_taken_once_and_in_order_or_refused(events, chance):
    way = Way(chance)
    way.greet()
    for event in events:
        if event == "deliver":
            way.deliver(chance.randrange(10))
        else:
            getattr(way, event)()
    for _ in range(4):  # a client that waits sends again
        way.again()
        way.deliver(len(way.there))
        way.hear()
        way.deliver(len(way.there))
        way.hear()
    assert way.unanswered == []
    assert way.taken == [number for number in range(1, way.sent + 1) if not way.refused[number]]
