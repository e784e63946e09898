"""What workers run is compiled once for a version and a machine, before the first of them starts."""

from collections.abc import Callable
from typing import Any

from streamrnn.jit import CACHE_FOLDER
from streamrnn.network import Network

COMPILED = CACHE_FOLDER / "compiled"


def compile_kernels(tell: Callable[[str], Any]) -> None:
    """Compile what workers run, unless it lies on disk already."""
    if COMPILED.exists():
        return
    tell("compiling the kernels, once for this version and machine: about 25 seconds")
    from numba import typeof

    from streamrnn.layers import RNN
    from streamrnn.optimizers import SGD
    from streamrnn.readouts import Linear
    from streamrnn.workers import intake, loop, stages

    intake.warm_up()
    net = Network([RNN(1, 1)], Linear(1), SGD(1.0))
    links = stages.make_links(net, 0, 2, {"block": 1, "epoch": 0, "token_targets": False}, [0] * 6)
    loop.serve.compile((typeof(net._stages), typeof(net._schedule), typeof(links)))
    CACHE_FOLDER.mkdir(parents=True, exist_ok=True)
    COMPILED.touch()
