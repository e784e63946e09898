"""The parts of a picture: panels below each other, of a channel and of losses. matplotlib is loaded by who draws."""

from typing import Any

INCHES = 8.0, 1.7  # width of a column, and the height of a panel


def sheet(rows: int, columns: int = 1) -> tuple[Any, Any]:
    """A figure that no window shows, and its panels (rows, columns). Raises ImportError where matplotlib is missing."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f"to draw needs more than is installed: pip install streamrnn[plot] ({error})") from error
    size = INCHES[0] * columns, INCHES[1] * rows
    figure, axes = plt.subplots(rows, columns, sharex="col", figsize=size, layout="constrained", squeeze=False)
    plt.close(figure)  # it goes on as any other value: a notebook shows it once
    for axis in axes.flat:
        axis.margins(x=0)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def channel_panel(axis: Any, name: str, at: Any, values: Any, ahead: Any, mean: Any, lower: Any, upper: Any) -> None:
    """Values where they came, and forecasts with their intervals at the places that they are of."""
    axis.fill_between(ahead, lower, upper, color="#9ecae1", linewidth=0, label="interval")
    axis.plot(ahead, mean, color="#3182bd", linewidth=0.9, label="forecast")
    axis.plot(at, values, color="black", linewidth=0.7, label="value")
    axis.set_ylabel(name.replace("$", r"\$"))  # which would begin a formula


def loss_panel(axis: Any, name: str, losses: Any, at: Any = None) -> None:
    """Losses, one after the other or where they came."""
    axis.plot(range(len(losses)) if at is None else at, losses, color="#de2d26", linewidth=0.7)
    axis.set_ylabel(name)
