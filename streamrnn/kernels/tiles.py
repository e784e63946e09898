"""Inner products and matrix products in tiles that stay in registers, written as vector instructions.

The order of every sum stands here and nowhere else, so the bits are the same for any number of rows and on every
processor: a tile is so many sums side by side, each as if it were alone.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from streamrnn.kernels.jit import DISABLED

LANES = 16  # of a vector; `dot` sums in 4 x 16 lanes


@intrinsic
def _dot(typingctx, a, b):  # type: ignore[no-untyped-def]
    assert a.layout == b.layout == "C", "dot reads its vectors in one stretch"
    return types.float32(a, b), _build_dot


def _build_dot(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    a, b = (context.make_array(t)(context, builder, v) for t, v in zip(signature.args, args, strict=True))
    return _dots(builder, builder.extract_value(a.shape, 0), [a.data], [b.data])[0]


def _dots(builder: Any, n: Any, left: list, right: list) -> list:
    """LLVM code of the inner product of each left with each right vector of n floats, at these pointers.

    For each: four vector accumulators, added pairwise, then the lanes halved until one is left.
    """
    vector, size = ir.VectorType(ir.FloatType(), LANES), n.type
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{LANES}f32")
    pairs = [(i, j) for i in range(len(left)) for j in range(len(right))]
    zero = ir.Constant(vector, None)
    sums = {(*pair, k): cgutils.alloca_once_value(builder, zero) for pair in pairs for k in range(4)}

    def load(pointer: Any, index: Any) -> Any:
        value = builder.load(builder.bitcast(builder.gep(pointer, [index]), vector.as_pointer()))
        value.align = 4
        return value

    def span(start: Any, stop: Any, vectors: int) -> None:
        with cgutils.for_range_slice(builder, start, stop, size(vectors * LANES)) as (index, _):
            for k in range(vectors):
                at = builder.add(index, size(k * LANES))
                x, y = ([load(pointer, at) for pointer in side] for side in (left, right))
                for i, j in pairs:
                    total = sums[i, j, k]
                    builder.store(builder.call(fma, [x[i], y[j], builder.load(total)]), total)

    for total in sums.values():
        builder.store(zero, total)
    whole, rest = builder.and_(n, size(-4 * LANES)), builder.and_(n, size(-LANES))
    span(size(0), whole, 4)
    span(whole, rest, 1)
    totals = [_fold(builder, [builder.load(sums[i, j, k]) for k in range(4)]) for i, j in pairs]
    places = [cgutils.alloca_once_value(builder, ir.Constant(ir.FloatType(), 0.0)) for _ in pairs]
    for total, place in zip(totals, places, strict=True):
        builder.store(total, place)
    with cgutils.for_range_slice(builder, rest, n, size(1)) as (index, _):
        x, y = ([builder.load(builder.gep(pointer, [index])) for pointer in side] for side in (left, right))
        for (i, j), place in zip(pairs, places, strict=True):
            builder.store(builder.fma(x[i], y[j], builder.load(place)), place)
    return [builder.load(place) for place in places]


def _fold(builder: Any, sums: list) -> Any:
    """LLVM code: four vectors to their sum, pairwise all the way."""
    lanes = builder.fadd(builder.fadd(sums[0], sums[1]), builder.fadd(sums[2], sums[3]))
    width = LANES // 2
    while width:
        mask = ir.VectorType(ir.IntType(32), width)
        low = ir.Constant(mask, list(range(width)))
        high = ir.Constant(mask, list(range(width, 2 * width)))
        lanes = builder.fadd(builder.shuffle_vector(lanes, lanes, low), builder.shuffle_vector(lanes, lanes, high))
        width //= 2
    return builder.extract_element(lanes, ir.IntType(32)(0))


def _strides(builder: Any, array: Any, kind: Any) -> list:
    """LLVM code: the strides of a float32 matrix in bytes; that along its rows is a constant where it can be."""
    rows, columns = cgutils.unpack_tuple(builder, array.strides)
    return [rows, rows.type(4) if kind.layout == "C" else columns]


def _element(builder: Any, array: Any, strides: Any, row: Any, column: Any) -> Any:
    """LLVM code: the pointer to an element of a float32 matrix with these strides in bytes."""
    byte = builder.add(builder.mul(row, strides[0]), builder.mul(column, strides[1]))
    pointer = builder.gep(builder.bitcast(array.data, ir.IntType(8).as_pointer()), [byte])
    return builder.bitcast(pointer, ir.FloatType().as_pointer())


@intrinsic
def _transposed_product(typingctx, A, B, C):  # type: ignore[no-untyped-def]
    assert A.layout == B.layout == "C", "transposed_product reads the rows of A and B in one stretch"
    return types.void(A, B, C), _build_transposed_product


def _build_transposed_product(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """LLVM code of `transposed_product`: tiles of two rows of A by two of B."""
    A, B, C = (context.make_array(t)(context, builder, v) for t, v in zip(signature.args, args, strict=True))
    M, N = cgutils.unpack_tuple(builder, A.shape)
    K = cgutils.unpack_tuple(builder, B.shape)[0]
    size, zero = M.type, M.type(0)
    strides = _strides(builder, C, signature.args[2])

    def row(array: Any, index: Any) -> Any:
        return builder.gep(array.data, [builder.mul(index, N)])

    def tile(m: Any, k: Any, rows: int, columns: int) -> None:
        ms, ks = [builder.add(m, size(i)) for i in range(rows)], [builder.add(k, size(j)) for j in range(columns)]
        totals = _dots(builder, N, [row(A, i) for i in ms], [row(B, j) for j in ks])
        for total, (i, j) in zip(totals, [(i, j) for i in ms for j in ks], strict=True):
            pointer = _element(builder, C, strides, i, j)
            builder.store(builder.fadd(builder.load(pointer), total), pointer)

    def rows(k: Any, columns: int) -> None:
        whole = builder.and_(M, size(-2))
        with cgutils.for_range_slice(builder, zero, whole, size(2)) as (m, _):
            tile(m, k, 2, columns)
        with cgutils.for_range_slice(builder, whole, M, size(1)) as (m, _):
            tile(m, k, 1, columns)

    whole = builder.and_(K, size(-2))
    with cgutils.for_range_slice(builder, zero, whole, size(2)) as (k, _):
        rows(k, 2)
    with cgutils.for_range_slice(builder, whole, K, size(1)) as (k, _):
        rows(k, 1)
    return context.get_dummy_value()


@intrinsic
def _product(typingctx, A, B, C):  # type: ignore[no-untyped-def]
    assert B.layout == "C", "product reads the rows of B in one stretch"
    return types.void(A, B, C), _build_product


def _build_product(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """LLVM code of `product`: tiles of C stay in registers while all of K goes by."""
    A, B, C = (context.make_array(t)(context, builder, v) for t, v in zip(signature.args, args, strict=True))
    M, K = cgutils.unpack_tuple(builder, A.shape)
    N = cgutils.unpack_tuple(builder, B.shape)[1]
    size, zero = M.type, M.type(0)
    strides = [_strides(builder, array, kind) for array, kind in zip((A, B, C), signature.args, strict=True)]

    def tile(m: Any, n: Any, rows: int, vectors: int, lanes: int, together: int = 1) -> None:
        """C[m : m + rows, n : n + vectors * lanes] += A[m : m + rows] @ B[:, those columns].

        `together` rows of B a turn.
        """
        kind = ir.VectorType(ir.FloatType(), lanes) if lanes > 1 else ir.FloatType()
        name = f"llvm.fma.v{lanes}f32" if lanes > 1 else "llvm.fma.f32"
        fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
        places = [(r, v) for r in range(rows) for v in range(vectors)]

        def vector(array: Any, stride: Any, row: Any, v: int) -> Any:
            pointer = _element(builder, array, stride, row, builder.add(n, size(v * lanes)))
            return builder.bitcast(pointer, kind.as_pointer())

        def load(pointer: Any) -> Any:
            value = builder.load(pointer)
            value.align = 4
            return value

        def spread(value: Any) -> Any:
            if lanes == 1:
                return value
            one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.IntType(32)(0))
            return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), lanes), None))

        targets = {(r, v): vector(C, strides[2], builder.add(m, size(r)), v) for r, v in places}
        sums = {place: cgutils.alloca_once_value(builder, ir.Constant(kind, None)) for place in places}
        for place in places:
            builder.store(load(targets[place]), sums[place])

        def add(k: Any) -> None:
            b = [load(vector(B, strides[1], k, v)) for v in range(vectors)]
            for r in range(rows):
                a = spread(builder.load(_element(builder, A, strides[0], builder.add(m, size(r)), k)))
                for v in range(vectors):
                    builder.store(builder.call(fma, [a, b[v], builder.load(sums[r, v])]), sums[r, v])

        whole = builder.and_(K, size(-together))
        with cgutils.for_range_slice(builder, zero, whole, size(together)) as (k, _):
            for i in range(together):
                add(builder.add(k, size(i)))
        with cgutils.for_range_slice(builder, whole, K, size(1)) as (k, _):
            add(k)
        for place in places:
            builder.store(builder.load(sums[place]), targets[place]).align = 4

    def panels(widths: tuple[int, ...], fill: Any) -> None:
        """Call fill(n, vectors, lanes) for panels of so many vectors, then half a vector, then single columns."""
        start = zero
        for vectors, lanes in [(width, LANES) for width in widths] + [(1, LANES // 2), (1, 1)]:
            stop = builder.and_(N, size(-vectors * lanes))
            with cgutils.for_range_slice(builder, start, stop, size(vectors * lanes)) as (n, _):
                fill(n, vectors, lanes)
            start = stop

    def rows(n: Any, vectors: int, lanes: int) -> None:
        whole = builder.and_(M, size(-4))
        with cgutils.for_range_slice(builder, zero, whole, size(4)) as (m, _):
            tile(m, n, 4, vectors, lanes)
        with cgutils.for_range_slice(builder, whole, M, size(1)) as (m, _):
            tile(m, n, 1, vectors, lanes)

    def row(n: Any, vectors: int, lanes: int) -> None:
        """Bound by reading B: long straight stretches of it keep the cache's prefetcher busy."""
        tile(zero, n, 1, vectors, lanes, together=16 if vectors >= 8 else 1)

    with builder.if_else(builder.icmp_signed("==", M, size(1))) as (one, several):
        with one:
            panels((16, 8, 4, 1), row)
        with several:
            panels((4, 1), rows)
    return context.get_dummy_value()


if DISABLED:  # plain Python in their place, for coverage runs: as accurate, not the same bits

    def dot(a: Any, b: Any) -> Any:
        return np.float32(np.dot(a, b))

    def product(A: Any, B: Any, C: Any) -> None:
        for k in range(A.shape[1]):
            C += A[:, k : k + 1] * B[k]

    def transposed_product(A: Any, B: Any, C: Any) -> None:
        C += A @ B.T

else:
    dot, product, transposed_product = _dot, _product, _transposed_product  # type: ignore[assignment]

dot.__doc__ = "Inner product of two contiguous float32 vectors of equal length, in one fixed order of 64 lanes."
product.__doc__ = "C (M, N) += A (M, K) @ B (K, N), each sum over K in order, starting from C (float32)."
transposed_product.__doc__ = "C (M, K) += A (M, N) @ B (K, N).T, each sum as `dot` makes it (float32)."
