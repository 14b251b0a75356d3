"""The constants of a model file, and which ONNX initializers its weights came from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino as ov

from calipers_worker.tensor_files import write_tensors

PRODUCTS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul", "Gather")
ONNX_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Gather")
"""What is followed from the model's products to the file's, by names that outlive conversion."""

ON_THE_WAY = ("Convert", "Subtract", "Multiply", "Reshape", "FakeQuantize")
"""What stands between a stored weight and its product."""

STEPS = 4
"""How far behind a product its name may be found: its bias, its normalization, its activation."""


@dataclass(frozen=True)
class Weight:
    """The weight of a product in the ONNX file, and whether that takes it transposed."""

    tensor: onnx.TensorProto
    transposed: bool


@dataclass(frozen=True)
class Origin:
    """An initializer that a constant came from; `turned` where their last two axes are swapped."""

    name: str
    shape: tuple[int, ...]
    turned: bool


def stored_tensors(model: ov.Model, source: Path, output: Path) -> list[dict[str, Any]]:
    """The answer to `read_weights`; writes `output`. `source` is the original ONNX file."""
    products = _products_by_name(onnx.load(source).graph)
    listed, tensors = [], {}
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant":
            continue
        name, held = node.get_friendly_name(), node.data
        origin = _initializer(node, products)
        listed.append(
            {
                "name": name,
                "initializer": origin.name if origin else None,
                "type": held.dtype.name,
                "shape": list(node.output(0).shape),
                "bytes": held.nbytes,
            }
        )
        if held.ndim >= 2:
            tensors[name] = _as_onnx(held, origin)
            if (real := _real(node)) is not None:
                tensors[f"{name}/real"] = _as_onnx(real, origin)
    write_tensors(output, tensors)
    return listed


def _as_onnx(values: np.ndarray, origin: Origin | None) -> np.ndarray:
    """`values` in the layout of the initializer that they came from, where known."""
    if origin is None:
        return values
    if not origin.turned:
        return values.reshape(origin.shape)
    *outer, rows, columns = origin.shape
    return values.reshape(*outer, columns, rows).swapaxes(-1, -2)


def _real(constant: ov.Node) -> np.ndarray | None:
    """The real numbers that a constant's integers stand for, f32, as the model computes them.

    None where they stand for themselves: nothing multiplies them by a scale.
    """
    if np.issubdtype(constant.data.dtype, np.floating):
        return None
    values, reader, scaled = constant.data.astype(np.float32), _only_reader(constant), False
    while reader is not None:
        node = reader.get_node()
        kind, operand = node.get_type_name(), None
        if kind in ("Subtract", "Multiply") and reader.get_index() == 0:
            operand = _operand(node)
        if kind == "Subtract" and operand is not None:
            values = values - operand
        elif kind == "Multiply" and operand is not None:
            values, scaled = values * operand, True
        elif kind != "Convert":
            break
        reader = _only_reader(node)
    return values if scaled else None


def _operand(node: ov.Node) -> np.ndarray | None:
    """The constant, converted or not, that an element-wise operator has second; None if computed.

    It is a scale or a zero point.
    """
    source = node.input(1).get_source_output().get_node()
    if source.get_type_name() == "Convert":
        source = source.input(0).get_source_output().get_node()
    return source.data.astype(np.float32) if source.get_type_name() == "Constant" else None


def _only_reader(node: ov.Node) -> Any:
    """The input that alone reads `node`; None where there are several or none."""
    readers = list(node.output(0).get_target_inputs())
    return readers[0] if len(readers) == 1 else None


def _initializer(constant: ov.Node, products: Mapping[str, Weight]) -> Origin | None:
    """The ONNX initializer that a weight came from; None for anything else."""
    node, position = constant, 0
    while node.get_type_name() not in PRODUCTS:
        reader = _only_reader(node)
        if reader is None:
            return None
        node, position = reader.get_node(), reader.get_index()
        if node.get_type_name() not in (*PRODUCTS, "Convert", "Reshape") and position != 0:
            return None
        if node.get_type_name() not in (*PRODUCTS, *ON_THE_WAY):
            return None
    is_matrix = node.get_type_name() == "MatMul"
    transposed = is_matrix and bool(node.get_attributes()["transpose_b"])
    for _ in range(STEPS):
        # A Gemm without a bias has a name of OpenVINO's own; its output keeps the file's.
        names = [node.get_friendly_name(), *node.output(0).get_names()]
        weight = next((products[name] for name in names if name in products), None)
        if weight is not None:
            shape = tuple(weight.tensor.dims)
            if math.prod(shape) != math.prod(constant.output(0).shape):
                return None
            return Origin(weight.tensor.name, shape, is_matrix and transposed != weight.transposed)
        reader = _only_reader(node)
        if reader is None:
            return None
        node = reader.get_node()
    return None


def _products_by_name(graph: onnx.GraphProto) -> dict[str, Weight]:
    """The weight of a product, by the names of its node and of those that alone follow it."""
    constants = {one.name: one for one in graph.initializer}
    weights: dict[str, Weight] = {}
    for node in graph.node:
        weight = None
        if node.op_type in ONNX_PRODUCTS:
            tensor = constants.get(node.input[0 if node.op_type == "Gather" else 1])
            transposed = any(one.name == "transB" and one.i for one in node.attribute)
            weight = Weight(tensor, transposed) if tensor is not None else None
        elif node.input:
            computed = [name for name in node.input if name not in constants]
            weight = weights.get(computed[0]) if len(computed) == 1 else None
        if weight is not None:
            weights.update(dict.fromkeys([node.name, *node.output], weight))
    return weights
