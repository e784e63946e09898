"""Requests that come again: each is taken once and in its order, whatever was lost between client and gate."""

from hypothesis import given
from hypothesis import strategies as st

from streamrnn.workers import requests
from streamrnn.workers.requests import Progress, Requests, Verdict

ME = b"me"


def done(number):
    return Progress(taken=1, first=100 + number, finished=True)


def test_requests_are_taken_in_order_and_answered_again():
    known = Requests([])
    assert known.look(ME, 1, 1) == (Verdict.TAKE, Progress())
    assert known.look(ME, 1, 1)[0] == Verdict.PENDING
    assert known.look(ME, 3, 1) == (Verdict.EARLY, Progress(first=2))
    known.note(ME, 1, done(1))
    assert known.look(ME, 1, 1) == (Verdict.AGAIN, done(1))
    assert known.look(ME, 2, 2) == (Verdict.TAKE, Progress())
    assert known.look(ME, 3, 2) == (Verdict.TAKE, Progress())


def test_after_a_failure_what_was_taken_goes_on_from_there():
    known = Requests([])
    for number in (5, 6, 7):
        known.look(ME, number, 5)
    known.note(ME, 5, Progress(taken=3, first=40))
    known.note(ME, 7, done(7))
    known = Requests(known.facts())
    assert known.look(ME, 6, 5) == (Verdict.EARLY, Progress(first=5))
    assert known.look(ME, 5, 5) == (Verdict.TAKE, Progress(taken=3, first=40))
    assert known.look(ME, 6, 5) == (Verdict.TAKE, Progress())
    assert known.look(ME, 7, 5) == (Verdict.AGAIN, done(7))
    assert known.look(ME, 8, 8) == (Verdict.TAKE, Progress())


def test_only_what_may_come_again_is_remembered(monkeypatch):
    monkeypatch.setattr(requests, "MOST_CLIENTS", 3)
    known = Requests([])
    known.note(b"does not count", 0, done(0))
    assert known.facts() == []
    for number in range(1, 50):
        known.look(ME, number, number)
        known.note(ME, number, done(number))
    assert [note[1] for note in known.facts()] == [49]
    for other in (b"a", b"b", b"c"):
        known.look(other, 1, 1)
        known.note(other, 1, done(1))
    assert {note[0] for note in known.facts()} == {b"a".hex(), b"b".hex(), b"c".hex()}


@given(st.lists(st.sampled_from(["send", "lose", "fail"]), max_size=60), st.randoms(use_true_random=False))
def test_each_is_taken_once_and_in_order(events, chance):
    """A client that sends, a way that loses messages, and a gate that fails and remembers what it has noted."""
    known, taken, answered, sent = Requests([]), [], set(), 0
    for event in [*events, "send", "send"]:
        if event == "fail":
            known = Requests(known.facts())
            continue
        sent += 1
        unanswered = [number for number in range(1, sent + 1) if number not in answered]
        for number in [*unanswered, *unanswered]:
            if event == "lose" and chance.random() < 0.5:
                continue
            verdict, _ = known.look(ME, number, unanswered[0])
            if verdict == Verdict.TAKE:
                taken.append(number)
                known.note(ME, number, done(number))
            elif verdict == Verdict.AGAIN:
                answered.add(number)
    assert taken == list(range(1, sent + 1))
