"""What clients ask at the control socket: JSON objects such as {"ask": "status", "number": 1}."""

from typing import Annotated, Any

import msgspec

from streamrnn.config import Config
from streamrnn.protocol.wire import LARGEST_MESSAGE
from streamrnn.workers.supervision.placement import numbering

LARGEST_QUESTION = 1 << 12  # bytes


class ControlRequest(msgspec.Struct, tag_field="ask"):
    """What a client may ask; its number comes back with the answer."""

    number: Annotated[int, msgspec.Meta(ge=0, lt=2**62)] = 0


class Hello(ControlRequest, tag="hello"):
    """A client asks what it must know to speak to the daemon."""


class Status(ControlRequest, tag="status"):
    """A client asks how things are."""


class HistoryRequest(ControlRequest, tag="history", kw_only=True):
    """A client asks for outputs of a stream, of rows between two places (`streamrnn.kernels.frames.places`).

    Without one, for messages of all streams with rows behind a place; wait: the answer may wait until there are such.
    """

    stream: str | None = None
    after: Annotated[int, msgspec.Meta(ge=-1, lt=2**62)] = -1
    before: Annotated[int, msgspec.Meta(ge=0, lt=2**62)] = 2**62 - 1
    wait: bool = False


class StreamsRequest(ControlRequest, tag="streams"):
    """A client asks for the names of streams that have this in them."""

    like: str = ""


def control_request(parts: list[bytes]) -> Hello | Status | HistoryRequest | StreamsRequest:
    """What a message asks for. Raises one of `streamrnn.protocol.wire.NOT_JSON`."""
    kinds = Hello | Status | HistoryRequest | StreamsRequest
    return msgspec.json.decode(parts[0] if len(parts) == 1 else b"", type=kinds)


def hello(config: Config, run: str, epoch: int) -> dict[str, Any]:
    """What a client must know, in plain values."""
    return {
        "name": config.name,
        "run": numbering(config, run, epoch),
        "gate": config.sockets.gate,
        "outputs": config.sockets.outputs,
        "input": msgspec.to_builtins(config.input),
        "readout": msgspec.to_builtins(config.readout),
        "predict": config.predict,
        "largest_message": LARGEST_MESSAGE,
        "epoch": epoch,
        "replays": config.journal.enabled,  # after a failure each frame has the number again that it had
    }
