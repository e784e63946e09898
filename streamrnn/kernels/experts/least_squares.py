"""Robust recursive least squares: weights that a few bad targets do not spoil, and that forget what is long past.

The inverse correlation P = U diag(D) U' is kept as its factors, U unit upper triangular: P stays positive definite for
ever, whatever rounding does (Bierman 1977, Factorization Methods for Discrete Sequential Estimation, ch. V). Errors
have Student's t distribution, so each weighs less the larger it is (Lange, Little and Taylor 1989).
"""

from streamrnn.kernels.jit import inlined, kernel

FREEDOM = 5.0  # degrees of freedom of Student's t
STEADY = 10.0  # targets before errors are weighed
MOST = 1e4  # of D: where nothing is learned, forgetting would let it grow without end
FURTHEST = 12.0  # scales from the mean; a prediction is cut there
LARGEST = 8.0  # scales; an error is cut there before weights follow it


@inlined
def triangle(n):
    """Numbers above the diagonal of U (n, n); column j of it lies from triangle(j) on."""
    return n * (n - 1) // 2


@kernel
def start(w, U, D, newest, diagonal):
    """Weights (n,) that repeat the newest value, which is feature `newest`; diagonal: of P."""
    w[:] = 0.0
    w[newest] = 1.0
    U[:] = 0.0
    D[:] = diagonal


@kernel
def dot(a, b, n):
    """The sum of products of the first n, in four sums that are added at the end."""
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    whole = n - n % 4
    for i in range(0, whole, 4):
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
    for i in range(whole, n):
        s0 += a[i] * b[i]
    return (s0 + s1) + (s2 + s3)


@kernel
def predict(w, f):
    """In scales from the channel's mean, from the first n features of f; n: of weights."""
    n = w.shape[0]
    return max(-FURTHEST, min(dot(w, f, n), FURTHEST))


@inlined
def weight(error, scale, seen):
    """How much an error counts, 1 on the average."""
    if seen < STEADY:
        return 1.0
    ratio = error / scale
    return (FREEDOM + 1.0) / (FREEDOM + ratio * ratio)


@kernel
def learn(w, U, D, f, error, weight, forgetting, k):
    """Move weights w (n,) so that the first n features of f predict better. k is overwritten."""
    n = w.shape[0]
    alpha = forgetting / weight
    for j in range(n):
        first = triangle(j)
        column = U[first : first + j]
        along = f[j] + dot(column, f, j)
        v, before = D[j] * along, alpha
        alpha += v * along
        D[j] = min(D[j] * (before / alpha) / forgetting, MOST)
        turn = -along / before
        for i in range(j):
            u = column[i]
            column[i] = u + turn * k[i]
            k[i] += u * v
        k[j] = v
    error = max(-LARGEST, min(error, LARGEST))
    for i in range(n):
        w[i] += k[i] / alpha * error
