"""What clients send to the gate: each message is taken, answered again, or refused with the reason.

A message is of frames of one stream, the stream's name before it, and behind it, in JSON, how outputs are fed back, if
they are (`streamrnn.model.feedback.Drawing`). The answers are RESULT with outputs that were asked for, and in the end
ACCEPTED with the first frame's number, or REFUSED with the reason.
"""

import math
import time
from itertools import pairwise
from typing import Any

import msgspec
import zmq

from streamrnn.kernels.frames import SEQ
from streamrnn.kernels.messages import ALIVE, GREETING, HURRY, RESEND
from streamrnn.model.feedback import Drawing
from streamrnn.protocol.stream_names import PREVIEW
from streamrnn.protocol.wire import LARGEST_MESSAGE, Message, WireError, unpack
from streamrnn.storage.files import NOT_JSON
from streamrnn.workers.admission.connections import Connections
from streamrnn.workers.admission.deduplication import MOST_REQUESTS, Progress, Verdict
from streamrnn.workers.admission.eviction import Eviction
from streamrnn.workers.admission.held_answers import HeldAnswers
from streamrnn.workers.admission.intake import Refused
from streamrnn.workers.admission.outbox import Outbox
from streamrnn.workers.admission.pending import PendingRequests
from streamrnn.workers.admission.room import Room
from streamrnn.workers.worker import has_come

CLIENTS_INTERVAL = 1.0  # seconds between looks at the clients that have a stream of their own
GONE_INTERVAL = 20.0  # seconds between looks at all clients
MESSAGES = 256  # of clients at most, before the rest of the work goes on
ASK_INTERVAL = 0.2  # seconds until a client is asked once more to send again


class Clients:
    """Takes their messages, and sees who is gone."""

    def __init__(
        self,
        order: dict[str, Any],
        connections: Connections,
        answers: HeldAnswers,
        pending: PendingRequests,
        eviction: Eviction,
        outbox: Outbox,
        room: Room,
    ) -> None:
        self.order, self.connections, self.answers = order, connections, answers
        self.pending, self.eviction, self.outbox, self.room = pending, eviction, outbox, room
        self.asked: dict[bytes, float] = {}  # clients that have been asked to greet and send again, and when
        self.looked = 0.0
        self.looked_for_gone = time.monotonic()

    def take_all(self) -> None:
        """Let in what clients have sent, as far as there is room, and answer them."""
        socket = self.connections.frontend.socket
        for _ in range(MESSAGES):
            if not self.room.listens() or not has_come(socket):
                break
            sender, *parts = socket.recv_multipart(zmq.DONTWAIT)
            self.take(sender, parts)
        if self.order["overload"] == "drop-oldest":
            self.pending.drop_oldest(self.order["in_flight"])

    def take(self, sender: bytes, parts: list[bytes]) -> None:
        """One message of a client: a stream's name, frames, and perhaps how their outputs are fed back."""
        number = 0
        try:
            if len(parts) not in (2, 3):
                raise Refused(
                    f"a message to the gate has a stream's name, frames, and perhaps options, not {len(parts)} parts"
                )
            if sum(map(len, parts)) > LARGEST_MESSAGE:
                raise Refused(f"a message of {sum(map(len, parts))} bytes is over the limit of {LARGEST_MESSAGE}")
            message = unpack(parts[1])
            number = message.number
            verdict, progress = Verdict.TAKE, Progress()
            if message.epoch == self.order["epoch"]:
                if message.kind == GREETING:
                    return self.greet(sender, message)
                if message.kind == HURRY:
                    return self.answers.hurry(sender, number)
                verdict, progress = self.pending.requests.look(sender, number)
            elif message.epoch:  # meant for a gate before this one: whether it took it, its sender will know
                verdict = Verdict.EARLY
            if verdict != Verdict.TAKE:
                return self.turn_away(sender, number, verdict, progress)
            if self.outbox.full:
                raise Refused(f"the daemon takes no frames now: {self.outbox.full}")
            name = parts[0].decode()
            drawing = drawing_of(parts[2]) if len(parts) == 3 else Drawing()
            if len(message.frames) > self.room.left and name != PREVIEW:
                raise Refused("the daemon has taken all the frames that --max-frames allows")
            if self.order["overload"] == "reject" and not self.room.may_take():
                raise Refused("the daemon has no room for more frames now: send them later, or fewer")
            self.pending.add(sender, name, message, drawing, progress)
        except (Refused, WireError, UnicodeDecodeError) as error:
            self.pending.refuse(sender, number, str(error))

    def greet(self, sender: bytes, message: Message) -> None:
        """A client says which of its requests have not been answered. Raises Refused."""
        unanswered = message.frames[:, SEQ].tolist()
        if message.number < 0 or any(b <= a for a, b in pairwise([0, *unanswered, max(message.number, 1)])):
            raise Refused("a greeting has rising numbers from 1, and the next one behind them")
        if len(unanswered) > MOST_REQUESTS:
            raise Refused(f"a greeting has {MOST_REQUESTS} numbers at most")
        self.pending.requests.greet(sender, unanswered, message.number)

    def turn_away(self, sender: bytes, number: int, verdict: Verdict, progress: Progress) -> None:
        """A request that is not to be taken now: it has been, or one before it was lost."""
        if verdict == Verdict.AGAIN:
            self.answers.hurry(sender, number)
            self.pending.again(sender, number, progress)
        elif verdict == Verdict.EARLY and time.monotonic() - self.asked.get(sender, -math.inf) >= ASK_INTERVAL:
            self.asked = {name: when for name, when in self.asked.items() if time.monotonic() - when < ASK_INTERVAL}
            self.asked[sender] = time.monotonic()
            self.connections.reply(sender, Message(RESEND, self.order["epoch"]))

    def look(self) -> None:
        """See that the clients that have a stream of their own are still there, and who has come back."""
        if time.monotonic() - self.looked >= CLIENTS_INTERVAL:
            self.looked = time.monotonic()
            self.connections.forget_seen(self.looked)
            for sender in self.pending.own:
                self.connections.reply(sender, Message(ALIVE))
        if time.monotonic() - self.looked_for_gone >= GONE_INTERVAL:
            self.looked_for_gone = time.monotonic()
            self.pending.requests.forget_gone(self.connections.is_there, time.monotonic())
            self.eviction.forget_gone()
        for sender in self.connections.lost():
            self.pending.lose(sender)


def drawing_of(options: bytes) -> Drawing:
    """What the last part of a client's message says. Raises Refused."""
    try:
        return msgspec.json.decode(options, type=Drawing)
    except NOT_JSON as error:
        raise Refused(f"options: {error}") from None
