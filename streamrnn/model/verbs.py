"""What to ask of a network in one call, the same in a process (`Network`) and of a daemon (`Client`).

The five ways of processing a sequence are patterns of flags over the same step:

    fixed to fixed        classify([x])       teach([x], [t])
    sequence input        classify(xs)        teach(xs, [t])
    synced                label(xs)           teach(xs, ts, synced=True)
    sequence output       generate(x)         teach([x], ts)
    sequence to sequence  transduce(xs)       teach(xs, ts)

A sequence is a list or array of tokens (n,), a text for networks that take bytes, or vectors (n, I). A network that
writes gets its own output as its next input, see `streamrnn.model.feedback` for where; vectors may leave that part out,
and have I - K numbers.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar

import numpy as np

from streamrnn.kernels.frames import BEGIN, COLUMNS, ECHO, EMIT, END, FEEDBACK, FLAGS, INPUT, SCORED, TARGET, TOKEN
from streamrnn.model.channels import by_name
from streamrnn.model.feedback import Drawing, Shape, Value
from streamrnn.model.inputs import VECTOR, as_array, as_token, as_tokens, as_vector

BYTES = 256

P = ParamSpec("P")
T = TypeVar("T")


class Asked(NamedTuple, Generic[T]):
    """What a verb asks for; all but the last are what `_perform` takes."""

    stream: str | None  # None for one of its own
    frames: np.ndarray
    X: np.ndarray
    targets: np.ndarray
    drawing: Drawing
    wait: bool  # for the answers
    read: Callable[[list[Value], np.ndarray, float | None], T]  # what the verb returns of what `_perform` does


class Sequences:
    """What each verb asks for, whoever then does it, and whoever waits for that. All raise ValueError if a sequence is
    empty or does not fit the network.
    """

    predict: str
    inputs: str | None  # what inputs are, None if they may be tokens or vectors
    channels: list[str] | None  # the names of their numbers

    def _shape(self, tokens: bool) -> Shape:
        raise NotImplementedError

    def _classify(self, sequence: Any, stream: str | None = None) -> Asked[np.ndarray]:
        """The output (K,) after the last frame."""
        frames, X = self._as_frames(sequence)
        frames[-1, FLAGS] |= EMIT | ECHO | END
        return Asked(stream, frames, X, self._no_targets(frames), Drawing(), True, lambda written, Y, loss: Y[-1])

    def _label(self, sequence: Any, stream: str | None = None) -> Asked[np.ndarray]:
        """The outputs (n, K) of all frames, each made before the next frame was seen."""
        frames, X = self._as_frames(sequence)
        frames[:, FLAGS] |= EMIT | ECHO
        frames[-1, FLAGS] |= END
        return Asked(stream, frames, X, self._no_targets(frames), Drawing(), True, lambda written, Y, loss: Y)

    def _generate(
        self,
        start: Any,
        *,
        until: int | str | bytes | None = None,
        max_length: int = 256,
        temperature: float = 1.0,
        top_k: int = 0,
        seed: int | None = None,
        stream: str | None = None,
    ) -> Asked[Any]:
        """Write on from one input, or from a sequence: draw from each output, feed it back, and so on.

        It ends before the class `until`, or after `max_length` symbols. Temperature 0 takes the likeliest class each
        time, top_k draws among that many, a seed makes the draws the same again. Returns a list of classes, or of
        values where the network gives values; a text, without what it started from, if `start` is one.
        """
        if self._is_one(start):
            start = [start]
        frames, X = self._as_frames(start)
        frames[-1, FLAGS] |= EMIT
        drawing = Drawing(
            temperature=float(temperature),
            top_k=_whole("top_k", top_k),
            seed=None if seed is None else _whole("seed", seed),
            until=self._symbol(until),
            max_length=_whole("max_length", max_length, 1),
        )

        def read(written: list[Value], Y: np.ndarray, loss: float | None) -> Any:
            if not isinstance(start, str | bytes):
                return written
            data = bytes(written)  # type: ignore[arg-type]
            return data.decode(errors="replace") if isinstance(start, str) else data

        return Asked(stream, frames, X, self._no_targets(frames), drawing, True, read)

    def _transduce(
        self,
        sequence: Any,
        *,
        until: int | str | bytes | None = None,
        max_length: int = 256,
        temperature: float = 0.0,
        top_k: int = 0,
        seed: int | None = None,
        stream: str | None = None,
    ) -> Asked[Any]:
        """Read a whole sequence, then write another: `generate`, taking the likeliest class if not told else."""
        return self._generate(
            sequence if isinstance(sequence, str | bytes) else list(self._rows(sequence)),
            until=until,
            max_length=max_length,
            temperature=temperature,
            top_k=top_k,
            seed=seed,
            stream=stream,
        )

    def _teach(
        self,
        inputs: Any,
        targets: Any,
        *,
        synced: bool = False,
        own: float = 0.0,
        seed: int | None = None,
        stream: str | None = None,
    ) -> Asked[float | None]:
        """Learn from one sequence and its targets; there is a loss only where a target is.

        The first target belongs to the last input; each further one to a frame whose input is the target before it
        (teacher forcing), or with probability `own` what the network itself said (scheduled sampling, Bengio et al.
        2015). With synced=True each input has a target. Returns the mean loss in nats, scored before anything is
        learned; a client does not wait and returns None. Raises ValueError if the network predicts its next input.
        """
        if self.predict == "next":
            raise ValueError('this network has predict="next": its targets are its next inputs')
        frames, X = self._as_frames(inputs)
        tokens, vectors = self._as_targets(targets)
        first = 0 if synced else len(frames) - 1
        if synced and len(tokens) != len(frames):
            raise ValueError(f"synced, {len(frames)} inputs need as many targets, not {len(tokens)}")
        more = first + len(tokens) - len(frames)
        if more:
            frames = np.concatenate([frames, np.zeros((more, COLUMNS), np.int64)])
            frames[-more:, FLAGS], frames[-more:, TOKEN] = INPUT | EMIT | FEEDBACK, -1
            X = np.concatenate([X, np.zeros((more, X.shape[1]))])
        frames[first:, FLAGS] |= SCORED | EMIT
        frames[first:, TARGET] = tokens
        frames[-1, FLAGS] |= END
        every = np.zeros((len(frames), vectors.shape[1]))
        every[first:] = vectors
        drawing = Drawing(temperature=1.0, own=float(own), seed=None if seed is None else _whole("seed", seed))
        return Asked(stream, frames, X, every, drawing, False, lambda written, Y, loss: loss)

    def _is_one(self, x: Any) -> bool:
        """Whether x is one input, a token or a vector, and not a sequence of them."""
        if isinstance(x, str | bytes):
            return False
        x = as_array(x, missing=self._shape(False).missing)
        if x.ndim != 1 or not x.size:
            return x.ndim == 0
        return (x.dtype.kind == "f" or self.inputs == VECTOR) and (x.size == 1 or self._shape(False).inputs > 1)

    def _as_frames(self, sequence: Any) -> tuple[np.ndarray, np.ndarray]:
        """The frames of a sequence, and their vectors (n, I), or (n, 0) where they are tokens."""
        inputs = self._shape(True).inputs
        sequence = self._rows(_as_bytes(sequence, inputs, "takes"))
        if not len(sequence):
            raise ValueError("a sequence has at least one frame")
        first = next(iter(sequence))
        frames = np.zeros((len(sequence), COLUMNS), np.int64)
        frames[:, FLAGS] = INPUT
        frames[0, FLAGS] |= BEGIN
        if self._is_token(first, inputs):
            frames[:, TOKEN] = as_tokens(sequence, inputs)
            return frames, np.zeros((len(sequence), 0))
        frames[:, TOKEN] = -1
        _, outputs, _, _, most, missing = self._shape(False)
        width = as_array(by_name(first, self.channels, missing), "a vector of numbers", missing).size
        outside = inputs - outputs
        X = np.zeros((len(sequence), inputs))
        for k, x in enumerate(sequence):
            part = X[k, :outside] if width == outside > 0 else X[k]
            part[:] = as_vector(by_name(x, self.channels, missing), len(part), most, missing)
        return frames, X

    def _rows(self, sequence: Any) -> Any:
        """The frames of a sequence, those of a table with named columns too. Raises ValueError if it is none."""
        if self.channels and hasattr(sequence, "keys"):
            missing = self._shape(False).missing
            columns = [as_array(column, missing=missing) for column in by_name(sequence, self.channels, missing)]
            count = max(column.size for column in columns)
            sequence = np.transpose([column if column.ndim else np.full(count, column) for column in columns])
        return _many(sequence)

    def _is_token(self, first: Any, size: int) -> bool:
        """Whether the first frame of a sequence is a token; the others are what it is. Raises ValueError."""
        if self.inputs == VECTOR:
            return False
        return (as_array(first).ndim == 0 and size > 1) or as_token(first, size, self.inputs) >= 0

    def _as_targets(self, targets: Any) -> tuple[np.ndarray, np.ndarray]:
        """Classes (n,) and vectors (n, 0), or zeros (n,) and values (n, K)."""
        shape, targets = self._shape(True), _many(targets)
        if shape.classes:
            targets = as_tokens(_as_bytes(targets, shape.outputs, "says"), shape.outputs)
            values = np.zeros((len(targets), 0))
        else:
            values = np.array([as_vector(target, shape.outputs, shape.most, shape.missing) for target in targets])
        if not len(targets):
            raise ValueError("teach needs at least one target")
        return (targets if shape.classes else np.zeros(len(values), np.int64)), values

    def _no_targets(self, frames: np.ndarray) -> np.ndarray:
        shape = self._shape(True)
        return np.zeros((len(frames), 0 if shape.classes else shape.outputs))

    def _symbol(self, until: int | str | bytes | None) -> int | None:
        """The class that a stop symbol is."""
        outputs = self._shape(True).outputs
        if until is None:
            return None
        if not self._shape(True).classes:
            raise ValueError("until is a class, and this network says values")
        data = _as_bytes(until, outputs, "says")
        if isinstance(data, bytes) and len(data) != 1:
            raise ValueError(f"until must be one byte, not {until!r}")
        return int(as_tokens([data[0] if isinstance(data, bytes) else data], outputs)[0])


def named_as(plan: Callable[..., Any], verb: Callable[..., Any]) -> Any:
    """The verb of that plan, with its signature, name and words."""
    verb = wraps(plan)(verb)
    verb.__name__ = plan.__name__.removeprefix("_")
    verb.__qualname__ = verb.__name__
    return verb


def performed(plan: Callable[Concatenate[Any, P], Asked[T]]) -> Callable[Concatenate[Any, P], T]:
    """The verb that does at once what that plan asks for."""

    def verb(self: Any, *args: P.args, **kwargs: P.kwargs) -> T:
        *asked, read = plan(self, *args, **kwargs)
        return read(*self._perform(*asked))

    return named_as(plan, verb)  # type: ignore[no-any-return]


class Verbs(Sequences):
    """`classify`, `label`, `generate`, `transduce`, `teach`: each begins a sequence, from a zero state.

    Without a stream's name they run on one of their own, and no other stream is touched. All raise ValueError if a
    sequence is empty or does not fit the network.
    """

    classify = performed(Sequences._classify)
    label = performed(Sequences._label)
    generate = performed(Sequences._generate)
    transduce = performed(Sequences._transduce)
    teach = performed(Sequences._teach)

    def _perform(
        self, stream: str | None, frames: np.ndarray, X: np.ndarray, targets: np.ndarray, drawing: Drawing, wait: bool
    ) -> tuple[list[Value], np.ndarray, float | None]:
        """What was written, the outputs of the frames with ECHO (m, outputs), and the mean loss if it is known."""
        raise NotImplementedError


def _many(values: Any) -> Any:
    """Raises ValueError if they are no list or array."""
    if not hasattr(values, "__len__") or getattr(values, "ndim", 1) == 0:
        raise ValueError(f"expected a list or an array, got {type(values).__name__}")
    return values


def _as_bytes(text: Any, size: int, does: str) -> Any:
    """A text as its bytes, and those of an argument that are no text; anything else as it is.

    Raises ValueError if the network has no bytes.
    """
    if isinstance(text, str | bytes) and size != BYTES:
        raise ValueError(f"a text needs a network that {does} {BYTES} different bytes; this one has {size}")
    return text.encode(errors="surrogateescape") if isinstance(text, str) else text


def _whole(name: str, value: Any, least: int | None = None) -> int:
    """Raises ValueError if value is no int, or below `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} must be an int, not {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return int(value)
