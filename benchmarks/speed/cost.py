"""What it costs that nothing is lost: `python -m benchmarks.speed.cost`.

configs/text.toml, two LSTM-128 layers that learn, with the journal and a checkpoint every 5 seconds, and with neither,
in turns: bytes a second of a text, and the time from a client's `step` to its answer.
"""

from benchmarks.shared import measure

# isort: split
from collections.abc import Callable
from statistics import median, quantiles
from time import perf_counter

from benchmarks.shared.daemon import TEXT, learn, running
from benchmarks.shared.measure import Row, less, more
from streamrnn import Client

ON = "[journal]\nenabled = true\n", "checkpoint_seconds = 5\n"
OFF = "[journal]\nenabled = false\n", "checkpoint_seconds = 0\n"
BYTES, BYTES_QUICK = 400_000, 50_000
STEPS, STEPS_QUICK = 3000, 500
TURNS, TURNS_QUICK = 4, 1
MOST = 0.1  # of the throughput, at most


def rows(quick: bool) -> list[Row]:
    """Throughput and latency."""
    count, steps, turns = (BYTES_QUICK, STEPS_QUICK, TURNS_QUICK) if quick else (BYTES, STEPS, TURNS)
    learn(TEXT.read_text(), "--max-frames", "1000")  # compiles what is not compiled yet
    on, off = in_turns(lambda settings: [rate(settings, count)], turns)
    slow, fast = in_turns(lambda settings: latencies(settings, steps), turns)
    against = "neither"
    return [
        more("journal and checkpoints, learning", 128, median(on), against, median(off), "bytes/s", 1 - MOST),
        less("step of a client, median", 128, 1e6 * median(slow), against, 1e6 * median(fast), "µs", None),
        less("step of a client, 99 of 100", 128, 1e6 * late(slow), against, 1e6 * late(fast), "µs", None),
    ]


def in_turns(run: Callable[[tuple[str, str]], list[float]], turns: int) -> tuple[list[float], list[float]]:
    """What runs with and without have given, A, B, A, B, ..."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns):
        for settings, values in zip((ON, OFF), found, strict=True):
            values += run(settings)
    return found


def late(values: list[float]) -> float:
    """One in a hundred takes longer."""
    return quantiles(values, n=100)[-1]


def rate(settings: tuple[str, str], count: int) -> float:
    """Bytes a second of a text that the daemon reads itself."""
    journal, state = settings
    found: float = learn(TEXT.read_text() + journal, "--max-frames", str(count), state=state)["frames_per_second"]
    return found


def latencies(settings: tuple[str, str], steps: int) -> list[float]:
    """Seconds from a step of a client to its output."""
    journal, state = settings
    config, _, _ = TEXT.read_text().partition("[source]")
    with running(config + journal, state=state) as (client, *_):
        return [step_seconds(client, k % 256) for k in range(steps + 100)][100:]


def step_seconds(client: Client, token: int) -> float:
    start = perf_counter()
    client.step(token)
    return perf_counter() - start


if __name__ == "__main__":
    measure.main("cost", "what durability costs", rows)
