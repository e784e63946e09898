"""A network: layers in sequence, a readout, an optimiser, and streams by name that learn together."""

from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

from streamrnn import chain, checkpoint
from streamrnn.buffers import OPTIMIZER, Sizes, table_of
from streamrnn.feedback import Drawing, Last, Shape, Unrolling, Value
from streamrnn.frames import BEGIN, COLUMNS, ECHO, EMIT, END, FLAGS, INPUT, SCORED, STREAM
from streamrnn.inputs import as_token, put_vector
from streamrnn.jit import link
from streamrnn.layers import GRU, LSTM, RNN, Layer
from streamrnn.optimizers import RATE, SGD, Adagrad, Adam, Optimizer, RMSprop
from streamrnn.readouts import Gaussian, Linear, Readout, Softmax
from streamrnn.schedule import Schedule, most_closed, new_schedule
from streamrnn.verbs import Verbs

CELLS = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU}
READOUTS = {"Softmax": Softmax, "Linear": Linear, "Gaussian": Gaussian}
OPTIMIZERS = {"SGD": SGD, "RMSprop": RMSprop, "Adagrad": Adagrad, "Adam": Adam}
BLOCK = 64  # frames of a sequence that are processed together
OWN_STREAM = "~"  # where sequences run that name no stream
SETTINGS = ("window", "accumulate", "gradient_delay", "clip_norm", "seed", "predict", "standardize")


class Network(Verbs):
    """Layers in sequence with a readout; predicts on every frame and learns by truncated BPTT.

    window          frames of one stream that a gradient flows back through
    accumulate      windows whose gradients make one update
    gradient_delay  an update waits for that many further groups of windows: layers in a pipeline need not wait
    clip_norm       largest norm of each layer's gradient, None or 0 for no limit
    seed            of the weights of every layer, which start anew here
    predict         "target": targets come with `learn`; "next": a stream's next input is the target of this frame
    standardize     vectors are standardised online, each channel of each stream for itself

    Raises ValueError where sizes do not fit each other.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        readout: Readout,
        optimizer: Optimizer,
        *,
        window: int = 16,
        accumulate: int = 1,
        gradient_delay: int = 0,
        clip_norm: float | None = 1.0,
        seed: int = 0,
        predict: str = "target",
        standardize: bool = False,
    ) -> None:
        link()
        self.layers, self.readout, self.optimizer = list(layers), readout, optimizer
        self.window, self.accumulate, self.gradient_delay = window, accumulate, gradient_delay
        self.clip_norm, self.seed, self.predict, self.standardize = clip_norm, seed, predict, standardize
        self._rate = optimizer.learning_rate
        self._check()
        for number, layer in enumerate(self.layers):
            layer.initialize(np.random.default_rng([seed, number]))
        readout.build(self.layers[-1].output_size, np.random.default_rng([seed, len(self.layers)]))
        self.input_size = self.layers[0].input_size
        self._schedule: Schedule
        self.names: dict[str, int] = {}
        self._used = 0  # numbers given to streams
        self._fresh: set[int] = set()  # streams whose next frame begins a sequence
        self._losses: dict[int, float] = {}
        self._last: dict[int, Last] = {}  # what can be fed back
        self._tokens = True  # whether inputs are tokens
        self._rng = np.random.default_rng(seed)
        self._x = np.zeros((1, self.input_size), np.float32)
        self._target = np.zeros((1, self.readout.size), np.float32)
        self._allocate(1)

    def _check(self) -> None:
        if not self.layers:
            raise ValueError("a network needs at least one layer")
        if len({id(layer) for layer in self.layers}) < len(self.layers):
            raise ValueError("the same layer object is given twice; make one for each place")
        for below, above in zip(self.layers, self.layers[1:], strict=False):
            if above.input_size != below.output_size:
                raise ValueError(f"{above} cannot follow {below}: it takes {above.input_size} inputs")
        for name, value, least in (
            ("window", self.window, 1),
            ("accumulate", self.accumulate, 1),
            ("gradient_delay", self.gradient_delay, 0),
        ):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be an int of at least {least}, not {value!r}")
        if self.clip_norm is not None and not self.clip_norm >= 0:
            raise ValueError(f"clip_norm must not be negative, and is {self.clip_norm!r}; None or 0 is no limit")
        if self.predict not in ("next", "target"):
            raise ValueError(f'predict must be "next" or "target", not {self.predict!r}')
        if self.predict == "next" and self.readout.size != self.layers[0].input_size:
            raise ValueError(f"{self.readout} cannot predict the next of {self.layers[0].input_size} inputs")

    @property
    def learning_rate(self) -> float:
        """Of every update from here on, before decay; 0 leaves the parameters as they are. Raises ValueError."""
        return self._rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        if not (isfinite(rate) and rate >= 0):
            raise ValueError(f"learning_rate must be a number of at least 0, not {rate!r}")
        self._rate = float(rate)
        for owner in self.stages:
            owner.stage.hyper[RATE] = self._rate

    @property
    def stages(self) -> list[Layer | Readout]:
        """The layers, then the readout."""
        return [*self.layers, self.readout]

    def allocate(self, first: int, last: int, sizes: Sizes) -> tuple:
        """Make buffers of those sizes for stages[first:last], and return them for `streamrnn.chain`."""
        part = self.stages[first:last]
        for number, owner in enumerate(part, first):
            ends = number in (0, len(self.layers))
            owner.allocate(sizes, self.optimizer.moments, self.standardize and ends, needs_dx=number > 0)
            owner.stage.config[OPTIMIZER] = self.optimizer.kind
            owner.stage.hyper[:] = self.optimizer.hyper(self.clip_norm)
            owner.stage.hyper[RATE] = self._rate
        return tuple(owner.stage for owner in part)

    def _allocate(self, streams: int) -> None:
        """Make room for that many streams, keeping what there is."""
        sizes = self.sizes(streams, block=BLOCK)
        kept = checkpoint.take(self.stages, self._schedule, self._used) if self._used else None
        self._stages = table_of(self.allocate(0, len(self.stages), sizes))
        self._schedule = new_schedule(sizes, self.accumulate, self.gradient_delay)
        self._capacity = streams
        if kept:
            checkpoint.put(kept, self.stages, self._schedule)
        self._frames = np.zeros((BLOCK, COLUMNS), np.int64)
        self._loss = np.zeros(BLOCK, np.float64)
        self._y = np.zeros((BLOCK, self.readout.output_size), np.float32)
        desk = chain.Desk(self._schedule, self._frames, self._x, self._target, self._loss, self._y)
        self._desks = chain.table_of_desk([desk])

    def sizes(self, streams: int, block: int, versions: int = 0) -> Sizes:
        """The sizes of buffers that a number of streams and of frames processed together ask for."""
        slots = streams + most_closed(self.accumulate, self.gradient_delay)
        return Sizes(streams, self.window, slots, block, self.gradient_delay + 1, versions)

    def step(self, x: Any, stream: str = "", *, begin: bool = False, end: bool = False) -> np.ndarray:
        """One frame, a vector (I,) or an int token, to an output (K,). None feeds back what the frame before said.

        begin: forget the stream's state before this frame; end: its sequence ends with this frame.
        With predict="next", x is first the target of the stream's frame before: that frame is scored and learned from.
        Raises ValueError if x does not fit; nothing has changed then.
        """
        return self._run(x, x if self.predict == "next" else None, stream, begin, end)

    def learn(self, x: Any, target: Any, stream: str = "", *, begin: bool = False, end: bool = False) -> float:
        """One frame and its target; returns the loss in nats, scored before anything is learned from it.

        x, begin and end are those of `step`; where the frame before had a target, None feeds that back.
        Raises ValueError if x or target does not fit, or the network predicts its next input; nothing has changed then.
        """
        if self.predict == "next":
            raise ValueError('this network has predict="next": its targets are its next inputs, call step')
        if target is None:
            raise ValueError("learn needs a target; step takes a frame without one")
        self._run(x, target, stream, begin, end)
        return self.loss(stream)

    def reset(self, stream: str = "") -> None:
        """The stream's next frame begins a new sequence: its state is forgotten before it."""
        self._fresh.add(self._stream(stream))

    def loss(self, stream: str = "") -> float:
        """The loss scored last on that stream in nats, NaN before the first."""
        return self._losses.get(self.names.get(stream, -1), nan)

    def _stream(self, name: str) -> int:
        if not isinstance(name, str):
            raise ValueError(f"a stream's name is a str, not {type(name).__name__}")
        number = self.names.get(name)
        if number is None:
            number = self._used
            if number == self._capacity:
                self._allocate(2 * self._capacity)
            self._used += 1
            self.names[name] = number
            self._fresh.add(number)
        return number

    def _run(self, x: Any, target: Any, stream: str, begin: bool, end: bool) -> np.ndarray:
        if x is None:
            x = self._fed_back(stream, begin)
        token = as_token(x, self.input_size)
        if token < 0:
            put_vector(x, self._x[0])
        answer = self._put_target(target) if target is not None else -1
        scored = target is not None and self.predict == "target"
        number = self._stream(stream)
        begin = begin or number in self._fresh
        before = target is not None and not scored and not begin
        flags = INPUT | EMIT | begin * BEGIN | end * END | scored * SCORED
        chain.step(self._stages, self._desks, number, flags, token, before, answer)
        if scored or before:
            self._losses[number] = self._loss.item(0)
        y = self._y[0].copy()
        value = None if not scored else answer if answer >= 0 else self._target[0].copy()
        self._remember(number, Last(value, y.copy()), token >= 0, end)
        return y

    def _remember(self, number: int, last: Last, tokens: bool, end: bool) -> None:
        if end:
            self._last.pop(number, None)
            self._fresh.add(number)
        else:
            self._last[number], self._tokens = last, tokens
            self._fresh.discard(number)

    def _fed_back(self, stream: str, begin: bool) -> int | np.ndarray:
        number = self.names.get(stream, -1)
        if begin or number in self._fresh or number not in self._last:
            raise ValueError("there is nothing to feed back: the frame before is unknown, or of another sequence")
        last, shape = self._last[number], self._shape(self._tokens)
        shape.check()
        assert last.y is not None
        return shape.feed(shape.read(last.y, Drawing(), self._rng) if last.value is None else last.value)

    def _shape(self, tokens: bool) -> Shape:
        return Shape(self.input_size, self.readout.size, tokens, isinstance(self.readout, Softmax))

    def _perform(
        self, stream: str | None, frames: np.ndarray, X: np.ndarray, targets: np.ndarray, drawing: Drawing, wait: bool
    ) -> tuple[list[Value], np.ndarray, float | None]:
        tokens = X.shape[1] == 0
        sequence = Unrolling(self._shape(tokens), frames, X, targets, drawing, Last())
        number = self._stream(OWN_STREAM if stream is None else stream)
        heard: list[np.ndarray] = []
        losses: list[float] = []
        while part := sequence.due(BLOCK):
            Y, scored = self._pass(number, *part)
            losses += scored
            echoed = Y[part[0][:, FLAGS] & ECHO > 0]
            heard += list(echoed)
            for y in echoed:
                sequence.hear(y)
        self._remember(number, sequence.last, tokens, bool(frames[-1, FLAGS] & END))
        if losses:
            self._losses[number] = losses[-1]
        return sequence.written, np.array(heard), float(np.mean(losses)) if losses else None

    def _pass(
        self, number: int, frames: np.ndarray, X: np.ndarray, targets: np.ndarray
    ) -> tuple[np.ndarray, list[float]]:
        """Take frames of one stream, each with an input, through the network: outputs (n, K) and losses."""
        count, scored = len(frames), frames[:, FLAGS] & SCORED > 0
        self._frames[:count] = frames
        self._frames[:count, STREAM] = number
        targets = targets[scored] if targets.shape[1] else self._target[:0]
        x = np.array(X) if X.shape[1] else self._x[:0]  # standardisation changes it in place
        chain.run(self._stages, self._schedule, self._frames[:count], x, targets, self._loss, self._y)
        return self._y[:count].copy(), self._loss[:count][scored].tolist()

    def _put_target(self, target: Any) -> int:
        """A target's token, or -1 and the vector in its place."""
        if isinstance(self.readout, Softmax):
            token = as_token(target, self.readout.size)
            if token < 0:
                raise ValueError(f"the target of {self.readout} is an int, not {type(target).__name__}")
            return token
        put_vector(target, self._target[0])
        return -1

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs to make the same network anew, in plain values."""
        layers = [
            {
                "cell": type(layer).__name__,
                "input_size": layer.input_size,
                "hidden_size": layer.hidden_size,
                "output_size": layer.output_size if layer.own_output else None,
            }
            for layer in self.layers
        ]
        return {
            "layers": layers,
            "readout": {"kind": type(self.readout).__name__, "size": self.readout.size},
            "optimizer": {"kind": type(self.optimizer).__name__, **asdict(self.optimizer)},
            **{name: getattr(self, name) for name in SETTINGS},
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> "Network":
        """The network that a `spec` describes, with fresh weights. Raises ValueError or KeyError if it is no spec."""
        made = [
            CELLS[layer["cell"]](layer["input_size"], layer["hidden_size"], layer["output_size"])
            for layer in spec["layers"]
        ]
        readout = READOUTS[spec["readout"]["kind"]](spec["readout"]["size"])
        optimizer = dict(spec["optimizer"])
        settings = {name: spec[name] for name in SETTINGS}
        return cls(made, readout, OPTIMIZERS[optimizer.pop("kind")](**optimizer), **settings)

    def parameters_sha256(self) -> str:
        """Over every stage's parameter buffer in order."""
        digest = sha256()
        for owner in self.stages:
            digest.update(owner.parameters.flat.tobytes())
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write everything to a folder, which is there whole or not at all: parameters, optimiser, streams, tapes."""
        checkpoint.save(self, Path(path))


def load(path: str | Path) -> Network:
    """The network that `Network.save` or a daemon's checkpoint wrote; it goes on as if it had never stopped.

    Raises CheckpointError if the folder is missing, unreadable or damaged.
    """
    return checkpoint.load(Path(path))
