"""What `benchmarks.fuzz` feeds: each place where something from outside comes in, and what must hold once it has."""

import json
import math
import re
import tempfile
from collections import deque
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
import zmq
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

import streamrnn as sr
from benchmarks.mutate import FLOATS, WORDS, mutated
from streamrnn import checkpoint, config
from streamrnn.frames import (
    BEGIN,
    COLUMNS,
    ECHO,
    EMIT,
    END,
    FEEDBACK,
    FLAGS,
    INPUT,
    LEARN,
    NEW,
    SCORED,
    SEQ,
    STREAM,
    TARGET,
    TOKEN,
)
from streamrnn.schedule import CLOSED, FREE, LEARNED, SLOT
from streamrnn.schedule import FRAMES as WINDOW_FRAMES
from streamrnn.schedule import TARGETS as WINDOW_TARGETS
from streamrnn.wire import (
    CLOSE,
    FRAMES,
    GREETING,
    MAGIC,
    NAME,
    NO_VECTORS,
    OUTPUT,
    REFUSED,
    RESEND,
    Message,
    WireError,
    as_text,
    pack,
    text_of,
    unpack,
)
from streamrnn.workers import loop
from streamrnn.workers.gate import Gate
from streamrnn.workers.publisher import Publisher
from streamrnn.workers.stages import make_links
from streamrnn.workers.supervisor import Supervisor

CONFIGS = Path(__file__).parent.parent / "configs"
EPOCH, STREAMS, BLOCK = 9, 3, 16


class Target:
    """A place where something comes in. `take` says whether it let it in; whatever it raises is a fault."""

    name: str
    share: int  # of a thousand inputs

    def __init__(self, random: Random) -> None:
        self.random = random

    def make(self) -> list[bytes]:
        """An input: the parts of a message, or the bytes of files."""
        raise NotImplementedError

    def take(self, parts: list[bytes]) -> bool:
        raise NotImplementedError

    def close(self) -> None:
        """Let go of everything; what must hold in the end is checked here."""

    def spoiled(self, data: bytes, others: list[bytes], chance: float = 0.8) -> bytes:
        """Those bytes, mutated more often than not."""
        return mutated(self.random, data, others) if self.random.random() < chance else data


def rows(flags: list[int], **columns: Any) -> np.ndarray:
    """Frames with those flags."""
    frames = np.zeros((len(flags), COLUMNS), np.int64)
    frames[:, FLAGS] = flags
    for name, values in columns.items():
        frames[:, {"seq": SEQ, "stream": STREAM, "token": TOKEN, "target": TARGET}[name]] = values
    return frames


def letters() -> list[bytes]:
    """A message of each kind and of several sizes."""
    rng = np.random.default_rng(0)
    found = [pack(Message(kind, EPOCH, kind)) for kind in range(16)]
    for count in (1, 2, 5, BLOCK):
        frames = rows([INPUT | EMIT] * count, seq=np.arange(count), token=rng.integers(0, 5, count))
        values = rng.standard_normal((count, 3)).astype(np.float32)
        found.append(pack(Message(FRAMES, EPOCH, 1, frames, values, values[:, 0].copy())))
        found.append(pack(Message(OUTPUT, EPOCH, 0, frames, values, values[:, 1].copy())))
    return [*found, pack(Message(NAME, EPOCH, 1, extra=as_text("a name")))]


class Decoder(Target):
    """`streamrnn.wire.unpack`."""

    name, share = "frame decoder", 430
    seeds = letters()

    def make(self) -> list[bytes]:
        return [self.spoiled(self.random.choice(self.seeds), self.seeds)]

    def take(self, parts: list[bytes]) -> bool:
        try:
            message = unpack(parts[0])
        except WireError:
            return False
        assert message.frames.shape[1] == COLUMNS
        assert pack(message) == parts[0], "what was decoded is not what came"
        return True


class Receiver(Target):
    """`receive` of the compiled loop, through a real socket."""

    name, share = "compiled loop", 300
    seeds = letters()

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.context = zmq.Context()
        self.ours, theirs = self.context.socket(zmq.PUSH), self.context.socket(zmq.PULL)
        theirs.bind("inproc://fuzz")
        self.ours.connect("inproc://fuzz")
        net = sr.Network([sr.LSTM(3, 3)], sr.Linear(3), sr.SGD(0.1))
        order = {"block": BLOCK, "epoch": EPOCH, "token_targets": False}
        self.links, self.theirs = make_links(net, 0, 2, order, [theirs.underlying, 0, 0, 0, 0, 0]), theirs

    def make(self) -> list[bytes]:
        return [self.spoiled(self.random.choice(self.seeds), self.seeds)]

    def take(self, parts: list[bytes]) -> bool:
        buffer, data, bad = self.links.incoming, parts[0], int(self.links.state[loop.BAD])
        self.ours.send(data)
        size = loop.receive(self.links, loop.FRAMES_IN, buffer)
        assert (size >= 0) == self.good(data, buffer.nbytes), f"accepted {size} of {len(data)} bytes"
        assert self.links.state[loop.BAD] - bad == (size < 0), "not counted"
        assert size < 0 or buffer.tobytes()[:size] == data
        return bool(size >= 0)

    @staticmethod
    def good(data: bytes, room: int) -> bool:
        """What ought to be accepted, in whole numbers of any size."""
        header = [int.from_bytes(data[at : at + 8], "little", signed=True) for at in range(0, 64, 8)]
        frames, vectors, width, extra = header[4:]
        size = 64 + 40 * frames + 4 * vectors * width + 4 * extra
        counted = all(0 <= count <= room for count in header[4:])
        return 64 <= len(data) == size <= room and counted and header[0] == MAGIC and header[2] == EPOCH

    def close(self) -> None:
        self.context.destroy(linger=0)


class Socket:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def send_multipart(self, parts: list[bytes], *_: Any) -> None:
        self.sent.append(parts)

    def taken(self) -> list[Any]:
        """What was sent since the last call."""
        sent, self.sent = self.sent, []
        return sent


class Door:
    """One that anybody may use."""

    strangers = 0

    def __init__(self, *_: Any) -> None:
        self.socket = Socket()

    def close(self) -> None:
        pass


class Member:
    """What a worker gets from the real one, and no supervisor behind it."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.reports: list[tuple[str, list[bytes], dict[str, Any]]] = []

    def first_order(self) -> dict[str, Any]:
        return self.order

    def socket(self, *_: Any, **__: Any) -> Socket:
        return Socket()

    def report(self, kind: str, data: Any = (), **facts: Any) -> None:
        self.reports.append((kind, list(data), facts))


def network(predict: str, classes: int, target_classes: int, inputs: int, targets: int) -> dict[str, Any]:
    """What the gate must know of a network; sizes are 0 for tokens, classes for vectors."""
    found = {"predict": predict, "classes": classes, "target_classes": target_classes}
    return found | {"input_size": inputs, "target_size": targets}


NETWORKS = [
    network("next", 5, 5, 0, 0),
    network("next", 0, 0, 3, 3),
    network("target", 5, 7, 0, 0),
    network("target", 5, 3, 0, 0),
    network("target", 5, 0, 0, 2),
    network("target", 0, 4, 4, 0),
    network("target", 0, 0, 3, 2),
]
NEXT_FLAGS = [INPUT | EMIT, INPUT | EMIT | LEARN, INPUT | LEARN | END, INPUT | EMIT | BEGIN, INPUT | EMIT | ECHO]
NEXT_FLAGS += [INPUT | EMIT | FEEDBACK, INPUT]
TARGET_FLAGS = [INPUT | EMIT | SCORED, INPUT | EMIT, SCORED, INPUT | EMIT | SCORED | END, INPUT | EMIT | FEEDBACK]
TARGET_FLAGS += [INPUT | EMIT | BEGIN, INPUT | EMIT | SCORED | FEEDBACK, INPUT | EMIT | ECHO | SCORED]
OPTIONS = [
    {},
    {"max_length": 3},
    {"max_length": 5, "until": 1, "temperature": 0.7, "seed": 1},
    {"own": 0.5, "seed": 2},
    {"max_length": 10**9, "temperature": 1e308},
    {"temperature": 5e-324, "top_k": 10**30, "max_length": 2, "seed": 10**40},
]
NAMES = [b"a", b"b", b"c", b"d", b"", b"preview", b"~1", "ü".encode(), b"a" * 255]


class Clients(Target):
    """The gate: greetings, requests and frames of several clients, with a pipeline behind it that answers anything."""

    name, share = "gate", 100

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self.net = random.choice(NETWORKS)
        self.order = self.net | {
            "max_streams": STREAMS,
            "block": BLOCK,
            "in_flight": 4 * BLOCK,
            "epoch": EPOCH,
            "frames": 0,
            "streams": [],
            "fresh": [],
            "kept": {},
            "last": {},
            "rate": 0.1,
            "overload": random.choice(["block", "reject", "drop-oldest"]),
            "keys": None,
            "source": {"kind": "none"},
            "position": 0,
            "max_frames": None,
            "left": None,
            "run": "run",
            "journal": f"{self.folder.name}/journal",
            "resume": None,
            "checkpoints": "",
            "journal_start": 0,
            "journal_bytes": 2**30,
            "journal_enabled": True,
            "acknowledge": "written",
            "gate": "",
            "to_gate": "",
            "frames_out": "",
        }
        with patch("streamrnn.workers.gate.open_door", Door):
            self.gate: Any = Gate(Member(self.order))  # type: ignore[arg-type]
        self.gate.open = True
        self.chance = Random(random.randrange(2**32))  # of what the network says
        self.outputs: deque[np.ndarray] = deque()  # rows whose output the pipeline has yet to send back
        self.following = dict.fromkeys([b"1", b"2", b"3"], 1)  # the number of each client's next request
        self.seq = 0
        self.letters: list[bytes] = [self.letter(0, 0) for _ in range(20)]

    def letter(self, epoch: int, number: int) -> bytes:
        """A good message of frames, more often than not."""
        random, net = self.random, self.net
        kinds = NEXT_FLAGS if net["predict"] == "next" else TARGET_FLAGS
        flags = [random.choice(kinds) for _ in range(random.choice([1, 1, 2, 3, 6, 20, 40]))]
        frames = rows(flags, token=[random.randrange(max(net["classes"], 1)) for _ in flags])
        frames[:, TARGET] = [random.randrange(max(net["target_classes"], 1)) for _ in flags]
        given = sum(f & (INPUT | FEEDBACK) == INPUT for f in flags)
        scored = sum(f & SCORED > 0 for f in flags)
        X = np.full((given, net["input_size"]), 0.5, np.float32) if net["input_size"] else NO_VECTORS
        return pack(Message(FRAMES, epoch, number, frames, X, np.ones(scored * net["target_size"], np.float32)))

    def make(self) -> list[bytes]:
        random = self.random
        sender = random.choice([*self.following, b"4"])  # who never greets
        number = self.following.get(sender, 0) if random.random() < 0.8 else random.choice(WORDS)
        epoch = random.choice([EPOCH, EPOCH, EPOCH, EPOCH, 0, 0, EPOCH - 1, -1])
        kind = random.random()
        if kind < 0.1:
            unanswered = sorted(random.sample(range(1, 60), random.choice([0, 0, 1, 5])))
            data = pack(Message(GREETING, EPOCH, number, rows([0] * len(unanswered), seq=unanswered)))
        elif kind < 0.2:
            data = pack(Message(CLOSE, epoch, number))
        else:
            data = self.letter(epoch, number)
        parts = [random.choice(NAMES), self.spoiled(data, self.letters, 0.5)]
        if random.random() < 0.3:
            parts.append(self.spoiled(json.dumps(random.choice(OPTIONS)).encode(), self.letters, 0.3))
        if random.random() < 0.05:
            parts = [mutated(random, part, self.letters) for part in parts * random.choice([0, 1, 2])]
        return [sender, *parts]

    def take(self, parts: list[bytes]) -> bool:
        sender, *message = parts
        self.gate.take(sender, message)
        if self.gate.order["overload"] == "drop-oldest":
            self.gate.lines.drop_oldest(self.gate.order["in_flight"])
        for _ in range(3):
            self.gate.flush()
            for data in self.gate.down.taken():
                self.goes_down(unpack(data))
            self.pipeline()
        self.gate.answer()
        refused = False
        for to, data in self.gate.door.socket.taken():
            answer = unpack(data)
            refused |= answer.kind in (REFUSED, RESEND)
            assert answer.kind != REFUSED or text_of(answer)
            if to in self.following and answer.number == self.following[to]:
                self.following[to] += 1
        return not refused

    def pipeline(self) -> None:
        """Send outputs back and give credit, as a network would that says anything."""
        classes, size = self.net["target_classes"], self.net["target_size"]
        while self.outputs:
            asked = self.outputs.popleft()
            Y = np.array([[self.chance.random() for _ in range(classes or size)] for _ in asked], np.float32)
            if not classes and self.seq % 2:
                Y = np.concatenate([Y, Y], axis=1)  # means and spreads
            self.gate.lines.hear(Message(OUTPUT, EPOCH, 0, asked, Y))
        self.gate.credited = self.gate.sent
        self.gate.lines.advance()

    def goes_down(self, message: Message) -> None:
        """See that what goes down is what workers can take as it is."""
        if message.kind == NAME:
            assert 0 <= message.number < STREAMS
            return
        assert message.kind == FRAMES
        frames, flags = message.frames, message.frames[:, FLAGS]
        assert 0 < len(frames) <= BLOCK
        assert not (flags & ~(BEGIN | INPUT | SCORED | EMIT | END | NEW | ECHO)).any(), "a flag that nobody knows below"
        assert (flags & (INPUT | SCORED) > 0).all()
        assert ((frames[:, STREAM] >= 0) & (frames[:, STREAM] < STREAMS)).all(), "a stream that does not exist"
        assert (np.diff(frames[:, SEQ]) >= 0).all()
        assert frames[0, SEQ] >= self.seq
        self.seq = int(frames[-1, SEQ])
        inputs, scored = frames[flags & INPUT > 0], frames[flags & SCORED > 0]
        if self.net["classes"]:
            assert ((inputs[:, TOKEN] >= 0) & (inputs[:, TOKEN] < self.net["classes"])).all(), "an unknown token"
        else:
            assert message.vectors.shape == (len(inputs), self.net["input_size"])
        if self.net["target_classes"]:
            assert ((scored[:, TARGET] >= 0) & (scored[:, TARGET] < self.net["target_classes"])).all()
        assert len(message.extra) == len(scored) * self.net["target_size"]
        assert np.isfinite(message.vectors).all(), "an input that is not finite"
        assert np.isfinite(message.extra).all(), "a target that is not finite"
        if len(asked := inputs[inputs[:, FLAGS] & ECHO > 0]):
            self.outputs.append(asked)

    def close(self) -> None:
        """A gate that begins anew from the journal must know what this one knew."""
        self.gate.flush()
        self.gate.journal.close()
        with patch("streamrnn.workers.gate.open_door", Door):
            again: Any = Gate(Member(self.order | {"epoch": EPOCH + 1}))  # type: ignore[arg-type]
        try:
            again.obey({"kind": "open", "rate": 0.1})
            while again.replaying:
                again.replay()
                again.credited = again.sent
            for name in ("seq", "names", "free", "begun", "waiting", "stale", "used"):
                before, after = getattr(self.gate.intake, name), getattr(again.intake, name)
                assert before == after, f"{name} was {before} and is {after} after a failure"
        finally:
            again.journal.close()
            self.folder.cleanup()


EVERY_KEY = """
name = "every-key"
predict = "target"
[input]
kind = "vector"
size = 4
standardize = true
[[layers]]
cell = "gru"
units = 8
output = 3
[readout]
kind = "gaussian"
size = 2
[optimizer]
kind = "rmsprop"
learning_rate = 0.01
decay = 0.9
epsilon = 1e-8
decay_steps = 100
[learning]
window = 8
accumulate = 2
gradient_delay = 1
clip_norm = 1.0
seed = 3
enabled = true
[pipeline]
placement = [1, 1]
max_streams = 4
block = 8
in_flight = 64
overload = "reject"
[source]
kind = "none"
[sockets]
gate = "ipc:///tmp/g"
outputs = "ipc:///tmp/o"
control = "tcp://127.0.0.1:5703"
[state]
folder = "/tmp/state"
keep = 3
checkpoint_seconds = 5.0
checkpoint_frames = 100
[journal]
acknowledge = "written"
largest = 10485760
[outputs]
history = 100000
[supervision]
heartbeat = 1.0
restarts = 2
"""
VALUES = ["nan", "inf", "-inf", "1e400", "-1", "0", "1", "1.5", "true", '""', '"\\u0000"', '"a"', "[]", "{}", "[[]]"]
VALUES += ["2026-01-01", "07:32:00", "9" * 30, "-" + "9" * 5000, "0x10", "[1, 2]", '"tcp://127.0.0.1:0"', '"ipc://"']
VALUES += ['"lstm"', '"tcp://0.0.0.0:80"', "[" * 2000, '{kind = "adam"}', "'''\n\n'''", '"\\U0010FFFF"', "1e-320"]


class Config(Target):
    """`streamrnn.config.parse`, and what is made of a config that it accepts."""

    name, share = "config", 50
    seeds = [path.read_bytes() for path in sorted(CONFIGS.glob("*.toml"))] + [EVERY_KEY.encode()]

    def make(self) -> list[bytes]:
        data = self.random.choice([*self.seeds, self.seeds[-1], self.seeds[-1]])
        if self.random.random() < 0.3:
            return [mutated(self.random, data, self.seeds)]
        lines = data.decode().splitlines()
        for _ in range(self.random.choice([0, 1, 1, 1, 2, 3])):
            self.change(lines)
        return ["\n".join(lines).encode()]

    def change(self, lines: list[str]) -> None:
        """One line."""
        at = self.random.randrange(len(lines))
        key = lines[at].partition("=")[0]
        ways = [[], [lines[at], lines[at]], [self.random.choice(lines)], [f"{key}= {self.random.choice(VALUES)}"]]
        ways += [ways[-1]] * 4 + [[lines[at].replace(key, key[: len(key) // 2])]]
        lines[at : at + 1] = self.random.choice(ways)
        lines[:] = lines or [""]

    def take(self, parts: list[bytes]) -> bool:
        try:
            found = config.parse(parts[0].decode(errors="replace"))
        except config.ConfigError as error:
            return self.refused(str(error))
        config.describe(found)
        numbers = re.findall(r"(?i)\b(?:nan|inf|infinity)\b", str(msgspec.to_builtins(found)))
        assert not numbers, "a number that is not finite"
        assert sum(stage.parameters for stage in config.stages(found)) > 0
        assert math.isfinite(found.rate)
        return True

    @staticmethod
    def refused(reason: str) -> bool:
        assert reason.isprintable(), "an error of more than one line"
        assert len(reason) < 1000
        return False


def signed(data: bytes) -> bytes:
    """A manifest with the checksum that fits it, if it is one."""
    with suppress(msgspec.MsgspecError):
        manifest = msgspec.json.decode(data, type=checkpoint.Manifest)
        return msgspec.json.encode(msgspec.structs.replace(manifest, checksum=checkpoint.checksum_of(manifest)))
    return data


class Checkpoints(Target):
    """Manifest and stage files: `read_manifest`, `read_tensors`, `restore`."""

    name, share = "checkpoint", 20

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self.path = Path(self.folder.name) / "checkpoint"
        net = sr.Network([sr.LSTM(4, 3), sr.GRU(3, 3)], sr.Softmax(4), sr.Adam(0.1), window=4, predict="next")
        for k in range(30):
            net.step(k % 4, "abc"[k % 3])
        net.save(self.path)
        self.net = sr.load(self.path)
        self.files = [checkpoint.MANIFEST, *(checkpoint.stage_file(k) for k in range(3))]
        self.good = [(self.path / name).read_bytes() for name in self.files]
        self.there = list(self.good)

    def make(self) -> list[bytes]:
        files, random = list(self.good), self.random
        kind = random.random()
        if kind < 0.3:
            files[0] = mutated(random, files[0], self.good)
        elif kind < 0.4:
            files[0] = self.other_values(files[0])
        elif kind < 0.5:  # the disk's fault, that its hash tells
            k = random.randrange(1, 4)
            files[k] = mutated(random, files[k], self.good)
        else:
            k = random.randrange(1, 4)
            wrong = self.other_tensors(files[k]) if kind < 0.85 else mutated(random, files[k], self.good)
            files[0] = files[0].replace(sha256(files[k]).hexdigest().encode(), sha256(wrong).hexdigest().encode())
            files[k] = wrong
            files[0] = signed(files[0])
        return files

    def other_values(self, data: bytes) -> bytes:
        """A manifest with another value somewhere."""
        facts = json.loads(data)
        values = [None, -1, 2**70, 1e300, "", "../x", [], {}, [None], {"a": 1}, ["a"], True]
        facts[self.random.choice(sorted(facts))] = self.random.choice(values)
        return signed(json.dumps(facts).encode())

    def other_tensors(self, data: bytes) -> bytes:
        """A stage's file in which a tensor is missing, or of another shape, type or value."""
        random, tensors = self.random, load_tensors(data)
        if random.random() < 0.1:
            types = [b'"F32"', b'"I64"'], [b'"BF16"', b'"F16"', b'"U64"', b'"F64"', b'"BOOL"', b'"XX"', b"5"]
            return data.replace(random.choice(types[0]), random.choice(types[1]))
        for name in random.sample(sorted(tensors), random.choice([1, 1, 2])):
            tensor = tensors.pop(name)
            ways = [None, tensor[:0], tensor.reshape(-1), tensor[None], tensor.astype(np.float64), tensor[:-1]]
            ways += [
                tensor.reshape(-1)[:0].reshape(0, 0),
                np.concatenate([tensor, tensor]),
                tensor.astype(np.int8),
                tensor.astype(bool),
                np.zeros((), "i4"),
            ]
            spoiled = tensor.copy()
            if spoiled.size:
                edges = WORDS if tensor.dtype == np.int64 else FLOATS
                spoiled.reshape(-1)[random.randrange(tensor.size)] = random.choice(edges)
            if (other := random.choice([*ways, *[spoiled] * 10])) is not None:
                tensors[name] = np.ascontiguousarray(other)
        return save_tensors(tensors)

    def take(self, parts: list[bytes]) -> bool:
        for k, (name, data) in enumerate(zip(self.files, parts, strict=True)):
            if data != self.there[k]:
                (self.path / name).write_bytes(data)
                self.there[k] = data
        schedule = self.net._schedule
        with suppress(checkpoint.CheckpointError):
            manifest = checkpoint.read_manifest(self.path)
            checkpoint.verify(self.path, manifest)
            for k in range(3):
                checkpoint.read_tensors(self.path / checkpoint.stage_file(k), manifest)
            checkpoint.restore(self.path, manifest, self.net.stages, 0, schedule)
            self.check(schedule)
            return True
        return False

    @staticmethod
    def check(schedule: Any) -> None:
        """See that no kernel can be led outside its buffers."""
        windows, counters, slots = schedule.streams, schedule.counters, len(schedule.free)
        used = windows[windows[:, SLOT] >= 0, SLOT]
        assert len(set(used.tolist())) == len(used)
        assert (used < slots).all()
        assert counters[FREE] == slots - len(used)
        assert (windows[:, SLOT] >= -1).all()
        assert ((windows[:, WINDOW_FRAMES] >= 0) & (windows[:, WINDOW_FRAMES] <= schedule.config[0])).all()
        assert (windows[:, WINDOW_TARGETS] >= 0).all()
        assert counters[CLOSED] == counters[LEARNED]
        assert counters[CLOSED] >= 0

    def close(self) -> None:
        self.folder.cleanup()


READOUT = {"epoch": EPOCH, "streams": ["a", None, "b"], "max_streams": STREAMS, "history": 50_000, "resume": None}
READOUT |= {"keys": None, "score": False, "block": BLOCK, "in_flight": 4 * BLOCK, "checkpoints": ""}
READOUT |= dict.fromkeys(("outputs", "frames_in", "to_gate"), "")
TOPICS = [b"", b"a\0", b"b\0", b"c\0", b"\xff"]


class Publishing(Target):
    """The publisher: what a readout would send, subscriptions, and questions for the history."""

    name, share = "publisher", 50

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.member = Member(READOUT)
        with patch("streamrnn.workers.publisher.open_door", Door):
            self.publisher: Any = Publisher(self.member)  # type: ignore[arg-type]
        self.publisher.save = lambda number: None
        self.seq = 0
        self.letters = [self.letter() for _ in range(20)]

    def letter(self) -> bytes:
        """Outputs of a few frames."""
        random, flags = self.random, [INPUT | EMIT, INPUT | EMIT | SCORED, INPUT, SCORED, INPUT | EMIT | END]
        chosen = [random.choice(flags) for _ in range(random.choice([1, 2, 5, BLOCK]))]
        frames = rows(chosen, seq=self.seq + np.arange(len(chosen)), stream=[random.choice([0, 2]) for _ in chosen])
        self.seq += len(chosen)
        Y = np.ones((sum(f & (INPUT | EMIT) == INPUT | EMIT for f in chosen), 4), np.float32)
        losses = np.array([0.5 if f & SCORED else np.nan for f in chosen], np.float32)
        return pack(Message(OUTPUT, EPOCH, 0, frames, Y, losses))

    def make(self) -> list[bytes]:
        random, kind = self.random, self.random.random()
        if kind < 0.7:
            name = as_text(random.choice(["a", "preview", "ü"]))
            named = pack(Message(NAME, EPOCH, random.choice([0, 1, 2, 3, -1, 2**62]), extra=name))
            return [b"frames", self.spoiled(random.choice([named] + [self.letter()] * 5), self.letters, 0.7)]
        if kind < 0.9:
            data = random.choice([b"\0", b"\1", b"\1", b"\2", b""]) + random.choice(TOPICS)
            return [b"subscription", self.spoiled(data, self.letters, 0.3)]
        places = [random.choice([-1, 0, self.seq, 2 * self.seq, *WORDS]) for _ in range(2)]
        return [b"history", random.choice("abcü").encode(), *(str(place).encode() for place in places)]

    def take(self, parts: list[bytes]) -> bool:
        what, *data = parts
        if what == b"frames":
            rows, bad = self.publisher.rows, self.publisher.bad
            self.publisher.take(data[0])
            assert rows <= self.publisher.rows <= rows + len(data[0]) // (8 * COLUMNS)
            accepted = bool(self.publisher.bad == bad)
        elif what == b"subscription":
            bad = self.publisher.bad
            self.publisher.hear(data[0])
            accepted = bool(self.publisher.bad == bad)
        else:
            after, before = map(int, data[1:])
            self.publisher.tell(
                {"asker": "", "number": 0, "stream": data[0].decode(), "after": after, "before": before}
            )
            accepted = True
        self.published()
        return accepted

    def published(self) -> None:
        """See that what goes out holds together, and can be said in JSON."""
        for topic, data in self.publisher.door.socket.taken():
            message = unpack(data)
            if message.kind == OUTPUT:
                assert topic.endswith(b"\0")
                assert len(message.frames) == len(message.extra)
        for kind, data, facts in self.member.reports:
            assert kind == "history"
            msgspec.json.encode(facts)
            for part in data:
                assert len(unpack(part).frames)
        self.member.reports.clear()
        assert self.publisher.history.nbytes <= self.publisher.history.most
        msgspec.json.encode(self.publisher.facts())


QUESTIONS = [
    b'{"ask": "hello"}',
    b'{"ask": "status"}',
    b'{"ask": "history", "stream": "a"}',
    b'{"ask": "history", "stream": "\\u00fc", "after": 5, "before": 1000}',
    b'{"ask": "history", "stream": "a", "after": -1, "before": 0}',
    b'{"ask": "shutdown"}',
    b'["ask"]',
    b'{"ask": {"ask": "hello"}}',
    b'{"ask": "hello", "x": ' + b"[" * 5000 + b"}",
    b'{"ask": "history", "stream": "\xff"}',
]


class Control(Target):
    """The supervisor's answers to whoever asks, each of which must go out as JSON."""

    name, share = "control", 50

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        text = EVERY_KEY.replace("/tmp/", f"{self.folder.name}/")
        self.supervisor: Any = Supervisor(config.parse(text))
        self.supervisor.inner, self.supervisor.door = Socket(), Door()

    def make(self) -> list[bytes]:
        parts = [self.spoiled(self.random.choice(QUESTIONS), QUESTIONS, 0.7)]
        return parts * self.random.choice([1] * 30 + [0, 2])

    def take(self, parts: list[bytes]) -> bool:
        refused = self.supervisor.refused
        answer = self.supervisor.answer(b"\0me", parts)
        orders = [json.loads(order) for _, order in self.supervisor.inner.taken()]
        assert (answer is None) == (len(orders) == 1)
        if answer is not None:
            assert len(msgspec.json.encode(answer)) < 10_000
            assert ("error" in answer) == (self.supervisor.refused == refused + 1)
        return answer is None or "error" not in answer

    def close(self) -> None:
        self.supervisor.inner = None
        self.supervisor.close()
        self.folder.cleanup()


TARGETS: list[type[Target]] = [Decoder, Receiver, Clients, Config, Checkpoints, Publishing, Control]
