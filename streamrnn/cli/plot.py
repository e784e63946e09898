"""A picture of what a network said of a table: values, forecasts with their intervals, and the surprise."""

import json
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

FORMATS = ".png", ".svg"
MOST = 200_000  # newest outputs that are drawn
ROWS = 12  # channels
CLOSE = 200  # newest of them that are drawn once more, where they can be told apart
INCHES = 8.0, 1.7  # width of a column, and the height of a channel
PARTS = "value", "prediction", "lower", "upper"


def draw(path: Path, records: Path, name: str) -> None:
    """Draw the records of a `jsonl` sink, those of the first stream in it. Raises OSError, or ValueError where it has
    too few.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    outputs = read(records)
    if len(outputs) < 2:
        raise ValueError(f"{path}: nothing to draw, the table has too few rows")
    channels = list(outputs[0]["channels"])[:ROWS]
    values, mean, lower, upper = (column(outputs, channels, part) for part in PARTS)
    losses = np.array([output["loss"] for output in outputs], float)
    at: Any = np.arange(len(outputs))
    if all(output["time"] for output in outputs):
        at = np.array([output["time"].rstrip("Z") for output in outputs], "datetime64[ns]")
    windows = [slice(None), slice(-CLOSE, None)] if len(outputs) > 2 * CLOSE else [slice(None)]
    rows = len(channels) + 1
    size = INCHES[0] * len(windows), INCHES[1] * rows
    figure, axes = plt.subplots(rows, len(windows), sharex="col", figsize=size, layout="constrained", squeeze=False)
    for panels, window in zip(axes.T, windows, strict=True):
        for k, (axis, channel) in enumerate(zip(panels, channels, strict=False)):
            ends = lower[:-1, k][window], upper[:-1, k][window]
            axis.fill_between(at[1:][window], *ends, color="#9ecae1", linewidth=0, label="interval")
            axis.plot(at[1:][window], mean[:-1, k][window], color="#3182bd", linewidth=0.9, label="forecast")
            axis.plot(at[window], values[window, k], color="black", linewidth=0.7, label="value")
            axis.set_ylabel(channel)
        panels[-1].plot(at[window], losses[window], color="#de2d26", linewidth=0.7)
        panels[-1].set_ylabel("surprise (nats)")
        panels[-1].tick_params("x", rotation=20)
        for axis in panels:
            axis.margins(x=0)
            axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_title(f"{name}: stream {outputs[0]['stream']}, {len(outputs):,} readings")
    if len(windows) > 1:
        axes[0, 1].set_title(f"the last {CLOSE}")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    try:
        figure.savefig(path, dpi=110)
    finally:
        plt.close(figure)


def read(records: Path) -> list[dict[str, Any]]:
    """The newest records of the first stream in a file."""
    found: deque[dict[str, Any]] = deque(maxlen=MOST)
    with records.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if not found or record["stream"] == found[0]["stream"]:
                found.append(record)
    return list(found)


def column(outputs: list[dict[str, Any]], channels: list[str], part: str) -> "np.ndarray":
    """A part of what is said of each channel, (outputs, channels)."""
    import numpy as np

    return np.array([[output["channels"][channel].get(part) for channel in channels] for output in outputs], float)
