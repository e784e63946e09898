"""How kernels are compiled, kept on disk, and called from one another.

Arithmetic is strict IEEE float32 everywhere: no fast-math flag is set, so the compiler may neither reorder a sum nor
fuse or split a product. Where that would pay, the source says so itself (`streamrnn.kernels.instructions`). The bits of
every result therefore follow from the source alone, not from inlining, from the vector width of the processor or from
what else is compiled beside it.

Machine code is kept on disk, see `streamrnn.kernels.cache` and `cache_files`.
"""

import ctypes
import inspect
import mmap
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from streamrnn.kernels.cache_files import KernelCache

LIBC = ctypes.CDLL(None)
DISABLED = bool(config.DISABLE_JIT)  # type: ignore[attr-defined]


def release_compiler() -> None:
    """Give back the memory of the compiler's own code, about 60 MB, where no more is compiled for now.

    Its pages are not changed, so they come back from the file should they be needed.
    """
    with open("/proc/self/maps") as maps:
        for line in maps:
            if "llvmlite" in line and " r-xp " in line:
                start, end = (int(address, 16) for address in line.split()[0].split("-"))
                LIBC.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def kernel(function: Callable, inline: bool = False) -> Any:
    """Compile a function: no Python inside, strict arithmetic, the GIL released, machine code kept on disk.

    Without Numba's run time nothing can be allocated, and no view of an array counts its references, which would cost a
    small layer more than its arithmetic does.
    """
    compiled = njit(  # type: ignore[call-overload]
        error_model="numpy", nogil=True, _nrt=False, inline="always" if inline else "never"
    )(function)
    if not DISABLED:
        compiled._cache = KernelCache(function)
    return compiled


def inlined(function: Callable) -> Any:
    """A kernel that becomes part of whoever calls it, and is compiled nowhere else."""
    return kernel(function, inline=True)


class Linked(NamedTuple):
    """A kernel that others call at its address, which stands in a table once it has been compiled or loaded."""

    name: str  # to show
    function: Any
    arguments: tuple[types.Type, ...]
    addresses: Any  # an array of c_void_p
    place: int  # its own there
    only_for: str  # the cell, readout or optimiser that it is a part of; "": every network needs it

    def compile(self) -> None:
        """Have it in memory, from disk if it is there."""
        if self.addresses[self.place] is None:
            self.function.compile(self.arguments)
            code = self.function.overloads[self.arguments]
            self.addresses[self.place] = code.library.get_pointer_to_function(code.fndesc.llvm_func_name)


LINKED: list[Linked] = []


def needed(parts: Iterable[str]) -> list[Linked]:
    """The kernels that a network of these cells, readouts and optimisers calls at their address."""
    wanted = {"", *parts}
    return [link for link in LINKED if link.only_for in wanted]


def link(parts: Iterable[str]) -> None:
    """Have those in memory. To be called before the first kernel of such a network."""
    for each in needed(parts):
        each.compile()


def linked(function: Any, result: types.Type, *arguments: types.Type) -> Any:
    """A kernel as other kernels shall call it: at its address, where Numba would compile its code again into each.

    For one list of arguments' types for each kernel.
    """
    if DISABLED:
        return function
    name = f"{function.py_func.__module__}.{function.py_func.__name__}"
    return _linked([(function, "")], name, result(*arguments), first=None)


def linked_table(
    package: str, parts: Iterable[str], name: str, first: int, result: types.Type, *arguments: types.Type
) -> Any:
    """A kernel of (kind, ...) that calls, at its address, the function of that name in file kind - first of a package.

    A part's file has its name in small letters. Of a part that has no such function it must not be called.
    """
    functions = [(getattr(import_module(f"{package}.{part.lower()}"), name, None), part) for part in parts]
    if DISABLED:
        return lambda kind, *rest: functions[kind - first][0](*rest)
    return _linked(functions, f"{package}.{name}", result(*arguments), first)


def _linked(functions: Sequence[tuple[Any, str]], name: str, signature: Any, first: int | None) -> Any:
    """Code that loads an address from a table and calls what is there; first: the kind of the first, None for none."""
    slots, symbol = (ctypes.c_void_p * len(functions))(), name.replace(".", "_")
    llvm.add_symbol(symbol, ctypes.addressof(slots))
    for k, (function, part) in enumerate(functions):
        if function:
            short = " ".join([*name.split(".")[-2:], part]).strip()
            LINKED.append(Linked(short, function, signature.args, slots, k, part))

    def build(context: Any, builder: Any, _: Any, args: Any) -> Any:
        kind = context.call_conv.get_function_type(signature.return_type, signature.args)
        table = builder.module.globals.get(symbol) or ir.GlobalVariable(builder.module, kind.as_pointer(), symbol)
        place = table
        if first is not None:
            number, *args = args
            place = builder.gep(table, [builder.sub(number, number.type(first))])
        callee = builder.load(place)
        status, value = context.call_conv.call_function(builder, callee, signature.return_type, signature.args, args)
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return value

    full = signature.return_type(*([] if first is None else [types.int64]), *signature.args)

    def call(typingctx, *_):  # type: ignore[no-untyped-def]
        return full, chosen_on_device(typingctx, functions, signature, first) if on_device(typingctx) else build

    names = ["typingctx", *(f"argument{k}" for k in range(len(full.args)))]
    parameters = [inspect.Parameter(each, inspect.Parameter.POSITIONAL_OR_KEYWORD) for each in names]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return intrinsic(call)


def on_device(typingctx: Any) -> bool:
    """Whether code is compiled for a GPU, where no address of the host's code is of use."""
    return type(typingctx).__module__.startswith("numba.cuda")


def chosen_on_device(typingctx: Any, functions: Sequence[tuple[Any, str]], signature: Any, first: int | None) -> Any:
    """The twin of such a call: a comparison for each kind, then a call of the same function compiled for the device."""
    made = []
    for kind, (function, _) in enumerate(functions, first or 0):
        if function:
            callee = typingctx.resolve_value_type(function)
            made.append((kind, callee, typingctx.resolve_function_type(callee, signature.args, {})))

    def build(context: Any, builder: Any, _: Any, args: Any) -> Any:
        if first is None:
            ((_, callee, resolved),) = made
            return context.get_function(callee, resolved)(builder, args)
        for kind, callee, resolved in made:
            with builder.if_then(builder.icmp_signed("==", args[0], args[0].type(kind))):
                context.get_function(callee, resolved)(builder, args[1:])
        return context.get_dummy_value()

    return build
