"""How kernels are compiled, kept on disk, and called from one another.

Arithmetic is strict IEEE float32 everywhere: no fast-math flag is set, so the compiler may neither reorder a sum nor
fuse or split a product. Where that would pay, the source says so itself (`streamrnn.instructions`). The bits of every
result therefore follow from the source alone, not from inlining, from the vector width of the processor or from what
else is compiled beside it.

Machine code is cached on disk in a folder named after a hash of the sources that kernels are made of, because Numba by
itself does not notice a change in a function that a cached function calls, or in a constant.
"""

import hashlib
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

DISABLED = bool(config.DISABLE_JIT)  # type: ignore[attr-defined]
PACKAGE = Path(__file__).parent
WORKERS = PACKAGE.parent / "workers"  # in the source tree; installed, the workers lie inside the package
# sources that no kernel is made of: a change in them leaves the machine code as it is
APART = {"__main__", "addresses", "checkpoint", "checkpoints", "cli", "client", "commands", "config", "exits"}
APART |= {"feedback", "keyring", "keys", "logs", "network", "private", "remote", "service", "sources", "verbs"}
APART |= {"view", "vocabulary"}
APART |= {"door", "gate", "health", "journal", "lines", "member", "nursery", "plan", "publisher", "questions"}
APART |= {"requests", "saving", "stages", "state", "status", "supervisor"}


def cache_folder() -> Path:
    """The folder of the machine code of exactly these sources, in this place: Numba keeps places apart too."""
    digest = hashlib.sha256(f"{numba.__version__} {PACKAGE}".encode())
    for path in sorted([*PACKAGE.rglob("*.py"), *WORKERS.glob("*.py")]):
        if path.stem not in APART:
            digest.update(path.read_bytes())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("NUMBA_CACHE_DIR") or home / "streamrnn") / digest.hexdigest()[:16]


CACHE_FOLDER = cache_folder()


def kernel(function: Callable, inline: bool = False) -> Any:
    """Compile a function: no Python inside, strict arithmetic, the GIL released, machine code kept on disk.

    Without Numba's run time nothing can be allocated, and no view of an array counts its references, which would cost a
    small layer more than its arithmetic does.
    """
    before, config.CACHE_DIR = config.CACHE_DIR, str(CACHE_FOLDER)  # type: ignore[attr-defined]
    try:
        return njit(error_model="numpy", nogil=True, cache=True, _nrt=False, forceinline=inline)(function)  # type: ignore[call-overload]
    finally:
        config.CACHE_DIR = before  # type: ignore[attr-defined]


def inlined(function: Callable) -> Any:
    """A kernel that becomes part of whoever calls it: for what costs less than handing over its arguments."""
    return kernel(function, inline=True)


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
