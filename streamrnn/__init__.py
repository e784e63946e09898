"""streamrnn: recurrent networks that predict and learn on every frame of a live stream."""

# ruff: noqa: F401
from importlib import import_module
from typing import TYPE_CHECKING, Any

from streamrnn.kernels.cells import CELLS
from streamrnn.kernels.readouts import READOUTS

if TYPE_CHECKING:
    from streamrnn.client import AsyncClient, Client, DaemonGone, FrameRefused, Output
    from streamrnn.cuda.device import DeviceError
    from streamrnn.model.anomalies import Alarm
    from streamrnn.model.layers import Layer
    from streamrnn.model.network import Network, load
    from streamrnn.model.optimizers import SGD, Adagrad, Adam, RMSprop
    from streamrnn.model.readouts import Readout
    from streamrnn.model.vocabulary import Vocabulary
    from streamrnn.protocol.keys import KeysError
    from streamrnn.storage.manifest import CheckpointError

    __version__: str

# Loaded when they are first asked for: whoever needs no kernels does without the compiler's 100 MB.
HOMES = {
    "client": ["AsyncClient", "Client", "DaemonGone", "FrameRefused", "Output"],
    "cuda.device": ["DeviceError"],
    "model.anomalies": ["Alarm"],
    "model.layers": ["Layer", *CELLS],
    "model.network": ["Network", "load"],
    "model.optimizers": ["SGD", "Adagrad", "Adam", "RMSprop"],
    "model.readouts": ["Readout", *READOUTS],
    "model.vocabulary": ["Vocabulary"],
    "protocol.keys": ["KeysError"],
    "storage.checkpoint": ["CheckpointError"],
}

__all__ = [name for names in HOMES.values() for name in names]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("streamrnn")
    for home, names in HOMES.items():
        if name in names:
            return getattr(import_module(f"streamrnn.{home}"), name)
    raise AttributeError(f"module 'streamrnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
