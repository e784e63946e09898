"""What ordinary days are made of: a day in a minute and a half, and every config for a minute. No kills, no tricks."""

import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from daemon import TIMEOUT

import streamrnn as sr
from benchmarks.shared.daemon import Kept, kept
from streamrnn import config as configs

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))
RATES = 5.0, 8.0, 12.0, 20.0  # frames a second of a client that is the only one
SECONDS = 60.0
pytestmark = pytest.mark.long


def test_nothing_comes_of_an_ordinary_day_but_what_was_learned():
    command = [sys.executable, "-m", "benchmarks.reliability.ordinary", "--short"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=4 * TIMEOUT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def value(size: int, token: bool, chance: random.Random) -> object:
    """A random token, or a random vector."""
    return chance.randrange(size) if token else [chance.gauss(0.0, 1.0) for _ in range(size)]


def send(daemon: Kept, config: configs.Config, rate: float) -> int:
    """A client at that rate; how many frames it sent."""
    chance, until, sent = random.Random(config.name), time.monotonic() + SECONDS, 0
    with daemon.client(TIMEOUT) as client:
        while time.monotonic() < until:
            x = value(config.input.size, config.input.kind == "tokens", chance)
            target = None
            if config.predict == "target":
                target = value(config.readout.size, config.readout.kind == "softmax", chance)
            client.send(x, target)
            sent += 1
            time.sleep(chance.uniform(0.5, 1.5) / rate)
        client.flush()
    return sent


def live(path: Path, folder: Path, rate: float) -> dict[str, object]:
    """A config's minute, with its own source or a client: what was seen of it."""
    config = configs.load(path)
    with kept(folder / config.name, path.read_text()) as daemon:
        if config.source.kind == "none":
            least = send(daemon, config, rate)
        else:
            least = int(0.9 * getattr(config.source, "rate", 0.0) * SECONDS) or 1
            time.sleep(SECONDS)
        code = daemon.stop()
        frames, recoveries = daemon.result()["frames"], daemon.events("recovery")
        finite = all(np.isfinite(stage.parameters.flat).all() for stage in sr.load(daemon.checkpoint()).stages)
    return {"code": code, "recoveries": recoveries, "frames": frames >= least, "finite": finite}


def test_every_config_runs_for_a_minute(tmp_path):
    with kept(tmp_path / "first", CONFIGS[0].read_text()) as daemon:  # compiles what is not compiled yet
        daemon.stop()
    rates = [RATES[k % len(RATES)] for k in range(len(CONFIGS))]
    with ThreadPoolExecutor(len(CONFIGS)) as pool:
        found = list(pool.map(live, CONFIGS, [tmp_path] * len(CONFIGS), rates))
    good = {"code": 0, "recoveries": [], "frames": True, "finite": True}
    assert dict(zip([path.stem for path in CONFIGS], found, strict=True)) == {path.stem: good for path in CONFIGS}
