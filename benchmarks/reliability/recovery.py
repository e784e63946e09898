"""How long a failure at full speed is felt: `python -m benchmarks.reliability.recovery`.

Stages are killed at random moments. For two layers of LSTM-128 and of LSTM-512 on text at full speed: the time from a
stage's death until the newest frame whose output was heard before is passed again; and the speed, as a share of that
with one checkpoint a minute.
"""

import json
import os
import random
import signal
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
import zmq
from rich.console import Console

from benchmarks.shared.daemon import Daemon, running, text_config
from streamrnn.kernels.frames import SEQ
from streamrnn.kernels.messages import OUTPUT
from streamrnn.protocol.wire import unpack

MEDIAN, MOST, SHARE = 4.0, 8.0, 0.97  # seconds at most; of the speed, at least
LONGEST = 60.0  # seconds until a frame must have been passed again
PAUSE = 2.0, 12.0  # seconds from one kill to the next, at least and at most: checkpoints lie between


class Newest:
    """The newest output on the daemon's socket: its epoch and SEQ."""

    def __init__(self, endpoint: str) -> None:
        self.socket = zmq.Context.instance().socket(zmq.SUB)
        self.socket.setsockopt(zmq.RCVHWM, 0)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 5)
        self.socket.setsockopt(zmq.SUBSCRIBE, b"source\0")
        self.socket.connect(endpoint)
        self.epoch = self.seq = -1

    def hear(self, seconds: float) -> None:
        """Take what comes in that time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.socket.poll(int(left * 1000) + 1):
                self.take()

    def take(self) -> None:
        message = unpack(self.socket.recv_multipart()[1])
        if message.kind == OUTPUT:
            self.epoch, self.seq = message.epoch, int(message.frames[-1, SEQ])

    def pass_again(self, epoch: int, seq: int) -> None:
        """Until that frame has come in a later epoch."""
        until = time.monotonic() + LONGEST
        while self.epoch <= epoch or self.seq < seq:
            if time.monotonic() > until:
                raise RuntimeError(f"frame {seq} was not passed again within {LONGEST:.0f} s")
            if self.socket.poll(100):
                self.take()


def kill_a_stage(daemon: Daemon, chance: random.Random) -> None:
    """One of the workers that host stages."""
    pids = [worker["pid"] for worker in daemon.client.status()["workers"] if worker["name"].startswith("stages")]
    os.kill(chance.choice(pids), signal.SIGKILL)


def failures(config: str, kills: int, seed: int) -> list[float]:
    """Seconds until the newest frame was passed again, for each kill."""
    chance, found = random.Random(seed), []
    with running(config, more="[supervision]\nrestarts = 1000\n") as daemon:
        newest = Newest(daemon.outputs)
        for _ in range(kills):
            newest.hear(chance.uniform(*PAUSE))
            kill_a_stage(daemon, chance)
            while newest.socket.poll(0):  # what was published before
                newest.take()
            epoch, seq, start = newest.epoch, newest.seq, time.monotonic()
            newest.pass_again(epoch, seq)
            found.append(time.monotonic() - start)
        newest.socket.close(0)
    return found


def speed(config: str, seconds: float, recovery_seconds: float) -> float:
    """Frames a second over that time, once a few have gone."""
    with running(config, state=f"recovery_seconds = {recovery_seconds}\n") as daemon:
        time.sleep(2.0)
        begin, start = daemon.client.status()["frames"], time.monotonic()
        time.sleep(seconds)
        return float((daemon.client.status()["frames"] - begin) / (time.monotonic() - start))


def measure(units: int, kills: int, seconds: float) -> dict[str, Any]:
    """For a size of layers."""
    config = text_config(units, [1, 2])
    took = failures(config, kills, units)
    pairs = [(speed(config, seconds, 4.0), speed(config, seconds, 0.0)) for _ in range(2)]
    return {
        "layers": f"LSTM-{units} x 2",
        "kills": kills,
        "median": median(took),
        "90 %": float(np.quantile(took, 0.9)),
        "longest": max(took),
        "speed": median(ready for ready, _ in pairs),
        "share": median(ready / once for ready, once in pairs),
    }


def main(
    kills: Annotated[int, typer.Option(help="For each size of layers.")] = 20,
    seconds: Annotated[float, typer.Option(help="That each speed is measured.")] = 60.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
) -> None:
    """Kill stages at full speed."""
    console, rows = Console(), []
    for units in (128, 512):
        rows.append(row := measure(units, kills, seconds))
        console.print(
            f"{row['layers']}: {kills} kills, the newest frame again after {row['median']:.2f} s (median), "
            f"{row['90 %']:.2f} s (90 %), {row['longest']:.2f} s (longest); {row['speed']:,.0f} frames/s, "
            f"{row['share']:.3f} of one checkpoint a minute",
            highlight=False,
        )
    if json_file:
        json_file.write_text(json.dumps(rows, indent=2) + "\n")
    good = all(row["median"] <= MEDIAN and row["longest"] <= MOST and row["share"] >= SHARE for row in rows)
    raise typer.Exit(0 if good else 1)


if __name__ == "__main__":
    typer.run(main)
