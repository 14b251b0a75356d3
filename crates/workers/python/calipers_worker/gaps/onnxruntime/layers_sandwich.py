"""The chain that every layer stands in, before -> layer -> after, as an ONNX model."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor_value_info,
)
from onnx.numpy_helper import from_array


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    constants: Mapping[str, np.ndarray],
    rank: int = 3,
    opset: int = 21,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A checked model from `inputs` to `y`, which has `rank` axes, with `constants` in it."""
    graph = make_graph(
        nodes,
        "probe",
        inputs,
        [make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None] * rank)],
        [from_array(np.asarray(array, order="C"), name) for name, array in constants.items()],
    )
    domains = {"": opset, **{function.domain: 1 for function in functions}}
    model = make_model(
        graph,
        opset_imports=[make_opsetid(name, version) for name, version in domains.items()],
        functions=functions,
        ir_version=10,
    )
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    onnx.checker.check_model(model)
    return model


def float_input(*shape: int) -> onnx.ValueInfoProto:
    """The input `x`."""
    return make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)


def token_input() -> onnx.ValueInfoProto:
    """The input `ids`: 32 numbers of rows of a table."""
    return make_tensor_value_info("ids", onnx.TensorProto.INT64, [1, 32])


def convolution(name: str, source: str, target: str) -> onnx.NodeProto:
    """A 3 x 3 convolution that keeps the size of the image."""
    return make_node(
        "Conv",
        [source, f"{name}.weight", f"{name}.bias"],
        [target],
        name=name,
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
    )


def linear(name: str, source: str, target: str) -> list[onnx.NodeProto]:
    """A linear map of the last axis, as exporters write it for more than two axes.

    Its weight is a constant in [in, out] order: see `turned`.
    """
    return [
        make_node("MatMul", [source, f"{name}.weight"], [f"{name}_product"], name=name),
        make_node("Add", [f"{name}_product", f"{name}.bias"], [target], name=f"{name}_bias"),
    ]


def linear_of_rows(name: str, source: str, target: str) -> list[onnx.NodeProto]:
    """A linear map of rows, as exporters write it for two axes; the weight is [out, in]."""
    operands = [source, f"{name}.weight", f"{name}.bias"]
    return [make_node("Gemm", operands, [target], name=name, transB=1)]


def turned(weights: Mapping[str, np.ndarray], *names: str) -> dict[str, np.ndarray]:
    """`weights`, with those of the linear layers `names` turned from [out, in] to [in, out]."""
    return {**weights, **{f"{name}.weight": weights[f"{name}.weight"].T for name in names}}


def image_model(
    weights: Mapping[str, np.ndarray],
    layer: Sequence[onnx.NodeProto],
    constants: Mapping[str, np.ndarray] | None = None,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """Convolution, `layer` from before_output to layer_output, convolution; x [1, 16, 12, 12].

    Without `before.weight` the layer begins at `x`.
    """
    before = [convolution("before", "x", "before_output")] if "before.weight" in weights else []
    return model_of(
        [*before, *layer, convolution("after", "layer_output", "y")],
        [float_input(1, 16, 12, 12)],
        {**weights, **(constants or {})},
        rank=4,
        functions=functions,
    )


def sequence_model(
    weights: Mapping[str, np.ndarray],
    layer: Sequence[onnx.NodeProto],
    constants: Mapping[str, np.ndarray] | None = None,
    shape: Sequence[int] = (1, 32, 64),
    opset: int = 21,
) -> onnx.ModelProto:
    """Linear, `layer` from before_output to layer_output, linear; x of `shape`."""
    return model_of(
        [
            *linear("before", "x", "before_output"),
            *layer,
            *linear("after", "layer_output", "y"),
        ],
        [float_input(*shape)],
        {**turned(weights, "before", "after"), **(constants or {})},
        opset=opset,
    )


def row_model(
    weights: Mapping[str, np.ndarray],
    layer: Sequence[onnx.NodeProto],
    constants: Mapping[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    """Linear, `layer` from before_output to layer_output, linear; x [1, 64]."""
    return model_of(
        [
            *linear_of_rows("before", "x", "before_output"),
            *layer,
            *linear_of_rows("after", "layer_output", "y"),
        ],
        [float_input(1, 64)],
        {**weights, **(constants or {})},
        rank=2,
    )


def integers(*values: int) -> np.ndarray:
    """A constant of shapes, axes and sizes."""
    return np.array(values, dtype=np.int64)
