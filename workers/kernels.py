"""What workers run is compiled once for a version and a machine, before the first of them starts."""

import multiprocessing
from collections.abc import Callable
from typing import Any

from streamrnn.jit import CACHE_FOLDER
from streamrnn.workers.member import Failure, end_with_parent
from streamrnn.workers.plan import out_of_reach

COMPILED = CACHE_FOLDER / "compiled"


def compile_kernels(tell: Callable[[str], Any]) -> None:
    """Have all compiled, unless it lies on disk already, by a process whose memory (300 MB) goes with it."""
    if COMPILED.exists():
        return
    tell("compiling the kernels, once for this version and machine: about 25 seconds")
    process = multiprocessing.get_context("spawn").Process(target=compile_all, name="kernels")
    with out_of_reach():
        process.start()
    try:
        process.join()
    finally:  # also where a signal asks to stop
        process.kill()
        process.join()
    if process.exitcode:
        raise Failure(f"the kernels could not be compiled into {CACHE_FOLDER}: exit code {process.exitcode}")


def compile_all() -> None:
    """In a process of its own."""
    end_with_parent()
    from numba import typeof

    from streamrnn.layers import RNN
    from streamrnn.network import Network
    from streamrnn.optimizers import SGD
    from streamrnn.readouts import Linear
    from streamrnn.workers import intake, loop, stages

    intake.warm_up()
    net = Network([RNN(1, 1)], Linear(1), SGD(1.0))
    links = stages.make_links(net, 0, 2, {"block": 1, "epoch": 0, "token_targets": False}, [0] * 6)
    loop.serve.compile((typeof(net._stages), typeof(net._schedule), typeof(links)))
    CACHE_FOLDER.mkdir(parents=True, exist_ok=True)
    COMPILED.touch()
