"""exp, sigmoid and tanh in float32, written so that the compiler runs them across vector lanes, and log in float64.

Absolute error of sigmoid and tanh stays below 2e-7, relative error of exp below 3e-7, of log below 1e-15
(tests/test_activations.py). NaN goes in and comes out. The bits are the same on every machine, which those of the
system's mathematical library are not.
"""

from math import frexp

from numba import float32

from streamrnn.kernels.instructions import bits_of_float, float_from_bits, fma
from streamrnn.kernels.jit import kernel

LOWEST, HIGHEST = float32(-87.0), float32(88.0)  # beyond, exp leaves the normal float32 numbers
LOG2_E = float32(1.4426950408889634)
LN2_HIGH, LN2_LOW = float32(0.693359375), float32(-2.12194440e-4)  # ln 2 in two parts, the first exact in 10 bits
ROUND = float32(12582912.0)  # 1.5 * 2**23: adding it leaves the nearest integer in the low bits
ONE, TWO = float32(1.0), float32(2.0)
# Taylor coefficients 1/k! of exp; on |r| <= ln(2)/2 the first one left out adds less than 6e-9
C2, C3, C4, C5, C6, C7 = (float32(1.0 / f) for f in (2, 6, 24, 120, 720, 5040))
ROOT_HALF = 0.7071067811865476
LN2_64_HIGH, LN2_64_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # the first exact in 32 bits
ARTANH = tuple(1.0 / k for k in range(21, 1, -2))  # artanh s = s + s³/3 + s⁵/5 + ..., for |s| <= 0.172


@kernel
def exp(x):
    """e**x for x clamped to [-87, 88]: 2**n * e**r with n the integer nearest to x / ln 2."""
    x = LOWEST if x < LOWEST else x
    x = HIGHEST if x > HIGHEST else x
    shifted = fma(x, LOG2_E, ROUND)
    n = shifted - ROUND
    r = fma(-n, LN2_LOW, fma(-n, LN2_HIGH, x))
    series = fma(r, fma(r, fma(r, fma(r, fma(r, fma(r, C7, C6), C5), C4), C3), C2), ONE)
    power = float_from_bits((bits_of_float(shifted) << 23) + bits_of_float(ONE))
    return fma(series, r, ONE) * power


@kernel
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return ONE / (ONE + exp(-x))


@kernel
def tanh(x):
    """2 sigmoid(2x) - 1."""
    return TWO / (ONE + exp(-TWO * x)) - ONE


@kernel
def log(x):
    """ln x for a positive, finite x (float64): n ln 2 + 2 artanh((m - 1) / (m + 1)) with x = 2**n m, m around 1."""
    m, n = frexp(x)
    if m < ROOT_HALF:
        m, n = 2.0 * m, n - 1
    s = (m - 1.0) / (m + 1.0)
    square, series = s * s, 0.0
    for coefficient in ARTANH:
        series = series * square + coefficient
    return n * LN2_64_HIGH + (2.0 * s + (2.0 * s * square * series + n * LN2_64_LOW))


@kernel
def power(base, exponent):
    """base ** exponent for an exponent of at least 0 (int64), in float64: by squaring, so the same on every machine."""
    result = 1.0
    while exponent > 0:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result
