"""Which frames of sources are let in: none with a number that the network cannot take, none late, and none twice."""

from typing import Any
from zlib import crc32

import numpy as np

from streamrnn.sources import NO_TIME, Frames
from streamrnn.workers.admission.intake import Intake


class Screening:
    """What has been passed over: frames without a number that is needed or with one too large, late ones, repetitions.

    A frame is late whose time is before that of its stream's frame before. It is a repetition if it has the time and
    the values of that. What is passed over depends on the frames alone, so it is the same when they are read again.
    """

    def __init__(self, order: dict[str, Any], intake: Intake) -> None:
        self.most, self.fills, self.intake = order["largest"], order["missing"] == "fill", intake
        counts = order["kept"].get("screening", {})
        self.unfit, self.late = counts.get("unfit", 0), counts.get("late", 0)
        self.repeated, self.unopened = counts.get("repeated", 0), counts.get("unopened", 0)

    def note(self, number: int, times: np.ndarray, values: np.ndarray) -> None:
        """Take note of frames that were let in before: their times, of those that have one, and their values."""
        if len(times):
            self.intake.newest[number] = newest_of(Frames(values, times), len(times) - 1)

    def screen(self, number: int, frames: Frames) -> Frames:
        """Those of a stream's frames that are let in."""
        fit = self._fitting(frames)
        if not fit.all():
            self.unfit += int((~fit).sum())
            frames = frames.chosen(fit)
        if frames.times is None or not len(frames):
            return frames
        newest = self.intake.newest.get(number)
        if (newest and frames.times[0] <= newest[0]) or (np.diff(frames.times) <= 0).any():
            frames = frames.chosen(self._in_order(newest, frames))
        if len(frames):
            self.intake.newest[number] = newest_of(frames, len(frames) - 1)
        return frames

    def _in_order(self, newest: list[int] | None, frames: Frames) -> np.ndarray:
        chosen = np.zeros(len(frames), bool)
        for k in range(len(frames)):
            this = newest_of(frames, k)
            if newest and this[0] != NO_TIME and this[0] < newest[0]:
                self.late += 1
            elif this == newest:
                self.repeated += 1
            else:
                chosen[k], newest = True, this
        return chosen

    def _fitting(self, frames: Frames) -> np.ndarray:
        values = frames.values
        if values.ndim == 1:
            return np.ones(len(values), bool)
        fit = np.abs(values) <= self.most
        if self.fills:
            fit |= np.isnan(values)
        whole: np.ndarray = fit.all(axis=1)
        return whole

    def counts(self) -> dict[str, Any]:
        """For the supervisor, and for a checkpoint."""
        return {"unfit": self.unfit, "late": self.late, "repeated": self.repeated, "unopened": self.unopened}


def newest_of(frames: Frames, k: int) -> list[int]:
    """The time of a frame, and a checksum of its values."""
    assert frames.times is not None
    return [int(frames.times[k]), crc32(frames.values[k].tobytes())]
