"""What a notebook shows of an output."""

from typing import TYPE_CHECKING

import numpy as np

from streamrnn.model.markup import line, number, table

if TYPE_CHECKING:
    from streamrnn.client.output import About, Output

CHANNELS = 24  # that are shown
LIKELIEST = 5  # classes
BYTES = 256


def html(output: "Output") -> str:
    """Where it belongs, and each channel, or the likeliest classes."""
    loss = "" if np.isnan(output.loss) else f"loss {number(output.loss)}"
    said = line(f"stream {output.stream}", f"frame {output.seq:,}", loss, when(output))
    if output.about and output.about.channels:
        return said + _channels(output.about, output)
    if output.about and output.about.readout.classes:
        rows = [(symbol(k, len(output.y)), f"{output.y[k]:.1%}") for k in likeliest(output.y, LIKELIEST)]
        return said + table(["class", "probability"], rows)
    return said + line(np.array2string(output.y, precision=4, threshold=CHANNELS))


def when(output: "Output") -> str:
    """The time of its frame in UTC, where that is known."""
    return f"{output.when:%Y-%m-%d %H:%M:%S}" if output.when else ""


def likeliest(y: np.ndarray, count: int) -> list[int]:
    """The classes with the highest probabilities, the highest first."""
    found: list[int] = np.argsort(-y, kind="stable")[:count].tolist()
    return found


def symbol(k: int, classes: int) -> str:
    """A class by its number, and by its byte where there are as many."""
    return f"{k} {bytes([k])!r}" if classes == BYTES else str(k)


def _channels(about: "About", output: "Output") -> str:
    columns = ["channel", "value", "loss", "prediction", "spread", "lower", "upper"]
    rows = [[name, *map(number, about.channel(output, k))] for k, name in enumerate(about.channels[:CHANNELS])]
    left = len(about.channels) - CHANNELS
    return table(columns, rows) + (line(f"and {left:,} more channels") if left > 0 else "")
