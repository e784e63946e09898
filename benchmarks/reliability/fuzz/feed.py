"""Feed a target until it takes or refuses an input otherwise than documented, and find what led to that."""

import gc
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from random import Random
from typing import Any

import msgspec
import psutil

from benchmarks.reliability.fuzz.targets import TARGETS, Target

LIFE = 1000  # inputs until a target is made anew
LIMIT = 5.0  # seconds that an input may take
GROWTH = 8.0  # MiB that the process may grow by after a tenth of a target's inputs


class Hang(BaseException):
    """An input took too long."""


class Case(msgspec.Struct):
    """What led to a fault: the last of these inputs, fed to a target made with that seed."""

    target: str
    seed: int
    inputs: list[list[bytes]]
    fault: str = ""


class Tally(msgspec.Struct):
    """What came of a target's inputs."""

    inputs: int = 0
    accepted: int = 0
    seconds: float = 0.0
    growth: float = 0.0  # MiB
    case: Case | None = None

    @property
    def good(self) -> bool:
        """Whether no input fell through."""
        return self.case is None and self.growth <= GROWTH


def limited(run: Callable[..., Any], *arguments: Any) -> Any:
    """What it returns. Raises Hang if that takes too long."""
    signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        return run(*arguments)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def hang(*_: Any) -> None:
    raise Hang(f"no answer within {LIMIT} s")


def resident() -> float:
    """MiB of this process."""
    gc.collect()
    return float(psutil.Process().memory_info().rss / 2**20)


def made(case: Case) -> Target:
    """A target as it was made."""
    return next(kind for kind in TARGETS if kind.name == case.target)(Random(case.seed))


def live(case: Case, inputs: int, tally: Tally) -> None:
    """The life of a target: make it, feed it that many inputs, and end it."""
    with closing(made(case)) as target:
        for _ in range(inputs):
            case.inputs.append(target.make())
            tally.inputs += 1
            tally.accepted += limited(target.take, case.inputs[-1])


def replay(case: Case) -> None:
    """Feed a case again. Raises what it raised."""
    with closing(made(case)) as target:
        for parts in case.inputs:
            limited(target.take, parts)


def shortest(case: Case) -> Case:
    """The last input alone, where that is enough."""
    alone = msgspec.structs.replace(case, inputs=case.inputs[-1:])
    try:
        replay(alone)
    except (Exception, Hang):
        return alone
    return case


def fuzz(name: str, inputs: int, seed: int, tell: Callable[[int], Any] = lambda more: None) -> Tally:
    """Feed so many inputs to a target, up to the first fault; tell: of each thousand or fewer that are through."""
    tally, random, start, held = Tally(), Random(f"{seed} {name}"), time.monotonic(), resident()
    while tally.inputs < inputs and not tally.case:
        case = Case(name, random.randrange(2**62), [])
        try:
            live(case, min(LIFE, inputs - tally.inputs), tally)
        except (Exception, Hang):
            tally.case = msgspec.structs.replace(shortest(case), fault=traceback.format_exc())
        if tally.inputs <= max(LIFE, inputs // 10):
            held = resident()
        tell(len(case.inputs))
    tally.seconds, tally.growth = time.monotonic() - start, resident() - held
    return tally
