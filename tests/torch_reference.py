"""Train small networks with PyTorch and write what comes out to torch_reference.npz; test_exactness.py compares.

Run by hand, with PyTorch 2.13.0 installed: `python tests/torch_reference.py`. Everything is float64 and on the CPU.
Each network is two recurrent cells and a linear readout with cross-entropy, predicting the next token of one stream.
PyTorch keeps two biases for each cell and here they are one, but for the GRU's candidate: the second is held at zero.
"""

from pathlib import Path

import numpy as np
import torch

TOKENS, HIDDEN = 11, (13, 9)
WINDOW, WINDOWS, CLIP_NORM = 8, 200, 0.25
CELLS = {"RNN": torch.nn.RNNCell, "LSTM": torch.nn.LSTMCell, "GRU": torch.nn.GRUCell}
OPTIMIZERS = {
    "SGD": (torch.optim.SGD, {"lr": 0.4, "momentum": 0.7}),
    "Adam": (torch.optim.Adam, {"lr": 0.02}),
}


def token_stream(length):
    """A walk that goes round in a circle and now and then jumps."""
    rng = np.random.default_rng(0)
    tokens = [1]
    while len(tokens) < length:
        tokens.append(int(rng.integers(TOKENS)) if rng.random() < 0.15 else (2 * tokens[-1] + 1) % TOKENS)
    return np.array(tokens)


def build(cell):
    """The two cells and the readout, with parameters that float32 holds exactly."""
    torch.manual_seed(0)
    sizes = (TOKENS, *HIDDEN)
    layers = [CELLS[cell](i, h, dtype=torch.float64) for i, h in zip(sizes, HIDDEN, strict=False)]
    layers.append(torch.nn.Linear(HIDDEN[-1], TOKENS, dtype=torch.float64))
    with torch.no_grad():
        for layer in layers:
            for parameter in layer.parameters():
                parameter.copy_(parameter.float().double())
    for layer in layers[:-1]:
        hold_second_bias(layer)
    return layers


def hold_second_bias(layer):
    """Keep b_hh at zero; of a GRU only its r and z, for its n is multiplied by r and so is a parameter of its own."""
    trains = torch.zeros_like(layer.bias_hh)
    if isinstance(layer, torch.nn.GRUCell):
        trains[2 * layer.hidden_size :] = 1
    with torch.no_grad():
        layer.bias_hh.mul_(trains)
    layer.bias_hh.register_hook(lambda grad: grad * trains)


def our_params(layer):
    """The parameters under our names and in our layout, in which vectors are rows."""
    if isinstance(layer, torch.nn.Linear):
        named = {"W_hy": layer.weight.T, "b_y": layer.bias}
    else:
        named = {"W_xh": layer.weight_ih.T, "W_hh": layer.weight_hh.T, "b_h": layer.bias_ih}
    if isinstance(layer, torch.nn.GRUCell):
        named["b_hn"] = layer.bias_hh[2 * layer.hidden_size :]
    return {name: value.detach().numpy().copy() for name, value in named.items()}


def clip(layer):
    """Scale the gradient of one layer to CLIP_NORM if it is longer; true if it was."""
    norm = torch.sqrt(sum((p.grad**2).sum() for p in layer.parameters()))
    for p in layer.parameters():
        p.grad *= min(1.0, CLIP_NORM / norm.item())
    return norm.item() > CLIP_NORM


def train(layers, optimizer, tokens):
    """Truncated back-propagation through time, window after window; the loss of every frame."""
    states, losses, clipped = [None, None], [], 0
    for start in range(0, len(tokens) - 1, WINDOW):
        of_window = []
        for token, target in zip(tokens[start : start + WINDOW], tokens[start + 1 : start + WINDOW + 1], strict=True):
            x = torch.nn.functional.one_hot(token, TOKENS).double()
            for k, cell in enumerate(layers[:-1]):
                states[k] = cell(x, states[k])
                x = states[k][0] if isinstance(states[k], tuple) else states[k]
            of_window.append(torch.nn.functional.cross_entropy(layers[-1](x), target))
        optimizer.zero_grad()
        torch.stack(of_window).mean().backward()
        clipped += sum(clip(layer) for layer in layers)
        optimizer.step()
        states = [tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach() for state in states]
        losses += [loss.item() for loss in of_window]
    return np.array(losses), clipped / (len(layers) * WINDOWS)


def main():
    tokens = token_stream(WINDOW * WINDOWS + 1)
    arrays = {"tokens": tokens, "hidden": HIDDEN, "window": WINDOW, "clip_norm": CLIP_NORM}
    for cell in CELLS:
        for name, (optimizer, settings) in OPTIMIZERS.items():
            layers = build(cell)
            for k, layer in enumerate(layers):
                arrays |= {f"{cell}/{name}/initial/{k}/{p}": v for p, v in our_params(layer).items()}
            parameters = [p for layer in layers for p in layer.parameters()]
            losses, clipped = train(layers, optimizer(parameters, **settings), torch.from_numpy(tokens))
            for k, layer in enumerate(layers):
                arrays |= {f"{cell}/{name}/final/{k}/{p}": v for p, v in our_params(layer).items()}
            arrays[f"{cell}/{name}/losses"] = losses
            arrays |= {f"{name}/{setting}": value for setting, value in settings.items()}
            first, last = losses[:100].mean(), losses[-100:].mean()
            print(f"{cell} {name}: loss {first:.3f} to {last:.3f} nats, {clipped:.0%} of the gradients clipped")
    np.savez_compressed(Path(__file__).with_name("torch_reference.npz"), **arrays)


if __name__ == "__main__":
    main()
