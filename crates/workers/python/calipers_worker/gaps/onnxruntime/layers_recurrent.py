"""Recurrent layers as ONNX models: ONNX's own operators, and cells written out."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx.helper import make_node

from calipers_worker.gaps.onnxruntime.layers_sandwich import integers, row_model, sequence_model

# PyTorch has input, forget, cell, output; ONNX has input, output, forget, cell.
LSTM_ORDER = (0, 3, 1, 2)

# PyTorch has reset, update, new; ONNX has update, reset, hidden.
GRU_ORDER = (1, 0, 2)


def gates(array: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """The rows of the gates in another order."""
    parts = np.split(array, len(order))
    return np.concatenate([parts[gate] for gate in order])


def recurrent(
    weights: Mapping[str, np.ndarray], operator: str, order: Sequence[int], **attributes: object
) -> onnx.ModelProto:
    """A whole sequence by one operator; its sequences are [time, batch, features]."""
    inputs = ["layer_steps", "layer.weight_ih_l0", "layer.weight_hh_l0", "layer.biases"]
    layer = [
        make_node("Transpose", ["before_output"], ["layer_steps"], name="layer_in", perm=[1, 0, 2]),
        make_node(operator, inputs, ["layer_states"], name="layer", hidden_size=64, **attributes),
        make_node("Squeeze", ["layer_states", "layer.axes"], ["layer_rows"], name="layer_squeeze"),
        make_node("Transpose", ["layer_rows"], ["layer_output"], name="layer_out", perm=[1, 0, 2]),
    ]
    biases = [gates(weights[f"layer.bias_{side}_l0"], order) for side in ("ih", "hh")]
    constants = {
        "layer.weight_ih_l0": gates(weights["layer.weight_ih_l0"], order)[None],
        "layer.weight_hh_l0": gates(weights["layer.weight_hh_l0"], order)[None],
        "layer.biases": np.concatenate(biases)[None],
        "layer.axes": integers(1),
    }
    used = {name: array for name, array in weights.items() if "bias_" not in name}
    return sequence_model(used, layer, constants, shape=(1, 8, 64))


def layer_lstm(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """LSTM(64, 64)."""
    return recurrent(weights, "LSTM", LSTM_ORDER)


def layer_gru(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """GRU(64, 64)."""
    return recurrent(weights, "GRU", GRU_ORDER, linear_before_reset=1)


def gate_products(name: str, source: str, state: str) -> list[onnx.NodeProto]:
    """What a cell multiplies: its input, and its state."""
    pairs = (("ih", source), ("hh", state))
    return [
        make_node(
            "Gemm",
            [operand, f"layer.weight_{side}", f"layer.bias_{side}"],
            [f"{name}_{side}"],
            name=f"{name}_{side}",
            transB=1,
        )
        for side, operand in pairs
    ]


def elementwise(name: str, operator: str, *operands: str) -> onnx.NodeProto:
    """`operator` of `operands`, its output named like the node."""
    return make_node(operator, operands, [name], name=name)


def lstm_step(name: str, source: str, state: str, cell: str) -> list[onnx.NodeProto]:
    """One step of an LSTM cell: gives `name`_h and `name`_c."""
    parts = [f"{name}_{gate}" for gate in ("i", "f", "g", "o")]
    return [
        *gate_products(name, source, state),
        elementwise(f"{name}_sum", "Add", f"{name}_ih", f"{name}_hh"),
        make_node("Split", [f"{name}_sum"], parts, name=f"{name}_split", axis=1, num_outputs=4),
        elementwise(f"{name}_input", "Sigmoid", f"{name}_i"),
        elementwise(f"{name}_forget", "Sigmoid", f"{name}_f"),
        elementwise(f"{name}_new", "Tanh", f"{name}_g"),
        elementwise(f"{name}_exposed", "Sigmoid", f"{name}_o"),
        elementwise(f"{name}_kept", "Mul", f"{name}_forget", cell),
        elementwise(f"{name}_added", "Mul", f"{name}_input", f"{name}_new"),
        elementwise(f"{name}_c", "Add", f"{name}_kept", f"{name}_added"),
        elementwise(f"{name}_bounded", "Tanh", f"{name}_c"),
        elementwise(f"{name}_h", "Mul", f"{name}_exposed", f"{name}_bounded"),
    ]


def gru_step(name: str, source: str, state: str, cell: str) -> list[onnx.NodeProto]:  # noqa: ARG001
    """One step of a GRU cell: gives `name`_h. It has no other state."""
    ours = [f"{name}_{gate}_ih" for gate in ("r", "z", "n")]
    theirs = [f"{name}_{gate}_hh" for gate in ("r", "z", "n")]
    return [
        *gate_products(name, source, state),
        make_node("Split", [f"{name}_ih"], ours, name=f"{name}_split_ih", axis=1, num_outputs=3),
        make_node("Split", [f"{name}_hh"], theirs, name=f"{name}_split_hh", axis=1, num_outputs=3),
        elementwise(f"{name}_r", "Add", ours[0], theirs[0]),
        elementwise(f"{name}_reset", "Sigmoid", f"{name}_r"),
        elementwise(f"{name}_z", "Add", ours[1], theirs[1]),
        elementwise(f"{name}_update", "Sigmoid", f"{name}_z"),
        elementwise(f"{name}_remembered", "Mul", f"{name}_reset", theirs[2]),
        elementwise(f"{name}_n", "Add", ours[2], f"{name}_remembered"),
        elementwise(f"{name}_new", "Tanh", f"{name}_n"),
        elementwise(f"{name}_difference", "Sub", state, f"{name}_new"),
        elementwise(f"{name}_moved", "Mul", f"{name}_difference", f"{name}_update"),
        elementwise(f"{name}_h", "Add", f"{name}_moved", f"{name}_new"),
    ]


Step = Callable[[str, str, str, str], list[onnx.NodeProto]]


def one_step(weights: Mapping[str, np.ndarray], step: Step) -> onnx.ModelProto:
    """One step from a state of zeros."""
    layer = [
        *step("layer", "before_output", "layer.zeros", "layer.zeros"),
        make_node("Identity", ["layer_h"], ["layer_output"], name="layer_result"),
    ]
    return row_model(weights, layer, {"layer.zeros": np.zeros((1, 64), np.float32)})


def unrolled(weights: Mapping[str, np.ndarray], step: Step) -> onnx.ModelProto:
    """Eight steps one after the other, as a loop in Python is exported."""
    layer: list[onnx.NodeProto] = []
    constants = {"layer.zeros": np.zeros((1, 64), np.float32), "layer.axes": integers(1)}
    state = cell = "layer.zeros"
    rows = []
    for time in range(8):
        name = f"layer{time}"
        constants[f"layer.time{time}"] = np.array(time, np.int64)
        layer += [
            make_node(
                "Gather",
                ["before_output", f"layer.time{time}"],
                [f"{name}_x"],
                name=f"{name}_select",
                axis=1,
            ),
            *step(name, f"{name}_x", state, cell),
            make_node(
                "Unsqueeze", [f"{name}_h", "layer.axes"], [f"{name}_row"], name=f"{name}_unsqueeze"
            ),
        ]
        state, cell = f"{name}_h", f"{name}_c"
        rows.append(f"{name}_row")
    layer.append(make_node("Concat", rows, ["layer_output"], name="layer_stack", axis=1))
    return sequence_model(weights, layer, constants, shape=(1, 8, 64))


def layer_lstm_cell(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """LSTMCell(64, 64)."""
    return one_step(weights, lstm_step)


def layer_gru_cell(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """GRUCell(64, 64)."""
    return one_step(weights, gru_step)


def layer_lstm_unrolled(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """LSTMCell(64, 64) in a loop."""
    return unrolled(weights, lstm_step)


def layer_gru_unrolled(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """GRUCell(64, 64) in a loop."""
    return unrolled(weights, gru_step)
