"""Gated recurrent unit (Cho et al. 2014), reset gate after the product as in cuDNN and PyTorch.

    r, z = sigmoid(x W_x{r,z} + h W_h{r,z} + b_{r,z})
    n = tanh(x W_xn + b_n + r (h W_hn + b_hn))
    h' = (1 - z) n + z h

Gates lie in the order r, z, n along the columns of W_xh, W_hh and b_h; b_hn (H,) is the bias inside the reset product.
"""

from streamrnn.activations import ONE, sigmoid, tanh
from streamrnn.jit import inlined
from streamrnn.linear import copy

GATES = 3  # pre-activations per unit
STATE = ("h",)
TAPE = 4  # floats per unit and frame that the way back needs: r, z, n, h W_hn + b_hn


@inlined
def step(z, u, b_hn, state, tape):
    """One frame. z (3H,) = x W_xh + b_h, u (3H,) = h W_hh; changes state (H,) in place, writes tape (4H,)."""
    H = state.shape[0]
    r, keep, n, inner = tape[:H], tape[H : 2 * H], tape[2 * H : 3 * H], tape[3 * H :]
    for j in range(2 * H):
        tape[j] = sigmoid(z[j] + u[j])
    z_n, u_n = z[2 * H :], u[2 * H :]
    for j in range(H):
        inner[j] = u_n[j] + b_hn[j]
    for j in range(H):
        n[j] = tanh(z_n[j] + r[j] * inner[j])
    for j in range(H):
        state[j] = (ONE - keep[j]) * n[j] + keep[j] * state[j]


@inlined
def gradient(tape, h, dh, dc, dz, du):
    """One frame back. dh (H,) = gradient of h', becomes the part that reaches h directly; dz, du (3H,) of z and u."""
    H = dh.shape[0]
    r, keep, n, inner = tape[:H], tape[H : 2 * H], tape[2 * H : 3 * H], tape[3 * H :]
    dz_r, dz_z, dz_n = dz[:H], dz[H : 2 * H], dz[2 * H :]
    for j in range(H):
        dz_n[j] = dh[j] * (ONE - keep[j]) * (ONE - n[j] * n[j])
    for j in range(H):
        dz_z[j] = dh[j] * (h[j] - n[j]) * keep[j] * (ONE - keep[j])
    for j in range(H):
        dz_r[j] = dz_n[j] * inner[j] * r[j] * (ONE - r[j])
    copy(dz[: 2 * H], du[: 2 * H])
    du_n = du[2 * H :]
    for j in range(H):
        du_n[j] = dz_n[j] * r[j]
    for j in range(H):
        dh[j] *= keep[j]
