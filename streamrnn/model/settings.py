"""Whether the parts of a network and its settings fit each other."""

from collections.abc import Sequence
from itertools import pairwise

from streamrnn.model import channels as naming
from streamrnn.model.entrance import Entrance
from streamrnn.model.inputs import TOKENS, VECTOR
from streamrnn.model.layers import Layer
from streamrnn.model.readouts import Readout


def check_layers(layers: Sequence[Layer]) -> None:
    """Raises ValueError where there is none, one is there twice, or one cannot follow the one below."""
    if not layers:
        raise ValueError("a network needs at least one layer")
    if len({id(layer) for layer in layers}) < len(layers):
        raise ValueError("the same layer object is given twice; make one for each place")
    for below, above in pairwise(layers):
        if above.input_size != below.output_size:
            raise ValueError(f"{above} cannot follow {below}: it takes {above.input_size} inputs")


def entrance_of(layer: Layer, standardize: bool, missing: str, mask: bool) -> Entrance:
    """What vectors the first layer takes, and how. Raises ValueError where settings do not go together, or with it."""
    entrance = Entrance(layer.input_size // (2 if mask else 1), standardize, missing, mask)
    for name, problem in entrance.problems():
        raise ValueError(f"{name} {problem}")
    if entrance.inputs != layer.input_size:
        raise ValueError(f"{layer} takes no mask: a vector and its mask are an even number of inputs")
    return entrance


def check_counts(window: int, accumulate: int, gradient_delay: int, streams: int) -> None:
    """Raises ValueError where one is no int, or too small."""
    for name, value, least in (
        ("window", window, 1),
        ("accumulate", accumulate, 1),
        ("gradient_delay", gradient_delay, 0),
        ("streams", streams, 1),
    ):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be an int of at least {least}, not {value!r}")


def check_learning(clip_norm: float | None, predict: str, readout: Readout, inputs: int) -> None:
    """Raises ValueError where they are out of range, or the readout cannot predict what it is to."""
    if clip_norm is not None and not clip_norm >= 0:
        raise ValueError(f"clip_norm must not be negative, and is {clip_norm!r}; None or 0 is no limit")
    if predict not in ("next", "target"):
        raise ValueError(f'predict must be "next" or "target", not {predict!r}')
    if predict == "next" and readout.size != inputs:
        raise ValueError(f"{readout} cannot predict the next of {inputs} inputs")


def named_channels(channels: Sequence[str] | None, size: int) -> list[str] | None:
    """The names of the inputs. Raises ValueError."""
    if channels is not None and (problem := naming.problem(channels, size)):
        raise ValueError(f"channels {problem}")
    return None if channels is None else list(channels)


def settled_inputs(inputs: str | None, *, next_of: Readout | None, vectors: bool, channels: bool) -> str | None:
    """What inputs are, None if they may be either.

    next_of: the readout that predicts the next of them; vectors: they have to be vectors; channels: they have names.
    Raises ValueError if `inputs` does not go with the rest.
    """
    if inputs not in (None, TOKENS, VECTOR):
        raise ValueError(f'inputs must be "{TOKENS}", "{VECTOR}" or None, not {inputs!r}')
    needed = VECTOR if vectors or channels else None
    if next_of:
        needed = TOKENS if next_of.classes else VECTOR
    if channels and TOKENS in (inputs, needed):
        raise ValueError("channels are of vectors, and this network takes tokens")
    if inputs and needed and inputs != needed:
        raise ValueError(f'inputs="{inputs}" does not go with this network, which needs "{needed}"')
    return inputs or needed
