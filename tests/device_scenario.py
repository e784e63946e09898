"""What networks do and say on a device, with the bits of every number, to be compared with the same on another one.

`python device_scenario.py DEVICE FOLDER` writes it as JSON and saves a network into FOLDER/DEVICE, for others to load.
In a process of its own: a simulated device needs its environment before Numba is imported.
"""

import copy
import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    import simulator

    simulator.start(seed=1)

import streamrnn as sr
from streamrnn.cuda import room
from streamrnn.workers import device_loop, device_room


def network_of_tokens(device: str, **options: Any) -> sr.Network:
    layers = [sr.LSTM(5, 3), sr.GRU(3, 3, 2)]
    settings = {"window": 2, "gradient_delay": 1, "predict": "next"} | options
    return sr.Network(layers, sr.Softmax(5), sr.Adam(1e-2), **settings, device=device)


def network_of_vectors(device: str) -> sr.Network:
    settings = {"window": 3, "standardize": True, "missing": "fill"}
    return sr.Network([sr.GRU(2, 5)], sr.Gaussian(2), sr.RMSprop(1e-2), **settings, device=device)


def forecasting(device: str) -> sr.Network:
    readout = sr.Forecast(2, lags=2, anomaly={"day": 24})
    settings = {"window": 1, "standardize": True, "predict": "next"}
    return sr.Network([sr.RNN(2, 3)], readout, sr.SGD(1e-2), **settings, device=device)


def bits(*arrays: Any) -> str:
    return "".join(np.asarray(array).tobytes().hex() for array in arrays)


def tokens(device: str, folder: Path) -> Iterator[tuple[str, str]]:
    net, X = network_of_tokens(device), np.random.default_rng(0).integers(0, 5, 9)
    for k, x in enumerate(X):
        y = net.step(int(x), "ab"[k % 2], end=k == 6)
        yield f"step {k}", bits(y, net.loss("ab"[k % 2]))
    yield "run", bits(*net.run(X, stream="c"))
    yield "grown", bits(*net.run(X, stream="d", end=True))
    yield "sequence", str(net.generate([1, 2, 3], max_length=3, seed=4))
    net.forget("c")
    net.learning_rate = 0.02
    yield "forgotten", bits(*net.run(X, stream="c"))
    net.layers[0].params["W_hh"][0, 0] = 0.5
    yield "written into", bits(*net.run(X, stream="c"), net.layers[0].params["W_hh"])
    for made in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert made.device == device
        yield "copy", bits(*made.run(X, stream="c")) + made.parameters_sha256()
    net.save(folder / device)
    yield "saved", bits(*net.run(X, stream="c")) + net.parameters_sha256()


def vectors(device: str) -> Iterator[tuple[str, str]]:
    net, rng = network_of_vectors(device), np.random.default_rng(1)
    X, T = rng.normal(size=(8, 2)), 100 * rng.normal(size=(8, 2))
    X[5, 0] = T[7, 1] = np.nan
    for k, (x, target) in enumerate(zip(X, T, strict=True)):
        yield f"learn {k}", bits(net.learn(x, target, f"{k % 3}"), net.channel_losses(f"{k % 3}"))
    yield "run", bits(*net.run(X, T)) + net.parameters_sha256()


def forecasts(device: str) -> Iterator[tuple[str, str]]:
    net = forecasting(device)
    X = np.random.default_rng(2).normal(size=(10, 2)).cumsum(axis=0)
    yield "run", bits(*net.run(X))
    yield "recent", bits(net.readout.recent(0, 4))
    yield "go on", bits(*net.run(X))


def everything(device: str, folder: Path) -> dict[str, str]:
    """Each with a name; twice the same name is one that has the same bits."""
    said: dict[str, str] = {}
    for kind, items in (
        ("tokens", tokens(device, folder)),
        ("vectors", vectors(device)),
        ("forecasts", forecasts(device)),
    ):
        for name, value in items:
            assert said.setdefault(f"{kind}: {name}", value) == value, name
    return said


def gone_on(checkpoint: Path, device: str) -> str:
    """What a saved network says next, on a device."""
    net = sr.load(checkpoint, device=device)
    assert net.device == device
    return bits(*net.run(np.random.default_rng(0).integers(0, 5, 9), stream="c")) + net.parameters_sha256()


def arrays(part: Any, found: dict[int, int]) -> dict[int, int]:
    """The bytes of each array of a simulated device in a part of the engine, by its identity."""
    if type(part).__name__ == "FakeCUDAArray":
        whole = part._ary
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        found[id(whole)] = whole.nbytes
    elif isinstance(part, list | tuple):
        for each in part:
            arrays(each, found)
    elif type(part).__module__.startswith("streamrnn.cuda"):
        arrays([each if not isinstance(each, dict) else list(each.values()) for each in vars(part).values()], found)
    return found


def memory(net: sr.Network) -> tuple[int, int]:
    """Bytes that a network has on a simulated device, and those that it was thought to need."""
    hosts = [owner.stage for owner in net.stages]
    thought = room.bytes_of(hosts, net._schedule, *device_room.sizes_of(net))
    return sum(arrays(net._engine.chain, {}).values()), thought


if __name__ == "__main__":
    device, folder = sys.argv[1], Path(sys.argv[2])
    said = everything(device, folder)
    for other in sorted(folder.iterdir()):
        said[f"loaded from {other.name}"] = gone_on(other, device)
    nets = [network_of_tokens(device), network_of_vectors(device), forecasting(device)]
    for net in nets:
        device_loop.compile_for(net.spec(), 0, len(net.stages))
    print(json.dumps(said | {"memory": [memory(net) for net in nets]}))
