"""A picture of what a network said of a table: values, forecasts with their intervals, and the surprise."""

import json
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamrnn.model.sheets import channel_panel, loss_panel, sheet

if TYPE_CHECKING:
    import numpy as np

FORMATS = ".png", ".svg"
MOST = 200_000  # newest outputs that are drawn
ROWS = 12  # channels
CLOSE = 200  # newest of them that are drawn once more, where they can be told apart
PARTS = "value", "prediction", "lower", "upper"


def draw(path: Path, records: Path, name: str) -> None:
    """Draw the records of a `jsonl` sink, those of the first stream in it. Raises OSError, or ValueError where it has
    too few.
    """
    import matplotlib

    matplotlib.use("Agg")
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
    figure, axes = sheet(len(channels) + 1, len(windows))
    for panels, window in zip(axes.T, windows, strict=True):
        said = [part[:-1][window] for part in (mean, lower, upper)]
        for k, (axis, channel) in enumerate(zip(panels, channels, strict=False)):
            forecasts = at[1:][window], *(part[:, k] for part in said)
            channel_panel(axis, channel, at[window], values[window, k], *forecasts)
        loss_panel(panels[-1], "surprise (nats)", losses[window], at[window])
        panels[-1].tick_params("x", rotation=20)
    axes[0, 0].set_title(f"{name}: stream {outputs[0]['stream']}, {len(outputs):,} readings")
    if len(windows) > 1:
        axes[0, 1].set_title(f"the last {CLOSE}")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=110)


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
