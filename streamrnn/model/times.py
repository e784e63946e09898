"""When a frame was measured, as a caller says it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Time = datetime | int | None


def nanoseconds(time: Any) -> int | None:
    """Since 1970 in UTC: of a datetime, one without zone being in UTC, a numpy.datetime64, or nanoseconds as an int.

    Raises ValueError of anything else, or where 64 bits do not hold it.
    """
    if time is None:
        return None
    if isinstance(time, datetime):
        aware = time if time.tzinfo else time.replace(tzinfo=UTC)
        since = (aware - EPOCH) // timedelta(microseconds=1) * 1000
    elif isinstance(time, np.datetime64):
        since = int(time.astype("datetime64[ns]").astype(np.int64))
    elif isinstance(time, int | np.integer) and not isinstance(time, bool):
        since = int(time)
    else:
        raise ValueError(f"a time is a datetime or nanoseconds since 1970, not {time!r}")
    if not -(2**63) < since < 2**63:
        raise ValueError(f"{time!r} is too far from 1970 to be counted in nanoseconds")
    return since


def as_times(times: Any, count: int) -> np.ndarray:
    """The same of `count` times, int64 (count,). Raises ValueError also where they are another number of them."""
    if len(times) != count:
        raise ValueError(f"{count} frames need as many times, not {len(times)}")
    if isinstance(times, np.ndarray) and times.dtype.kind == "M":
        times = times.astype("datetime64[ns]").astype(np.int64)
    if isinstance(times, np.ndarray) and times.dtype.kind in "iu":
        return times.astype(np.int64)
    return np.array([nanoseconds(each) for each in times], np.int64)
