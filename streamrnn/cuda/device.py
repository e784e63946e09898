"""Which device stages run on. numba.cuda is imported where one is asked for, and the driver started where one is used:
in no process that others are forked from.
"""

import re
from importlib.util import find_spec
from typing import Any

CPU = "cpu"
NAME = re.compile(r"cuda:(0|[1-9][0-9]{0,2})", re.ASCII)
INSTALL = "pip install streamrnn[cuda]"
MIB = 2**20


class DeviceError(ValueError):
    """A device that cannot be used; the text is one line."""


def problem(device: str) -> str | None:
    """What is wrong with a device's name, which is "cpu" or "cuda:N"; None if nothing."""
    if device == CPU or NAME.fullmatch(device):
        return None
    return f'a device is "cpu", or "cuda:0", "cuda:1" and so on, not {device!r}'


def gpu(device: str) -> Any:
    """The GPU of that name: within a `with` of it, memory and kernels are its own. Raises DeviceError.

    It stays the calling thread's GPU: Numba gives memory back wherever Python drops an array, and needs one there.
    """
    if wrong := problem(device):
        raise DeviceError(wrong)
    check_installed(device)
    from streamrnn.cuda.compiler import cuda

    try:
        count = len(cuda.gpus)
    except Exception as error:  # which of them depends on what is missing
        raise DeviceError(f"{device}: no driver or no GPU of NVIDIA is here ({_line(error)})") from error
    number = int(device.partition(":")[2])
    if number >= count:
        there = " and ".join(f"cuda:{k}" for k in range(count)) or "none"
        raise DeviceError(f"{device}: there is no such GPU here; there is {there}")
    try:
        cuda.select_device(number)
    except Exception as error:
        raise DeviceError(f"{device}: the driver cannot start it ({_line(error)})") from error
    return cuda.gpus[number]


def check_installed(device: str) -> None:
    """Raises DeviceError where the packages are missing that a GPU needs."""
    from numba import config

    if not config.ENABLE_CUDASIM and not find_spec("numba_cuda"):  # type: ignore[attr-defined]
        raise DeviceError(f"{device}: what a GPU needs is not installed: {INSTALL}")


def check_room(device: str, needed: int) -> None:
    """Raises DeviceError where it has less memory free than so many bytes, or cannot be used."""
    with gpu(device):
        from streamrnn.cuda.compiler import SIMULATED, cuda

        context = cuda.current_context()
        if not SIMULATED:
            context.memory_manager.deallocations.clear()  # of arrays that are gone
        free, _ = context.get_memory_info()
    if free < needed:
        wanted, there = (f"{number / MIB:,.0f} MiB" for number in (needed, free))
        raise DeviceError(
            f"{device}: {wanted} of its memory are needed and {there} are free: have fewer streams, units or a smaller "
            "window on it, or stop what else uses it"
        )


def _line(error: Exception) -> str:
    """An error in a line."""
    return " ".join(str(error).split()) or type(error).__name__
