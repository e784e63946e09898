"""What a notebook shows of a network: a table of its stages, and a picture of the pipeline."""

from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from streamrnn.model.markup import line, table

if TYPE_CHECKING:
    from streamrnn.model.network import Network

WIDTH, HEIGHT, APART = 130, 44, 30  # of a box, and between two, in pixels


def html(net: "Network") -> str:
    """Its stages with their sizes and parameters, what it learns by, and how many streams it has."""
    rows = [
        (type(stage).__name__, f"{stage.input_size:,}", f"{stage.output_size:,}", f"{stage.parameters.flat.size:,}")
        for stage in net.stages
    ]
    total = sum(stage.parameters.flat.size for stage in net.stages)
    streams = len(net.names)
    return "".join(
        [
            svg(net),
            table(["stage", "inputs", "outputs", "parameters"], [*rows, ("total", "", "", f"{total:,}")]),
            line(net.optimizer, f"learning rate {net.learning_rate:g}", f"window {net.window}"),
            line(
                f"predicts the {'next input' if net.predict == 'next' else 'target of each frame'}",
                f"{streams:,} stream{'' if streams == 1 else 's'}",
                f"on {net.device}",
            ),
            line(net.channels and f"channels: {', '.join(net.channels)}"),
        ]
    )


def svg(net: "Network") -> str:
    """A box for the input and for each stage, and arrows between them."""
    inputs = {"tokens": "token", "vector": "vector", None: "input"}[net.inputs]
    boxes = [(inputs, f"{net.input_size:,}")]
    boxes += [(type(layer).__name__, f"{layer.hidden_size:,}") for layer in net.layers]
    boxes += [(type(net.readout).__name__, f"{net.readout.size:,}")]
    places = [k * (WIDTH + APART) for k in range(len(boxes))]
    width = places[-1] + WIDTH
    drawn = [_box(x, *words) for x, words in zip(places, boxes, strict=True)]
    drawn += [_arrow(left + WIDTH, right) for left, right in pairwise(places)]
    words = escape(" to ".join(f"{name} {size}" for name, size in boxes))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{words}" width="{width + 2}" '
        f'viewBox="-1 -1 {width + 2} {HEIGHT + 2}" style="max-width: 100%" fill="none" stroke="currentColor" '
        f'font-family="sans-serif" font-size="13" text-anchor="middle">{"".join(drawn)}</svg>'
    )


def _box(x: int, name: str, size: str) -> str:
    middle = x + WIDTH // 2
    return (
        f'<rect x="{x}" y="0" width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
        f'<g fill="currentColor" stroke="none"><text x="{middle}" y="18">{escape(name)}</text>'
        f'<text x="{middle}" y="35">{escape(size)}</text></g>'
    )


def _arrow(begin: int, end: int) -> str:
    middle = HEIGHT // 2
    return f'<path d="M{begin + 4} {middle}H{end - 5}m-5 -4l5 4l-5 4"/>'
