"""One step of a recurrent layer, batch 1: `python -m benchmarks.speed.step`.

Ours runs in a compiled loop, as in a worker; PyTorch's cells and onnxruntime are called from Python, their only way to
take a frame when it comes. All have the same weights and inputs, as many inputs as units, and agree on the outputs.
"""

from benchmarks.shared import measure

# isort: split
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper

import streamrnn as sr
from benchmarks.shared.measure import Row, faster, seconds_each
from streamrnn.kernels import chain
from streamrnn.kernels.buffers import PLAN_COLUMNS, PLAN_ROW, PLAN_TOKEN
from streamrnn.kernels.jit import kernel, link

UNITS = 32, 64, 128, 256, 512
WINDOW = 16
MUST_TORCH = {32: 30, 64: 14, 128: 7, 256: 3, 512: 2}
MUST_ONNX = {32: 5, 64: 5, 128: 3}
READING, MUST_SHARE, SHARE_FROM = "reading the weights alone", 0.85, 128
FRAMES = 64  # different ones, over and over
CELLS = {sr.LSTM: torch.nn.LSTMCell, sr.GRU: torch.nn.GRUCell, sr.RNN: torch.nn.RNNCell}

torch.set_num_threads(1)
link(cell.__name__ for cell in CELLS)


@kernel
def steps(stages, plan, X, count):
    """Frames one after another; the tape's rows are used as in a window."""
    for k in range(count):
        row = k % X.shape[0]
        plan[0, PLAN_ROW] = k % WINDOW
        chain.forward(stages, 0, plan, X[row : row + 1])


@kernel
def reads(words, count):
    """Read that many int64 and make something of them; a sum of integers may be taken in any order."""
    total = 0
    for _ in range(count):
        for k in range(words.shape[0]):
            total += words[k]
        words[0] = total  # or the next pass would be left out
    return total


def our_steps(layer: sr.LSTM, X: np.ndarray) -> Callable[[int], np.ndarray]:
    plan = np.zeros((1, PLAN_COLUMNS), np.int64)
    plan[0, PLAN_TOKEN] = -1

    def run(count: int) -> np.ndarray:
        steps(layer.table, plan, X, count)
        return layer.stage.output

    return run


def torch_cell(layer: Any) -> torch.nn.Module:
    """PyTorch's cell with the same weights; its second bias stays at zero, except where a GRU has one too."""
    cell = CELLS[type(layer)](layer.input_size, layer.hidden_size)
    own = layer.params
    with torch.no_grad():
        cell.weight_ih.copy_(torch.from_numpy(own["W_xh"].T))
        cell.weight_hh.copy_(torch.from_numpy(own["W_hh"].T))
        cell.bias_ih.copy_(torch.from_numpy(own["b_h"]))
        cell.bias_hh.zero_()
        if "b_hn" in own:
            cell.bias_hh[2 * layer.hidden_size :] = torch.from_numpy(own["b_hn"])
    return cell


def torch_steps(layer: Any, X: np.ndarray) -> Callable[[int], np.ndarray]:
    cell, frames = torch_cell(layer), torch.from_numpy(X).split(1)
    state: Any = None

    def run(count: int) -> np.ndarray:
        nonlocal state
        with torch.inference_mode():
            for k in range(count):
                state = cell(frames[k % FRAMES], state)
        return (state[0] if isinstance(state, tuple) else state).numpy()

    return run


def onnx_model(layer: sr.LSTM) -> onnx.ModelProto:
    """An LSTM over one frame with its state as input and output; ONNX has the gates in the order i, o, f, g."""
    I, H = layer.input_size, layer.hidden_size
    own = layer.params
    order = np.concatenate([np.arange(H) + gate * H for gate in (0, 3, 1, 2)])
    weights = {
        "W": own["W_xh"].T[order][None],
        "R": own["W_hh"].T[order][None],
        "B": np.concatenate([own["b_h"][order], np.zeros(4 * H)])[None],
    }
    constants = [
        helper.make_tensor(name, TensorProto.FLOAT, value.shape, np.ascontiguousarray(value, np.float32))
        for name, value in weights.items()
    ]
    sizes = {"x": [1, 1, I], "h": [1, 1, H], "c": [1, 1, H]}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in sizes.items()]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, H]) for name in ("h_after", "c_after")]
    node = helper.make_node("LSTM", ["x", *weights, "", "h", "c"], ["", "h_after", "c_after"], hidden_size=H)
    graph = helper.make_graph([node], "step", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def onnx_steps(layer: sr.LSTM, X: np.ndarray) -> Callable[[int], np.ndarray]:
    """A call with NumPy arrays for each frame."""
    session, frames = onnx_session(layer), [x.reshape(1, 1, -1) for x in X]
    h = c = np.zeros((1, 1, layer.hidden_size), np.float32)

    def run(count: int) -> np.ndarray:
        nonlocal h, c
        for k in range(count):
            h, c = session.run(None, {"x": frames[k % FRAMES], "h": h, "c": c})
        return h[0]

    return run


def onnx_bound_steps(layer: sr.LSTM, X: np.ndarray) -> Callable[[int], np.ndarray]:
    """Every frame and two places for the state bound beforehand: nothing is copied or made in a call."""
    session, bindings = onnx_session(layer), []
    zeros = np.zeros((2, 2, 1, 1, layer.hidden_size), np.float32)  # it stays where it is: they are views
    states = [[onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in state] for state in zeros]
    for k, x in enumerate(X):
        (h, c), after = states[k % 2], states[1 - k % 2]
        binding = session.io_binding()
        frame = onnxruntime.OrtValue.ortvalue_from_numpy(x.reshape(1, 1, -1))
        for name, value in {"x": frame, "h": h, "c": c}.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in zip(("h_after", "c_after"), after, strict=True):
            binding.bind_ortvalue_output(name, value)
        bindings.append(binding)

    def run(count: int) -> np.ndarray:
        for k in range(count):
            session.run_with_iobinding(bindings[k % FRAMES])
        return states[count % 2][0].numpy()[0]

    return run


def onnx_session(layer: sr.LSTM) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(onnx_model(layer).SerializeToString(), options)


def check(runs: dict[str, Callable[[int], np.ndarray]]) -> None:
    """That they compute the same."""
    ours, *peers = (run(3).copy() for run in runs.values())
    for output in peers:
        np.testing.assert_allclose(output, ours, atol=1e-5)


def rows_of(cell: Any, units: int, quick: bool) -> list[Row]:
    """One cell at one size beside the peers; from where its weights leave the first cache, beside the reading alone."""
    layer, X = cell(units, units), np.random.default_rng(0).standard_normal((FRAMES, units), np.float32)
    peer = f"torch {CELLS[cell].__name__}"
    runs = {"ours": our_steps(layer, X), peer: torch_steps(layer, X)}
    musts = {peer: MUST_TORCH[units]}
    if cell is sr.LSTM:
        runs |= {"onnxruntime": onnx_steps(layer, X), "onnxruntime, bound": onnx_bound_steps(layer, X)}
        musts |= dict.fromkeys(("onnxruntime", "onnxruntime, bound"), MUST_ONNX.get(units))
    check(runs)
    if cell is sr.LSTM and units >= SHARE_FROM:
        words = np.ones(layer.parameters.flat.nbytes // 8, np.int64)  # zeros would be one page of memory, mapped often
        runs[READING] = lambda count: reads(words, count)
        musts[READING] = MUST_SHARE
    took, what = seconds_each(runs, quick), f"{cell.__name__} step"
    return [faster(what, units, took["ours"], peer, took[peer], must) for peer, must in musts.items()]


def rows(quick: bool) -> list[Row]:
    """Every cell at every size."""
    return [row for cell in CELLS for units in UNITS for row in rows_of(cell, units, quick)]


if __name__ == "__main__":
    measure.main("step", "one step, batch 1", rows)
