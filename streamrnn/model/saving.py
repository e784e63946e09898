"""A network outside of memory that is its own: saved and loaded, copied, pickled."""

from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from safetensors.numpy import load as load_bytes

from streamrnn.cuda.device import CPU, DeviceError
from streamrnn.kernels.columns import FRAMES, FREE, SLOT
from streamrnn.model.feedback import Last
from streamrnn.model.layers import Layer
from streamrnn.model.readouts import Readout
from streamrnn.storage import checkpoint, network_state, stream_state
from streamrnn.storage.manifest import FORMAT, MANIFEST, CheckpointError, Manifest, read_manifest

if TYPE_CHECKING:
    from streamrnn.model.network import Network


def save(net: "Network", path: str | Path) -> None:
    """See `Network.save`."""
    folder = checkpoint.at(path).resolve()
    checkpoint.check_replaceable(folder)
    net._here()
    kept = network_state.take(net.stages, net._schedule, net._streams.used)
    manifest = msgspec.structs.replace(manifest_of(net), parameters_sha256=net.parameters_sha256())
    checkpoint.write(folder, kept, manifest)


def load(kind: "type[Network]", path: str | Path, device: str) -> "Network":
    """See `streamrnn.load`."""
    folder = checkpoint.found(checkpoint.at(path))
    manifest = read_manifest(folder)
    net = like_saved(kind, folder, manifest, device)
    know(net, manifest)
    net._here()
    checkpoint.restore(folder, manifest, net.stages, 0, net._schedule)
    free_the_rest(net)
    return net


def like_saved(kind: "type[Network]", folder: Path, manifest: Manifest, device: str = CPU) -> "Network":
    """A network like the one that was saved, all weights zero.

    Raises CheckpointError if the manifest has none, DeviceError if the device cannot be used.
    """
    try:
        return kind.from_spec(manifest.spec, fresh=False, streams=max(1, len(manifest.streams)), device=device)
    except DeviceError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / MANIFEST}: describes no network ({error})") from error


def taken(net: "Network") -> tuple[bytes, list[network_state.Tensors]]:
    """Everything that a network is: what `made_again` takes. Of equal networks it is the same bytes."""
    net._here()
    kept = network_state.take(net.stages, net._schedule, net._streams.used)
    for owner, tensors in zip(net.stages, kept, strict=True):
        make_plain(owner, tensors)
    name, losses = net._streams.ended
    return msgspec.msgpack.encode((manifest_of(net), name, None if losses is None else losses.tolist())), kept


def made_again(kind: "type[Network]", facts: bytes, kept: list[network_state.Tensors], device: str = CPU) -> "Network":
    """The network from what `taken` gave: `save` and `load` in memory; on the CPU where the device cannot be used."""
    manifest, name, losses = msgspec.msgpack.decode(facts, type=tuple[Manifest, str | None, list[float] | None])
    streams = max(1, len(manifest.streams))
    try:
        net = kind.from_spec(manifest.spec, False, streams, device)
    except DeviceError:
        net = kind.from_spec(manifest.spec, False, streams)
    know(net, manifest)
    net._here()
    network_state.put(kept, net.stages, net._schedule)
    free_the_rest(net)
    net._streams.ended = name, None if losses is None else losses_of(net, losses)
    return net


def unpickled(kind: "type[Network]", facts: bytes, stages: list[bytes], device: str = CPU) -> "Network":
    """The network from a pickle."""
    return made_again(kind, facts, [load_bytes(tensors) for tensors in stages], device)


def manifest_of(net: "Network") -> Manifest:
    """What is known beside the stages, without hashes."""
    streams = net._streams
    return Manifest(
        format=FORMAT,
        spec=net.spec(),
        streams=checkpoint.by_number(streams.names, streams.used),
        fresh=sorted(streams.fresh),
        losses={number: streams.losses[number].tolist() for number in sorted(streams.losses)},
        frames=0,
        last={number: streams.last[number].plain() for number in sorted(streams.last)},
        tokens=net._tokens,
        sha256={},
        parameters_sha256="",
        rate=net.learning_rate,
    )


def know(net: "Network", manifest: Manifest) -> None:
    """Take over what a manifest says beside what it says of stages."""
    if manifest.rate is not None:
        net.learning_rate = manifest.rate
    streams, net._tokens = net._streams, manifest.tokens
    streams.names = {name: number for number, name in enumerate(manifest.streams) if name is not None}
    streams.used = len(manifest.streams)
    there = set(streams.names.values())
    streams.fresh = there.intersection(manifest.fresh)
    streams.losses = {k: losses_of(net, plain) for k, plain in manifest.losses.items() if k in there}
    streams.last = {k: Last.of(plain) for k, plain in manifest.last.items() if k in there}


def losses_of(net: "Network", plain: Sequence[float | None] | float | None) -> np.ndarray:
    """What a target cost, from a manifest; those of before 0.2 hold the loss alone."""
    losses = np.full(net.readout.loss_size, nan)
    known = np.array(plain if isinstance(plain, Sequence) else [plain], np.float64)[: len(losses)]
    losses[: len(known)] = known
    return losses


def free_the_rest(net: "Network") -> None:
    """Clear the numbers that no stream has."""
    for number in net._streams.unnamed():
        net._clear(number)


def make_plain(owner: Layer | Readout, tensors: network_state.Tensors) -> None:
    """Leave out of what was taken of a stage where windows happened to lie, and what was there before them."""
    windows = tensors["windows"]
    is_open = windows[:, SLOT] >= 0
    windows[is_open, SLOT] = np.arange(np.count_nonzero(is_open))
    tensors["schedule"][FREE] = 0
    stream_state.blank(owner.stage, tensors["tape"], tensors["tokens"], windows[is_open, FRAMES])
