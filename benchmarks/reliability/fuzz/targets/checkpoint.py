"""What reads a checkpoint."""

import json
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

import streamrnn as sr
from benchmarks.reliability.fuzz.mutate import FLOATS, WORDS, mutated
from benchmarks.reliability.fuzz.targets.target import Target
from streamrnn.kernels.columns import CLOSED, FREE, LEARNED, SLOT
from streamrnn.kernels.columns import FRAMES as WINDOW_FRAMES
from streamrnn.kernels.columns import TARGETS as WINDOW_TARGETS
from streamrnn.storage import checkpoint
from streamrnn.storage.manifest import MANIFEST, CheckpointError, Manifest, checksum_of, read_manifest


def signed(data: bytes) -> bytes:
    """A manifest with the checksum that fits it, if it is one."""
    with suppress(msgspec.MsgspecError):
        manifest = msgspec.json.decode(data, type=Manifest)
        return msgspec.json.encode(msgspec.structs.replace(manifest, checksum=checksum_of(manifest)))
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
        self.files = [MANIFEST, *(checkpoint.stage_file(k) for k in range(3))]
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
        with suppress(CheckpointError):
            manifest = read_manifest(self.path)
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
