"""Whether the devices that a config names can take what it places on them.

Another process answers it, so that a driver is started in none that others are forked from.
"""

import os
import subprocess
import sys
from typing import Any

import msgspec

from streamrnn.config import Config, workers
from streamrnn.cuda.device import CPU, DeviceError, check_installed

UNUSABLE = 3  # exit code: a device cannot be used, and what is printed says why


class Question(msgspec.Struct):
    """What is to be placed where."""

    spec: dict[str, Any]
    parts: list[tuple[str, int, int]]  # a device, the first stage there, and the one behind the last
    places: int
    block: int


def check(config: Config) -> None:
    """Raises DeviceError where a device is not there or has too little memory."""
    parts = [(name, part.start, part.stop) for name, part in zip(config.devices, workers(config), strict=True)]
    parts = [part for part in parts if part[0] != CPU]
    if not parts:
        return
    check_installed(parts[0][0])
    question = Question(config.spec(), parts, config.pipeline.places, config.pipeline.block)
    asked = subprocess.run(
        [sys.executable, "-m", "streamrnn.workers.device_room"],
        input=msgspec.json.encode(question),
        capture_output=True,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},  # nothing is computed
    )
    if asked.returncode == UNUSABLE:
        raise DeviceError(asked.stdout.decode().strip())
    if asked.returncode:
        last = asked.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise DeviceError(f"{parts[0][0]}: {last or f'exit code {asked.returncode}'}")
