"""The instructions that kernels need and plain Python cannot name, and arrays that lie well for them."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from streamrnn.jit import DISABLED

LANES = 16  # `dot` sums in 4 x 16 lanes, on every processor


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
def _dot(typingctx, a, b):  # type: ignore[no-untyped-def]
    assert a.layout == b.layout == "C", "dot reads its vectors in one stretch"
    return types.float32(a, b), _build_dot


def _build_dot(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """LLVM code of `dot`: four vector accumulators, added pairwise, then the lanes halved until one is left."""
    vector = ir.VectorType(ir.FloatType(), LANES)
    a, b = (context.make_array(t)(context, builder, v) for t, v in zip(signature.args, args, strict=True))
    n = builder.extract_value(a.shape, 0)
    size = n.type
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{LANES}f32")
    sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, None)) for _ in range(4)]

    def load(pointer: Any, index: Any) -> Any:
        value = builder.load(builder.bitcast(builder.gep(pointer, [index]), vector.as_pointer()))
        value.align = 4
        return value

    def span(start: Any, stop: Any, vectors: int) -> None:
        with cgutils.for_range_slice(builder, start, stop, size(vectors * LANES)) as (index, _):
            for k in range(vectors):
                at = builder.add(index, size(k * LANES))
                builder.store(builder.call(fma, [load(a.data, at), load(b.data, at), builder.load(sums[k])]), sums[k])

    whole, rest = builder.and_(n, size(-4 * LANES)), builder.and_(n, size(-LANES))
    span(size(0), whole, 4)
    span(whole, rest, 1)
    first, second, third, fourth = (builder.load(s) for s in sums)
    lanes = builder.fadd(builder.fadd(first, second), builder.fadd(third, fourth))
    width = LANES // 2
    while width:
        mask = ir.VectorType(ir.IntType(32), width)
        low = ir.Constant(mask, list(range(width)))
        high = ir.Constant(mask, list(range(width, 2 * width)))
        lanes = builder.fadd(builder.shuffle_vector(lanes, lanes, low), builder.shuffle_vector(lanes, lanes, high))
        width //= 2
    total = cgutils.alloca_once_value(builder, builder.extract_element(lanes, ir.IntType(32)(0)))
    with cgutils.for_range_slice(builder, rest, n, size(1)) as (index, _):
        x, y = (builder.load(builder.gep(p.data, [index])) for p in (a, b))
        builder.store(builder.fma(x, y, builder.load(total)), total)
    return builder.load(total)


if DISABLED:  # plain Python in their place, for coverage runs: as accurate, not the same bits

    def fma(a: Any, b: Any, c: Any) -> Any:
        return np.float32(a * b + c)

    def dot(a: Any, b: Any) -> Any:
        return np.float32(np.dot(a, b))

    def float_from_bits(bits: Any) -> Any:
        return np.int32(bits).view(np.float32)

    def bits_of_float(value: Any) -> Any:
        return np.float32(value).view(np.int32)

else:
    fma, dot, float_from_bits, bits_of_float = _fma, _dot, _float_from_bits, _bits_of_float  # type: ignore[assignment]

fma.__doc__ = "a * b + c, rounded once (float32)."
dot.__doc__ = "Inner product of two contiguous float32 vectors of equal length, in one fixed order of 64 lanes."


def buffer(*shape: int) -> np.ndarray:
    """A zeroed float32 array whose first element lies on a cache line."""
    count = int(np.prod(shape))
    raw = np.zeros(count + LANES, np.float32)
    skip = (-raw.ctypes.data % 64) // 4
    return raw[skip : skip + count].reshape(shape)
