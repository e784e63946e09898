"""The table of cells: one file each, one line each in `step` and `gradient`.

Around a cell, `streamrnn.stage` computes every matrix product; the cell itself is what happens per unit.
"""

from streamrnn.buffers import LSTM, RNN
from streamrnn.cells import gru, lstm, rnn
from streamrnn.jit import inlined


@inlined
def step(kind, z, u, b_hn, state, tape):
    """One frame of the cell of that kind: from pre-activations z, u and the state to the new state."""
    if kind == RNN:
        rnn.step(z, u, b_hn, state, tape)
    elif kind == LSTM:
        lstm.step(z, u, b_hn, state, tape)
    else:
        gru.step(z, u, b_hn, state, tape)


@inlined
def gradient(kind, tape, h, dh, dc, dz, du):
    """One frame back through the cell of that kind: from dh, dc to dz, du and what reaches h and c directly."""
    if kind == RNN:
        rnn.gradient(tape, h, dh, dc, dz, du)
    elif kind == LSTM:
        lstm.gradient(tape, h, dh, dc, dz, du)
    else:
        gru.gradient(tape, h, dh, dc, dz, du)
