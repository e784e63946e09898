"""Compile every kernel for a device that need not be there: `python device_code.py LAUNCHED` prints PTX, as JSON.

LAUNCHED: what `device_cases.py` writes, the types of arguments with which each kernel is launched.
"""

import json
import pkgutil
import sys
from importlib import import_module
from pathlib import Path

from numba import types
from numba.cuda import dispatcher
from numba.cuda.cudadrv import nvvm

import streamrnn.cuda
from streamrnn.kernels.cells import CELLS

TARGET = 9, 0  # compute capability


class Device:
    """What the compiler asks of the device that there is."""

    compute_capability = TARGET


def kernels(compiler):
    """All of the package by name, those of cells once for each."""
    made, found = compiler.device_kernel, {}

    def noted(function):
        return found.setdefault(f"{function.__module__}.{function.__qualname__}{cell}", made(function))

    compiler.device_kernel, cell = noted, ""
    for module in pkgutil.iter_modules(streamrnn.cuda.__path__, "streamrnn.cuda."):
        import_module(module.name)
    units = import_module("streamrnn.cuda.units")
    for name in CELLS:
        cell = f" {name}"
        units.kernels_of(name)
        if not CELLS[name].own:
            del found[f"streamrnn.cuda.units.kernels_of.<locals>.own_gradient{cell}"]
    return found


def as_type(said):
    """What `simulator.type_of` has said."""
    if isinstance(said, str):
        return getattr(types, {"bool": "boolean"}.get(said, said))
    name, dimensions, layout = said
    return types.Array(getattr(types, name), dimensions, layout)


def product_and_sum(a, b, c):
    c[0] = a[0] * b[0] + c[0]


def main(launched):
    allowed = nvvm.compile_ir
    dispatcher.get_current_device = lambda: Device
    compiler = import_module("streamrnn.cuda.compiler")

    def code(function, *signature):
        return compiler.cuda.compile_ptx(function, signature, cc=TARGET)[0]

    vectors = [types.float32[::1]] * 3
    made = {"compiled as kernels are": [code(product_and_sum, *vectors)]}
    strict, nvvm.compile_ir = nvvm.compile_ir, allowed
    made["compiled as Numba does"] = [code(product_and_sum, *vectors)]
    nvvm.compile_ir = strict
    for name, kernel in kernels(compiler).items():
        signatures = launched.get(name.partition(" ")[0], [])
        made[name] = [code(kernel.py_func, *map(as_type, signature)) for signature in signatures]
    print(json.dumps(made))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
