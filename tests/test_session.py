"""Sessions of MQTT: whatever dies, each message is taken once and in order, and acknowledged when it is on the disk."""

from collections import deque
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from streamrnn.sources.brokers.session import REMEMBERED, Session, mark_of
from streamrnn.sources.brokers.window import Message, Window

FEW = 4  # messages under way, so that every limit is met often
NUMBERS, HELD = 24, 12  # of packets, before they begin again; those that the broker has at most
ASKED = ANSWERED = -1  # on the line, in the place of a packet


class Sent(NamedTuple):
    number: int  # of the message, in the order of publication
    message: Message


class Broker:
    """One that numbers packets in turn, saves its state once in FEW acknowledgements, and sends all it has."""

    def __init__(self) -> None:
        self.queue: list[Sent] = []
        self.under_way: list[Sent] = []
        self.last = 0
        self.save()

    def save(self) -> None:
        self.saved = list(self.queue), list(self.under_way), self.last
        self.since = 0  # acknowledgements

    def killed(self) -> None:
        queue, under_way, self.last = self.saved
        self.queue, self.under_way, self.since = list(queue), list(under_way), 0

    def publish(self, number: int, payload: bytes) -> None:
        self.last = self.last % NUMBERS + 1
        self.queue.append(Sent(number, Message(self.last, False, "topic", payload)))

    def next(self) -> Sent:
        sent = self.queue.pop(0)
        self.under_way.append(Sent(sent.number, sent.message._replace(dup=True)))
        return sent

    def acknowledged(self, packet: int) -> None:
        self.under_way = [sent for sent in self.under_way if sent.message.packet != packet]
        self.since += 1
        if self.since == FEW:
            self.save()


class Sessions(RuleBasedStateMachine):
    """A broker, a line that may break, and a daemon that may die; journal lines are (numbers of messages, position)."""

    @initialize()
    def begin(self) -> None:
        self.broker, self.published, self.journal = Broker(), [], []
        self.start()

    def start(self) -> None:
        """A daemon, as it starts."""
        self.session, self.window, self.taken = Session(2 * FEW), Window(FEW), []
        if self.journal:
            self.session.go_to(self.journal[-1][1])
        self.connect()

    def connect(self) -> None:
        """All that was on the line is gone."""
        self.down, self.up = deque(self.broker.under_way), deque()
        self.numbers = {}  # of messages, by their packets on this connection
        self.window.begin()
        self.session.connected(True)

    def acknowledge(self) -> None:
        packets = self.session.acknowledged()
        self.up.extend(packets)
        self.window.acknowledged(len(packets))
        if self.window.must_ask():
            self.up.append(ASKED)

    @rule(payloads=st.lists(st.sampled_from([b"1", b"2", b"no frame"]), min_size=1, max_size=HELD))
    def publish(self, payloads) -> None:
        for payload in payloads:
            if len(self.broker.queue) + len(self.broker.under_way) < HELD:
                self.broker.publish(len(self.published), payload)
                self.published.append(payload)
        self.broker.save()

    @rule(count=st.integers(1, 2 * FEW))
    def send(self, count) -> None:
        for _ in range(min(count, len(self.broker.queue))):
            self.down.append(self.broker.next())

    @rule(count=st.integers(1, 2 * FEW))
    def read(self, count) -> None:
        for _ in range(min(count, len(self.down))):
            sent = self.down.popleft()
            if sent == ANSWERED:
                self.window.answered()
            else:
                self.numbers[sent.message.packet] = sent.number
                self.window.waiting.append(sent.message)
        for packet, dup, topic, payload in self.window.let_in():
            if self.session.is_new(packet, dup, topic.encode(), payload):
                self.session.took(packet, payload != b"no frame")
                self.taken += [self.numbers[packet]] * (payload != b"no frame")
        self.acknowledge()

    @precondition(lambda self: self.taken)
    @rule()
    def write_down(self) -> None:
        self.journal.append((self.taken, self.session.position))
        self.taken = []

    @precondition(lambda self: self.journal)
    @rule(behind=st.integers(0, 3))
    def durable(self, behind) -> None:
        if behind < len(self.journal):
            self.session.durable(self.journal[-1 - behind][1])
            self.acknowledge()

    @rule(count=st.integers(1, 2 * FEW))
    def hear(self, count) -> None:
        written = {number for numbers, _ in self.journal for number in numbers}
        for _ in range(min(count, len(self.up))):
            packet = self.up.popleft()
            if packet == ASKED:
                self.down.append(ANSWERED)
                continue
            for number, message in self.broker.under_way:
                if message.packet == packet:
                    assert number in written or message.payload == b"no frame"
            self.broker.acknowledged(packet)

    @rule()
    def break_the_line(self) -> None:
        self.connect()

    @rule()
    def kill_the_broker(self) -> None:
        self.broker.killed()
        self.connect()

    @rule()
    def kill_the_daemon(self) -> None:
        self.start()

    def teardown(self) -> None:
        if not hasattr(self, "broker"):
            return
        self.connect()
        self.send(len(self.published))
        rounds = 0
        while self.broker.under_way:
            self.read(len(self.down))
            if self.taken:
                self.write_down()
            if self.journal:
                self.durable(0)
            self.hear(len(self.up))
            rounds += 1
            assert rounds <= 2 + 2 * len(self.published) / FEW
        frames = [number for number, payload in enumerate(self.published) if payload != b"no frame"]
        assert [number for numbers, _ in self.journal for number in numbers] == frames


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=400, stateful_step_count=60)


def test_a_position_is_small_and_plain():
    session = Session()
    for packet in range(1, 1000):
        assert session.is_new(packet, False, b"plant/temperature", b"20.5")
        session.took(packet, True)
    position = session.position
    assert position["count"] == 999
    assert len(position["marks"]) == 8 * REMEMBERED
    again = Session()
    again.go_to(position)
    assert again.position == position


def test_marks_tell_packets_topics_and_payloads_apart():
    marks = {mark_of(*about) for about in [(1, b"a", b"bc"), (1, b"ab", b"c"), (2, b"a", b"bc"), (1, b"a", b"bd")]}
    assert len(marks) == 4
    assert all(len(mark) == 8 for mark in marks)


def test_a_session_that_the_broker_has_lost_is_told_and_its_packets_are_numbered_anew():
    session = Session()
    assert not session.connected(False)  # the first ever
    assert session.is_new(1, False, b"t", b"20")
    session.took(1, True)
    assert session.connected(False)
    assert session.is_new(1, False, b"t", b"20")


def test_what_came_over_another_connection_is_not_acknowledged_over_this_one():
    session = Session()
    session.connected(False)
    for packet in (1, 2):
        assert session.is_new(packet, False, b"t", b"%d" % packet)
        session.took(packet, True)
    session.connected(True)
    session.durable(session.position)
    assert session.acknowledged() == []
    assert not session.is_new(2, True, b"t", b"2")
    assert session.acknowledged() == [2]


def test_a_broker_may_use_a_number_again_at_once_for_the_same_payload():
    session = Session()
    session.connected(True)
    for _ in range(3):
        assert session.is_new(1, False, b"t", b"20")
        session.took(1, True)
