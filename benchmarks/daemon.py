"""Real daemons for the benchmarks, each with a config, sockets and a state folder of its own."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import streamrnn as sr

TEXT = Path(__file__).parent.parent / "configs" / "text.toml"
ANSWER_TIMEOUT = 20.0  # seconds


def text_config(units: int, placement: list[int]) -> str:
    """configs/text.toml with layers of that size, and so many consecutive stages to each worker."""
    config, units_there, placement_there = TEXT.read_text(), "units = 128", "placement = [1, 2]"
    assert units_there in config, f"{TEXT} is not what it was"
    assert placement_there in config, f"{TEXT} is not what it was"
    return config.replace(units_there, f"units = {units}").replace(placement_there, f"placement = {placement}")


@contextmanager
def _command(config: str, *options: str, state: str = "") -> Iterator[tuple[Path, list[str]]]:
    """A folder of its own, and the command that runs that config there; state: more keys of [state]."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        sockets = "".join(f'{socket} = "ipc://{name}/{socket}"\n' for socket in ("gate", "outputs", "control"))
        path = Path(name) / "config.toml"
        path.write_text(f'{config}\n[sockets]\n{sockets}[state]\nfolder = "{name}/state"\n{state}')
        yield Path(name), [sys.executable, "-m", "streamrnn", "run", str(path), *options]


def learn(config: str, *options: str, cores: set[int] | None = None, state: str = "") -> dict[str, Any]:
    """Run to the end, on those cores only if any are given; what `--json` says."""
    with _command(config, *options, "--quiet", state=state) as (folder, command):
        process = subprocess.Popen([*command, "--json", str(folder / "out.json")])
        if cores:
            os.sched_setaffinity(process.pid, cores)
        if process.wait():
            raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
        return json.loads((folder / "out.json").read_text())


class Daemon(NamedTuple):
    """One that is READY."""

    client: sr.Client
    seconds: float  # from the command to READY


@contextmanager
def running(config: str, state: str = "", **environment: str) -> Iterator[Daemon]:
    """A daemon until the block ends."""
    with _command(config, state=state) as (folder, command):
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", env=os.environ | environment)
        try:
            assert process.stdout
            if not any(line.strip() == "READY" for line in iter(process.stdout.readline, "")):
                raise RuntimeError(f"{' '.join(command)} ended before it was ready")
            seconds = time.monotonic() - start
            with sr.Client(f"ipc://{folder}/control", ANSWER_TIMEOUT) as client:
                yield Daemon(client, seconds)
        finally:
            process.terminate()
            process.communicate()
