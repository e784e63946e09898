"""PyTorch's network for a text, which learns as ours does.

torch.nn.LSTM sees a whole window at once, the fastest way and too late for a live stream. Its bytes come one-hot: it
takes no tokens.
"""

import numpy as np
import torch

import streamrnn as sr
from benchmarks.speed.learn import torch_readout


class Peer:
    """PyTorch's network, with the weights of ours; the second bias of its layers stays at zero, as ours have one."""

    def __init__(self, net: sr.Network) -> None:
        first, units = net.layers[0], net.layers[0].hidden_size
        self.window, self.clip_norm, self.tokens = net.window, net.clip_norm, first.input_size
        self.lstm = torch.nn.LSTM(self.tokens, units, num_layers=len(net.layers))
        self.readout = torch_readout(net)
        for k, layer in enumerate(net.layers):
            self.take(k, layer.params)
        self.parts = [self.of_layer(k) for k in range(len(net.layers))] + [list(self.readout.parameters())]
        parameters = [parameter for part in self.parts for parameter in part]
        self.optimizer = torch.optim.Adam(parameters, net.optimizer.learning_rate, fused=True)
        self.state = 2 * (torch.zeros(len(net.layers), 1, units),)

    def of_layer(self, k: int) -> list[torch.nn.Parameter]:
        """What a layer learns."""
        return [getattr(self.lstm, f"{name}_l{k}") for name in ("weight_ih", "weight_hh", "bias_ih")]

    def take(self, k: int, own: dict[str, np.ndarray]) -> None:
        """The weights of a layer."""
        with torch.no_grad():
            for parameter, name in zip(self.of_layer(k), ("W_xh", "W_hh", "b_h"), strict=True):
                parameter.copy_(torch.from_numpy(own[name].T))
        getattr(self.lstm, f"bias_hh_l{k}").requires_grad_(False).zero_()

    def learn(self, text: torch.Tensor) -> np.ndarray:
        """The loss of every byte but the first, in nats, each before it is learned from."""
        losses = []
        for start in range(0, len(text) - 1, self.window):
            x, target = text[start : start + self.window], text[start + 1 : start + self.window + 1]
            losses.append(self.learn_window(x[: len(target)], target))
        return torch.cat(losses).numpy()

    def learn_window(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """One update; the loss of each of its bytes."""
        one_hot = torch.nn.functional.one_hot(x, self.tokens).float()[:, None]
        outputs, state = self.lstm(one_hot, self.state)
        losses = torch.nn.functional.cross_entropy(self.readout(outputs[:, 0]), target, reduction="none")
        self.optimizer.zero_grad()
        losses.mean().backward()
        for part in self.parts:
            torch.nn.utils.clip_grad_norm_(part, self.clip_norm)
        self.optimizer.step()
        self.state = tuple(part.detach() for part in state)
        return losses.detach()


def as_tensor(text: bytes) -> torch.Tensor:
    """Its bytes as tokens, int64."""
    return torch.from_numpy(np.frombuffer(text, np.uint8).astype(np.int64))
