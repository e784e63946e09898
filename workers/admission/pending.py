"""What clients have asked for and is not yet done: a queue for each stream, so that no stream waits for another.

A client's message is let in when it is its turn. If it feeds outputs back, the next one of its stream waits until the
last of them has come; all others go on. A message without a stream's name is for its sender's own stream, which is gone
when the sender is. What a failure interrupted goes on from where it was when the client sends it again.
"""

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, Protocol

import numpy as np

from streamrnn.kernels.frames import COLUMNS, ECHO, FEEDBACK, FLAGS, SEQ, STREAM, TOKEN
from streamrnn.kernels.messages import ACCEPTED, CLOSE, FRAMES, REFUSED, RESULT
from streamrnn.model.feedback import Drawing, Last, Unrolling
from streamrnn.protocol.stream_names import OWN, PREVIEW
from streamrnn.protocol.wire import NOTHING, Message, as_text
from streamrnn.workers.admission.deduplication import Progress, Requests
from streamrnn.workers.admission.intake import Intake, Refused, check_name
from streamrnn.workers.admission.journal_entries import (
    NONE,
    Progresses,
    pack_last,
    pack_progress,
    unpack_last,
    unpack_progress,
)

NEW_REQUEST = Progress()
AGES = count()  # of requests, in the order in which they came
OVERHEAD = 1 << 10  # bytes of a request, about, besides its numbers
MOST_WAITING = 1 << 26  # bytes of messages that wait for their turn; more are refused
MOST_KEPT = 1 << 26  # bytes of outputs of requests under way; those beyond are not kept in checkpoints

Output = tuple[np.ndarray, np.ndarray]  # a row and its vector
Echoes = dict[int, Output | None]  # outputs that a request asked for, by SEQ; None for those that have not come
DROPPED = np.zeros(0, np.int64), np.zeros(0)


class Streams(Protocol):
    """What it takes to open a stream, see `streamrnn.workers.admission.eviction`."""

    def knows(self, name: str) -> bool: ...

    def admit(self, name: str) -> bool: ...

    def opened(self, number: int) -> None: ...

    def use(self, number: int, client: bytes) -> None: ...

    def close(self, name: str, record: int) -> None: ...


class Request:
    """A client's message."""

    def __init__(
        self, sender: bytes, name: str, message: Message, drawing: Drawing, before: Progress = NEW_REQUEST
    ) -> None:
        self.sender, self.name, self.message, self.drawing = sender, name, message, drawing
        self.unrolling: Unrolling | None = None  # once it is its turn
        self.stream = -1
        self.first = before.first  # SEQ of its first frame
        self.taken = before.taken  # frames
        self.again = before.taken  # of these, those that have not come by again
        self.echoes: deque[int] = deque()  # SEQs of the frames whose output comes back
        self.heard = 0  # outputs that came back
        self.cut = False  # no more is written, as its client was gone
        self.age = next(AGES)

    @property
    def may_be_dropped(self) -> bool:
        """Whether nothing has come of it yet."""
        feeds_back = self.drawing.max_length or (self.message.frames[:, FLAGS] & FEEDBACK).any()
        return self.message.kind == FRAMES and not self.taken and not feeds_back

    @property
    def all_in(self) -> bool:
        """Whether only outputs are still to be heard."""
        return self.unrolling is not None and self.unrolling.all_in

    @property
    def nbytes(self) -> int:
        return OVERHEAD + sum(part.nbytes for part in (self.message.frames, self.message.vectors, self.message.extra))


class PendingRequests:
    """All requests under way.

    next_record()   the number that the next record of the journal gets
    space(counted)  frames that may be let in now
    flush()         send what has been let in down the pipeline
    send(data, note) write down and send a message down the pipeline; soon=False: it need not be on the disk soon
    reply(to, message)
    accept(to, message)  the same, once what has been taken so far is safe
    """

    def __init__(
        self,
        intake: Intake,
        streams: Streams,
        next_record: Callable[[], int],
        space: Callable[[bool], int],
        took: Callable[[int], Any],
        flush: Callable[[], Any],
        send: Callable[..., Any],
        reply: Callable[[bytes, Message], Any],
        accept: Callable[[bytes, Message], Any],
    ) -> None:
        self.intake, self.streams, self.next_record = intake, streams, next_record
        self.space, self.took = space, took
        self.flush, self.send, self.reply, self.accept = flush, send, reply, accept
        self.epoch: int = intake.order["epoch"]
        kept = intake.order["kept"]
        self.requests = Requests(kept.get("requests", []), kept.get("forgotten"))
        # since the journal was told: how far requests are, and of which stream, by client and number; streams whose
        # request is done
        self.news: dict[tuple[bytes, int], tuple[Progress, int]] = {}
        self.ended: dict[int, Last | None] = {}
        self.queues: dict[str, deque[Request]] = {}
        self.listening: dict[int, Request] = {}  # stream -> whose outputs come back
        self.own: dict[bytes, str] = {}  # sender -> its own stream
        self.echoes: dict[int, Echoes] = {}  # stream -> all outputs of its request under way
        self.replayed: dict[int, deque[int]] = {}  # of these, those asked for before a failure, and not yet again
        self.waiting = 0  # bytes
        self.kept = 0  # bytes of outputs
        self.refused = 0

    def add(self, sender: bytes, name: str, message: Message, drawing: Drawing, before: Progress = NEW_REQUEST) -> None:
        """A client's message, and how far it had come; it is answered now or later. Raises Refused."""
        if name:
            check_name(name)
        else:
            name = self._own_stream(sender)
        request = Request(sender, name, message, drawing, before)
        if name in self.queues and self.waiting + request.nbytes > MOST_WAITING:
            raise Refused(f'too much waits for stream "{name}": wait for answers')
        self._append(request)
        if len(self.queues[name]) == 1:
            self._advance(name)

    def _append(self, request: Request) -> None:
        self.waiting += request.nbytes
        self.queues.setdefault(request.name, deque()).append(request)

    def drop_oldest(self, most: int) -> None:
        """Refuse the oldest requests that wait, until they have so many frames at most."""
        waiting = [request for queue in self.queues.values() for request in queue if request.may_be_dropped]
        waiting.sort(key=lambda request: request.age)
        frames = sum(len(request.message.frames) for request in waiting)
        for request in waiting:
            if frames <= most:
                return
            frames -= len(request.message.frames)
            self.refuse(request.sender, request.message.number, "dropped: newer frames came, and there was no room")
            self._remove(request)

    def _remove(self, request: Request) -> None:
        queue = self.queues[request.name]
        queue.remove(request)
        self.waiting -= request.nbytes
        if not queue:
            del self.queues[request.name]

    def _own_stream(self, sender: bytes) -> str:
        return self.own.setdefault(sender, f"{OWN}{sender.hex()}")

    def advance(self) -> None:
        """Let in what is due, as far as there is room, each time another stream first."""
        self.hear_again()
        names = list(self.queues)
        for name in names:
            self._advance(name)
        if names and names[0] in self.queues:
            self.queues[names[0]] = self.queues.pop(names[0])

    def _advance(self, name: str) -> None:
        queue = self.queues[name]
        while queue and self._finish(queue[0]):
            self.waiting -= queue.popleft().nbytes
        if not queue:
            del self.queues[name]

    def _finish(self, request: Request) -> bool:
        """Take a request as far as it goes now; true if that is its end."""
        try:
            if request.message.kind == CLOSE:
                self._close(request.name)
                request.first = self.intake.seq
            elif not self._let_in(request):
                return False
            elif request.cut:
                raise Refused(f"the connection to its client broke: {request.taken} frames were taken")
        except Refused as error:
            self.be_done(request.stream)
            self.refuse(request.sender, request.message.number, str(error))
            return True
        self._answer(request, ACCEPTED)
        return True

    def _close(self, name: str) -> None:
        self.flush()  # before the number can be given another name
        if name in self.intake.names or not name.startswith(OWN):
            self.forget(name, self.next_record())
            self.send(b"", {"closed": name})

    def forget(self, name: str, record: int) -> None:
        """A stream is closed, by that record. Raises Refused if there is none of that name."""
        if name in self.intake.names:
            self.be_done(self.intake.names[name])
            self.intake.close(name)
        else:
            self.streams.close(name, record)

    def _let_in(self, request: Request) -> bool:
        """True if all of it has been let in, and every output that it asked for has come."""
        if request.unrolling is None and not self._start(request):
            return False
        unrolling = request.unrolling
        assert unrolling
        while part := unrolling.due(self.space(request.name != PREVIEW)):
            part = self._pass_over(request, *part)
            frames = part[0]
            if not len(frames):
                continue
            first = self.intake.add(request.stream, *part)
            request.first = first if request.first < 0 else request.first
            request.taken += len(frames)
            for seq in (first + np.flatnonzero(frames[:, FLAGS] & ECHO)).tolist():
                request.echoes.append(seq)
                self.echoes.setdefault(request.stream, {})[seq] = None
            if request.name != PREVIEW:
                self.took(len(frames))
            self._note(request, False)
        if request.echoes:
            self.listening[request.stream] = request
        if unrolling.done:
            self.be_done(request.stream)
            self.intake.keep(request.stream, unrolling.last)
        return unrolling.done

    def _pass_over(
        self, request: Request, frames: np.ndarray, X: np.ndarray, targets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What of these frames has not been let in before a failure; of the rest, the outputs come again."""
        count = min(request.again, len(frames))
        request.again -= count
        known = self.replayed.get(request.stream, deque())
        for _ in range(np.count_nonzero(frames[:count, FLAGS] & ECHO)):
            if not known:
                raise Refused(f"a failure came between: {request.taken} frames were taken, their outputs are lost")
            request.echoes.append(known.popleft())
        return frames[count:], X[count:], targets[count:]

    def _start(self, request: Request) -> bool:
        """Have its stream open; false while that must wait."""
        if request.name not in self.intake.names:
            if not self.streams.knows(request.name):  # else no stream has to make room for what is refused
                self.intake.check(request.name, request.message, request.drawing, request.again > 0)
            if not self.streams.admit(request.name):
                return False
        request.stream, naming, request.unrolling = self.intake.unroll(
            request.name, request.message, request.drawing, request.again > 0
        )
        if naming:
            self.send(naming, None, soon=request.name != PREVIEW)
            self.streams.opened(request.stream)
        self.streams.use(request.stream, request.sender)
        return True

    def hear(self, message: Message) -> None:
        """Outputs that came back; those that nobody waits for any more are passed over."""
        for stream in dict.fromkeys(message.frames[:, STREAM].tolist()):
            own, echoes = message.frames[:, STREAM] == stream, self.echoes.get(stream, {})
            for row, y in zip(message.frames[own], message.vectors[own], strict=True):
                if int(row[SEQ]) in echoes:
                    echoes[int(row[SEQ])] = row, y
                    self.kept += size_of((row, y))
            if stream in self.listening:
                self._hear(self.listening[stream])

    def hear_again(self) -> None:
        """The outputs that came before they were asked for again."""
        for request in list(self.listening.values()):
            while self._hear(request):
                pass

    def _hear(self, request: Request) -> bool:
        """Take the next outputs of a request, if they have come."""
        assert request.unrolling
        echoes, came = self.echoes.get(request.stream, {}), []
        while request.echoes and (output := echoes.get(request.echoes[0])):
            came.append(output)
            seq = request.echoes.popleft()
            if self.kept > MOST_KEPT:
                self.kept -= size_of(output)
                echoes[seq] = DROPPED
        if not came:
            return False
        rows, Y, drawn = np.array([row for row, _ in came]), np.array([y for _, y in came]), NOTHING
        for row, y in zip(rows, Y, strict=True):
            value = request.unrolling.hear(y.copy())
            row[TOKEN] = value if isinstance(value, int) else -1
            if isinstance(value, np.ndarray):
                drawn = np.concatenate([drawn, value])
        if not request.echoes:
            del self.listening[request.stream]
        request.heard += len(rows)
        self.reply(request.sender, Message(RESULT, self.epoch, request.message.number, rows, Y, drawn))
        self._advance(request.name)
        return True

    def be_done(self, stream: int) -> None:
        """Nobody will ask for the outputs so far again."""
        self.replayed.pop(stream, None)
        self.kept -= sum(map(size_of, filter(None, self.echoes.pop(stream, {}).values())))

    def outputs_before(self, seq: int, held: dict[int, Echoes]) -> dict[str, np.ndarray] | None:
        """All outputs of frames before that one, of what was under way then; None while some are to come."""
        kept: list[Output] = []
        for stream, echoes in held.items():
            outputs = [output for number, output in echoes.items() if number < seq]
            if None in outputs and self.echoes.get(stream) is echoes:
                return None
            if all(output is not None and output is not DROPPED for output in outputs):
                kept += filter(None, outputs)
        return {"rows": np.array([row for row, _ in kept]), "vectors": np.array([y for _, y in kept])} if kept else {}

    def lose(self, sender: bytes) -> None:
        """A client is gone: what it has sent is still let in, but nothing more is written for it."""
        for queue in list(self.queues.values()):
            for request in queue:
                if request.sender == sender and request.drawing.max_length:
                    request.drawing, request.cut = Drawing(), True
                    if request.unrolling:
                        request.unrolling.stop()
        name = self.own.pop(sender, None)
        if name in self.intake.names or name in self.queues:
            assert name
            self._append(Request(sender, name, Message(CLOSE), Drawing()))

    def stop(self, reason: str) -> bool:
        """Refuse what is not all in; true once the rest is answered, and the clients' own streams are closed."""
        for request in [request for queue in self.queues.values() for request in queue if not request.all_in]:
            self.refuse(request.sender, request.message.number, f"{reason}: {request.taken} frames were taken")
            self.intake.last.pop(request.stream, None)
            self.listening.pop(request.stream, None)
            self.be_done(request.stream)
            self._remove(request)
        if self.queues:
            return False
        for name in self.own.values():
            if name in self.intake.names:
                self._close(name)
        self.own.clear()
        return True

    def refuse(self, sender: bytes, number: int, reason: str) -> None:
        """Answer that a request was not let in, and why."""
        self.refused += 1
        self.requests.note(sender, number, Progress(finished=True, reason=reason))
        self.reply(sender, Message(REFUSED, 0, number, extra=as_text(reason)))

    def again(self, sender: bytes, number: int, progress: Progress) -> None:
        """Answer a request that came again as before."""
        if progress.reason:
            self.reply(sender, Message(REFUSED, 0, number, extra=as_text(progress.reason)))
        else:
            self.accept(sender, Message(ACCEPTED, 0, number, frame_with(progress.first, progress.heard)))

    def _answer(self, request: Request, kind: int) -> None:
        self._note(request, True)
        answer = self.reply if request.name == PREVIEW else self.accept  # nobody relies on what the live view has drawn
        answer(request.sender, Message(kind, 0, request.message.number, frame_with(request.first, request.heard)))

    def _note(self, request: Request, finished: bool) -> None:
        """Remember how far a request is, here and, with the frames that have been let in, in the journal."""
        progress = Progress(request.taken, request.first, finished, "", request.heard)
        self.requests.note(request.sender, request.message.number, progress)
        if request.message.epoch:  # who does not count is not recognised
            self.news[request.sender, request.message.number] = progress, request.stream
        if finished and request.stream >= 0:
            self.ended[request.stream] = self.intake.last.get(request.stream)

    def take_news(self) -> tuple[dict[bytes, Progresses], dict[int, Any]]:
        """What has become of requests since the last call; a refusal goes with what is let in behind it."""
        refused = {(sender, number): (progress, NONE) for sender, number, progress in self.requests.refusals()}
        by_client: dict[bytes, dict[int, tuple[Progress, int]]] = {}
        for (sender, number), found in (self.news | refused).items():
            by_client.setdefault(sender, {})[number] = found
        ended = {stream: pack_last(last) for stream, last in self.ended.items()}
        self.news, self.ended = {}, {}
        return {sender: pack_progress(news) for sender, news in by_client.items()}, ended

    def restore(self, rows: np.ndarray, Y: np.ndarray) -> None:
        """Outputs of requests that were under way at the checkpoint."""
        for row, y in zip(rows, Y, strict=True):
            self._ask(int(row[STREAM]), int(row[SEQ]), (row, y))
            self.kept += size_of((row, y))

    def _ask(self, stream: int, seq: int, output: Output | None) -> None:
        self.replayed.setdefault(stream, deque()).append(seq)
        self.echoes.setdefault(stream, {})[seq] = output

    def find_own(self) -> None:
        """See which streams are clients' own."""
        self.own = {bytes.fromhex(name[1:]): name for name in self.intake.names if name.startswith(OWN)}

    def replay_frames(self, frames: np.ndarray) -> None:
        """Note which outputs of frames that go down again will come back."""
        for seq, stream in frames[frames[:, FLAGS] & ECHO > 0][:, [SEQ, STREAM]].tolist():
            self._ask(stream, seq, None)

    def replay(self, news: dict[bytes, Progresses], ended: dict[int, Any]) -> None:
        """Take what the journal remembers of requests."""
        for sender, packed in news.items():
            for number, progress, stream in unpack_progress(packed):
                self.requests.restore(sender, number, progress)
                if stream != NONE:
                    self.streams.use(stream, sender)
        for stream, packed_last in ended.items():
            self.be_done(stream)
            self.intake.last.pop(stream, None)
            if (last := unpack_last(packed_last)) is not None:
                self.intake.last[stream] = last


def size_of(output: Output) -> int:
    """In bytes."""
    row, y = output
    return row.nbytes + y.nbytes


def frame_with(seq: int, stream: int = 0) -> np.ndarray:
    """One row that carries these numbers."""
    row = np.zeros((1, COLUMNS), np.int64)
    row[0, SEQ], row[0, STREAM] = seq, stream
    return row
