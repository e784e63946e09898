"""A network: layers in sequence, a readout, an optimiser, and streams by name that learn together."""

from collections.abc import Sequence
from hashlib import sha256
from math import isfinite, nan
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from safetensors.numpy import save as save_bytes

from streamrnn.cuda import device as devices
from streamrnn.kernels.buffers import OPTIMIZER, Sizes
from streamrnn.kernels.chain import FrameBuffers
from streamrnn.kernels.frames import BEGIN, COLUMNS, ECHO, EMIT, END, FLAGS, GAP, INPUT, SCORED, STREAM, TIMED
from streamrnn.kernels.jit import link
from streamrnn.kernels.optimizers import RATE
from streamrnn.kernels.readouts import CHANNELS, LOSS
from streamrnn.kernels.schedule import Schedule, most_closed, new_schedule
from streamrnn.model import plots, representation, saving, settings
from streamrnn.model.anomalies import Alarm, alarm
from streamrnn.model.channels import by_name
from streamrnn.model.engine import Engine, engine_on
from streamrnn.model.entrance import REFUSE, Entrance
from streamrnn.model.feedback import Drawing, Last, Shape, Unrolling, Value
from streamrnn.model.inputs import TOKENS, VECTOR, as_token, is_int, largest
from streamrnn.model.interrupt import held_back
from streamrnn.model.layers import Layer
from streamrnn.model.optimizers import Optimizer
from streamrnn.model.parameters import nothing
from streamrnn.model.readouts import Forecast, Readout
from streamrnn.model.rows import put_vector
from streamrnn.model.series import Series, as_series, parts
from streamrnn.model.spec import made, spec_of
from streamrnn.model.streams import Streams
from streamrnn.model.times import Time, as_times, nanoseconds
from streamrnn.model.verbs import Verbs
from streamrnn.storage import network_state

BLOCK = 64  # frames of a sequence that are processed together
ROOMY = 8  # times as many places as streams are too many
OWN_STREAM = "~"  # where sequences run that name no stream


class Network(Verbs):
    """Layers in sequence with a readout; predicts on every frame and learns by truncated BPTT.

    window          frames of one stream that a gradient flows back through
    accumulate      windows whose gradients make one update
    gradient_delay  an update waits for that many further groups of windows: layers in a pipeline need not wait
    clip_norm       largest norm of each layer's gradient, None or 0 for no limit
    seed            of the weights of every layer, which start anew here
    predict         "target": targets come with `learn`; "next": a stream's next input is the target of this frame
    standardize     vectors are standardised online, each channel of each stream for itself
    missing         "refuse": NaN in a vector is an error; "fill": the value last seen, decaying to the channel's mean,
                    stands in for it (see `streamrnn.kernels.entrance`), and in a target it is not scored
    mask            with "fill": the first layer sees which are missing, and so has twice as many inputs as a vector
    calendar        of "hour", "day", "week", "year": it sees sine and cosine of the time in these, as two more inputs
                    each, which are not predicted
    elapsed         it sees how long ago the frame before was, one more input
    inputs          "tokens" or "vector"; None: where the rest leaves it open, either
    channels        names of the inputs: vectors may come as dicts, rows of pandas or named tuples, in any order
    fresh           draw the weights; else all are zero, for whoever brings others
    streams         to make room for at once; the room grows with their number
    device          "cpu", or a GPU, "cuda:0" say: the same bits. Views, such as `params`, are then of the moment when
                    they were asked for, and what is written into them holds if no frame has come since

    A copy (`copy.deepcopy`) or a pickle is independent and goes on with the same bits, as after `save` and `load`.
    What several threads call is done one after the other, `save` included; views of parameters are not guarded.
    Raises ValueError where sizes do not fit each other, and DeviceError, which is one, where a device cannot be used.
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
        missing: str = REFUSE,
        mask: bool = False,
        calendar: Sequence[str] = (),
        elapsed: bool = False,
        inputs: str | None = None,
        channels: Sequence[str] | None = None,
        fresh: bool = True,
        streams: int = 1,
        device: str = devices.CPU,
    ) -> None:
        self.layers, self.readout, self.optimizer = list(layers), readout, optimizer
        self._lock, self.device = RLock(), device
        self._engine: Engine
        link(type(part).__name__ for part in (*self.layers, readout, optimizer))
        self.window, self.accumulate, self.gradient_delay = window, accumulate, gradient_delay
        self.clip_norm, self.seed, self.predict, self.standardize = clip_norm, seed, predict, standardize
        self._rate = optimizer.learning_rate
        settings.check_layers(self.layers)
        self._entrance = settings.entrance_of(self.layers[0], standardize, missing, mask, calendar, elapsed)
        self.missing, self.mask, self.input_size = missing, mask, self._entrance.size
        self.calendar, self.elapsed = list(calendar), elapsed
        settings.check_counts(window, accumulate, gradient_delay, streams)
        settings.check_learning(clip_norm, predict, readout, self.input_size)
        self.channels = settings.named_channels(channels, self.input_size)
        next_of = readout if predict == "next" else None
        self.inputs = settings.settled_inputs(inputs, next_of=next_of, vectors=standardize, channels=bool(channels))
        readout.build(self.layers[-1].output_size)
        self._capacity = 0
        if fresh:
            self.initialize(0, len(self.stages))
        self._schedule: Schedule
        self._streams = Streams()
        self._tokens = True  # whether inputs are tokens
        self._rng = np.random.default_rng(seed)
        self._most = largest(standardize)
        self._x = np.zeros((1, self.input_size))
        self._target = np.zeros((1, self.readout.size))
        self._allocate(streams)
        for layer in self.layers:
            layer._lock = self._lock

    def initialize(self, first: int, last: int) -> None:
        """Fresh weights for stages[first:last]; those of a stage do not depend on the others."""
        with self._lock:
            self._here()
            for number, owner in enumerate(self.stages[first:last], first):
                owner.initialize(np.random.default_rng([self.seed, number]))

    @property
    def learning_rate(self) -> float:
        """Of every update from here on, before decay; 0 leaves the parameters as they are. Raises ValueError."""
        return self._rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        if not (isfinite(rate) and rate >= 0):
            raise ValueError(f"learning_rate must be a number of at least 0, not {rate!r}")
        with self._lock:
            self._rate = float(rate)
            for owner in self.stages:
                owner.stage.hyper[RATE] = self._rate
            self._engine.take_rates()

    @property
    def names(self) -> dict[str, int]:
        """The streams that there are, and the number of each: its row in the buffers."""
        return self._streams.names

    @property
    def stages(self) -> list[Layer | Readout]:
        """The layers, then the readout."""
        return [*self.layers, self.readout]

    def allocate(self, first: int, last: int, sizes: Sizes) -> tuple:
        """Make buffers of those sizes for stages[first:last], and return them for `streamrnn.kernels.chain`."""
        part = self.stages[first:last]
        for number, owner in enumerate(part, first):
            ends = number in (0, len(self.layers))
            entrance = self._entrance if ends else Entrance()
            owner.allocate(sizes, self.optimizer.moments, entrance, needs_dx=number > 0)
            owner.stage.config[OPTIMIZER] = self.optimizer.number
            owner.stage.hyper[:] = self.optimizer.hyper(self.clip_norm)
            owner.stage.hyper[RATE] = self._rate
        return tuple(owner.stage for owner in part)

    def _allocate(self, streams: int) -> None:
        """Make room for that many streams, keeping what there is."""
        sizes = self.sizes(streams, block=BLOCK)
        self._here()
        kept = network_state.take(self.stages, self._schedule, self._streams.used) if self._capacity else None
        if kept and self._streams.free:
            numbers = self._streams.close_up()
            for tensors in kept:
                for name in ("windows", *network_state.BY_STREAM):
                    tensors[name] = tensors[name][numbers]
        stages = self.allocate(0, len(self.stages), sizes)
        self._schedule = new_schedule(sizes, self.accumulate, self.gradient_delay)
        if kept:
            network_state.put(kept, self.stages, self._schedule)
        self._frames = np.zeros((BLOCK, COLUMNS), np.int64)
        self._loss = np.zeros((BLOCK, self.readout.loss_size))
        self._y = self._outputs(BLOCK)
        floats = self._y.view(np.float32)
        buffers = FrameBuffers(self._schedule, self._frames, self._x, self._target, self._loss, floats)
        if self._capacity:
            del self._engine  # its memory is needed
        for owner in self.stages:
            owner._here = nothing
        self._capacity, places = streams, (stages, buffers, self.readout.classes, self._lock)
        try:
            self._engine = engine_on(self.device, *places)
        except devices.DeviceError:  # what has been learned goes on on the CPU
            self.device, self._engine = devices.CPU, engine_on(devices.CPU, *places)
            raise
        for owner in self.stages:
            owner._here = self._engine.here

    def _here(self) -> None:
        """Have the arrays of the stages hold what is in force, and be taken over from there if they are changed."""
        if self._capacity:
            self._engine.here()

    def _outputs(self, count: int) -> np.ndarray:
        """Room for so many: probabilities are float32, values, in the units of their stream, float64."""
        return np.zeros((count, self.readout.output_size), np.float32 if self.readout.classes else np.float64)

    def sizes(self, streams: int, block: int, versions: int = 0) -> Sizes:
        """The sizes of buffers that a number of streams and of frames processed together ask for."""
        slots = streams + most_closed(self.accumulate, self.gradient_delay)
        return Sizes(streams, self.window, slots, block, self.gradient_delay + 1, versions)

    def step(
        self, x: Any, stream: str = "", *, begin: bool = False, end: bool = False, time: Time = None
    ) -> np.ndarray:
        """One frame, a vector (I,) or an int token, to an output (K,). None feeds back what the frame before said.

        What counts as which is said in `streamrnn.model.inputs`. With missing="fill" numbers in a vector may be NaN,
        None or masked, and names absent.
        begin: forget the stream's state before this frame; end: its sequence ends with this frame. Then nothing is left
        of the stream but, with standardize=True, its statistics, until `forget`. time: when it was measured, for a
        calendar and what has elapsed: a datetime, one without zone being in UTC, or nanoseconds since 1970.
        With predict="next", x is first the target of the stream's frame before: that frame is scored and learned from.
        Raises ValueError if x does not fit; nothing has changed then.
        """
        x = by_name(x, self.channels, self._entrance.fills)
        when = nanoseconds(time)
        with self._lock:
            return self._run(x, x if self.predict == "next" else None, when, stream, begin, end)[0]

    def learn(
        self, x: Any, target: Any, stream: str = "", *, begin: bool = False, end: bool = False, time: Time = None
    ) -> float:
        """One frame and its target; returns the loss in nats, scored before anything is learned from it.

        With missing="fill" numbers in the target may be missing too: they are not in the loss, and nothing is learned
        of them; where all are, the loss is NaN.
        x, begin, end and time are those of `step`; where the frame before had a target, None feeds that back.
        Raises ValueError if x or target does not fit, or the network predicts its next input; nothing has changed then.
        """
        if self.predict == "next":
            raise ValueError('this network has predict="next": its targets are its next inputs, call step')
        if target is None:
            raise ValueError("learn needs a target; step takes a frame without one")
        x, when = by_name(x, self.channels, self._entrance.fills), nanoseconds(time)
        with self._lock:
            return self._run(x, target, when, stream, begin, end)[1]

    def run(
        self,
        X: Any,
        targets: Any = None,
        stream: str = "",
        *,
        begin: bool = False,
        end: bool = False,
        times: Any = None,
        progress: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """A whole array of a stream's frames, tokens (n,) or vectors (n, I): outputs (n, K) and losses (n,) in nats.

        The bits are those of `step` on each, or with targets, classes (n,) or values (n, size), of `learn`; a loss is
        of what its frame scored, with predict="next" the frame before it, and NaN if it scored nothing. begin holds
        for the first frame, end for the last; times (n,) are those of the frames, see `step`. progress: show a bar on
        standard error. Ctrl-C comes between two blocks of frames: the network is then as after `step` on those that its
        KeyboardInterrupt names.
        Raises ValueError if anything does not fit; nothing has changed then.
        """
        if targets is not None and self.predict == "next":
            raise ValueError('this network has predict="next": its targets are its next inputs')
        follows, classes = self.predict == "next", self.readout.classes
        settled = {TOKENS: True, VECTOR: False, None: None}[self.inputs]
        allowed = self._most, self._entrance.fills
        tokens, vectors = as_series(self._rows(X), self.input_size, *allowed, tokens=settled)
        answers, values = tokens, vectors if follows else np.zeros((0, self.readout.size))
        if targets is not None:
            answers, values = as_series(targets, self.readout.size, *allowed, tokens=classes)
        if len(answers) != len(tokens):
            raise ValueError(f"{len(tokens)} frames need as many targets, not {len(answers)}")
        stamps = np.zeros(0, np.int64) if times is None else as_times(times, len(tokens))
        series = Series(tokens, vectors, answers, values, targets is not None, stamps)
        with self._lock:
            return self._run_series(series, stream, begin, end, progress)

    def _run_series(
        self, series: Series, stream: str, begin: bool, end: bool, progress: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The first frame as any other, for it may begin a sequence; the others in blocks."""
        count = len(series.tokens)
        Y, losses = self._outputs(count), np.full((count, self.readout.loss_size), nan)
        with held_back() as let_through:
            for part in parts(count, progress):
                if part.start == 0:
                    Y[0], losses[0, LOSS] = self._run(*series.frame(0, self.predict), stream, begin, end and count == 1)
                else:
                    self._run_part(series.part(part), stream, Y[part], losses[part], end and part.stop == count)
                try:
                    let_through()
                except KeyboardInterrupt as interrupt:
                    raise KeyboardInterrupt(f"{part.stop} of {count} frames were taken") from interrupt
        return Y, losses[:, LOSS].copy()

    def _run_part(self, series: Series, stream: str, Y: np.ndarray, losses: np.ndarray, end: bool) -> None:
        """Take frames that begin no sequence, and fill in what comes of them."""
        number, (tokens, X, answers, targets, scored, times) = self.names[stream], series
        flags, follows = INPUT | EMIT | scored * SCORED, self.predict == "next"
        given = tokens, answers, X, targets, times
        self._engine.run_series(number, flags, end * END, follows, *given, losses, Y.view(np.float32))
        gaps = np.isnan(targets).all(axis=1) if len(targets) else np.zeros(len(losses), bool)
        if (scored or follows) and not gaps.all():
            self._streams.losses[number] = losses[np.flatnonzero(~gaps)[-1]].copy()
        scored = scored and not gaps[-1]
        value = None if not scored else answers.item(-1) if self.readout.classes else targets[-1].copy()
        self._remember(stream, Last(value, Y[-1].copy()), len(X) == 0, end)

    def reset(self, stream: str = "") -> None:
        """The stream's next frame begins a new sequence: its state is forgotten before it."""
        with self._lock:
            self._streams.fresh.add(self._stream(stream))

    def forget(self, stream: str) -> None:
        """Be done with a stream, if there is one of that name: nothing of it is left, and its name begins anew.

        What was in its window and has not been learned from is dropped. No other stream notices.
        """
        with self._lock:
            if stream in self.names:
                self._let_go(stream)
            if stream == self._streams.ended[0]:
                self._streams.ended = None, None

    def loss(self, stream: str = "") -> float:
        """The loss scored last on that stream, NaN before the first, and once another stream has ended too.

        In nats, of the target in the units in which it came: the density of a Gaussian is one for each of them. (A
        Linear readout's loss is half the squared error, in those units squared.) A channel that has never moved adds 0.
        """
        return float(self._costs(stream)[LOSS])

    def channel_losses(self, stream: str = "") -> np.ndarray:
        """The parts (size,) of each channel in that loss; none, (0,), where targets are classes."""
        return self._costs(stream)[CHANNELS:].copy()

    def alarm(self, y: np.ndarray, stream: str = "") -> Alarm | None:
        """The alarm in a forecast's newest output y (K,) of a stream, if it is one; its `seq` is 0.

        Raises ValueError where the readout has no detectors.
        """
        if not isinstance(self.readout, Forecast):
            raise ValueError("only a Forecast with anomaly raises alarms")
        return alarm(stream, 0, self.readout.anomalies(y), None)

    def dismiss(self, false: Alarm) -> None:
        """Say that an alarm was none: the evidence of its detectors counts half from here on, on its stream."""
        with self._lock:
            number = self._stream(false.stream)
            for said in false.dismissals():
                self._engine.dismiss(len(self.layers), number, said)

    def _costs(self, stream: str) -> np.ndarray:
        with self._lock:
            costs = self._streams.losses_of(stream)
            return np.full(self.readout.loss_size, nan) if costs is None else costs

    def _stream(self, name: str) -> int:
        if not isinstance(name, str):
            raise ValueError(f"a stream's name is a str, not {type(name).__name__}")
        number = self.names.get(name)
        if number is not None:
            return number
        if not self._streams.free and self._streams.used == self._capacity:
            self._allocate(2 * self._capacity)
        return self._streams.open(name)

    def _let_go(self, stream: str) -> None:
        self._clear(self._streams.let_go(stream))
        if len(self.names) < self._capacity // ROOMY:
            self._allocate(max(1, 2 * len(self.names)))

    def _clear(self, number: int) -> None:
        """Have nothing left under a number, which another stream may get."""
        self._engine.drop(self.stages, number)
        self._streams.give_back(number)

    def _run(
        self, x: Any, target: Any, time: int | None, stream: str, begin: bool, end: bool
    ) -> tuple[np.ndarray, float]:
        """The output, and the loss of what this frame scored, NaN if it scored nothing."""
        if x is None:
            x = self._fed_back(stream, begin)
        token = as_token(x, self.input_size, self.inputs)
        if token < 0:
            put_vector(x, self._x[0], self._most, self._entrance.fills)
        answer = self._put_target(target) if target is not None else -1
        scored = target is not None and self.predict == "target"
        number = self._stream(stream)
        begin = begin or number in self._streams.fresh
        before = target is not None and not scored and not begin
        flags = INPUT | EMIT | begin * BEGIN | end * END | scored * SCORED | (time is not None) * TIMED
        self._engine.step(number, flags, token, before, answer, time or 0)
        y, loss = self._y[0].copy(), nan
        if (scored or before) and self._frames[0 if before else 1, FLAGS] & GAP:
            scored = before = False
        if scored or before:
            self._streams.losses[number], loss = self._loss[0].copy(), self._loss.item(0)
        value = None if not scored else answer if answer >= 0 else self._target[0].copy()
        self._remember(stream, Last(value, y.copy()), token >= 0, end)
        return y, loss

    def _remember(self, stream: str, last: Last, tokens: bool, end: bool) -> None:
        number = self.names[stream]
        if not end:
            self._streams.last[number], self._tokens = last, tokens
            self._streams.fresh.discard(number)
        elif self.standardize:  # there is more to a stream than its sequence
            self._streams.last.pop(number, None)
            self._streams.fresh.add(number)
        else:
            self._streams.ended = stream, self._streams.losses.get(number)
            self._let_go(stream)

    def _fed_back(self, stream: str, begin: bool) -> int | np.ndarray:
        number = self.names.get(stream, -1)
        if begin or number in self._streams.fresh or self._streams.last.get(number, Last()).unknown:
            raise ValueError("there is nothing to feed back: the frame before is unknown, or of another sequence")
        last, shape = self._streams.last[number], self._shape(self._tokens)
        shape.check()
        assert last.y is not None
        return shape.feed(shape.read(last.y, Drawing(), self._rng) if last.value is None else last.value)

    def _shape(self, tokens: bool) -> Shape:
        sizes, entrance = (self.input_size, self.readout.size), self._entrance
        return Shape(*sizes, tokens, self.readout.classes, self._most, entrance.fills)

    def _perform(
        self, stream: str | None, frames: np.ndarray, X: np.ndarray, targets: np.ndarray, drawing: Drawing, wait: bool
    ) -> tuple[list[Value], np.ndarray, float | None]:
        with self._lock:
            return self._unroll(OWN_STREAM if stream is None else stream, frames, X, targets, drawing)

    def _unroll(
        self, stream: str, frames: np.ndarray, X: np.ndarray, targets: np.ndarray, drawing: Drawing
    ) -> tuple[list[Value], np.ndarray, float | None]:
        tokens = X.shape[1] == 0
        sequence = Unrolling(self._shape(tokens), frames, X, targets, drawing, Last())
        number = self._stream(stream)
        heard: list[np.ndarray] = []
        losses: list[np.ndarray] = []
        while part := sequence.due(BLOCK):
            Y, scored = self._pass(number, *part)
            losses += scored
            echoed = Y[part[0][:, FLAGS] & ECHO > 0]
            heard += list(echoed)
            for y in echoed:
                sequence.hear(y)
        if losses:
            self._streams.losses[number] = losses[-1]
        self._remember(stream, sequence.last, tokens, bool(frames[-1, FLAGS] & END))
        return sequence.written, np.array(heard), float(np.mean([costs[LOSS] for costs in losses])) if losses else None

    def _pass(
        self, number: int, frames: np.ndarray, X: np.ndarray, targets: np.ndarray
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Take frames of one stream, each with an input, through the network: outputs (n, K) and what targets cost."""
        count, taken = len(frames), self._frames[: len(frames)]
        taken[:] = frames
        taken[:, STREAM] = number
        targets = targets[frames[:, FLAGS] & SCORED > 0] if targets.shape[1] else self._target[:0]
        x = X if X.shape[1] else self._x[:0]
        self._engine.run(taken, np.ascontiguousarray(x), targets, self._loss, self._y.view(np.float32))
        scored = taken[:, FLAGS] & (SCORED | GAP) == SCORED
        return self._y[:count].copy(), list(self._loss[:count][scored])

    def _put_target(self, target: Any) -> int:
        """A target's token, or -1 and the vector in its place."""
        if self.readout.classes:
            if not is_int(target):
                raise ValueError(f"the target of {self.readout} is an int, not {type(target).__name__}")
            return as_token(target, self.readout.size, TOKENS)
        put_vector(target, self._target[0], self._most, self._entrance.fills)
        return -1

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs to make the same network anew, in plain values; a device is none of it."""
        return spec_of(self)

    @classmethod
    def from_spec(
        cls, spec: dict[str, Any], fresh: bool = True, streams: int = 1, device: str = devices.CPU
    ) -> "Network":
        """The network that a `spec` describes, with fresh weights, or zeros for whoever brings others; see `Network`.

        Raises ValueError or KeyError if it is no spec, DeviceError as `Network`.
        """
        return made(cls, spec, fresh=fresh, streams=streams, device=device)

    def parameters_sha256(self) -> str:
        """Over every stage's parameter buffer in order."""
        digest = sha256()
        with self._lock:
            self._here()
            for owner in self.stages:
                digest.update(owner.parameters.flat.tobytes())
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write everything to a folder, which is there whole or not at all: parameters, optimiser, streams, tapes.

        `~` is the home folder. Raises CheckpointError where there is something else of that name, OSError where it
        cannot be written, and nothing is left of it then.
        """
        with self._lock:
            saving.save(self, path)

    def plot(self, losses: Any, outputs: Any = None, targets: Any = None, channel: str | int | None = None) -> Any:
        """A figure of matplotlib with the losses (n,) that `run` returned, for the network keeps none over time.

        With the outputs (n, K) it also draws each channel's forecast and, where the readout says one, its interval
        (a Gaussian's holds 0.9), beside the targets (n, size); with predict="next" these are the frames themselves.
        channel: one alone, by its name or its place; else the first 12 are drawn. A notebook shows the figure where it
        is a cell's last value, `savefig` writes it.
        Raises ImportError without matplotlib (pip install streamrnn[plot]), ValueError if anything does not fit.
        """
        return plots.plot(self, losses, outputs, targets, channel)

    def _repr_html_(self) -> str:
        return representation.html(self)

    def __deepcopy__(self, _: dict) -> "Network":
        with self._lock:
            taken = saving.taken(self)
        return saving.made_again(type(self), *taken, self.device)

    def __reduce__(self) -> tuple:
        with self._lock:
            facts, kept = saving.taken(self)
        return saving.unpickled, (type(self), facts, [save_bytes(tensors) for tensors in kept], self.device)


def load(path: str | Path, device: str = devices.CPU) -> Network:
    """The network that `Network.save` or a daemon's checkpoint wrote; it goes on as if it had never stopped.

    device: where, whatever it was before; see `Network`.
    Raises CheckpointError if the folder is missing, unreadable or damaged, DeviceError if the device cannot be used.
    """
    return saving.load(Network, path, device)
