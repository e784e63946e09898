"""Networks and frames that go through the kernels of the CPU, and through a device: every number must be the same.

`python device_cases.py FOLDER SEED NAME ...` takes cases through a simulated device, and writes what comes of each, and
with what types of arguments each kernel was launched.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

if __name__ == "__main__":
    import simulator

    simulator.start(int(sys.argv[2]))

import streamrnn as sr
from streamrnn.kernels import chain
from streamrnn.kernels.buffers import HIDDEN, INPUTS, KIND, OUTPUTS, READOUT, WINDOW, table_of
from streamrnn.kernels.columns import APPLIED, CLOSED, DUE, FRAMES, LEARNED, SLOT
from streamrnn.kernels.frames import (
    BEGIN,
    COLUMNS,
    DISMISS,
    EMIT,
    END,
    FLAGS,
    INPUT,
    NEW,
    SCORED,
    STREAM,
    TARGET,
    TIME,
    TIMED,
    TOKEN,
)
from streamrnn.kernels.schedule import new_schedule
from streamrnn.model.layers import CELLS

NOTHING = np.zeros((0, 0), np.float32)
SCRATCH = "plan", "where", "tape", "tokens"  # of tapes and tokens what is of windows that are open counts
KEPT = "params", "grads", "moments", "counters", "versions", "state", "stats", "experts"
DENSE = {INPUT | SCORED: 0.6, INPUT: 0.25, SCORED: 0.15}  # the usual flags of frames, and how often they come
SPARSE = {INPUT | SCORED: 0.03, INPUT: 0.9, SCORED: 0.07}
MARKS = {0: 0.8, BEGIN: 0.07, BEGIN | NEW: 0.05, END: 0.08}  # what some have besides


class Case(NamedTuple):
    """A network, and frames of several streams in any order."""

    layers: str  # cells with their units, and after a slash outputs of their own: "LSTM 5/3 GRU 4"
    readout: sr.Softmax | sr.Linear | sr.Gaussian | sr.Forecast
    optimizer: Any
    inputs: int = 3
    tokens: str = ""  # inputs are "tokens", vectors, or "both": tokens in every other block
    streams: int = 1
    frames: int = 40
    block: int = 16
    usual: dict = DENSE
    missing: float = 0.0  # how much of a vector is
    far: float = 1.0  # by what a tenth of the targets is multiplied
    parts: int = 0  # stages that are a part of their own, and learn as late as updates let them
    learns: bool = True  # else its learning rate is 0
    moves: bool = False  # the second half of the frames is for the device, the first is not
    settings: Mapping = MappingProxyType({})  # of the network

    def network(self) -> sr.Network:
        words, below, layers = self.layers.split(), 0, []
        for cell, size in zip(words[::2], words[1::2], strict=True):
            units, _, own = size.partition("/")
            layers.append(CELLS[cell](below or self.width, int(units), int(own) if own else None))
            below = int(own or units)
        net = sr.Network(layers, self.readout, self.optimizer, **{"window": 4, **self.settings})
        net.learning_rate *= self.learns
        return net

    @property
    def width(self) -> int:
        """Numbers that the first layer sees."""
        beside = 2 * len(self.settings.get("calendar", ())) + self.settings.get("elapsed", False)
        return self.inputs * (2 if self.settings.get("mask") else 1) + beside


class Given(NamedTuple):
    """Frames, and the vectors of their inputs and targets, or none."""

    frames: np.ndarray
    X: np.ndarray
    targets: np.ndarray

    @classmethod
    def draw(cls, case: Case, count: int, tokens: bool, rng: np.random.Generator) -> "Given":
        frames, readout = np.zeros((count, COLUMNS), np.int64), case.readout
        timed = bool(case.settings.get("calendar") or case.settings.get("elapsed"))
        for k, frame in enumerate(frames):
            flags = int(rng.choice([*case.usual], p=[*case.usual.values()]))
            mark = int(rng.choice([*MARKS], p=[*MARKS.values()]))
            if flags & INPUT or mark == END:
                flags |= mark
            if getattr(readout, "options", {}).get("anomaly") and rng.random() < 0.05:
                flags = DISMISS
            if flags & INPUT:
                flags |= EMIT | (timed and rng.random() < 0.8) * TIMED
            frame[STREAM], frame[FLAGS] = rng.integers(case.streams), flags
            frame[TOKEN] = rng.integers(case.inputs) if tokens else -1
            frame[TARGET] = rng.integers(readout.size) if readout.classes or flags == DISMISS else -1
            frame[TIME] = (10**6 * k + rng.integers(10**5)) * 10**9
        inputs, scored = (int((frames[:, FLAGS] & flag > 0).sum()) for flag in (INPUT, SCORED))
        X = cls.vectors(0 if tokens else inputs, case.inputs, case.missing, rng)
        targets = cls.vectors(0 if readout.classes else scored, readout.size, case.missing, rng)
        targets[rng.random(len(targets)) < 0.1] *= case.far
        return cls(frames, X, targets)

    @staticmethod
    def vectors(count: int, size: int, missing: float, rng: np.random.Generator) -> np.ndarray:
        """Numbers of several sizes; a few vectors are missing as a whole."""
        x = rng.normal(size=(count, size)) * rng.lognormal(0, 1, (count, 1)) + 3
        x[rng.random(x.shape) < missing] = np.nan
        x[rng.random(count) < missing / 4] = np.nan
        return x


class Kernels:
    """The kernels of the CPU, with the methods of `streamrnn.cuda.chain.Chain`."""

    def __init__(self, hosts: Any, schedule: Any, *sizes: int) -> None:
        self.hosts, self.schedule, self.table = hosts, schedule, table_of(hosts)

    def run(self, *given: Any) -> None:
        chain.run(self.table, self.schedule, *given)

    def advance(self, *given: Any) -> Any:
        return chain.advance(self.table, self.schedule, *given)

    def score(self, *given: Any) -> Any:
        return chain.score(self.table, self.schedule, *given)

    def outputs(self, count: int) -> np.ndarray:
        last = self.hosts[-1]
        if len(last.presented):
            return last.presented.view(np.float32).reshape(-1, 2 * last.output.shape[1])[:count]
        return last.output[:count]

    def learn(self, count: int, dY: np.ndarray = NOTHING) -> Any:
        at = 0
        for _ in range(count):
            frames = chain.learn(self.table, self.schedule, dY[at:])
            at += frames
            yield self.hosts[0].dx[:frames]

    def settle(self) -> bool:
        return bool(chain.settle(self.table, self.schedule))

    def bring_back(self) -> None:
        """They are where they are."""

    take_over = bring_back


class Pipeline:
    """Two parts, each with its schedule; the first learns when it must, the second at once."""

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second
        self.gradients: list[np.ndarray] = []  # of windows that the first has yet to learn from

    def run(self, frames: Any, vectors: Any, targets: Any, losses: Any, Y: Any) -> None:
        first, second = self.first, self.second
        start, inputs, met = 0, 0, 0
        chain.mark_gaps(frames, targets)
        behind = frames.copy()
        behind[:, TOKEN] = -1  # the inputs of the second part are vectors
        while start < len(frames):
            end, count = first.advance(frames, start, NOTHING, vectors[inputs:])
            between = np.array(first.outputs(count))
            assert second.advance(behind, start, between, np.zeros((0, 0))) == (end, count)
            met += second.score(frames[start:end], targets[met:], losses[start:end])
            Y[inputs : inputs + count] = second.outputs(count)
            counters = second.schedule.counters
            for dx in second.learn(int(counters[CLOSED] - counters[LEARNED])):
                self.gradients += np.split(dx.copy(), len(dx))
            assert second.settle()
            while not first.settle():
                self.learn(1)
            inputs, start = inputs + count, end

    def learn(self, windows: int) -> None:
        """With gradients that are there as frames, of the next windows."""
        t = self.first.schedule
        numbers = t.counters[LEARNED] + np.arange(windows)
        frames = int(t.queue[numbers % len(t.queue), FRAMES].sum())
        dY = np.concatenate([*self.gradients[:frames], np.zeros((0, self.second.width), np.float32)])
        del self.gradients[:frames]
        for _ in self.first.learn(windows, dY):
            pass


def result(case: Case, make: Any, halfway: dict | None = None) -> dict[str, np.ndarray]:
    """Everything that there is after the frames of a case.

    make(hosts, schedule, size, targets, losses): kernels at work; halfway: what there was after half of the frames, if
    only the second half is to be taken.
    """
    net, readout, rng = case.network(), case.readout, np.random.default_rng(1)
    split = case.parts
    versions = net.gradient_delay if split else 0
    bounds = [(0, split), (split, len(net.stages))] if split else [(0, len(net.stages))]
    hosts = [
        net.allocate(*part, net.sizes(case.streams, case.block, versions if part[0] == 0 else 0)) for part in bounds
    ]
    sizes = net.sizes(case.streams, case.block)
    schedules = [new_schedule(sizes, net.accumulate, net.gradient_delay) for _ in bounds]
    shape = net.input_size, 0 if readout.classes else readout.size, readout.loss_size
    parts = [make(*part, *shape) for part in zip(hosts, schedules, strict=True)]
    if split:
        parts[1].width = hosts[0][-1].output.shape[1]
    whole = Pipeline(*parts) if split else parts[0]
    kept = {f"{p} {name}": array for p, t in enumerate(schedules) for name, array in t._asdict().items()}
    for k, host in enumerate(each for part in hosts for each in part):
        kept |= {f"stage {k} {name}": getattr(host, name) for name in (*KEPT, "tape", "tokens")}
    said: dict[str, list] = {"Y": [], "losses": []}
    half = case.frames // case.block // 2
    before: dict[str, np.ndarray] = {}
    for number, start in enumerate(range(0, case.frames, case.block)):
        count = min(case.block, case.frames - start)
        tokens = case.tokens == "tokens" or (case.tokens == "both" and number % 2 == 0)
        given = Given.draw(case, count, tokens, rng)
        if case.moves and number == half:
            before = {f"half {name}": array.copy() for name, array in kept.items()}
            if halfway:
                for name, array in kept.items():
                    array[...] = halfway[f"half {name}"]
                parts[0].take_over()
        if halfway and number < half:
            continue
        dtype = np.float32 if readout.classes else np.float64
        Y, losses = np.zeros((count, readout.output_size), dtype), np.zeros((count, readout.loss_size))
        whole.run(given.frames, given.X, given.targets, losses, Y.view(np.float32))
        said["Y"].append(Y)
        said["losses"].append(losses)
    if split:
        counters = schedules[0].counters
        whole.learn(int(counters[CLOSED] - counters[LEARNED]))
    for part in parts:
        part.bring_back()
    found = {name: np.concatenate(arrays[-1:] if case.moves else arrays) for name, arrays in said.items()}
    found |= {name: array.copy() for name, array in kept.items() if not name.endswith(SCRATCH)}
    for part, t in zip(hosts, schedules, strict=True):
        for k, host in enumerate(part):
            found |= {f"{len(found)} {k} {name}": array for name, array in open_windows(host, t)}
    return found if halfway else found | before


def open_windows(host: Any, t: Any) -> Any:
    """What the tapes of a stage hold of the windows that are open."""
    I, H, O, W = host.config[[INPUTS, HIDDEN, OUTPUTS, WINDOW]]
    for stream in np.flatnonzero(t.streams[:, SLOT] >= 0):
        frames, slot = t.streams[stream, FRAMES], t.streams[stream, SLOT]
        row = host.tape[slot]
        if host.config[KIND] < READOUT:
            at = W * I + (W + 1) * H
            widths = [(I, 0, frames), (H, W * I, frames + 1), ((len(row) - at) // W, at, frames)]
            yield f"tokens {stream}", host.tokens[slot, :frames].copy()
        elif len(host.settings):
            widths = [(I, 0, frames)]
        else:
            widths = [(I, 0, frames), (O, W * I, frames), (O, W * (I + O), frames)]
        for number, (width, start, count) in enumerate(widths):
            yield f"tape {stream} {number}", row[start : start + count * width].copy()


def counts(found: dict[str, np.ndarray]) -> dict[str, int]:
    """What a case has come to: windows closed, updates applied, updates left out."""
    counters = [array for name, array in found.items() if name.startswith("stage") and name.endswith("counters")]
    closed, applied = found["0 counters"][[CLOSED, APPLIED]].tolist()
    assert not found["0 counters"][DUE]
    return {"closed": closed, "applied": applied, "skipped": int(sum(array[1] for array in counters))}


FORECAST = {"lags": 5, "seasons": [3, 4], "horizons": [1, 3], "others": True, "band": 0.8}
WATCHED = {"lags": 3, "anomaly": {"day": 24, "threshold": 0.5, "normal": 100}}
FILL = {"standardize": True, "missing": "fill"}

ADAM, MOMENTUM = sr.Adam(0.01), sr.SGD(0.1, momentum=0.9)
RMSPROP, ADAGRAD = sr.RMSprop(0.01, decay_steps=5), sr.Adagrad(0.05)

QUICK = {
    "tokens of one stream": Case("LSTM 5", sr.Softmax(3), ADAM, tokens="tokens"),
    "vectors of several": Case(
        "GRU 5/2 Peephole 3", sr.Linear(2), MOMENTUM, streams=3, settings={"gradient_delay": 1, "standardize": True}
    ),
    "three layers": Case(
        "RNN 4 Coupled 5 LSTM 3", sr.Gaussian(2), RMSPROP, streams=4, settings={"accumulate": 2, "clip_norm": 0.1}
    ),
    "few targets": Case("Coupled 5", sr.Softmax(4), ADAGRAD, tokens="both", streams=3, usual=SPARSE, frames=96),
    "experts": Case("GRU 4", sr.Forecast(2, **FORECAST), ADAM, streams=2, missing=0.2, settings=FILL | {"mask": True}),
    "a pipeline": Case(
        "LSTM 4 RNN 3", sr.Linear(2), ADAM, streams=2, parts=1, settings={"gradient_delay": 1, "accumulate": 2}
    ),
}
LONG = {
    "tokens and vectors in one window": Case(
        "Peephole 5/3", sr.Softmax(3), MOMENTUM, tokens="both", block=3, streams=2, frames=60, settings={"window": 6}
    ),
    "a wide layer": Case(
        "LSTM 70", sr.Softmax(67), RMSPROP, inputs=67, tokens="tokens", streams=9, settings={"gradient_delay": 2}
    ),
    "a wide layer of one stream": Case("GRU 65", sr.Linear(17), ADAGRAD, inputs=33, frames=32),
    "many streams": Case("Coupled 9/18 GRU 17", sr.Gaussian(3), ADAM, streams=20, frames=120, block=60),
    "a window of one frame": Case(
        "RNN 5 Peephole 4",
        sr.Gaussian(2),
        ADAM,
        streams=2,
        settings={"window": 1, "accumulate": 3, "gradient_delay": 1},
    ),
    "frames one by one": Case(
        "LSTM 5 GRU 4", sr.Linear(3), RMSPROP, streams=2, block=1, settings={"standardize": True}
    ),
    "few targets of vectors": Case(
        "LSTM 4 Peephole 5",
        sr.Linear(2),
        MOMENTUM,
        streams=3,
        usual=SPARSE,
        frames=192,
        block=64,
        settings={"window": 5},
    ),
    "few targets of one stream": Case("GRU 4/3 RNN 5", sr.Gaussian(2), ADAM, usual=SPARSE, frames=96, block=48),
    "missing readings": Case(
        "Peephole 4 Coupled 5", sr.Gaussian(2), ADAGRAD, streams=3, missing=0.4, settings=FILL | {"gradient_delay": 2}
    ),
    "missing readings that are seen": Case(
        "RNN 4/2", sr.Linear(3), ADAM, streams=2, missing=0.4, settings=FILL | {"mask": True, "accumulate": 2}
    ),
    "times": Case(
        "Coupled 4 LSTM 3",
        sr.Linear(2),
        MOMENTUM,
        streams=2,
        settings={"standardize": True, "calendar": ["day", "week"], "elapsed": True},
    ),
    "times of missing readings": Case(
        "GRU 4",
        sr.Gaussian(2),
        RMSPROP,
        missing=0.3,
        usual=SPARSE,
        settings=FILL | {"mask": True, "calendar": ["hour", "year"], "elapsed": True, "gradient_delay": 1},
    ),
    "detectors": Case(
        "LSTM 4 RNN 3", sr.Forecast(2, **WATCHED), ADAGRAD, frames=240, block=60, settings={"standardize": True}
    ),
    "detectors of missing readings": Case(
        "Coupled 4",
        sr.Forecast(3, **FORECAST | WATCHED),
        MOMENTUM,
        streams=3,
        missing=0.3,
        frames=160,
        settings=FILL | {"gradient_delay": 1, "elapsed": True},
    ),
    "forecasts without learning": Case(
        "Peephole 3", sr.Forecast(2, **FORECAST), ADAM, streams=2, learns=False, settings={"standardize": True}
    ),
    "long gradients": Case("LSTM 5", sr.Linear(2), ADAM, streams=2, far=1e25, frames=80),
    "gradients left out": Case(
        "GRU 5/3", sr.Linear(2), RMSPROP, streams=2, far=1e25, frames=80, settings={"clip_norm": None}
    ),
    "a pipeline that waits long": Case(
        "Coupled 4/2 GRU 3 Peephole 5",
        sr.Softmax(3),
        MOMENTUM,
        tokens="tokens",
        streams=3,
        parts=2,
        frames=96,
        settings={"gradient_delay": 2},
    ),
    "a pipeline of few targets": Case(
        "Peephole 4 LSTM 3",
        sr.Gaussian(2),
        RMSPROP,
        streams=2,
        parts=1,
        usual=SPARSE,
        frames=192,
        settings={"gradient_delay": 1, "accumulate": 2, "standardize": True},
    ),
    "a readout of its own": Case(
        "RNN 5", sr.Forecast(2), ADAM, streams=2, parts=1, settings={"gradient_delay": 1, "standardize": True}
    ),
    "from the CPU to a device": Case(
        "LSTM 4 GRU 3", sr.Linear(2), ADAM, streams=3, frames=64, moves=True, settings={"window": 7, "accumulate": 3}
    ),
    "tokens from the CPU to a device": Case(
        "Peephole 4",
        sr.Softmax(3),
        ADAGRAD,
        tokens="both",
        streams=3,
        frames=60,
        block=10,
        moves=True,
        settings={"window": 9, "gradient_delay": 2},
    ),
    "experts from the CPU to a device": Case(
        "Coupled 4", sr.Forecast(2, **WATCHED), MOMENTUM, frames=64, missing=0.2, moves=True, settings=FILL
    ),
}
CASES = QUICK | LONG


def main(folder: Path, names: list[str]) -> None:
    from streamrnn.cuda.chain import Chain

    for name in names:
        halfway = dict(np.load(folder / f"{name}.npz")) if CASES[name].moves else None
        np.savez(folder / f"{name} simulated.npz", **result(CASES[name], Chain, halfway))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[3:])
    launched = {name: sorted(types, key=str) for name, types in simulator.LAUNCHED.items()}
    Path(sys.argv[1], "launched.json").write_text(json.dumps(launched))
