"""RNN, LSTM and GRU layers: vectors come in, vectors go out, and a gradient flows back."""

from types import ModuleType
from typing import Any

import numpy as np

from streamrnn import buffers, cells, stage
from streamrnn.buffers import OPTIMIZER, PLAN_COLUMNS, PLAN_ROW, PLAN_TOKEN, Sizes, Stage, allocate, table_of
from streamrnn.inputs import as_token, as_vector
from streamrnn.optimizers import Optimizer
from streamrnn.parameters import Parameters, glorot, orthogonal


class Layer:
    """A recurrent layer with its parameters, its hidden state and its tape.

    Alone it keeps the tape of its last `window` frames, and `step` and `backward` are all there is to it; given to a
    `Network`, it lends its parameters and the network does the rest.

    Raises ValueError where a size is below 1.
    """

    kind: int
    cell: ModuleType

    def __init__(
        self, input_size: int, hidden_size: int, output_size: int | None = None, *, window: int = 16, seed: int = 0
    ) -> None:
        sizes = {"input_size": input_size, "hidden_size": hidden_size}
        if output_size is not None:
            sizes["output_size"] = output_size
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, not {size}")
        if window < 1:
            raise ValueError(f"window must be at least 1 frame, not {window}")
        self.input_size, self.hidden_size = input_size, hidden_size
        self.own_output = output_size is not None
        self.output_size = output_size or hidden_size
        self.parameters = Parameters(self._shapes())
        self.initialize(np.random.default_rng(seed))
        self._alone = Sizes(window=window)
        self.allocate(self._alone, moments=0)

    def __repr__(self) -> str:
        own = f", {self.output_size}" if self.own_output else ""
        return f"{type(self).__name__}({self.input_size}, {self.hidden_size}{own})"

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        I, H, G = self.input_size, self.hidden_size, self.cell.GATES * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"W_xh": (I, G), "W_hh": (H, G), "b_h": (G,)}
        if self.kind == buffers.GRU:
            shapes["b_hn"] = (H,)
        if self.own_output:
            shapes |= {"W_hy": (H, self.output_size), "b_y": (self.output_size,)}
        return shapes

    def initialize(self, rng: np.random.Generator) -> None:
        """Fresh weights: Glorot from inputs and to outputs, orthogonal through time, an LSTM's forget bias 1."""
        views, H = self.parameters.views, self.hidden_size
        self.parameters.flat[:] = 0
        glorot(rng, views["W_xh"], H)
        orthogonal(rng, views["W_hh"])
        if self.kind == buffers.LSTM:
            views["b_h"][H : 2 * H] = 1
        if self.own_output:
            glorot(rng, views["W_hy"], self.output_size)

    def allocate(self, sizes: Sizes, moments: int, standardize: bool = False, needs_dx: bool = True) -> None:
        """Make the buffers; the parameters stay."""
        I, H, W = self.input_size, self.hidden_size, sizes.window
        self.stage: Stage = allocate(
            self.kind,
            I,
            H,
            self.output_size,
            self.parameters.flat,
            gates=self.cell.GATES * H,
            state=len(self.cell.STATE) * H,
            tape=W * I + (W + 1) * H + W * self.cell.TAPE * H,
            stats=1 + 2 * I if standardize else 0,
            moments=moments,
            sizes=sizes,
            own_output=self.own_output,
            needs_dx=needs_dx,
        )
        self.table = table_of([self.stage])
        self._sizes = sizes
        self._frames = 0  # on the tape of a layer that is alone
        self._plan = np.zeros((1, PLAN_COLUMNS), np.int64)
        self._x = np.zeros((1, I), np.float32)
        self._optimizer: Optimizer | None = None

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Live views: W_xh (I, G), W_hh (H, G), b_h (G,), a GRU's b_hn (H,), W_hy (H, O), b_y (O,) if it has them."""
        return self.parameters.views

    @property
    def grads(self) -> dict[str, np.ndarray]:
        """Live views of the accumulated gradient, named and shaped as `params`."""
        return self.parameters.named(self.stage.grads[0])

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Live views of the hidden state h (H,), and of the cell state c (H,) of an LSTM."""
        return dict(zip(self.cell.STATE, self.stage.state[0].reshape(-1, self.hidden_size), strict=True))

    def step(self, x: Any) -> np.ndarray:
        """One frame, a vector (I,) or the int of a token, to an output (O,); the state changes in place.

        Raises ValueError if x has another shape, or is a token outside [0, I); RuntimeError inside a network.
        """
        self._check_alone()
        token = as_token(x, self.input_size)
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
        self._check_alone()
        dy = np.ascontiguousarray(dy, np.float32)
        dY = dy.reshape(-1, dy.shape[-1]) if dy.ndim in (1, 2) else dy
        if dY.ndim != 2 or dY.shape[1] != self.output_size:
            raise ValueError(f"dy must have shape (n, {self.output_size}) or ({self.output_size},), not {dy.shape}")
        frames = len(dY)
        if not 1 <= frames <= self._frames:
            raise ValueError(f"dy is for the last {frames} frames, but the tape holds {self._frames}")
        self._forget(self._frames - frames)
        self.stage.dx[:frames] = 0
        stage.backward(self.table, 0, 0, frames, 0, -1, 0, dY)
        self._frames = 0
        return self.stage.dx[:frames].copy().reshape(*dy.shape[:-1], self.input_size)

    def reset(self) -> None:
        """Forget: zero the state and empty the tape."""
        self.stage.state[:] = 0
        self._frames = 0

    def _check_alone(self) -> None:
        if self._sizes is not self._alone:
            raise RuntimeError(f"{self} belongs to a network: call the network's step and learn")

    def _forget(self, count: int) -> None:
        """Drop the oldest frames of the tape."""
        if count:
            stage.slide(self.stage.config, self.stage.tape[0], self.stage.tokens[0], count)
            self._frames -= count

    def _set_optimizer(self, optimizer: Optimizer, clip_norm: float | None) -> None:
        if self._optimizer != optimizer:
            moments = np.zeros((optimizer.moments, len(self.parameters.flat)), np.float32)
            self.stage = self.stage._replace(moments=moments)
            self.table = table_of([self.stage])
            self.stage.config[OPTIMIZER] = optimizer.kind
            self.stage.counters[:] = 0
            self._optimizer = optimizer
        self.stage.hyper[:] = optimizer.hyper(clip_norm)


class RNN(Layer):
    """Plain recurrent layer, see `streamrnn.cells.rnn`."""

    kind, cell = buffers.RNN, cells.rnn


class LSTM(Layer):
    """Long short-term memory, see `streamrnn.cells.lstm`."""

    kind, cell = buffers.LSTM, cells.lstm


class GRU(Layer):
    """Gated recurrent unit, see `streamrnn.cells.gru`."""

    kind, cell = buffers.GRU, cells.gru
