"""What is kept of stages: everything that their numbers depend on.

That is parameters, moments, gradients of groups not yet applied, and of each stream its state and the tape of its open
window. It is taken where every closed window has been learned from, so it does not matter how the stages were spread
over processes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from streamrnn.kernels.cells import CELLS
from streamrnn.kernels.columns import (
    CLOSED,
    COUNT,
    FRAMES,
    FREE,
    KIND,
    LEARNED,
    PRESENTED,
    READOUT,
    SLOT,
    STARTED,
    TARGETS,
    WINDOW,
)

if TYPE_CHECKING:
    from streamrnn.kernels.buffers import Stage
    from streamrnn.kernels.schedule import Schedule

OWN = dict.fromkeys(name for cell in CELLS.values() for name in cell.own)
PARAMETERS = ("W_xh", "W_hh", "b_h", *OWN, "W_hy", "b_y")  # as they lie in a stage's buffer
WHOLE = ("moments", "counters")  # kept as they are
BY_STREAM = ("state", "stats", "experts")  # one row a stream
BY_WINDOW = ("tape", "tokens")  # one row an open window
MANY = 2**62  # windows: as many as no network has seen

Tensors = dict[str, np.ndarray]


def take(owners: Sequence[Any], schedule: "Schedule", streams: int) -> list[Tensors]:
    """Everything that must be kept of these stages (layers or a readout) and their first `streams` streams."""
    windows = schedule.streams[:streams]
    slots = windows[windows[:, SLOT] >= 0, SLOT]
    kept = []
    for owner in owners:
        stage = owner.stage
        tensors = {f"params.{name}": view for name, view in owner.params.items()}
        tensors |= {name: getattr(stage, name) for name in WHOLE}
        groups = stage.grads.any(axis=1)  # the others are zero: their updates have been applied
        tensors |= {"grads": stage.grads[groups], "groups": groups}
        tensors |= {name: getattr(stage, name)[:streams] for name in BY_STREAM}
        tensors |= {name: getattr(stage, name)[slots] for name in BY_WINDOW}
        tensors |= {"windows": windows, "schedule": schedule.counters}
        kept.append({name: np.ascontiguousarray(tensor).copy() for name, tensor in tensors.items()})
    return kept


def put_one(out: np.ndarray, tensor: np.ndarray) -> None:
    """Raises ValueError where numpy would broadcast or convert."""
    if (out.shape, out.dtype) != (tensor.shape, tensor.dtype):
        raise ValueError(f"{tensor.dtype} {tensor.shape} instead of {out.dtype} {out.shape}")
    out[...] = tensor


def statistics(stats: np.ndarray) -> np.ndarray:
    """Statistics (..., numbers) as they are, or from before 0.2: frames seen, means and variances, float32."""
    if stats.dtype != np.float32 or not stats.shape[-1]:
        return stats.astype(np.float64)
    frames, means, variances = np.split(stats.astype(np.float64), [1, (stats.shape[-1] + 1) // 2], axis=-1)
    deviations = np.sqrt(np.where(variances > 1e-12, variances, 0))
    unknown = np.full_like(means, np.nan)  # the newest value: it is compared with nothing
    return np.concatenate([frames, means, 0 * means, deviations, unknown, 0 * means], axis=-1)


def remembered(stage: "Stage", kept: np.ndarray) -> np.ndarray:
    """What a stage remembers (..., numbers), of a layer as it is. Raises ValueError as `checked`."""
    return checked(kept) if stage.config[KIND] >= READOUT else kept


def checked(experts: np.ndarray) -> np.ndarray:
    """What experts remember (..., numbers). Raises ValueError where its counts cannot be, which lead into rings."""
    if experts.shape[-1]:
        counts = experts[..., :STARTED]
        ahead = counts[..., PRESENTED] - counts[..., COUNT]
        whole = (counts >= 0) & (counts < MANY) & (counts == np.floor(counts))
        if not whole.all() or not np.isin(ahead, (0, 1)).all():
            raise ValueError("forecasts that cannot be")
    return experts


def put_gradients(grads: np.ndarray, tensors: Tensors) -> None:
    """Raises ValueError or KeyError if they are not of such a stage. Before 0.2 all groups were kept."""
    groups, kept = np.ones(len(grads), bool), tensors["grads"]
    put_one(groups, tensors.get("groups", groups))
    if (kept.shape, kept.dtype) != ((groups.sum(), grads.shape[1]), grads.dtype):
        raise ValueError(f"gradients {kept.dtype} {kept.shape} of {groups.sum()} groups")
    grads[:] = 0
    grads[groups] = kept


def check_schedule(windows: np.ndarray, counters: np.ndarray, schedule: "Schedule") -> None:
    """Raises ValueError where they would lead a kernel outside its buffers."""
    put_one(schedule.counters.copy(), counters)
    put_one(schedule.streams[: len(windows)].copy(), windows)
    most, is_open = schedule.config[WINDOW], windows[:, SLOT] >= 0
    counts = windows[:, [FRAMES, TARGETS]]
    if (counts < 0).any() or (counts > most).any() or counts[~is_open].any() or is_open.sum() > len(schedule.free):
        raise ValueError("windows that cannot be")
    if not 0 <= counters[CLOSED] == counters[LEARNED] < MANY:
        raise ValueError("a window that was closed and not learned from")


def put(kept: Sequence[Tensors], owners: Sequence[Any], schedule: "Schedule") -> None:
    """Bring stages back to what `take` gave, in buffers that may have room for more streams.

    Raises KeyError or ValueError if it is not of such stages.
    """
    windows = kept[0]["windows"]
    check_schedule(windows, kept[0]["schedule"], schedule)
    streams, is_open = len(windows), windows[:, SLOT] >= 0
    count = int(is_open.sum())
    for tensors, owner in zip(kept, owners, strict=True):
        stage = owner.stage
        for name, view in owner.params.items():
            put_one(view, tensors[f"params.{name}"])
        for name in WHOLE:
            put_one(getattr(stage, name), tensors[name])
        put_gradients(stage.grads, tensors)
        put_one(stage.state[:streams], tensors["state"])
        put_one(stage.stats[:streams], statistics(tensors["stats"]))
        put_one(stage.experts[:streams], remembered(stage, tensors.get("experts", stage.experts[:streams])))
        for name in BY_WINDOW:
            put_one(getattr(stage, name)[:count], tensors[name])
        if (stage.tokens[:count] < -1).any() or (stage.tokens[:count] >= owner.input_size).any():
            raise ValueError("a token that the network does not take")
    schedule.counters[:] = kept[0]["schedule"]
    schedule.counters[FREE] = len(schedule.free) - count
    schedule.free[:] = np.arange(len(schedule.free) - 1, -1, -1)
    schedule.streams[:streams, [FRAMES, TARGETS]] = windows[:, [FRAMES, TARGETS]]
    schedule.streams[:streams, SLOT][is_open] = np.arange(count)
