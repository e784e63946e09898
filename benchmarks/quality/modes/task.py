"""What the tasks have in common: examples to learn from and held-out ones, a daemon, a figure beside others'."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import streamrnn as sr
from benchmarks.shared.daemon import CONFIGS

START_TIMEOUT = 120.0  # seconds; the first run on a machine compiles the kernels


class Figure(NamedTuple):
    """What is reached on held-out examples, and what it must be."""

    name: str
    reached: float
    must: float


class Task:
    """A subclass reads its examples when it is made. The pairs are what `Client.teach` takes: inputs, targets."""

    mode: str
    config: str
    passes: int
    file = ""  # in the folder of data; none if the examples come with Python or scikit-learn
    synced = False
    pairs: list[tuple[Any, Any]]

    def __init__(self, folder: Path) -> None:
        raise NotImplementedError

    def examine(self, client: sr.Client) -> list[Figure]:
        """On the held-out examples."""
        raise NotImplementedError

    def others(self) -> list[str]:
        """What others reach on the same examples: a trivial answer, a linear model."""
        raise NotImplementedError

    def teach(self, client: sr.Client, seed: int, tell: Callable[[int], Any]) -> None:
        """All pairs, `passes` times, each time in another order; `tell` hears of every pair."""
        rng = np.random.default_rng(seed)
        for _ in range(self.passes):
            for k in rng.permutation(len(self.pairs)):
                inputs, targets = self.pairs[k]
                client.teach(inputs, targets, synced=self.synced)
                tell(1)
        client.flush()

    @property
    def targets(self) -> int:
        """In one pass."""
        return sum(len(targets) for _, targets in self.pairs)


@contextmanager
def daemon(config: str) -> Iterator[sr.Client]:
    """A client of a daemon that runs that config, with sockets and a state folder of its own."""
    with tempfile.TemporaryDirectory(prefix="modes-") as folder:
        sockets = "".join(f'{name} = "ipc://{folder}/{name}"\n' for name in ("gate", "outputs", "control"))
        path = Path(folder) / config
        path.write_text(f'{(CONFIGS / config).read_text()}\n[sockets]\n{sockets}[state]\nfolder = "{folder}/state"\n')
        process = subprocess.Popen([sys.executable, "-m", "streamrnn", "run", str(path), "--quiet"])
        try:
            with sr.Client(f"ipc://{folder}/control", START_TIMEOUT) as client:
                yield client
        finally:
            process.terminate()
            process.wait()


def split(count: int, share: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of `count` examples to learn from, and which are held out: a random one in `share`."""
    order = np.random.default_rng(0).permutation(count)
    return order[count // share :], order[: count // share]
