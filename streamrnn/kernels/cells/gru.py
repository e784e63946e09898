"""Gated recurrent unit (Cho et al. 2014), reset gate after the product as in cuDNN and PyTorch.

    r, z = sigmoid(x W_x{r,z} + h W_h{r,z} + b_{r,z})
    n = tanh(x W_xn + b_n + r (h W_hn + b_hn))
    h' = (1 - z) n + z h

Gates lie in the order r, z, n along the columns of W_xh, W_hh and b_h; b_hn (H,) is the bias inside the reset product.
"""

from streamrnn.kernels.activations import ONE, sigmoid, tanh
from streamrnn.kernels.jit import kernel
from streamrnn.kernels.linear import add_rows, copy


@kernel
def step(z, u, p, state, tape):
    """One frame. z (3H,) = x W_xh + b_h, u (3H,) = h W_hh, p (H,) = b_hn; changes state (H,) in place.

    Writes tape (4H,): r, z, n, h W_hn + b_hn.
    """
    H = state.shape[0]
    r, keep, n, inner = tape[:H], tape[H : 2 * H], tape[2 * H : 3 * H], tape[3 * H :]
    for j in range(2 * H):
        tape[j] = sigmoid(z[j] + u[j])
    z_n, u_n = z[2 * H :], u[2 * H :]
    for j in range(H):
        inner[j] = u_n[j] + p[j]
    for j in range(H):
        n[j] = tanh(z_n[j] + r[j] * inner[j])
    for j in range(H):
        state[j] = (ONE - keep[j]) * n[j] + keep[j] * state[j]


@kernel
def gradient(tape, h, p, dh, dc, dz, du):
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


@kernel
def own_gradient(A, dz, du, dp):
    """dp (H,) += the gradient of b_hn."""
    add_rows(du[:, 2 * dp.shape[0] :], dp)
