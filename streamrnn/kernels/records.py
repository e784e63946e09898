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

from streamrnn.kernels.jit import DISABLED


def records_of(example: Any) -> tuple[Callable[[Sequence[Any]], np.ndarray], Any]:
    """For named tuples of that type: what makes a table of several, and what reads row k of a table in a kernel."""
    kind = typeof(example)
    context = cpu_target.target_context
    words = -(-context.get_abi_sizeof(context.get_value_type(kind)) // 8)

    @intrinsic
    def read(typingctx, table, k):  # type: ignore[no-untyped-def]
        return kind(table, k), lambda *build: _load(build[1], _place(*build))

    def _place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        table = context.make_array(signature.args[0])(context, builder, args[0])
        row = context.cast(builder, args[1], signature.args[1], typeof(0))
        place = builder.gep(table.data, [builder.mul(row, builder.extract_value(table.shape, 1))])
        return builder.bitcast(place, context.get_value_type(kind).as_pointer())

    def table(values: Sequence[Any]) -> np.ndarray:
        made = np.array([_words(value) for value in values], np.int64)
        assert made.shape == (len(values), words), "Numba lays out its arrays in another way"
        weakref.finalize(made, len, values).atexit = False  # holds the arrays for as long as there is the table
        return made

    if DISABLED:
        return tuple, lambda table, k: table[k]  # type: ignore[return-value]
    return table, read


def _words(value: Any) -> list[int]:
    """A named tuple of arrays as compiled code sees it, in numbers of 8 bytes.

    Of an array: who counts its references and its Python object (nobody, none), its numbers, the bytes of one, where
    they are, its shape and its strides.
    """
    if isinstance(value, tuple):
        return [word for part in value for word in _words(part)]
    return [0, 0, value.size, value.dtype.itemsize, _address(value), *value.shape, *value.strides]


def _address(array: Any) -> int:
    """Where an array's numbers lie, in memory or on a device."""
    interface = getattr(array, "__cuda_array_interface__", None) or array.__array_interface__
    return int(interface["data"][0])


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
