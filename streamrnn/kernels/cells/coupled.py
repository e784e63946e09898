"""LSTM with coupled input and forget gates (CIFG in Greff et al. 2017, "LSTM: a search space odyssey"): i = 1 - f.

    f, o = sigmoid(x W_x{f,o} + h W_h{f,o} + b_{f,o})      g = tanh(x W_xg + h W_hg + b_g)
    c' = f c + (1 - f) g                                    h' = o tanh(c')

Gates lie in the order f, g, o along the columns of W_xh, W_hh and b_h.
"""

from streamrnn.kernels.activations import ONE, sigmoid, tanh
from streamrnn.kernels.jit import kernel
from streamrnn.kernels.linear import copy


@kernel
def step(z, u, p, state, tape):
    """One frame. z (3H,) = x W_xh + b_h, u (3H,) = h W_hh; changes state (2H,) = h, c in place.

    Writes tape (5H,): f, g, o, c before the frame, tanh(c').
    """
    H = z.shape[0] // 3
    h, c = state[:H], state[H:]
    f, g, o = tape[:H], tape[H : 2 * H], tape[2 * H : 3 * H]
    c_before, tanh_c = tape[3 * H : 4 * H], tape[4 * H :]
    for j in range(H):
        tape[j] = sigmoid(z[j] + u[j])
    for j in range(H, 2 * H):
        tape[j] = tanh(z[j] + u[j])
    for j in range(2 * H, 3 * H):
        tape[j] = sigmoid(z[j] + u[j])
    copy(c, c_before)
    for j in range(H):
        c[j] = f[j] * c[j] + (ONE - f[j]) * g[j]
    for j in range(H):
        tanh_c[j] = tanh(c[j])
    for j in range(H):
        h[j] = o[j] * tanh_c[j]


@kernel
def gradient(tape, h, p, dh, dc, dz, du):
    """One frame back. dh (H,), dc (H,) = gradients of h', c', become those that reach h, c directly; dz is du (3H,)."""
    H = dh.shape[0]
    f, g, o = tape[:H], tape[H : 2 * H], tape[2 * H : 3 * H]
    c_before, tanh_c = tape[3 * H : 4 * H], tape[4 * H :]
    dz_f, dz_g, dz_o = dz[:H], dz[H : 2 * H], dz[2 * H :]
    for j in range(H):
        dc[j] += dh[j] * o[j] * (ONE - tanh_c[j] * tanh_c[j])
    for j in range(H):
        dz_o[j] = dh[j] * tanh_c[j] * o[j] * (ONE - o[j])
    for j in range(H):
        dz_f[j] = dc[j] * (c_before[j] - g[j]) * f[j] * (ONE - f[j])
    for j in range(H):
        dz_g[j] = dc[j] * (ONE - f[j]) * (ONE - g[j] * g[j])
    for j in range(H):
        dc[j] *= f[j]
    dh[:] = 0
