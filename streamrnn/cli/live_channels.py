"""The channels that the live view shows: read from the history as any client can, for every readout of vectors.

It stays with a stream as long as something comes for it, and then goes on with the one that has the newest output.
"""

import math
import threading
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

import streamrnn as sr
from streamrnn.cli.channel_table import RECENT
from streamrnn.web.watch import Followed

LOOK = 0.4  # seconds between looks
CHANNELS = 32  # at most
NUMBERS = "seq", "value", "forecast", "lower", "upper", "score", "threshold"  # that the status of a forecast has too


def together(told: dict[str, Any] | None, looked: deque[dict[str, Any]]) -> dict[str, Any] | None:
    """The channels that a status tells, and the newest looked at: the numbers of the status are the newer ones."""
    if not told or not looked or told["stream"] != looked[0]["stream"]:
        return looked[0] if looked else told
    return looked[0] | {name: told[name] for name in NUMBERS if name in told}


def look_at_channels(control: str, key: Path | None, newest: deque[dict[str, Any]], over: threading.Event) -> None:
    """Put the newest channels into `newest` until it is over; a daemon that recovers is waited for."""
    while not over.wait(LOOK):
        try:
            with sr.Client(control, key=key) as client:
                follow(client, newest, over)
        except (sr.DaemonGone, sr.KeysError, OSError):
            continue


def follow(client: sr.Client, newest: deque[dict[str, Any]], over: threading.Event) -> None:
    """Look until it is over, or all workers are started anew. Raises DaemonGone."""
    epoch, followed, last = client.status()["epoch"], None, -1
    while not over.wait(LOOK):
        status = client.status()
        if status["epoch"] != epoch:
            return
        if status["state"] not in ("running", "draining"):  # outputs of before come again first
            continue
        if followed:
            followed.read(client, status["seq"])
        quiet = not followed or last_seq(followed) == last
        name = next(iter(client.streams()), "") if quiet else ""
        if name and (not followed or followed.name != name):
            followed = Followed(name, client)
            followed.read(client, status["seq"])
        if followed and len(followed.series):
            last = last_seq(followed)
            newest.append(channels(followed, "forecast" if client.predict == "next" else "prediction"))


def last_seq(followed: Followed) -> int:
    """Of the newest output that has been read; -1 before the first."""
    return int(followed.series.columns["seq"][-1]) if len(followed.series) else -1


def channels(followed: Followed, said: str) -> dict[str, Any]:
    """As in a status: lists over channels, of numbers or of the newest values; said: what predictions are called."""
    series = followed.series
    columns = {name: values[-RECENT:] for name, values in series.columns.items()}
    count = min(len(series.names), CHANNELS)
    found: dict[str, Any] = {
        "stream": followed.name,
        "seq": last_seq(followed),
        "count": len(series.names),
        "name": series.names[:count],
        "unit": series.units[:count],
        "value": plain(columns["value"][-1, :count]),
        said: plain(series.said["prediction"][-1, :count]),
        "recent": [plain(values) for values in columns["value"].T[:count]],
        "surprise": [plain(values) for values in columns["surprise"].T[:count]],
    }
    if not np.isnan(series.said["lower"]).all():
        found |= {name: plain(series.said[name][-1, :count]) for name in ("lower", "upper")}
    if "score" in columns:
        found |= {name: float(columns[name][-1]) for name in ("score", "threshold")}
    return found


def plain(values: np.ndarray) -> list[float | None]:
    """Numbers, None for what is none."""
    return [None if math.isnan(value) else value for value in values.tolist()]
