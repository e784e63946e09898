"""Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    i, f, o = sigmoid(x W_x{i,f,o} + h W_h{i,f,o} + b_{i,f,o})      g = tanh(x W_xg + h W_hg + b_g)
    c' = f c + i g                                                   h' = o tanh(c')

Gates lie in the order i, f, g, o along the columns of W_xh, W_hh and b_h.
"""

from streamrnn.kernels.activations import ONE, sigmoid, tanh
from streamrnn.kernels.jit import kernel
from streamrnn.kernels.linear import copy


@kernel
def step(z, u, p, state, tape):
    """One frame. z (4H,) = x W_xh + b_h, u (4H,) = h W_hh; changes state (2H,) = h, c in place.

    Writes tape (6H,): i, f, g, o, c before the frame, tanh(c').
    """
    H = z.shape[0] // 4
    h, c = state[:H], state[H:]
    i, f, g, o = tape[:H], tape[H : 2 * H], tape[2 * H : 3 * H], tape[3 * H : 4 * H]
    c_before, tanh_c = tape[4 * H : 5 * H], tape[5 * H :]
    for j in range(2 * H):
        tape[j] = sigmoid(z[j] + u[j])
    for j in range(2 * H, 3 * H):
        tape[j] = tanh(z[j] + u[j])
    for j in range(3 * H, 4 * H):
        tape[j] = sigmoid(z[j] + u[j])
    copy(c, c_before)
    for j in range(H):
        c[j] = f[j] * c[j] + i[j] * g[j]
    for j in range(H):
        tanh_c[j] = tanh(c[j])
    for j in range(H):
        h[j] = o[j] * tanh_c[j]


@kernel
def gradient(tape, h, p, dh, dc, dz, du):
    """One frame back. dh (H,), dc (H,) = gradients of h', c', become those that reach h, c directly; dz is du (4H,)."""
    H = dh.shape[0]
    i, f, g, o = tape[:H], tape[H : 2 * H], tape[2 * H : 3 * H], tape[3 * H : 4 * H]
    c_before, tanh_c = tape[4 * H : 5 * H], tape[5 * H :]
    dz_i, dz_f, dz_g, dz_o = dz[:H], dz[H : 2 * H], dz[2 * H : 3 * H], dz[3 * H :]
    for j in range(H):
        dc[j] += dh[j] * o[j] * (ONE - tanh_c[j] * tanh_c[j])
    for j in range(H):
        dz_o[j] = dh[j] * tanh_c[j] * o[j] * (ONE - o[j])
    for j in range(H):
        dz_i[j] = dc[j] * g[j] * i[j] * (ONE - i[j])
    for j in range(H):
        dz_f[j] = dc[j] * c_before[j] * f[j] * (ONE - f[j])
    for j in range(H):
        dz_g[j] = dc[j] * i[j] * (ONE - g[j] * g[j])
    for j in range(H):
        dc[j] *= f[j]
    dh[:] = 0
