"""What stages keep of one stream: taken out of their buffers, and put back.

That is its state, its statistics and its open window: the numbers that its outputs and its windows depend on, and no
other stream's do. So it makes no difference to any number where it lies meanwhile, or under which number it comes back.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from streamrnn.kernels.buffers import HIDDEN, INPUTS, KIND, OUTPUTS, READOUT, WINDOW, Stage
from streamrnn.kernels.schedule import FRAMES, FREE, SLOT, TARGETS, Schedule
from streamrnn.storage.network_state import BY_STREAM, Tensors, put_one, remembered, statistics

ROOM = 1 << 10  # bytes for the names and shapes of a stage's tensors


def shapes(stage: Stage) -> list[tuple[int, int]]:
    """Of the matrices that a tape is made of one after another, see `streamrnn.kernels.stage`."""
    W, I, H, O = stage.config[[WINDOW, INPUTS, HIDDEN, OUTPUTS]].tolist()
    if stage.config[KIND] >= READOUT:
        return [(W, I), (W, O), (W, O)]
    first = [(W, I), (W + 1, H)]
    return [*first, (W, (stage.tape.shape[1] - sum(rows * columns for rows, columns in first)) // W)]


def matrices(stage: Stage, slot: int, frames: int) -> Iterator[np.ndarray]:
    """Views of a tape's rows that hold something once it has that many frames."""
    row, at = stage.tape[slot], 0
    for rows, columns in shapes(stage):
        yield row[at : at + (frames + rows - stage.config[WINDOW]) * columns]
        at += rows * columns


def blank(stage: Stage, tape: np.ndarray, tokens: np.ndarray, frames: np.ndarray) -> None:
    """Blank what tapes (n, floats), with tokens (n, W), still hold behind the frames (n,) that they have now."""
    at, W = 0, int(stage.config[WINDOW])
    for rows, columns in shapes(stage):
        part = tape[:, at : at + rows * columns].reshape(len(tape), rows, columns)
        part[np.arange(rows) >= np.where(frames > 0, frames + rows - W, 0)[:, np.newaxis]] = 0
        at += rows * columns
    tokens[np.arange(W) >= frames[:, np.newaxis]] = -1


def take(owners: Sequence[Any], schedule: Schedule, stream: int, first: int) -> Tensors:
    """What these stages (layers or a readout), numbered from `first` on, keep of a stream; its open window is gone."""
    window = schedule.streams[stream]
    frames, slot = int(window[FRAMES]), int(window[SLOT])
    kept: Tensors = {}
    for number, owner in enumerate(owners, first):
        stage = owner.stage
        tensors = {name: getattr(stage, name)[stream].copy() for name in BY_STREAM}
        tensors["window"] = window[[FRAMES, TARGETS]]
        if slot >= 0:
            tensors["tokens"] = stage.tokens[slot, :frames].copy()
            tensors["tape"] = np.concatenate(list(matrices(stage, slot, frames)))
        kept |= {f"{number}.{name}": tensor for name, tensor in tensors.items()}
    drop_window(schedule, stream)
    return kept


def drop(owners: Sequence[Any], schedule: Schedule, stream: int) -> None:
    """Have nothing left of a stream."""
    drop_window(schedule, stream)
    for owner in owners:
        for name in BY_STREAM:
            getattr(owner.stage, name)[stream] = 0


def drop_window(schedule: Schedule, stream: int) -> None:
    """Give the tape of a stream's open window back, if it has one."""
    slot = schedule.streams[stream, SLOT]
    if slot >= 0:
        schedule.free[schedule.counters[FREE]] = slot
        schedule.counters[FREE] += 1
    schedule.streams[stream, [FRAMES, TARGETS, SLOT]] = 0, 0, -1


def put(kept: Tensors, owners: Sequence[Any], schedule: Schedule, stream: int, first: int) -> None:
    """Bring a stream that has no open window back to what `take` gave.

    Raises KeyError or ValueError if it is not of such stages.
    """
    window = kept[f"{first}.window"]
    frames, targets = window.tolist()
    if (
        not 0 <= min(frames, targets) <= max(frames, targets) <= schedule.config[0]
        or schedule.streams[stream, SLOT] >= 0
    ):
        raise ValueError("a window that cannot be")
    slot = -1
    if frames:
        schedule.counters[FREE] -= 1
        slot = int(schedule.free[schedule.counters[FREE]])
    for number, owner in enumerate(owners, first):
        stage = owner.stage
        put_one(stage.state[stream], kept[f"{number}.state"])
        put_one(stage.stats[stream], statistics(kept[f"{number}.stats"]))
        put_one(stage.experts[stream], remembered(stage, kept.get(f"{number}.experts", stage.experts[stream])))
        if frames:
            tokens, tape = kept[f"{number}.tokens"], kept[f"{number}.tape"]
            if (tokens < -1).any() or (tokens >= stage.config[INPUTS]).any():
                raise ValueError("a token that the network does not take")
            put_one(stage.tokens[slot, :frames], tokens)
            views = list(matrices(stage, slot, frames))
            parts = np.split(tape, np.cumsum([len(view) for view in views])[:-1])
            for view, part in zip(views, parts, strict=True):
                put_one(view, part)
    schedule.streams[stream, [FRAMES, TARGETS, SLOT]] = frames, targets, slot


def most_bytes(owners: Sequence[Any]) -> int:
    """The most that `take` gives of these stages, in a safetensors file, of a stream."""
    rows = [getattr(owner.stage, name)[0] for owner in owners for name in (*BY_STREAM, "tape", "tokens")]
    return sum(row.nbytes for row in rows) + ROOM * len(owners)
