"""The table of cells. A cell is a file here and a line below.

Around a cell, `streamrnn.kernels.stage` computes every matrix product; its file has what happens per unit:

    step(z, u, p, state, tape)               a frame forward, from the pre-activations of input and hidden state
    gradient(tape, h, p, dh, dc, dz, du)     a frame back, to the gradients of both and what reaches h and c directly
    own_gradient(A, dz, du, dp)              the gradient of its own parameters p over a window, where it has some
"""

from typing import NamedTuple


class Cell(NamedTuple):
    """What buffers and parameters a cell of H units needs."""

    gates: int  # pre-activations per unit
    tape: int  # floats per unit and frame that the way back needs
    state: tuple[str, ...] = ("h",)  # vectors (H,) that go on to the next frame
    own: tuple[str, ...] = ()  # parameters (H,) beside W_xh, W_hh and b_h
    separate: bool = False  # the gradients of z and u differ
    forget: int | None = None  # the gate whose bias is 1 at first


CELLS = {
    "RNN": Cell(gates=1, tape=1),
    "LSTM": Cell(gates=4, tape=6, state=("h", "c"), forget=1),
    "GRU": Cell(gates=3, tape=4, own=("b_hn",), separate=True),
    "Peephole": Cell(gates=4, tape=7, state=("h", "c"), own=("p_i", "p_f", "p_o"), forget=1),
    "Coupled": Cell(gates=3, tape=5, state=("h", "c"), forget=0),
}
