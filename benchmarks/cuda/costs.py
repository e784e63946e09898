"""Where the time of a block goes on the device: launches, bytes that are copied, the host's time and the device's.

Kernels and copies are watched from outside, a few blocks long, which slows them down: the shares count, not the sums.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from benchmarks.cuda import speed
from benchmarks.cuda.engines import Device
from streamrnn.cuda import products, stages
from streamrnn.cuda.compiler import SIMULATED, cuda
from streamrnn.cuda.segment import Mirror
from streamrnn.cuda.units import CellKernels

WINDOWS = 1 if SIMULATED else 4  # of every stream, that are watched


class Cost(NamedTuple):
    """Of one kernel or kind of copy, for each block."""

    what: str
    times: float  # launches or copies
    bytes: float
    host: float  # µs until the host goes on
    device: float  # µs on the device, 0 for copies


class Watched:
    """A kernel whose launches are counted and timed, by the host's clock and by events of the device."""

    def __init__(self, kernel: Any, launches: list[tuple[float, Any, Any]]) -> None:
        self.kernel, self.launches = kernel, launches

    def __getitem__(self, shape: tuple) -> Callable:
        stream = shape[2]

        def launch(*arguments: Any) -> None:
            before, after = cuda.event(), cuda.event()
            before.record(stream)
            start = perf_counter()
            self.kernel[shape](*arguments)
            took = perf_counter() - start
            after.record(stream)
            self.launches.append((took, before, after))

        return launch


def kernels_in(module: Any) -> Iterator[tuple[str, Any]]:
    """Those that a host launches."""
    for name, value in vars(module).items():
        if type(value) is type(stages.clear) and not is_device_function(value):
            yield name, value


def is_device_function(kernel: Any) -> bool:
    """Whether other kernels call it."""
    return bool(kernel._device if SIMULATED else kernel.targetoptions.get("device"))


@contextmanager
def watching(device: Device) -> Iterator[tuple[dict[str, list], dict[str, list]]]:
    """Launches by kernel, and copies as (seconds, bytes) by direction, while the block lasts."""
    launches: dict[str, list] = defaultdict(list)
    copies: dict[str, list] = defaultdict(list)

    def copying(name: str, original: Callable) -> Callable:
        def copy(mirror: Mirror, what: Any) -> Any:
            start = perf_counter()
            done = original(mirror, what)
            copies[name].append((perf_counter() - start, done.size * done.dtype.itemsize))
            return done

        return copy

    with ExitStack() as stack:
        for module in (products, stages):
            for name, kernel in list(kernels_in(module)):
                stack.enter_context(patch.object(module, name, Watched(kernel, launches[name])))
        for stage in device.chain.stages:
            if hasattr(stage, "kernels"):
                own = {f"{name} of a cell": kernel for name, kernel in stage.kernels._asdict().items()}
                watched = CellKernels(*(Watched(kernel, launches[name]) for name, kernel in own.items()))
                stack.enter_context(patch.object(stage, "kernels", watched))
        stack.enter_context(patch.object(Mirror, "send", copying("copies there", Mirror.send)))
        stack.enter_context(patch.object(Mirror, "fetch", copying("copies back, waiting", Mirror.fetch)))
        yield launches, copies


def costs(streams: int, units: int) -> list[Cost]:
    """Of a block, one frame of each stream or 16 of the only one, learned from; what costs the host most is first."""
    net, rng = speed.network(units, streams), np.random.default_rng(0)
    X = rng.standard_normal((speed.WINDOW, streams, units), np.float32)
    targets = rng.standard_normal((speed.WINDOW, streams, speed.TARGETS), np.float32)
    run = speed.windows(Device, net, X, targets)
    run(1)
    device: Device = run.taken  # type: ignore[attr-defined]
    with watching(device) as (launches, copies):
        run(WINDOWS)
    device.wait()
    blocks = WINDOWS * len(X) * streams / device.schedule.plan.shape[0]
    found = [summed(name, each, blocks) for name, each in launches.items() if each]
    for name, each in copies.items():
        took, size = (sum(column) for column in zip(*each, strict=True))
        found.append(Cost(name, len(each) / blocks, size / blocks, 1e6 * took / blocks, 0.0))
    return sorted(found, key=lambda cost: -cost.host)


def summed(name: str, launches: list[tuple[float, Any, Any]], blocks: float) -> Cost:
    """Of all launches of a kernel."""
    host = sum(took for took, _, _ in launches)
    device = 0.0 if SIMULATED else sum(before.elapsed_time(after) for _, before, after in launches) / 1e3
    return Cost(name, len(launches) / blocks, 0.0, 1e6 * host / blocks, 1e6 * device / blocks)
