"""Named tuples of arrays, written down as compiled code sees them, so that a kernel takes one array for many.

To hand a stage to a kernel is to hand over 150 numbers, which Python unpacks at every call and kernels pass on from one
to the next; its row in a table of records is one number. Records are addresses; their table keeps the arrays alive.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import typeof
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from streamrnn.jit import DISABLED, kernel


def records_of(example: Any) -> tuple[Callable[[Sequence[Any]], np.ndarray], Any]:
    """For named tuples of that type: what makes a table of several, and what reads row k of a table in a kernel."""
    kind = typeof(example)
    context = cpu_target.target_context
    words = -(-context.get_abi_sizeof(context.get_value_type(kind)) // 8)

    @intrinsic
    def read(typingctx, table, k):  # type: ignore[no-untyped-def]
        return kind(table, k), lambda *build: _load(build[1], _place(*build))

    @intrinsic
    def write(typingctx, table, k, value):  # type: ignore[no-untyped-def]
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _store(builder, _place(context, builder, signature, args), args[2])
            return context.get_dummy_value()

        return typeof(None)(table, k, value), build

    def _place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        table = context.make_array(signature.args[0])(context, builder, args[0])
        row = context.cast(builder, args[1], signature.args[1], typeof(0))
        place = builder.gep(table.data, [builder.mul(row, builder.extract_value(table.shape, 1))])
        return builder.bitcast(place, context.get_value_type(kind).as_pointer())

    @kernel
    def put(table, k, value):
        write(table, k, value)  # type: ignore[call-arg]

    def table(values: Sequence[Any]) -> np.ndarray:
        made = np.zeros((len(values), words), np.int64)
        for k, value in enumerate(values):
            put(made, k, value)
        weakref.finalize(made, len, values).atexit = False  # holds the arrays for as long as there is the table
        return made

    if DISABLED:
        return tuple, lambda table, k: table[k]  # type: ignore[return-value]
    return table, read


def _parts(kind: Any) -> int:
    """How many parts a value of that LLVM type has, 0 for a number or an address."""
    return kind.count if isinstance(kind, ir.ArrayType) else len(getattr(kind, "elements", ()))


def _inside(builder: Any, pointer: Any, part: int) -> Any:
    return builder.gep(pointer, [ir.IntType(32)(0), ir.IntType(32)(part)])


def _load(builder: Any, pointer: Any) -> Any:
    """LLVM code: part by part, so that those nobody looks at cost nothing."""
    kind = pointer.type.pointee
    if not _parts(kind):
        return builder.load(pointer)
    value = ir.Constant(kind, ir.Undefined)
    for part in range(_parts(kind)):
        value = builder.insert_value(value, _load(builder, _inside(builder, pointer, part)), part)
    return value


def _store(builder: Any, pointer: Any, value: Any) -> None:
    if not _parts(value.type):
        builder.store(value, pointer)
    for part in range(_parts(value.type)):
        _store(builder, _inside(builder, pointer, part), builder.extract_value(value, part))
