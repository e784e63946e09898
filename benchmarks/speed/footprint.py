"""What a daemon takes of a small machine: `python -m benchmarks.speed.footprint [--seconds 20] [--json FILE]`.

The daemon of configs/sensors.toml, 10 frames a second, and one of configs/socket.toml to which a client steps as often,
journal on: their processes, memory (proportional set size), share of a core, and how long a step takes. As processes,
and with all workers as threads of one. Beside the step: how long the disk takes to flush what is appended to a file.
"""

import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.shared.daemon import CONFIGS, Daemon, running

INTERVAL = 0.1  # seconds between frames
SETTLE = 3.0  # seconds after READY
LIMITS = {True: (160.0, 1.2, 1.0), False: (250.0, 2.0, 1.5)}  # fused or not: MiB, % of a core, ms
STEP = [0.1, 0.2, 0.3, 0.4], [1.0, 0.0]


def config_of(name: str, fused: bool) -> str:
    """A config with one process a stage, or one for all."""
    lines = [line for line in (CONFIGS / f"{name}.toml").read_text().splitlines() if not line.startswith("placement")]
    placement = '"single"' if fused else "[1, 1]"
    if "[pipeline]" not in lines:
        lines.append("[pipeline]")
    lines.insert(lines.index("[pipeline]") + 1, f"placement = {placement}")
    return "\n".join([*lines, ""])


def family(daemon: Daemon) -> list[psutil.Process]:
    """All processes of a daemon."""
    worker = psutil.Process(daemon.client.status()["workers"][0]["pid"])
    supervisor = next(each for each in worker.parents() if "run" in each.cmdline())
    return [supervisor, *supervisor.children(recursive=True)]


def cpu(processes: list[psutil.Process]) -> float:
    """Seconds that they have computed."""
    return float(sum(sum(process.cpu_times()[:2]) for process in processes))


def measure(name: str, fused: bool, seconds: float) -> dict[str, Any]:
    """One daemon."""
    with running(config_of(name, fused), quiet=True) as daemon:
        time.sleep(SETTLE)
        processes, steps = family(daemon), []
        before, start = cpu(processes), time.monotonic()
        while time.monotonic() - start < seconds:
            if name == "socket":
                begun = time.perf_counter()
                daemon.client.step(*STEP)
                steps.append(1000 * (time.perf_counter() - begun))
            time.sleep(INTERVAL)
        share = 100 * (cpu(processes) - before) / (time.monotonic() - start)
        memory = sum(process.memory_full_info().pss for process in processes) / 2**20
        recoveries = daemon.client.status()["recoveries"]
    return {
        "daemon": name,
        "fused": fused,
        "processes": len(processes),
        "MiB": memory,
        "% of a core": share,
        "ms a step": median(steps) if steps else None,
        "recoveries": recoveries,
    }


def flush_ms(times: int = 100) -> float:
    """How long the disk takes to flush 64 bytes appended to a file, in ms."""
    took = []
    with tempfile.TemporaryFile() as file:
        for _ in range(times):
            file.write(bytes(64))
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(1000 * (time.perf_counter() - begun))
            time.sleep(0.01)
    return median(took)


def main(
    seconds: Annotated[float, typer.Option(help="That each daemon is looked at.")] = 20.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
) -> None:
    """Measure; exit code 1 where a limit is passed."""
    found = [measure(name, fused, seconds) for fused in (False, True) for name in ("sensors", "socket")]
    table = Table(*found[0], box=None)
    for row in found:
        cells = [f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()]
        table.add_row(*("" if cell == "None" else cell for cell in cells))
    Console().print(table, f"a flush of the disk: {flush_ms():.2f} ms; at most: {LIMITS}")
    if json_file:
        json_file.write_text(json.dumps(found, indent=2) + "\n")
    over = False
    for row in found:
        memory, share, step = LIMITS[row["fused"]]
        slow = row["ms a step"] is not None and row["ms a step"] > step
        over |= row["MiB"] > memory or (row["daemon"] == "sensors" and row["% of a core"] > share) or slow
    raise typer.Exit(over)


if __name__ == "__main__":
    typer.run(main)
