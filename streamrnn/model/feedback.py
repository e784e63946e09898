"""Outputs that come back as inputs: what is drawn from an output, what that is as an input, and sequences that wait.

What is fed back takes the last K places of the I inputs, K being the size of the readout: class c becomes token
I - K + c, or a one-hot vector there; values are put there as they are. So the tokens before I - K, or the numbers, are
for what comes from outside.
"""

from collections import deque
from functools import cached_property
from typing import NamedTuple

import msgspec
import numpy as np

from streamrnn.kernels.frames import BEGIN, COLUMNS, ECHO, EMIT, END, FEEDBACK, FLAGS, INPUT, SCORED, TARGET, TOKEN
from streamrnn.model.inputs import LARGEST

Value = int | np.ndarray  # a class, or values (K,)
HOTTEST = 1e6  # a temperature beyond would only make infinities


class Drawing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a network's outputs become its inputs. Raises ValueError where a number is out of range."""

    temperature: float = 0.0  # 0 takes the likeliest class, or the mean
    top_k: int = 0  # draw among that many likeliest classes; 0 = among all
    seed: int | None = None  # makes the draws the same again
    until: int | None = None  # the class that ends what is written
    max_length: int = 0  # how much is written behind the given frames
    own: float = 0.0  # share of outputs fed back in the place of targets

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= HOTTEST:
            raise ValueError(f"temperature must be from 0 to {HOTTEST:g}, not {self.temperature}")
        if not 0 <= self.own <= 1:
            raise ValueError(f"own is a share from 0 to 1, not {self.own}")
        for name in ("top_k", "seed", "until", "max_length"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must not be negative, and is {value}")


class Shape(NamedTuple):
    """What a network takes and gives."""

    inputs: int  # I
    outputs: int  # K, classes or values
    tokens: bool  # inputs are tokens
    classes: bool  # outputs are probabilities of classes
    most: float = LARGEST  # the largest size of a number
    missing: bool = False  # numbers may be, and are NaN

    def check(self) -> None:
        """Raises ValueError if outputs cannot come back as inputs."""
        if self.outputs > self.inputs:
            raise ValueError(f"{self.outputs} outputs cannot be fed back into {self.inputs} inputs")
        if self.tokens and not self.classes:
            raise ValueError("values cannot be fed back into a network that takes tokens")

    def feed(self, value: Value) -> int | np.ndarray:
        """The input that a class or values become: a token, or a vector (I,)."""
        start = self.inputs - self.outputs
        if self.tokens and isinstance(value, int):
            return start + value
        x = np.zeros(self.inputs)
        x[start + value if isinstance(value, int) else slice(start, None)] = 1 if isinstance(value, int) else value
        return x

    def read(self, y: np.ndarray, drawing: Drawing, rng: np.random.Generator) -> Value:
        """A class drawn from probabilities (K,); values (K,) as they are; or drawn from means, spreads, ..."""
        if self.classes:
            return draw(y, drawing.temperature, drawing.top_k, rng)
        if len(y) == self.outputs:
            return y
        mean, spread = y[: self.outputs], y[self.outputs : 2 * self.outputs]
        value: np.ndarray = mean + drawing.temperature * spread * rng.standard_normal(self.outputs)
        return np.clip(value, -self.most, self.most)


class Last(NamedTuple):
    """What is known of the newest frame of a stream, to feed back."""

    value: Value | None = None  # its target, or what was drawn
    y: np.ndarray | None = None  # its output
    chance: "Chance | None" = None  # what was drawn with

    @property
    def unknown(self) -> bool:
        return self.value is None and self.y is None

    def plain(self) -> list:
        """What `Last.of` needs to make the same again, except for chance; an output that is not finite is unknown."""
        value = self.value.tolist() if isinstance(self.value, np.ndarray) else self.value
        return [value, self.y.tolist() if self.y is not None and np.isfinite(self.y).all() else None]

    @classmethod
    def of(cls, plain: list) -> "Last":
        """From what `plain` gave."""
        value, y = plain
        value = np.array(value, np.float64) if isinstance(value, list) else value
        return cls(value, None if y is None else np.array(y, np.float64))


class Chance:
    """The random numbers of a sequence: what is drawn, and whether it takes the place of a target. Made when needed."""

    def __init__(self, seed: int | None) -> None:
        self.seed = seed

    @cached_property
    def draws(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    @cached_property
    def choices(self) -> np.random.Generator:
        return np.random.default_rng(None if self.seed is None else [self.seed, 1])


def draw(probabilities: np.ndarray, temperature: float, top_k: int, rng: np.random.Generator) -> int:
    """A class drawn from probabilities (K,) to the power of 1 / temperature, among the top_k likeliest, 0 for all.

    Temperature 0 takes the likeliest, the first of equals.
    """
    if temperature == 0:
        return int(np.argmax(probabilities))
    among = np.argsort(-probabilities, kind="stable")[: top_k or None]
    with np.errstate(divide="ignore", over="ignore"):  # what cannot be, or hardly, is not drawn
        logits = np.log(probabilities[among].astype(np.float64))
        weights = np.exp((logits - logits[0]) / temperature)
    totals = np.cumsum(weights)
    return int(among[min(np.searchsorted(totals, rng.random() * totals[-1], side="right"), len(among) - 1)])


class Unrolling:
    """Frames of one stream on their way into a network, some of whose inputs are its own outputs.

    `due` gives the frames whose inputs are known, again and again; `hear` takes the output of each that has the flag
    ECHO, in order. Behind the given frames it goes on with what is drawn, `drawing.max_length` times at most.

    frames (n, COLUMNS) with their flags, tokens and targets; X (n, I) or (n, 0), targets (n, K) or (n, 0), zero where a
    frame has none; `last` is known of the frame before. Raises ValueError where there is nothing to feed back.
    """

    def __init__(
        self,
        shape: Shape,
        frames: np.ndarray,
        X: np.ndarray,
        targets: np.ndarray,
        drawing: Drawing,
        last: Last,
    ) -> None:
        self.shape, self.drawing = shape, drawing
        self.frames, self.X, self.targets = frames, X, targets
        self.last = last
        self.written: list[Value] = []  # behind the given frames, without the stop symbol
        self._left = drawing.max_length
        self._at = self._unheard = 0
        self._waits = False  # for an output to feed back
        self._open: deque[int] = deque()  # frames whose input is an output
        self._chance = Chance(drawing.seed)
        if self._left or (frames[:, FLAGS] & FEEDBACK).any():
            shape.check()
            if last.chance and drawing.seed is None:
                self._chance = last.chance
            self._feed_targets()

    def _feed_targets(self) -> None:
        flags = self.frames[:, FLAGS]
        if self._left and (flags[-1] & END or not flags[-1] & INPUT):
            raise ValueError("only a frame with an input that does not end its sequence can be gone on from")
        for k in np.flatnonzero(flags & FEEDBACK).tolist():
            if flags[k] & BEGIN or (k and flags[k - 1] & END) or (not k and self.last.unknown):
                raise ValueError("there is nothing to feed back: the frame before is unknown, or of another sequence")
            target = self._target(k - 1) if k else self.last.value
            is_own = self.drawing.own > 0 and self._chance.choices.random() < self.drawing.own
            if target is not None and not (is_own and (flags[k - 1] & INPUT if k else self.last.y is not None)):
                self._feed(k, target)
            elif k:
                self._open.append(k)
            else:
                assert self.last.y is not None
                self._feed(0, self._read(self.last.y))

    def _read(self, y: np.ndarray) -> Value:
        return self.shape.read(y, self.drawing, self._chance.draws)

    def _target(self, k: int) -> Value | None:
        if not self.frames[k, FLAGS] & SCORED:
            return None
        if self.shape.classes:
            return int(self.frames[k, TARGET])
        return None if np.isnan(self.targets[k]).all() else self.targets[k]

    def _feed(self, k: int, value: Value) -> None:
        x = self.shape.feed(value)
        if isinstance(x, int):
            self.frames[k, TOKEN] = x
        else:
            self.X[k] = x
        self.frames[k, FLAGS] &= ~FEEDBACK

    def due(self, limit: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """The next frames, X and targets, `limit` at most; None while an output has to be heard, or at the end."""
        if self._waits or self._at == len(self.frames) or limit < 1:
            return None
        known = self._open[0] if self._open else len(self.frames)
        part = slice(self._at, min(known, self._at + limit))
        self._at = part.stop
        if part.stop == known and (self._open or self._left > 0):
            self.frames[known - 1, FLAGS] |= ECHO
            self._waits = True
        self._unheard += int(np.count_nonzero(self.frames[part, FLAGS] & ECHO))
        if part.stop == len(self.frames):
            self.last = Last(self._target(part.stop - 1), None, self._chance)
        return self.frames[part], self.X[part], self.targets[part]

    def hear(self, y: np.ndarray) -> Value | None:
        """Take the output of the next frame with ECHO; what was drawn from it, if it is fed back."""
        self._unheard -= 1
        if self._unheard or not self._waits:
            if self._at == len(self.frames) and not self._unheard and self.frames[-1, FLAGS] & ECHO:
                self.last = Last(self.last.value, y, self._chance)
            return None
        self._waits = False
        value = self._read(y)
        self.last = Last(value, y, self._chance)
        if self._open:
            self._feed(self._open.popleft(), value)
        else:
            self._go_on(value)
        return value

    def _go_on(self, value: Value) -> None:
        self._left -= 1
        if isinstance(value, int) and value == self.drawing.until:
            self._left = 0
        else:
            self.written.append(value)
        if self._left > 0:
            self.frames = np.zeros((1, COLUMNS), np.int64)
            self.frames[0, FLAGS], self.frames[0, TOKEN] = INPUT | EMIT, -1
            self.X, self.targets = np.zeros_like(self.X[:1]), np.zeros_like(self.targets[:1])
            self._feed(0, value)
            self._at = 0

    def stop(self) -> None:
        """Write no more."""
        self._left = 0

    @property
    def all_in(self) -> bool:
        """Every frame that is ever to be due has been."""
        return self._at == len(self.frames) and self._left <= 1

    @property
    def done(self) -> bool:
        """Every frame has been due, and every output that was asked for has been heard."""
        return self._at == len(self.frames) and not self._unheard and not self._waits
