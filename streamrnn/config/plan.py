"""What a config would start: stages, the workers that host them, and the number of parameters."""

import itertools
from typing import NamedTuple

from streamrnn.config.config import Config
from streamrnn.kernels.cells import CELLS
from streamrnn.kernels.readouts import READOUTS


class Stage(NamedTuple):
    """One transformation of the network: a layer, or the readout at the end."""

    name: str
    kind: str
    input: int
    output: int
    parameters: int


def stages(config: Config) -> list[Stage]:
    """The layers and then the readout, with the number of their parameters."""
    result, width = [], config.input.entrance.inputs
    for number, layer in enumerate(config.layers, 1):
        cell, units = CELLS[layer.name], layer.units
        count = cell.gates * units * (width + units + 1)  # W_xh, W_hh, b_h
        count += len(cell.own) * units
        count += layer.output * (units + 1) if layer.output else 0  # W_hy, b_y
        output = layer.output or units
        result.append(Stage(f"layer {number}", f"{layer.name} {units}", width, output, count))
        width = output
    output = config.readout.width
    kind = f"{config.readout.kind} {config.readout.size}"
    count = 0 if READOUTS[config.readout.name].experts else output * (width + 1)
    result.append(Stage("readout", kind, width, output, count))
    return result


def workers(config: Config) -> list[range]:
    """The stages that each worker process hosts, by their position in `stages`."""
    ends = [0]
    for count in config.placement:
        ends.append(ends[-1] + count)
    return [range(start, end) for start, end in itertools.pairwise(ends)]


def network_line(config: Config) -> str:
    """The network in a line: `256 tokens → LSTM 128 → LSTM 128 → softmax 256, 361,728 parameters`."""
    plan = stages(config)
    entrance = f"{config.input.size} tokens" if config.input.kind == "tokens" else f"vector of {config.input.size}"
    cells = [
        stage.kind + (f" → {layer.output}" if layer.output else "")
        for stage, layer in zip(plan, config.layers, strict=False)
    ]
    way = " → ".join([entrance, *cells, plan[-1].kind])
    return f"{way}, {sum(stage.parameters for stage in plan):,} parameters"
