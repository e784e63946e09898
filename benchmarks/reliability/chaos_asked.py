"""Ask a daemon in all ways while its processes are killed: `python -m benchmarks.reliability.chaos_asked`.

One client has sequences classified and labelled, has others written on, and steps, on streams with names and without.
A checkpoint is taken every 100 frames, so that many of them, and many failures, fall into the middle of a request. The
library does the same in one process: each answer, and the parameters in the end, must have the same bits.
"""

import random
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

import streamrnn as sr
from benchmarks.reliability.chaos import CLASSES, PATIENCE, failing, network, show, story

EVERY = 100  # frames between checkpoints
LONGEST = 200  # symbols that are written
FATES = signal.SIGKILL, signal.SIGSTOP  # asked to end, it would refuse what it has not all taken


def request(chance: random.Random) -> Callable[[Any], Any]:
    """Something to ask of a client or a network."""
    tokens = [chance.randrange(CLASSES) for _ in range(chance.randrange(1, 40))]
    stream, seed, length = chance.choice(["a", "b", None]), chance.randrange(1000), chance.randrange(1, LONGEST)
    match chance.randrange(4):
        case 0:
            return lambda what: what.classify(tokens, stream=stream)
        case 1:
            return lambda what: what.label(tokens, stream=stream)
        case 2:
            return lambda what: what.generate(tokens, max_length=length, temperature=1.0, seed=seed, stream=stream)
        case _:
            return lambda what: [step(what, token, stream or "c") for token in tokens]


def step(what: Any, token: int, stream: str) -> np.ndarray:
    """The output for one frame, which is learned from."""
    output = what.step(token, stream=stream)
    return np.asarray(output if isinstance(what, sr.Network) else output.y)


def run(requests: int, least: int, seed: int) -> dict[str, Any]:
    """What came of it."""
    net, chance, wrong, start = network(), random.Random(seed), 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("requests", total=requests)
        with failing(Path(name), EVERY, seed, requests / least, supervisors=FATES) as (daemon, failures):
            with sr.Client(f"ipc://{name}/control", PATIENCE) as client:
                failures.start()
                for k in range(requests):
                    ask = request(chance)
                    wrong += not np.array_equal(ask(client), ask(net))
                    failures.sent = k
                    progress.update(task, completed=k + 1)
                failures.over.set()
                failures.join()
                client.status()
            result = daemon.end()
        happened = story(daemon, failures, start)
    return {
        "requests": requests,
        **happened,
        "answers with other bits than in one process": wrong,
        "parameters_sha256 as in one process": result["parameters_sha256"] == net.parameters_sha256(),
    }


def main(
    requests: Annotated[int, typer.Option(help="How many are asked.")] = 2000,
    failures: Annotated[int, typer.Option(help="About as many bursts of failures.")] = 60,
    seed: Annotated[int, typer.Option(help="Of requests and failures.")] = 0,
) -> None:
    """Kill while it answers, and see that every answer is right."""
    found = run(requests, failures, seed)
    show(found)
    wrong = found["answers with other bits than in one process"]
    raise typer.Exit(0 if found["parameters_sha256 as in one process"] and not wrong else 1)


if __name__ == "__main__":
    typer.run(main)
