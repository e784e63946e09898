"""The plain recurrent cell (Elman 1990): h' = tanh(x W_xh + h W_hh + b_h)."""

from streamrnn.kernels.activations import ONE, tanh
from streamrnn.kernels.jit import kernel
from streamrnn.kernels.linear import copy


@kernel
def step(z, u, p, state, tape):
    """One frame. z (H,) = x W_xh + b_h, u (H,) = h W_hh; changes state (H,) in place, writes tape (H,) = h'."""
    for j in range(z.shape[0]):
        tape[j] = tanh(z[j] + u[j])
    copy(tape, state)


@kernel
def gradient(tape, h, p, dh, dc, dz, du):
    """One frame back. dh (H,) = gradient of h', becomes the part that reaches h directly; dz and du are one array."""
    for j in range(dh.shape[0]):
        dz[j] = dh[j] * (ONE - tape[j] * tape[j])
    dh[:] = 0
