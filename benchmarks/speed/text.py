"""A text read once and learned from, beside PyTorch: `python -m benchmarks.speed.text [FILE]`.

The daemon of configs/text.toml, as it is on two cores and as one process on one, and PyTorch's LSTM of the same size on
one thread: the same first weights, the same bytes, each predicted before it is learned from, truncated BPTT over the
same windows, state carried from one to the next, Adam, each layer's gradient clipped. They take turns. The daemon's
updates come a window late (`gradient_delay`); before, the library and PyTorch are checked to learn the same without it.
"""

from benchmarks.shared import measure

# isort: split
import os
import tempfile
import tomllib
from collections import defaultdict
from itertools import pairwise
from math import log
from pathlib import Path
from pydoc_data.topics import topics
from statistics import median
from time import perf_counter
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer

import streamrnn as sr
from benchmarks.shared.daemon import TEXT, learn
from benchmarks.shared.measure import Row, less, more
from benchmarks.speed.text_peer import Peer, as_tensor

BYTES, BYTES_QUICK = 1_000_000, 50_000  # that are read, at most
CHECKED = 20  # windows
TURNS = 3
MUST, MUST_BITS = 3, 0.98
PEER = "torch LSTM, windows at once"

Options = tuple[list[str], set[int] | None]  # of the command line, and the cores that may be used
DAEMONS: dict[str, Options] = {"2 workers": ([], None), "fused, 1 core": (["--fused"], {min(os.sched_getaffinity(0))})}

torch.set_num_threads(1)


class Learned(NamedTuple):
    """What came of a text."""

    rate: float  # bytes a second
    bits: float  # a byte


def library() -> sr.Network:
    """The network of configs/text.toml, with no delay."""
    config = tomllib.loads(TEXT.read_text())
    sizes = [config["input"]["size"], *(layer["units"] for layer in config["layers"])]
    layers = [sr.LSTM(size, units) for size, units in pairwise(sizes)]
    readout, optimizer = sr.Softmax(config["readout"]["size"]), sr.Adam(config["optimizer"]["learning_rate"])
    window, clip_norm = config["learning"]["window"], config["learning"]["clip_norm"]
    return sr.Network(layers, readout, optimizer, window=window, clip_norm=clip_norm)


def check(text: bytes) -> None:
    """That both learn the same, without the daemon's delay."""
    net = library()
    peer, some = Peer(net), text[: CHECKED * net.window + 1]
    theirs = peer.learn(as_tensor(some))
    ours = [net.learn(byte, following) for byte, following in pairwise(some)]
    np.testing.assert_allclose(theirs, ours, atol=1e-3)


def windows(text: bytes, peer: Peer) -> list[torch.Tensor]:
    """A part of the text for each turn, in whole windows, and the byte that follows it."""
    tensor, each = as_tensor(text), -(-len(text) // (TURNS * peer.window)) * peer.window
    return [tensor[start : start + each + 1] for start in range(0, len(tensor) - 1, each)]


def peer_learns(peer: Peer, part: torch.Tensor) -> tuple[float, np.ndarray]:
    """Bytes a second, and their losses."""
    start = perf_counter()
    losses = peer.learn(part)
    return len(losses) / (perf_counter() - start), losses


def daemon_learns(path: Path, count: int, options: Options) -> dict[str, Any]:
    """A daemon over the first bytes of a file."""
    arguments, cores = options
    return learn(TEXT.read_text(), "--source", str(path), "--max-frames", str(count), *arguments, cores=cores)


def in_turns(path: Path, text: bytes) -> dict[str, Learned]:
    """The daemon over all of the text and PyTorch over the next part of it, again and again."""
    peer, rates, bits, losses = Peer(library()), defaultdict(list), set(), []
    for options in DAEMONS.values():
        daemon_learns(path, 1000, options)  # compiles what is not compiled yet
    Peer(library()).learn(as_tensor(text[:1000]))  # warms up
    for part in windows(text, peer):
        for name, options in DAEMONS.items():
            found = daemon_learns(path, len(text), options)
            rates[name].append(found["frames_per_second"])
            bits.add(found["bits_per_symbol"])
        rate, of_part = peer_learns(peer, part)
        rates[PEER].append(rate)
        losses.append(of_part)
    assert len(bits) == 1, f"the daemon learned differently from turn to turn: {bits}"
    theirs = float(np.concatenate(losses).mean(dtype=np.float64)) / log(2)
    return {name: Learned(median(each), theirs if name == PEER else min(bits)) for name, each in rates.items()}


def rows_of(path: Path, name: str, quick: bool) -> list[Row]:
    """The daemon in both ways beside PyTorch."""
    text, units = path.read_bytes()[: BYTES_QUICK if quick else BYTES], library().layers[0].hidden_size
    check(text)
    learned, what = in_turns(path, text), f"{len(text):,} bytes of {name}"
    peer = learned.pop(PEER)
    found = [more(f"{what}, {way}", units, our.rate, PEER, peer.rate, "bytes/s", MUST) for way, our in learned.items()]
    ours, *_ = learned.values()
    return [*found, less(what, units, ours.bits, PEER, peer.bits, "bits/byte", MUST_BITS)]


def rows(path: Path | None, quick: bool) -> list[Row]:
    """Over that text, or over the one that comes with Python."""
    if path:
        return rows_of(path, path.name, quick)
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write("\n\n".join(topics.values()).encode())
        file.flush()
        return rows_of(Path(file.name), "Python's help", quick)


def main(
    text: Annotated[Path | None, typer.Argument(metavar="FILE", help="Without, Python's own help.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A short run, whose figures are rough.")] = False,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rows.")] = None,
) -> None:
    """One pass over a text, learning, beside PyTorch."""
    measure.report("text", "one pass over a text, learning", rows(text, quick), json)


if __name__ == "__main__":
    typer.run(main)
