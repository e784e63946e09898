"""The instructions that kernels need and plain Python cannot name, and arrays that lie well for them."""

import ctypes
from math import prod
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from streamrnn.kernels.jit import DISABLED

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


@intrinsic
def _matrix(typingctx, flat, start, rows, columns):  # type: ignore[no-untyped-def]
    assert flat.layout == "C", "a matrix lies in one stretch"
    kind = types.Array(flat.dtype, 2, "C")

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a = context.make_array(signature.args[0])(context, builder, args[0])
        view = context.make_array(kind)(context, builder)
        shape = [context.cast(builder, args[k], signature.args[k], types.intp) for k in (2, 3)]
        first = context.cast(builder, args[1], signature.args[1], types.intp)
        populate_array(
            view,
            data=builder.gep(a.data, [first]),
            shape=shape,
            strides=[builder.mul(shape[1], a.itemsize), a.itemsize],
            itemsize=a.itemsize,
            meminfo=a.meminfo,
        )
        return view._getvalue()

    return kind(flat, start, rows, columns), build


if DISABLED:  # plain Python in their place, for coverage runs and a simulated device
    LIBM_FMA = ctypes.CDLL("libm.so.6").fmaf
    LIBM_FMA.restype, LIBM_FMA.argtypes = ctypes.c_float, [ctypes.c_float] * 3

    def fma(a: Any, b: Any, c: Any) -> Any:
        return np.float32(LIBM_FMA(a, b, c))

    def float_from_bits(bits: Any) -> Any:
        return np.int32(bits).view(np.float32)

    def bits_of_float(value: Any) -> Any:
        return np.float32(value).view(np.int32)

    def matrix(flat: Any, start: Any, rows: Any, columns: Any) -> Any:
        return flat[start : start + rows * columns].reshape(rows, columns)

else:
    fma, float_from_bits, bits_of_float = _fma, _float_from_bits, _bits_of_float  # type: ignore[assignment]
    matrix = _matrix  # type: ignore[assignment]

fma.__doc__ = "a * b + c, rounded once (float32)."
matrix.__doc__ = "A (rows, columns) view of a flat array from `start` on. Numba's `reshape` calls a function for it."


def buffer(*shape: int) -> np.ndarray:
    """A zeroed float32 array whose first element lies on a cache line."""
    count = prod(shape)
    raw = np.zeros(count + LINE, np.float32)
    skip = (-raw.ctypes.data % 64) // 4
    return raw[skip : skip + count].reshape(shape)
