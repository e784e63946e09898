"""Pictures, by matplotlib: losses, and the values of channels beside their forecasts with the interval."""

from typing import TYPE_CHECKING, Any

import numpy as np

from streamrnn.model.channels import names
from streamrnn.model.readouts import READOUTS, Forecast, Readout
from streamrnn.model.sheets import channel_panel, loss_panel, sheet

if TYPE_CHECKING:
    from streamrnn.model.network import Network

MOST = 12  # channels that are drawn where none is chosen
DEVIATIONS = 1.645  # of a Gaussian, on either side: they hold 0.9 of the values


def plot(net: "Network", losses: Any, outputs: Any, targets: Any, channel: str | int | None) -> Any:
    """See `Network.plot`."""
    losses = np.asarray(losses, np.float64)
    if losses.ndim != 1:
        raise ValueError(f"losses are those that run returned, an array (n,), not {losses.shape}")
    if outputs is None and (targets is not None or channel is not None):
        raise ValueError("to draw a channel takes the outputs that run returned: plot(losses, outputs, targets)")
    shown = {} if outputs is None else _chosen(net, channel)
    figure, axes = sheet(len(shown) + 1)
    if outputs is not None:
        mean, lower, upper = _said(net.readout, np.asarray(outputs), len(losses))
        values = _values(net, targets, len(losses))
        ahead = 1 if net.predict == "next" else 0  # what an output says is of the frame behind it
        at = np.arange(len(losses))
        for axis, (name, k) in zip(axes[:, 0], shown.items(), strict=False):
            channel_panel(axis, name, at, values[:, k], at + ahead, mean[:, k], lower[:, k], upper[:, k])
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    loss_panel(axes[-1, 0], "loss" if isinstance(net.readout, READOUTS["Linear"]) else "loss (nats)", losses)
    axes[-1, 0].set_xlabel("frame")
    return figure


def _chosen(net: "Network", channel: str | int | None) -> dict[str, int]:
    """The channels that are drawn: their names, and their places in a target."""
    if net.readout.classes:
        raise ValueError("outputs are probabilities of classes, which have no channels: plot(losses) draws the loss")
    known = names(net.channels, net.readout.size)
    if channel is None:
        return {name: k for k, name in enumerate(known[:MOST])}
    k = known.index(channel) if channel in known else channel
    if not isinstance(k, int) or not 0 <= k < len(known):
        raise ValueError(f"there is no channel {channel!r}: there are {', '.join(known)}, and places from 0 on")
    return {known[k]: k}


def _said(readout: Readout, y: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Forecasts and the ends of their intervals, each (n, size); NaN where the readout says none."""
    if y.shape != (count, readout.output_size):
        raise ValueError(f"{count} losses need outputs {(count, readout.output_size)}, not {y.shape}")
    if isinstance(readout, Forecast):
        first = readout.read(y)[1]
        return first.mean, first.lower, first.upper
    if isinstance(readout, READOUTS["Gaussian"]):
        mean, reach = y[:, : readout.size], DEVIATIONS * y[:, readout.size :]
        return mean, mean - reach, mean + reach
    nothing = np.full_like(y, np.nan)
    return y, nothing, nothing


def _values(net: "Network", targets: Any, count: int) -> np.ndarray:
    """What came, (n, size); NaN where that is not told."""
    size = net.readout.size
    if targets is None:
        return np.full((count, size), np.nan)
    values = np.asarray(net._rows(targets) if net.predict == "next" else targets, np.float64)
    if values.shape != (count, size) and values.shape != (count,) * (size == 1):
        raise ValueError(f"{count} losses need targets {(count, size)}, not {values.shape}")
    return values.reshape(count, size)
