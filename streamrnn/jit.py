"""How kernels are compiled, and the few instructions that plain Python cannot name.

Arithmetic is strict IEEE float32 everywhere: no fast-math flag is set, so the compiler may neither reorder a sum nor
fuse or split a product. Where fusing pays, the source says `fma`; where a sum must run across vector lanes, the source
says `dot`, whose order is part of its definition. The bits of every result therefore follow from the source alone,
not from inlining, from the vector width of the processor or from what else is compiled beside it.

Machine code is cached on disk in a folder named after a hash of every source file that holds a kernel, because Numba
by itself does not notice a change in a function that a cached function calls.
"""

import hashlib
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic

DISABLED = bool(config.DISABLE_JIT)
PACKAGE = Path(__file__).parent
WORKERS = PACKAGE.parent / "workers"  # in the source tree; installed, the workers lie inside the package


def cache_folder() -> Path:
    """The folder of the machine code of exactly these sources."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted([*PACKAGE.rglob("*.py"), *WORKERS.glob("*.py")]):
        source = path.read_bytes()
        if b"@kernel" in source:
            digest.update(source)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("NUMBA_CACHE_DIR") or home / "streamrnn") / digest.hexdigest()[:16]


CACHE_FOLDER = cache_folder()


def kernel(function: Callable) -> Any:
    """Compile a function: no Python inside, strict arithmetic, the GIL released, machine code kept on disk."""
    before, config.CACHE_DIR = config.CACHE_DIR, str(CACHE_FOLDER)
    try:
        return njit(error_model="numpy", nogil=True, cache=True)(function)
    finally:
        config.CACHE_DIR = before


# Kernels that are called at their address: symbol -> (kernel, types of its arguments)
_linked: dict[str, tuple[Any, tuple]] = {}


def linked(function: Any, result: types.Type, *arguments: types.Type) -> Any:
    """A kernel as other kernels shall call it: at its address, where Numba would compile its code again into each.

    Whoever calls those kernels calls `link` before.
    """
    if DISABLED:
        return function
    symbol = f"streamrnn_{function.py_func.__name__}"
    signature = result(*arguments)
    _linked[symbol] = function, signature.args

    def build(context: Any, builder: Any, _: Any, args: Any) -> Any:
        pointer_type = context.call_conv.get_function_type(signature.return_type, signature.args)
        callee = cgutils.get_or_insert_function(builder.module, pointer_type, symbol)
        status, value = context.call_conv.call_function(builder, callee, signature.return_type, signature.args, args)
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return value

    def call(*_):  # type: ignore[no-untyped-def]
        return signature, build

    names = ["typingctx", *inspect.signature(function.py_func).parameters]
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return intrinsic(call)


def link() -> None:
    """Compile, or load from disk, the kernels that others call at their address."""
    while _linked:
        symbol, (function, arguments) = _linked.popitem()
        function.compile(arguments)
        code = function.overloads[arguments]
        llvm.add_symbol(symbol, code.library.get_pointer_to_function(code.fndesc.llvm_func_name))


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
    fma = _fma
    dot = _dot
    float_from_bits = _float_from_bits
    bits_of_float = _bits_of_float

fma.__doc__ = "a * b + c, rounded once (float32)."
dot.__doc__ = "Inner product of two contiguous float32 vectors of equal length, in one fixed order of 64 lanes."


def buffer(*shape: int) -> np.ndarray:
    """A zeroed float32 array whose first element lies on a cache line."""
    count = int(np.prod(shape))
    raw = np.zeros(count + LANES, np.float32)
    skip = (-raw.ctypes.data % 64) // 4
    return raw[skip : skip + count].reshape(shape)
