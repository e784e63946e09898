"""numba.cuda, imported in this one place, and how functions are compiled for a device.

Arithmetic is strict IEEE as on the CPU: no contraction of a product and a sum, no flush to zero, divisions and roots
rounded once. numba.cuda has no option for the first (NVIDIA/numba-cuda issue 118), so the compiler's own is set here
for everything that this process compiles; tests/test_cuda_code.py looks for it in what comes out.

Where NUMBA_ENABLE_CUDASIM=1 and NUMBA_DISABLE_JIT=1 are set, kernels run as plain Python, one thread of the device in
one thread of the process. Their bits are then those of a device.
"""

from collections.abc import Callable
from typing import Any

from numba import config
from numba import cuda as numba_cuda

cuda: Any = numba_cuda
SIMULATED = bool(config.ENABLE_CUDASIM)  # type: ignore[attr-defined]


def forbid_contraction() -> None:
    """Have a * b + c rounded twice, as the source says."""
    from numba.cuda.cudadrv import nvvm

    compile_ir = nvvm.compile_ir
    nvvm.compile_ir = lambda code, **options: compile_ir(code, **{**options, "fma": False})


if not SIMULATED:
    forbid_contraction()


def device_kernel(function: Callable) -> Any:
    """A function as threads of a device run it."""
    return cuda.jit(function)


def device_function(function: Callable) -> Any:
    """A function that such a kernel calls, where it must know which thread it runs in."""
    return cuda.jit(function, device=True)
