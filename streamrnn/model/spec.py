"""A network in plain values: what it is made of and its settings, without numbers it has learned or where it runs."""

from typing import TYPE_CHECKING, Any

import msgspec

from streamrnn.model.entrance import ADDED
from streamrnn.model.layers import CELLS
from streamrnn.model.optimizers import OPTIMIZERS
from streamrnn.model.readouts import READOUTS

if TYPE_CHECKING:
    from streamrnn.model.network import Network

SETTINGS = ("window", "accumulate", "gradient_delay", "clip_norm", "seed", "predict", "standardize")
MEANING = {"inputs": None, "channels": None} | ADDED  # settings that specs of before 0.2 and of daemons may lack


def spec_of(net: "Network") -> dict[str, Any]:
    """See `Network.spec`."""
    layers = [
        {
            "cell": type(layer).__name__,
            "input_size": layer.input_size,
            "hidden_size": layer.hidden_size,
            "output_size": layer.output_size if layer.own_output else None,
        }
        for layer in net.layers
    ]
    return {
        "layers": layers,
        "readout": {"kind": type(net.readout).__name__, "size": net.readout.size, **net.readout.options},
        "optimizer": {"kind": type(net.optimizer).__name__, **msgspec.structs.asdict(net.optimizer)},
        **{name: getattr(net, name) for name in (*SETTINGS, *MEANING)},
    }


def made(kind: "type[Network]", spec: dict[str, Any], **choices: Any) -> "Network":
    """See `Network.from_spec`."""
    layers = [
        CELLS[layer["cell"]](layer["input_size"], layer["hidden_size"], layer["output_size"], seed=None)
        for layer in spec["layers"]
    ]
    readout, optimizer = dict(spec["readout"]), dict(spec["optimizer"])
    settings = {name: spec[name] for name in SETTINGS} | {name: spec.get(name, MEANING[name]) for name in MEANING}
    return kind(
        layers,
        READOUTS[readout.pop("kind")](**readout),
        OPTIMIZERS[optimizer.pop("kind")](**optimizer),
        **settings,
        **choices,
    )
