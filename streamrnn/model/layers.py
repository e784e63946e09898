"""Recurrent layers, one class for each cell in `streamrnn.kernels.cells`: vectors in and out, and gradients back."""

from collections.abc import Callable
from importlib import import_module
from threading import RLock
from typing import Any

import numpy as np
from safetensors.numpy import load as load_bytes
from safetensors.numpy import save as save_bytes

from streamrnn.kernels import entrance as kernels
from streamrnn.kernels import stage
from streamrnn.kernels.buffers import OPTIMIZER, PLAN_COLUMNS, PLAN_ROW, PLAN_TOKEN, Sizes, Stage, allocate, table_of
from streamrnn.kernels.cells import CELLS as KINDS
from streamrnn.kernels.cells import Cell
from streamrnn.kernels.jit import link
from streamrnn.model.entrance import Entrance
from streamrnn.model.inputs import TOKENS, as_numbers, as_token, as_vector, is_int
from streamrnn.model.optimizers import Optimizer
from streamrnn.model.parameters import Parameters, nothing
from streamrnn.model.weights import glorot, orthogonal
from streamrnn.storage import stream_state

OWN = Entrance()  # of a layer whose inputs come as they are
KEPT = ("params", "grads", "moments", "counters", "state", "tape", "tokens")  # of a layer that is copied


class Layer:
    """A recurrent layer with its parameters, its hidden state and its tape.

    Alone it keeps the tape of its last `window` frames, and `step` and `backward` are all there is to it; given to a
    `Network`, it lends its parameters and the network does the rest. With seed None all weights are zero.

    A copy or a pickle is independent and goes on with the same bits; of a layer in a network there is none
    (RuntimeError). What several threads call is done one after the other; the live views are not guarded.

    Raises ValueError where a size is below 1.
    """

    cell: Cell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int | None = None,
        *,
        window: int = 16,
        seed: int | None = 0,
    ) -> None:
        sizes = {"input_size": input_size, "hidden_size": hidden_size}
        if output_size is not None:
            sizes["output_size"] = output_size
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, not {size}")
        if window < 1:
            raise ValueError(f"window must be at least 1 frame, not {window}")
        self._lock = RLock()  # in a network: that of the network
        self._here: Callable[[], None] = nothing  # in a network: has the arrays hold what is in force
        self.input_size, self.hidden_size = input_size, hidden_size
        self.own_output = output_size is not None
        self.output_size = output_size or hidden_size
        self.parameters = Parameters(self._shapes())
        if seed is not None:
            self.initialize(np.random.default_rng(seed))
        link([type(self).__name__])
        self._alone = Sizes(window=window)
        self.allocate(self._alone, moments=0)

    def __repr__(self) -> str:
        own = f", {self.output_size}" if self.own_output else ""
        return f"{type(self).__name__}({self.input_size}, {self.hidden_size}{own})"

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        I, H, G = self.input_size, self.hidden_size, self.cell.gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"W_xh": (I, G), "W_hh": (H, G), "b_h": (G,)}
        shapes |= {name: (H,) for name in self.cell.own}
        if self.own_output:
            shapes |= {"W_hy": (H, self.output_size), "b_y": (self.output_size,)}
        return shapes

    def initialize(self, rng: np.random.Generator) -> None:
        """Fresh weights: Glorot from inputs and to outputs, orthogonal through time, a forget gate's bias 1."""
        with self._lock:
            views, H = self.parameters.views, self.hidden_size
            self.parameters.flat[:] = 0
            glorot(rng, views["W_xh"], H)
            orthogonal(rng, views["W_hh"])
            if self.cell.forget is not None:
                views["b_h"][self.cell.forget * H : (self.cell.forget + 1) * H] = 1
            if self.own_output:
                glorot(rng, views["W_hy"], self.output_size)

    def allocate(self, sizes: Sizes, moments: int, entrance: Entrance = OWN, needs_dx: bool = True) -> None:
        """Make the buffers; the parameters stay. entrance: of vectors from outside."""
        I, H, W = self.input_size, self.hidden_size, sizes.window
        self.stage: Stage = allocate(
            [*KINDS].index(type(self).__name__),
            I,
            H,
            self.output_size,
            self.parameters.flat,
            gates=self.cell.gates * H,
            state=len(self.cell.state) * H,
            tape=W * I + (W + 1) * H + W * self.cell.tape * H,
            stats=kernels.numbers(entrance.size, entrance.fills) if entrance.standardize else 0,
            moments=moments,
            sizes=sizes,
            own_output=self.own_output,
            needs_dx=needs_dx,
            own=len(self.cell.own) * H,
            separate=self.cell.separate,
            size=entrance.size,
            mask=entrance.mask,
            settings=entrance.settings,
            beside=kernels.STEPS if entrance.elapsed else 0,
        )
        self._table: np.ndarray | None = None
        self._sizes = sizes
        self._frames = 0  # on the tape of a layer that is alone
        self._plan = np.zeros((1, PLAN_COLUMNS), np.int64)
        self._x = np.zeros((1, I), np.float32)
        self._optimizer: Optimizer | None = None

    @property
    def table(self) -> np.ndarray:
        """Its stage as kernels take it."""
        if self._table is None:
            self._table = table_of([self.stage])
        return self._table

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Live views: W_xh (I, G), W_hh (H, G), b_h (G,), the cell's own (H,), W_hy (H, O), b_y (O,) if it has them."""
        self._here()
        return self.parameters.views

    @property
    def grads(self) -> dict[str, np.ndarray]:
        """Live views of the accumulated gradient, named and shaped as `params`."""
        self._here()
        return self.parameters.named(self.stage.grads[0])

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Live views of the hidden state h (H,), and of the cell state c (H,) of an LSTM."""
        self._here()
        return dict(zip(self.cell.state, self.stage.state[0].reshape(-1, self.hidden_size), strict=True))

    def step(self, x: Any) -> np.ndarray:
        """One frame, a vector (I,), or an int, which is a token, to an output (O,); the state changes in place.

        Raises ValueError if x has another shape, or is a token outside [0, I); RuntimeError inside a network.
        """
        with self._lock:
            self._check_alone()
            token = as_token(x, self.input_size, TOKENS) if is_int(x) else -1
            if token < 0:
                self._x[0] = as_vector(x, self.input_size)
            if self._frames == self._alone.window:
                self._forget(1)
            self._plan[0, PLAN_ROW], self._plan[0, PLAN_TOKEN] = self._frames, token
            stage.forward(self.table, 0, self._plan, self._x if token < 0 else self._x[:0])
            self._frames += 1
            return self.stage.output[0].copy()

    def backward(self, dy: Any) -> np.ndarray:
        """Gradient dy (n, O), or (O,), of the last n outputs, or one, to that of their inputs, (n, I) or (I,).

        Walks back through those n frames only, adds to `grads`, and empties the tape. The gradient of a token is zero.
        Raises ValueError if dy has another shape or the tape holds fewer frames.
        """
        dy = np.ascontiguousarray(as_numbers(dy, "gradients"), np.float32)
        dY = dy.reshape(-1, dy.shape[-1]) if dy.ndim in (1, 2) else dy
        if dY.ndim != 2 or dY.shape[1] != self.output_size:
            raise ValueError(f"dy must have shape (n, {self.output_size}) or ({self.output_size},), not {dy.shape}")
        with self._lock:
            self._check_alone()
            return self._backward(dY).reshape(*dy.shape[:-1], self.input_size)

    def _backward(self, dY: np.ndarray) -> np.ndarray:
        frames = len(dY)
        if not 1 <= frames <= self._frames:
            raise ValueError(f"dy is for the last {frames} frames, but the tape holds {self._frames}")
        self._forget(self._frames - frames)
        self.stage.dx[:frames] = 0
        stage.backward(self.table, 0, 0, frames, 0, -1, 0, dY)
        self._frames = 0
        return self.stage.dx[:frames].copy()

    def reset(self) -> None:
        """Forget: zero the state and empty the tape."""
        with self._lock:
            self.stage.state[:] = 0
            self._frames = 0

    def __reduce__(self) -> tuple:
        with self._lock:
            self._check_alone()
            tensors = {name: getattr(self.stage, name).copy() for name in KEPT}
            stream_state.blank(self.stage, tensors["tape"], tensors["tokens"], np.array([self._frames]))
            sizes = self.input_size, self.hidden_size, self.output_size if self.own_output else None
            facts = sizes, self._alone.window, self._frames, self._optimizer
            return _made_again, (type(self), *facts, save_bytes(tensors))

    def _check_alone(self) -> None:
        if self._sizes is not self._alone:
            raise RuntimeError(f"{self} belongs to a network: call the network's step and learn, copy the network")

    def _forget(self, count: int) -> None:
        """Drop the oldest frames of the tape."""
        if count:
            stage.slide(self.stage.config, self.stage.tape[0], self.stage.tokens[0], count)
            self._frames -= count

    def _set_optimizer(self, optimizer: Optimizer, clip_norm: float | None) -> None:
        link([type(optimizer).__name__])
        if self._optimizer != optimizer:
            moments = np.zeros((optimizer.moments, len(self.parameters.flat)), np.float32)
            self.stage = self.stage._replace(moments=moments)
            self._table = None
            self.stage.config[OPTIMIZER] = optimizer.number
            self.stage.counters[:] = 0
            self._optimizer = optimizer
        self.stage.hyper[:] = optimizer.hyper(clip_norm)


def _made_again(
    kind: type[Layer],
    sizes: tuple[int, int, int | None],
    window: int,
    frames: int,
    optimizer: Optimizer | None,
    tensors: bytes,
) -> Layer:
    """A layer that is alone, from what its `__reduce__` gave."""
    made = kind(*sizes, window=window, seed=None)
    if optimizer:
        made._set_optimizer(optimizer, None)
    for name, tensor in load_bytes(tensors).items():
        getattr(made.stage, name)[...] = tensor
    made._frames = frames
    return made


def layer(name: str) -> type[Layer]:
    """The class of layers with a cell of the table, described as in its file."""
    about = import_module(f"streamrnn.kernels.cells.{name.lower()}").__doc__
    return type(name, (Layer,), {"cell": KINDS[name], "__doc__": about, "__module__": __name__})


CELLS = {name: layer(name) for name in KINDS}
globals().update(CELLS)
