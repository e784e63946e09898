"""Seconds from the command to READY: `python -m benchmarks.speed.start`.

With the kernels on disk, and the first time ever.
"""

import tempfile
from statistics import median

from benchmarks.shared import measure
from benchmarks.shared.daemon import TEXT, running
from benchmarks.shared.measure import Row, less

MUST_WARM, MUST_COLD = 4.0, 40.0  # seconds at most


def seconds(**environment: str) -> float:
    with running(TEXT.read_text(), **environment) as daemon:
        return daemon.seconds


def rows(quick: bool) -> list[Row]:
    """Warm many times, cold once: compiling takes long."""
    seconds()  # compiles what is not compiled yet
    warm = median(seconds() for _ in range(1 if quick else 7))
    with tempfile.TemporaryDirectory() as empty:
        cold = seconds(XDG_CACHE_HOME=empty)
    return [
        less("READY, kernels on disk", None, warm, "limit", MUST_WARM, "s", 1),
        less("READY, the first time ever", None, cold, "limit", MUST_COLD, "s", 1),
    ]


if __name__ == "__main__":
    measure.main("start", "from the command to READY", rows)
