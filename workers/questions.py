"""What clients ask at the control socket: JSON objects such as {"ask": "status", "number": 1}."""

from typing import Annotated, Any

import msgspec

from streamrnn.config import Config
from streamrnn.workers.gate import LARGEST_MESSAGE

LARGEST_QUESTION = 1 << 12  # bytes


class Question(msgspec.Struct, tag_field="ask"):
    """What a client may ask; its number comes back with the answer."""

    number: Annotated[int, msgspec.Meta(ge=0, lt=2**62)] = 0


class Hello(Question, tag="hello"):
    """A client asks what it must know to speak to the daemon."""


class Status(Question, tag="status"):
    """A client asks how things are."""


class Past(Question, tag="history", kw_only=True):
    """A client asks for outputs of a stream, of rows between two places (`streamrnn.frames.places`)."""

    stream: str
    after: Annotated[int, msgspec.Meta(ge=-1, lt=2**62)] = -1
    before: Annotated[int, msgspec.Meta(ge=0, lt=2**62)] = 2**62 - 1


def question(parts: list[bytes]) -> Hello | Status | Past:
    """What a message asks for. Raises one of `streamrnn.wire.NOT_JSON`."""
    return msgspec.json.decode(parts[0] if len(parts) == 1 else b"", type=Hello | Status | Past)


def hello(config: Config, epoch: int) -> dict[str, Any]:
    """What a client must know, in plain values."""
    return {
        "name": config.name,
        "gate": config.sockets.gate,
        "outputs": config.sockets.outputs,
        "input": msgspec.to_builtins(config.input),
        "readout": msgspec.to_builtins(config.readout),
        "predict": config.predict,
        "largest_message": LARGEST_MESSAGE,
        "epoch": epoch,
        "replays": config.journal.enabled,  # after a failure each frame has the number again that it had
    }
