"""PyTorch on the GPU with our weights, in float32: cell by cell, a window at once by cuDNN, and compiled.

A `run` takes a count and returns once the device is through. `live` frames lie in pinned memory of the host and their
outputs go back there, frame by frame, which is what a stream asks for; else they are on the device and stay there.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import streamrnn as sr

RATE, CLIP_NORM = 1e-3, 1.0
Run = Callable[[int], Any]

torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
torch.set_float32_matmul_precision("highest")


def on_device(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).cuda()


def fill(module: Any, own: dict[str, np.ndarray], suffix: str) -> Any:
    """Our weights in a module, there; its second bias stays at zero."""
    with torch.no_grad():
        getattr(module, f"weight_ih{suffix}").copy_(torch.from_numpy(own["W_xh"].T))
        getattr(module, f"weight_hh{suffix}").copy_(torch.from_numpy(own["W_hh"].T))
        getattr(module, f"bias_ih{suffix}").copy_(torch.from_numpy(own["b_h"]))
        getattr(module, f"bias_hh{suffix}").zero_()
    return module.cuda()


def cell_of(net: sr.Network) -> torch.nn.LSTMCell:
    layer = net.layers[0]
    return fill(torch.nn.LSTMCell(layer.input_size, layer.hidden_size), layer.params, "")


def layer_of(net: sr.Network) -> torch.nn.LSTM:
    layer = net.layers[0]
    return fill(torch.nn.LSTM(layer.input_size, layer.hidden_size), layer.params, "_l0")


def readout_of(net: sr.Network) -> torch.nn.Linear:
    own = net.readout.params
    linear = torch.nn.Linear(*own["W_hy"].shape)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(own["W_hy"].T))
        linear.bias.copy_(torch.from_numpy(own["b_y"]))
    return linear.cuda()


def steps(net: sr.Network, X: np.ndarray, compiled: bool = False) -> Run:
    """So many times X (frames, streams, I), frame by frame."""
    cell, frames = cell_of(net), on_device(X).unbind()
    forward = torch.compile(cell) if compiled else cell
    zeros = torch.zeros(X.shape[1], cell.hidden_size, device="cuda")
    state = zeros, zeros

    def run(count: int) -> np.ndarray:
        nonlocal state
        with torch.inference_mode():
            for _ in range(count):
                for x in frames:
                    state = forward(x, state)
        torch.cuda.synchronize()
        return state[0].cpu().numpy()

    return run


def windows_forward(net: sr.Network, X: np.ndarray) -> Run:
    """So many times all of X (frames, streams, I) in one call of cuDNN."""
    layer, frames, state = layer_of(net), on_device(X), None

    def run(count: int) -> np.ndarray:
        nonlocal state
        with torch.inference_mode():
            for _ in range(count):
                _, state = layer(frames, state)
        torch.cuda.synchronize()
        return state[0][0].cpu().numpy()

    return run


class Stepwise(torch.nn.Module):
    """A cell and a readout, frame by frame; `outputs` (frames, streams, K) of the host if frames come from there."""

    def __init__(self, net: sr.Network) -> None:
        super().__init__()
        self.cell, self.readout = cell_of(net), readout_of(net)

    def forward(self, X: Any, state: Any, outputs: Any = None) -> Any:
        said = []
        for k, x in enumerate(X):
            state = self.cell(x.cuda(non_blocking=True), state)
            said.append(self.readout(state[0]))
            if outputs is not None:
                outputs[k].copy_(said[-1].detach(), non_blocking=True)
                torch.cuda.current_stream().synchronize()
        return torch.stack(said), state


class Windowwise(torch.nn.Module):
    """The same over a whole window in one call."""

    def __init__(self, net: sr.Network) -> None:
        super().__init__()
        self.layer, self.readout = layer_of(net), readout_of(net)

    def forward(self, X: Any, state: Any) -> Any:
        outputs, (h, c) = self.layer(X, tuple(each[None] for each in state))
        return self.readout(outputs), (h[0], c[0])


def learning(model: Any, X: np.ndarray, targets: np.ndarray, live: bool = False, compiled: bool = False) -> Run:
    """So many times the window X (frames, streams, I) with targets (frames, streams, K), and an update of Adam."""
    forward, parameters = torch.compile(model) if compiled else model, list(model.parameters())
    optimizer = torch.optim.Adam(parameters, RATE, fused=True)
    answers, frames, here = on_device(targets), on_device(X), torch.from_numpy(np.zeros_like(targets)).pin_memory()
    frames = torch.from_numpy(X).pin_memory() if live else frames
    rest = (here,) if live else ()
    state: Any = (torch.zeros(X.shape[1], model.readout.in_features, device="cuda"),) * 2

    def run(count: int) -> np.ndarray:
        nonlocal state
        for _ in range(count):
            outputs, state = forward(frames, state, *rest)
            loss = 0.5 * (outputs - answers).square().sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
            optimizer.step()
            state = tuple(part.detach() for part in state)
        torch.cuda.synchronize()
        return outputs.detach().cpu().numpy()

    return run


def clear() -> None:
    """Give back the memory of what is no longer used."""
    torch.cuda.empty_cache()
