"""LSTM with peephole connections (Gers and Schmidhuber 2000, "Recurrent nets that time and count").

    i, f = sigmoid(x W_x{i,f} + h W_h{i,f} + b_{i,f} + p_{i,f} c)     g = tanh(x W_xg + h W_hg + b_g)
    c' = f c + i g          o = sigmoid(x W_xo + h W_ho + b_o + p_o c')          h' = o tanh(c')

Gates lie in the order i, f, g, o along the columns of W_xh, W_hh and b_h; p_i, p_f and p_o (H,) are zero at first.
"""

from streamrnn.kernels.activations import ONE, sigmoid, tanh
from streamrnn.kernels.jit import kernel
from streamrnn.kernels.linear import copy


@kernel
def step(z, u, p, state, tape):
    """One frame. z (4H,) = x W_xh + b_h, u (4H,) = h W_hh, p (3H,); changes state (2H,) = h, c in place.

    Writes tape (7H,): i, f, g, o, c before the frame, c', tanh(c').
    """
    H = z.shape[0] // 4
    h, c = state[:H], state[H:]
    i, f, g, o = tape[:H], tape[H : 2 * H], tape[2 * H : 3 * H], tape[3 * H : 4 * H]
    c_before, c_after, tanh_c = tape[4 * H : 5 * H], tape[5 * H : 6 * H], tape[6 * H :]
    z_o, u_o, p_o = z[3 * H :], u[3 * H :], p[2 * H :]
    copy(c, c_before)
    for j in range(H):
        i[j] = sigmoid(z[j] + u[j] + p[j] * c[j])
    for j in range(H):
        f[j] = sigmoid(z[H + j] + u[H + j] + p[H + j] * c[j])
    for j in range(H):
        g[j] = tanh(z[2 * H + j] + u[2 * H + j])
    for j in range(H):
        c[j] = f[j] * c[j] + i[j] * g[j]
    copy(c, c_after)
    for j in range(H):
        o[j] = sigmoid(z_o[j] + u_o[j] + p_o[j] * c[j])
    for j in range(H):
        tanh_c[j] = tanh(c[j])
    for j in range(H):
        h[j] = o[j] * tanh_c[j]


@kernel
def gradient(tape, h, p, dh, dc, dz, du):
    """One frame back. dh (H,), dc (H,) = gradients of h', c', become those that reach h, c directly; dz is du (4H,)."""
    H = dh.shape[0]
    i, f, g, o = tape[:H], tape[H : 2 * H], tape[2 * H : 3 * H], tape[3 * H : 4 * H]
    c_before, tanh_c = tape[4 * H : 5 * H], tape[6 * H :]
    dz_i, dz_f, dz_g, dz_o = dz[:H], dz[H : 2 * H], dz[2 * H : 3 * H], dz[3 * H :]
    p_i, p_f, p_o = p[:H], p[H : 2 * H], p[2 * H :]
    for j in range(H):
        dz_o[j] = dh[j] * tanh_c[j] * o[j] * (ONE - o[j])
    for j in range(H):
        dc[j] += dh[j] * o[j] * (ONE - tanh_c[j] * tanh_c[j]) + dz_o[j] * p_o[j]
    for j in range(H):
        dz_i[j] = dc[j] * g[j] * i[j] * (ONE - i[j])
    for j in range(H):
        dz_f[j] = dc[j] * c_before[j] * f[j] * (ONE - f[j])
    for j in range(H):
        dz_g[j] = dc[j] * i[j] * (ONE - g[j] * g[j])
    for j in range(H):
        dc[j] = dc[j] * f[j] + dz_i[j] * p_i[j] + dz_f[j] * p_f[j]
    dh[:] = 0


@kernel
def own_gradient(A, dz, du, dp):
    """dp (3H,) += the gradients of p_i, p_f and p_o over the frames of a window, A (n, 7H) their tape."""
    H = dp.shape[0] // 3
    dp_i, dp_f, dp_o = dp[:H], dp[H : 2 * H], dp[2 * H :]
    for t in range(dz.shape[0]):
        dz_i, dz_f, dz_o = dz[t, :H], dz[t, H : 2 * H], dz[t, 3 * H :]
        c_before, c_after = A[t, 4 * H : 5 * H], A[t, 5 * H : 6 * H]
        for j in range(H):
            dp_i[j] += dz_i[j] * c_before[j]
        for j in range(H):
            dp_f[j] += dz_f[j] * c_before[j]
        for j in range(H):
            dp_o[j] += dz_o[j] * c_after[j]
