"""The instructions that kernels need and plain Python cannot name, and arrays that lie well for them."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from streamrnn.jit import DISABLED

LINE = 16  # floats on a cache line


@intrinsic
def _fma(typingctx, a, b, c):  # type: ignore[no-untyped-def]
    return types.float32(types.float32, types.float32, types.float32), lambda _, builder, __, args: builder.fma(*args)


@intrinsic
def _float_from_bits(typingctx, bits):  # type: ignore[no-untyped-def]
    return types.float32(types.int32), lambda _, builder, __, args: builder.bitcast(args[0], ir.FloatType())


@intrinsic
def _bits_of_float(typingctx, value):  # type: ignore[no-untyped-def]
    return types.int32(types.float32), lambda _, builder, __, args: builder.bitcast(args[0], ir.IntType(32))


if DISABLED:  # plain Python in their place, for coverage runs: as accurate, not the same bits

    def fma(a: Any, b: Any, c: Any) -> Any:
        return np.float32(a * b + c)

    def float_from_bits(bits: Any) -> Any:
        return np.int32(bits).view(np.float32)

    def bits_of_float(value: Any) -> Any:
        return np.float32(value).view(np.int32)

else:
    fma, float_from_bits, bits_of_float = _fma, _float_from_bits, _bits_of_float  # type: ignore[assignment]

fma.__doc__ = "a * b + c, rounded once (float32)."


def buffer(*shape: int) -> np.ndarray:
    """A zeroed float32 array whose first element lies on a cache line."""
    count = int(np.prod(shape))
    raw = np.zeros(count + LINE, np.float32)
    skip = (-raw.ctypes.data % 64) // 4
    return raw[skip : skip + count].reshape(shape)
