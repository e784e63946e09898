"""Whether a device has the bits of a core: both take the same frames, and everything that they leave is compared.

A simulated device lives in a process whose kernels are not compiled; there the core's bits come from a file, which
`python -m benchmarks.cuda.identity FILE` writes in a process of its own.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.cuda.cases import TINY, Case, Scale, few, frames_of, network
from benchmarks.cuda.engines import Core, Device, outputs_for
from streamrnn.kernels.frames import FLAGS, INPUT, SCORED

BLOCK = 64  # frames of a block, or one of each stream where there are more of these
KEPT = "params", "moments", "grads", "state", "stats", "experts", "counters"  # of each stage

Found = dict[str, np.ndarray]


class Verdict(NamedTuple):
    """Of one case."""

    case: Case
    frames: int
    updates: int
    differs: list[str]  # what, where first and by how much at most
    seconds: float


def found(engine: type[Core] | type[Device], case: Case, scale: Scale) -> Found:
    """All that an engine leaves after the frames of a case."""
    net, block = network(case, scale), max(min(BLOCK, scale.frames), case.streams)
    taken = engine(net, net.sizes(case.streams, block))
    frames, vectors, targets = frames_of(case, net, scale.frames)
    losses, Y = np.zeros((len(frames), net.readout.loss_size)), outputs_for(net, len(frames))
    inputs, met = ((frames[:, FLAGS] & flag > 0).cumsum() for flag in (INPUT, SCORED))
    for start in range(0, len(frames), block):
        part = slice(start, start + block)
        a, b = (each[start - 1] if start else 0 for each in (inputs, met))
        taken.run(frames[part], vectors[a:], targets[b:], losses[part], Y[a:].view(np.float32))
    taken.finish()
    left = {f"{name} of stage {k}": getattr(stage, name) for k, stage in enumerate(taken.stages) for name in KEPT}
    return {"outputs": Y, "losses": losses, "schedule": taken.schedule.counters} | left


def differences(ours: Found, reference: Found) -> list[str]:
    """What is not the same to the bit; one NaN is as good as another."""
    lines = []
    for name, wanted in reference.items():
        got = ours[name]
        bits = [each.view(np.int32 if each.itemsize == 4 else np.int64) for each in (got, wanted)]
        other = np.flatnonzero((bits[0] != bits[1]) & ~(np.isnan(got) & np.isnan(wanted)))
        if other.size:
            by = np.abs(got.flat[other].astype(np.float64) - wanted.flat[other]).max()
            first = ", ".join(str(k) for k in np.unravel_index(other[0], got.shape))
            lines.append(f"{name}: {other.size} of {got.size}, first at ({first}), by {by:.3g} at most")
    return lines


def verdicts(scale: Scale, chosen: list[Case], references: Path | None, seconds: float) -> Iterator[Verdict]:
    """One case after another until the time is up; references: the file with the core's bits."""
    until = time.monotonic() + seconds
    kept = np.load(references) if references else None
    for number, case in enumerate(chosen):
        start = time.monotonic()
        if start > until:
            return
        ours = found(Device, case, scale)
        reference = {name: kept[f"{number} {name}"] for name in ours} if kept else found(Core, case, scale)
        updates = int(reference["counters of stage 0"][0])
        yield Verdict(case, scale.frames, updates, differences(ours, reference), time.monotonic() - start)


def write_references(path: Path) -> None:
    """Those of the few tiny cases, by number of the case and name."""
    arrays: dict[str, Any] = {}
    for number, case in enumerate(few(TINY)):
        arrays |= {f"{number} {name}": array for name, array in found(Core, case, TINY).items()}
    np.savez(path, **arrays)


if __name__ == "__main__":
    write_references(Path(sys.argv[1]))
