"""The constants of a model file, and which ONNX initializers its weights came from."""

from collections.abc import Mapping
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


def stored_tensors(model: ov.Model, source: Path, output: Path) -> list[dict[str, Any]]:
    """The answer to `read_weights`; writes `output`. `source` is the original ONNX file."""
    products = _products_by_name(onnx.load(source).graph)
    listed, tensors = [], {}
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant":
            continue
        name, held = node.get_friendly_name(), node.data
        initializer = _initializer(node, products)
        listed.append(
            {
                "name": name,
                "initializer": initializer[0] if initializer else None,
                "type": held.dtype.name,
                "shape": list(node.output(0).shape),
                "bytes": held.nbytes,
            }
        )
        if held.ndim >= 2:
            shape = initializer[1] if initializer else held.shape
            tensors[name] = _as_onnx(held, shape)
            if (real := _real(node)) is not None:
                tensors[f"{name}/real"] = _as_onnx(real, shape)
    write_tensors(output, tensors)
    return listed


def _as_onnx(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`values` in the layout of an initializer of `shape`."""
    turned = values.T if values.ndim == 2 and values.shape != shape else values
    return turned.reshape(shape)


def _real(constant: ov.Node) -> np.ndarray | None:
    """The real numbers that a constant's integers stand for, f32, as the model computes them.

    None where they stand for themselves: nothing multiplies them by a scale.
    """
    if np.issubdtype(constant.data.dtype, np.floating):
        return None
    values, node, scaled = constant.data.astype(np.float32), constant, False
    while True:
        node = _only_user(node)
        match node.get_type_name() if node is not None else "":
            case "Convert":
                pass
            case "Subtract" if _first_of(node, constant):
                values = values - _operand(node)
            case "Multiply" if _first_of(node, constant):
                values, scaled = values * _operand(node), True
            case _:
                return values if scaled else None


def _first_of(node: ov.Node, constant: ov.Node) -> bool:
    """Whether an element-wise operator has the constant first: second is a scale or zero point."""
    source = node.input(0).get_source_output().get_node()
    while source.get_type_name() != "Constant":
        source = source.input(0).get_source_output().get_node()
    return source.get_friendly_name() == constant.get_friendly_name()


def _operand(node: ov.Node) -> np.ndarray:
    """The constant that an element-wise operator has second, converted or not."""
    source = node.input(1).get_source_output().get_node()
    if source.get_type_name() == "Convert":
        source = source.input(0).get_source_output().get_node()
    return source.data.astype(np.float32)


def _only_user(node: ov.Node) -> ov.Node | None:
    """What alone reads `node` as its data, if that is how it is read."""
    readers = list(node.output(0).get_target_inputs())
    return readers[0].get_node() if len(readers) == 1 else None


def _initializer(
    constant: ov.Node, products: Mapping[str, onnx.TensorProto]
) -> tuple[str, tuple[int, ...]] | None:
    """Name and shape of the ONNX initializer that a weight came from; None for anything else."""
    node, position = constant, 0
    while node.get_type_name() not in PRODUCTS:
        readers = list(node.output(0).get_target_inputs())
        if len(readers) != 1:
            return None
        node, position = readers[0].get_node(), readers[0].get_index()
        if node.get_type_name() not in (*PRODUCTS, "Convert", "Reshape") and position != 0:
            return None
        if node.get_type_name() not in (*PRODUCTS, *ON_THE_WAY):
            return None
    for _ in range(STEPS):
        tensor = products.get(node.get_friendly_name())
        if tensor is not None:
            same = np.prod(tensor.dims) == np.prod(constant.output(0).shape)
            return (tensor.name, tuple(tensor.dims)) if same else None
        follower = _only_user(node)
        if follower is None:
            return None
        node = follower
    return None


def _products_by_name(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The weight of a product, by the names of its node and of those that alone follow it."""
    constants = {one.name: one for one in graph.initializer}
    weights: dict[str, onnx.TensorProto] = {}
    for node in graph.node:
        tensor = None
        if node.op_type in ONNX_PRODUCTS:
            position = 0 if node.op_type == "Gather" else 1
            tensor = constants.get(node.input[position])
        elif node.input:
            computed = [name for name in node.input if name not in constants]
            tensor = weights.get(computed[0]) if len(computed) == 1 else None
        if tensor is not None:
            weights.update(dict.fromkeys([node.name, *node.output], tensor))
    return weights
