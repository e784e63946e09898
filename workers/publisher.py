"""The publisher: sends every output to whoever has subscribed to its stream, and keeps the score.

A subscription is a stream's name and a zero byte, or nothing for all streams. Each one is answered with an empty
message on its own topic, so that a client knows from when on it misses nothing. The number in each message's header is
the place (`streamrnn.kernels.frames.places`) of the last row in its stream's message before, -1 if there was none: who
hears another one has missed something, and can ask for it while it is in the history.

Who wants all streams, as sinks do, reads the history itself: every message behind a place, and waits there for the next
one. What sinks have not written yet is in each checkpoint too.
"""

from itertools import chain
from math import nan
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq
from safetensors import SafetensorError
from safetensors.numpy import load, save

from streamrnn.kernels.anomaly import BEGINS, ENDS, EVENT
from streamrnn.kernels.frames import FLAGS, INPUT, SEQ, STREAM, places
from streamrnn.kernels.messages import ALARM, ALIVE, BARRIER, CREDIT, EVICT, NAME, OUTPUT, RESTORE
from streamrnn.kernels.readouts import LOSS, RELATIVE
from streamrnn.model.anomalies import alarm
from streamrnn.model.tables import Forecast
from streamrnn.protocol.stream_names import ALARMS, PREVIEW
from streamrnn.protocol.wire import Message, WireError, as_numbers, bytes_of, emits, pack, text_of, unpack
from streamrnn.storage import checkpoint, files
from streamrnn.storage.files import NOT_JSON
from streamrnn.storage.manifest import read_manifest
from streamrnn.workers.authenticated_socket import open_authenticated
from streamrnn.workers.channel_errors import ChannelErrors
from streamrnn.workers.history import ANSWER, NONE, History, rows_of
from streamrnn.workers.worker import Worker, received

RECENT, LAST = 10_000, 100_000  # frames scored
MESSAGES = 64  # taken from one socket before the others are looked at
CURVE = 512  # points at most
CURVE_STEP = 1000  # frames scored in the first points of the curve
SCORE_FILE = "score.safetensors"
LARGEST_SUBSCRIPTION = 1 << 12  # bytes
MOST_NAMES = 32  # of streams in one answer
MOST_WAITING = 64  # who ask for outputs that are still to come; others are answered at once


class Score:
    """Prequential loss: over all, over the `kept` last frames, and as a curve. In nats."""

    def __init__(self, kept: int = LAST) -> None:
        self.scored, self.total = 0, 0.0
        self.last = np.zeros(kept)
        self.curve: list[float] = []
        self.step = CURVE_STEP
        self._open: list[np.ndarray] = []
        self._open_count = 0

    def add(self, losses: np.ndarray) -> None:
        """Take the losses of a message, NaN where nothing was scored."""
        losses = losses[~np.isnan(losses)].astype(np.float64)
        self.last[np.arange(self.scored, self.scored + len(losses)) % len(self.last)] = losses
        self.scored += len(losses)
        # one by one: the sum is the same whatever came in one message
        self.total = float(np.add.accumulate(np.append(self.total, losses))[-1])
        self._open.append(losses)
        self._open_count += len(losses)
        if self._open_count >= self.step:
            self._extend()

    def _extend(self) -> None:
        points = np.concatenate(self._open)
        while len(points) >= self.step:
            self.curve.append(float(points[: self.step].mean()))
            points = points[self.step :]
            if len(self.curve) == CURVE:
                self.curve = [(a + b) / 2 for a, b in zip(self.curve[::2], self.curve[1::2], strict=True)]
                self.step *= 2
        self._open, self._open_count = [points], len(points)

    def tensors(self) -> dict[str, np.ndarray]:
        """All of it."""
        return {
            "counts": np.array([self.scored, self.step]),
            "total": np.array([self.total]),
            "last": self.last,
            "curve": np.array(self.curve),
            "open": np.concatenate([np.zeros(0), *self._open]),
        }

    def restore(self, tensors: dict[str, np.ndarray]) -> None:
        """Go on from there."""
        (self.scored, self.step), self.total = tensors["counts"].tolist(), float(tensors["total"][0])
        self.last, self.curve, self._open = tensors["last"].copy(), tensors["curve"].tolist(), [tensors["open"]]
        self._open_count = len(tensors["open"])

    def mean(self, count: int | None = None) -> float:
        """Mean loss over the last `count` frames scored, over all without a count; NaN before any."""
        if not self.scored:
            return nan
        if count is None:
            return self.total / self.scored
        kept = len(self.last)
        count, end = min(count, self.scored, kept), self.scored % kept
        newest, older = self.last[max(0, end - count) : end], self.last[kept - max(0, count - end) :]
        return float(newest.sum() + older.sum()) / count

    def facts(self) -> dict[str, Any]:
        """For the supervisor; None stands for "nothing yet"."""
        means = {"loss": self.mean(), "recent_loss": self.mean(RECENT), "last_loss": self.mean(LAST)}
        return {
            "scored": self.scored,
            "curve": self.curve,
            "curve_step": self.step,
            **{name: None if value != value else value for name, value in means.items()},
        }


class Publisher:
    """The publisher's process."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.order = worker.first_order()
        self.score = Score()
        self.relative = Score(RECENT)  # of what has no units, see `streamrnn.kernels.readouts`
        self.rows = self.credited = self.inputs = self.bad = 0
        self.history = History(self.order["history"])
        self.newest = np.full(self.order["places"], NONE)  # the place of each stream's last row
        self.since = np.zeros_like(self.newest)  # the place from which on a number has meant its stream
        self.before = np.full_like(self.newest, NONE)  # the place of the last row that the stream had before that
        self.place = NONE  # of the last row
        self.floor: int | None = self.order["written"]  # the place up to which sinks have everything; None without any
        self.waiting: dict[str, dict[str, Any]] = {}  # by who asks: what for, of outputs that are still to come
        self.readout = msgspec.convert(self.order["forecast"], Forecast | None)
        season = self.readout.seasons[0] if self.readout and self.readout.seasons else 0
        self.errors = ChannelErrors(self.order["targets"], season) if self.order["targets"] else None
        self.alarmed = NONE  # SEQ of the newest alarm
        if self.order["resume"]:
            self.restore(Path(self.order["resume"]))
        self.begins = self.history.gone
        self.topics = {number: topic(text) for number, text in enumerate(self.order["streams"]) if text}
        self.preview = self.order["streams"].index(PREVIEW) if PREVIEW in self.order["streams"] else -1
        self.wanted = False  # somebody has subscribed; that they are gone again nobody can tell for sure
        options = {zmq.MAXMSGSIZE: LARGEST_SUBSCRIPTION, zmq.XPUB_VERBOSE: 1}
        self.frontend = open_authenticated(worker, zmq.XPUB, self.order["outputs"], options, self.order["keys"])
        self.source = worker.socket(zmq.PULL, bind=self.order["frames_in"])
        self.credit = worker.socket(zmq.PUSH, connect=self.order["to_gate"])

    def run(self) -> None:
        """Until told to stop."""
        poller = self.poller()
        self.worker.begin()
        while True:
            if self.frontend.look():  # whoever was here subscribes anew, to another socket
                poller = self.poller()
            ready = self.worker.poll(poller)
            if self.frontend.socket in ready:
                for data in chain.from_iterable(received(self.frontend.socket, MESSAGES)):
                    self.hear(data)
            if self.source in ready:
                for data, *_ in received(self.source, MESSAGES):
                    self.take(data)
                self.give_credit()
                self.answer_waiting()
            self.worker.beat(self.facts)
            if self.worker.control in ready:
                order = self.worker.order()
                if order["kind"] == "stop":
                    return
                if order["kind"] == "written":
                    self.floor = order["place"]
                elif order["kind"] == "streams":
                    self.tell_streams(order)
                elif order["kind"] == "history" and order["stream"] is None:
                    self.tell_all(order)
                elif order["kind"] == "history":
                    self.tell(order)

    def poller(self) -> zmq.Poller:
        """For all that comes in."""
        poller = zmq.Poller()
        for socket in (self.source, self.frontend.socket, self.worker.control):
            poller.register(socket, zmq.POLLIN)
        return poller

    def give_credit(self) -> None:
        """Tell the gate what has gone through: seldom, and often enough that it never waits for nothing."""
        spare = self.order["in_flight"] - self.order["block"]
        if self.rows - self.credited > spare // 2:
            self.credited = self.rows
            self.credit.send(pack(Message(CREDIT, self.order["epoch"], self.rows)))

    def facts(self) -> dict[str, Any]:
        """How far it is, for the supervisor."""
        through = {"inputs": self.inputs, "seq": (self.place + 1) // 2}  # of all frames, those of previews too
        relative = self.relative.mean(RECENT) if self.relative.scored else None
        facts = {"rows": self.rows, "bad": self.bad, "rejected": self.frontend.rejected, "relative_loss": relative}
        facts["newest_stream"] = self.newest_stream()
        errors = self.errors.facts() if self.errors else None
        if self.errors and facts["newest_stream"]:
            facts["surprise"] = self.errors.surprise(facts["newest_stream"][0])
        return through | facts | self.score.facts() | {"errors": errors}

    def newest_stream(self) -> tuple[int, str] | None:
        """Number and name of the stream with the newest output."""
        number = int(self.newest.argmax())
        return (number, self.topics[number][:-1].decode()) if number in self.topics else None

    def hear(self, data: bytes) -> None:
        """One message from who listens: that somebody came (\\1 topic) or went (\\0 topic).

        Who came is answered with the place of the last row until then: what is behind it comes, or can be asked for.
        """
        if data[:1] == b"\1":
            self.wanted = True
            self.frontend.socket.send_multipart([data[1:], pack(Message(ALIVE, self.order["epoch"], self.place))])
        elif data[:1] != b"\0":
            self.bad += 1

    def take(self, data: bytes) -> None:
        """One message from the readout."""
        try:
            message = unpack(data)
        except WireError:
            self.bad += 1
            return
        if message.epoch != self.order["epoch"] or not self.fits(message):
            self.bad += 1
        elif message.kind == OUTPUT:
            self.rows += len(message.frames)
            counted = message.frames[:, STREAM] != self.preview
            self.inputs += int(np.count_nonzero(message.frames[counted, FLAGS] & INPUT))
            losses = message.extra.reshape(len(message.frames), -1)
            self.score.add(losses[:, LOSS])
            if losses.shape[1] > RELATIVE:
                self.relative.add(losses[:, RELATIVE])
            if self.errors:
                self.errors.add(message, self.means(message.vectors), losses, self.preview)
            if self.wanted:
                publish(self.frontend.socket, message, self.topics, self.newest)
            if self.readout and self.readout.anomaly:
                self.raise_alarms(message)
            place = places(message.frames)
            self.newest[message.frames[:, STREAM]] = place
            self.place = int(place[-1])
            self.history.add(message, data, self.names(message))
        elif message.kind == NAME:
            self.open(message.number, text_of(message), NONE)
        elif message.kind == EVICT:
            self.evict(message)
        elif message.kind == RESTORE:
            self.restore_stream(message)
        elif message.kind == BARRIER:
            self.save(message.number)

    def means(self, outputs: np.ndarray) -> np.ndarray:
        """What outputs (n, K) say of the next frame, (n, size)."""
        if self.readout:
            return self.readout.read(outputs)[1].mean
        return outputs[:, : self.order["targets"]]

    def raise_alarms(self, message: Message) -> None:
        """Publish the alarms that a message of outputs holds, and have the log say so."""
        rows = message.frames[emits(message)]
        assert self.readout
        events = message.vectors[:, self.readout.forecasts + EVENT]
        for k in np.flatnonzero((events == BEGINS) | (events == ENDS)):
            name, seq = self.topics[int(rows[k, STREAM])][:-1].decode(), int(rows[k, SEQ])
            found = alarm(name, seq, self.readout.anomalies(message.vectors[k]), self.order["channels"])
            if found and seq > self.alarmed:
                self.alarmed = seq
                text = msgspec.json.encode(found.plain())
                data = pack(Message(ALARM, self.order["epoch"], seq, extra=as_numbers(text)))
                self.frontend.socket.send_multipart([topic(ALARMS), data])
                self.worker.report("alarm", stream=name, seq=seq, state=found.event, words=found.words)

    def open(self, number: int, name: str, newest: int) -> None:
        """A number means that stream from here on, whose last row so far had that place."""
        self.topics[number] = topic(name)
        if self.errors:
            self.errors.forget(number)
        self.newest[number] = self.before[number] = newest
        self.since[number] = self.place + 1
        if name == PREVIEW or number == self.preview:
            self.preview = number if name == PREVIEW else -1

    def evict(self, message: Message) -> None:
        """A stream goes: the gate gets what is kept of it here."""
        del self.topics[message.number]
        state = save({"newest": self.newest[[message.number]]})
        event = int(message.frames[0, SEQ])
        self.credit.send(pack(Message(EVICT, self.order["epoch"], event, extra=as_numbers(state))))

    def restore_stream(self, message: Message) -> None:
        """A stream that was evicted comes back."""
        try:
            state = load(bytes_of(message))
            name, newest = msgspec.json.decode(state["gate"].tobytes())["name"], int(state["newest"][0])
        except (SafetensorError, KeyError, IndexError, TypeError, *NOT_JSON):
            self.bad += 1
            return
        self.open(message.number, name, newest)

    def fits(self, message: Message) -> bool:
        """Whether the outputs are of streams that there are, and as many as their frames ask for; or the name."""
        if message.kind == EVICT:
            return message.number in self.topics and len(message.frames) == 1
        if message.kind in (NAME, RESTORE):
            return 0 <= message.number < len(self.newest)
        if message.kind != OUTPUT:
            return True
        streams = set(message.frames[:, STREAM].tolist())
        counts = int(np.count_nonzero(emits(message))), self.order["losses"] * len(message.frames)
        return bool(streams) and streams <= self.topics.keys() and counts == (len(message.vectors), len(message.extra))

    def names(self, message: Message) -> dict[int, str]:
        """What the streams of a message are called, by their numbers."""
        return {number: self.topics[number][:-1].decode() for number in set(message.frames[:, STREAM].tolist())}

    def save(self, number: int) -> None:
        """Write what has been counted into the checkpoint that a barrier names."""
        folder = files.temporary_name(Path(self.order["checkpoints"]) / checkpoint.number_name(number))
        places = {"newest": self.newest, "since": self.since, "place": np.array([self.place])}
        relative = {f"relative.{name}": tensor for name, tensor in self.relative.tensors().items()}
        errors = self.errors.tensors() if self.errors else {}
        tensors = {name: tensor.copy() for name, tensor in (places | self.score.tensors() | relative | errors).items()}
        if self.floor is not None:
            tensors |= self.history.packed(self.order["run"], self.floor)
        self.worker.save(
            number, lambda: {SCORE_FILE: checkpoint.write_tensors(folder / SCORE_FILE, tensors)}, **self.facts()
        )

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint."""
        manifest = read_manifest(folder)
        if SCORE_FILE not in manifest.sha256:
            return
        tensors = checkpoint.read_tensors(folder / SCORE_FILE, manifest)
        streams = min(len(self.newest), len(tensors["newest"]))
        self.newest[:streams], self.since[:streams] = tensors["newest"][:streams], tensors["since"][:streams]
        self.place = self.history.gone = int(tensors["place"][0])
        self.history.restore(tensors, self.order["run"], self.order["epoch"])
        self.score.restore(tensors)
        prefix = "relative."
        if relative := {name[len(prefix) :]: each for name, each in tensors.items() if name.startswith(prefix)}:
            self.relative.restore(relative)  # checkpoints of before 0.2 have none
        if self.errors:
            self.errors.restore(tensors)
        self.inputs = manifest.score["inputs"]

    def tell(self, order: dict[str, Any]) -> None:
        """Answer who asks for outputs of before: those of a stream between two places, as far as they are here."""
        name, after, before = order["stream"], order["after"], order["before"]
        number = next((number for number, text in self.topics.items() if text == topic(name)), NONE)
        known = number != NONE and after >= int(self.before[number])
        after = max(after, int(self.since[number]) - 1)
        found, until = self.history.part(number, after, before)
        whole = known and self.history.gone <= after
        self.worker.report("history", found, asker=order["asker"], number=order["number"], whole=whole, until=until)

    def tell_all(self, order: dict[str, Any]) -> None:
        """Answer who asks for outputs of all streams: messages behind a place, and what their streams are called.

        Where there are none yet, the answer may wait until there are.
        """
        found, gone = self.history.behind(order["after"], ANSWER), self.history.gone
        if not found and gone <= order["after"] and order["wait"] and len(self.waiting) < MOST_WAITING:
            self.waiting[order["asker"]] = order
            return
        self.waiting.pop(order["asker"], None)
        facts = {"run": self.order["run"], "begins": self.begins, "gone": gone}
        facts["names"] = [entry.names for entry in found]
        data = [entry.data for entry in found]
        self.worker.report("history", data, asker=order["asker"], number=order["number"], **facts)

    def tell_streams(self, order: dict[str, Any]) -> None:
        """Answer who asks for names: those that have this in them, of streams with the newest outputs first."""
        like = order["like"].encode()
        found = [number for number, text in self.topics.items() if like in text[:-1] and self.newest[number] != NONE]
        found.sort(key=lambda number: -int(self.newest[number]))
        names = [self.topics[number][:-1].decode() for number in found[:MOST_NAMES]]
        self.worker.report("streams", asker=order["asker"], number=order["number"], streams=names)

    def answer_waiting(self) -> None:
        """Answer those for whom something has come."""
        for order in [order for order in self.waiting.values() if order["after"] < self.place]:
            self.tell_all(order)


def topic(name: str) -> bytes:
    """What a stream's outputs are published under."""
    return name.encode() + b"\0"


def publish(outputs: zmq.Socket, message: Message, topics: dict[int, bytes], newest: np.ndarray) -> None:
    """Send the outputs of each stream under its topic; newest: the place of each stream's last row before."""
    streams = np.unique(message.frames[:, STREAM]).tolist()
    for stream in streams:
        part = message if len(streams) == 1 else rows_of(message, message.frames[:, STREAM] == stream)
        outputs.send_multipart([topics[stream], pack(part._replace(number=int(newest[stream])))])


def main(worker: Worker) -> None:
    """Run until told to stop."""
    Publisher(worker).run()
