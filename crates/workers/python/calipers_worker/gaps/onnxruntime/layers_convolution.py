"""Convolutions, pooling and resizing as ONNX models."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx.helper import make_node

from calipers_worker.gaps.onnxruntime.layers_sandwich import (
    convolution,
    image_model,
    integers,
    linear,
    linear_of_rows,
    row_model,
    sequence_model,
)
from calipers_worker.gaps.stages import NoApi


def layer_linear(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Linear(64, 64)."""
    layer = linear("layer", "before_output", "layer_output")
    return sequence_model(weights, layer, {"layer.weight": weights["layer.weight"].T})


def layer_linear_rows(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Linear(64, 64) on inputs of rank 2."""
    return row_model(weights, linear_of_rows("layer", "before_output", "layer_output"))


def layer_conv1d(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Conv1d(32, 32, 3, padding=1) over [1, 32, 64] as N, C, L."""
    operands = ["before_output", "layer.weight", "layer.bias"]
    layer = [
        make_node("Conv", operands, ["layer_output"], name="layer", kernel_shape=[3], pads=[1, 1])
    ]
    return sequence_model(weights, layer)


def layer_conv2d(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Conv2d(16, 16, 3, padding=1)."""
    return image_model(weights, [convolution("layer", "before_output", "layer_output")])


def convolution_with(weights: Mapping[str, np.ndarray], **attributes: object) -> onnx.ModelProto:
    """A 3 x 3 convolution with `attributes`, between convolutions."""
    node = make_node(
        "Conv",
        ["before_output", "layer.weight", "layer.bias"],
        ["layer_output"],
        name="layer",
        kernel_shape=[3, 3],
        **attributes,
    )
    return image_model(weights, [node])


def layer_conv2d_depthwise(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Conv2d(128, 128, 3, padding=1, groups=128)."""
    return convolution_with(weights, pads=[1, 1, 1, 1], group=128)


def layer_conv2d_grouped(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Conv2d(32, 32, 3, padding=1, groups=4)."""
    return convolution_with(weights, pads=[1, 1, 1, 1], group=4)


def layer_conv2d_dilated(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Conv2d(16, 16, 3, padding=2, dilation=2)."""
    return convolution_with(weights, pads=[2, 2, 2, 2], dilations=[2, 2])


def layer_conv2d_strided(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Conv2d(16, 16, 3, padding=1, stride=2)."""
    return convolution_with(weights, pads=[1, 1, 1, 1], strides=[2, 2])


def layer_channels_last(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:  # noqa: ARG001
    """Conv2d in channels-last memory format."""
    raise NoApi("ONNX's Conv has no attribute for the layout: its images are N, C, H, W")


def layer_conv3d(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Conv3d(32, 16, 3, padding=1) over [1, 32, 64] seen as [1, 32, 4, 4, 4]."""
    layer = [
        make_node("Reshape", ["before_output", "layer.volume"], ["layer_volume"], name="layer_in"),
        make_node(
            "Conv",
            ["layer_volume", "layer.weight", "layer.bias"],
            ["layer_convolved"],
            name="layer",
            kernel_shape=[3, 3, 3],
            pads=[1, 1, 1, 1, 1, 1],
        ),
        make_node("Reshape", ["layer_convolved", "layer.rows"], ["layer_output"], name="layer_out"),
    ]
    shapes = {"layer.volume": integers(1, 32, 4, 4, 4), "layer.rows": integers(1, 16, 64)}
    return sequence_model(weights, layer, shapes)


def layer_conv_transpose2d(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """ConvTranspose2d with stride 2, as many channels out as in."""
    node = make_node(
        "ConvTranspose",
        ["before_output", "layer.weight", "layer.bias"],
        ["layer_output"],
        name="layer",
        kernel_shape=[3, 3],
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        output_padding=[1, 1],
    )
    return image_model(weights, [node])


def layer_conv_transpose2d_channels(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """ConvTranspose2d with more channels out than in."""
    return layer_conv_transpose2d(weights)


def layer_max_pool2d(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """MaxPool2d(2)."""
    return pooled(weights, "MaxPool", 2)


def layer_avg_pool2d(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """AvgPool2d(2)."""
    return pooled(weights, "AveragePool", 2)


def layer_adaptive_avg_pool2d(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """AdaptiveAvgPool2d(4): ONNX has none; of a known size it is an average over windows."""
    return pooled(weights, "AveragePool", 3)


def pooled(weights: Mapping[str, np.ndarray], operator: str, size: int) -> onnx.ModelProto:
    """`operator` over windows of `size`, side by side."""
    node = make_node(
        operator,
        ["before_output"],
        ["layer_output"],
        name="layer",
        kernel_shape=[size, size],
        strides=[size, size],
    )
    return image_model(weights, [node])


def layer_global_avg_pool2d(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """AdaptiveAvgPool2d(1)."""
    node = make_node("GlobalAveragePool", ["before_output"], ["layer_output"], name="layer")
    return image_model(weights, [node])


def resized(weights: Mapping[str, np.ndarray], **attributes: object) -> onnx.ModelProto:
    """Twice the height and the width."""
    inputs = ["before_output", "", "layer.scales"]
    node = make_node("Resize", inputs, ["layer_output"], name="layer", **attributes)
    return image_model(weights, [node], {"layer.scales": np.array([1, 1, 2, 2], np.float32)})


def layer_upsample_nearest(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Upsample(scale_factor=2, mode="nearest")."""
    return resized(
        weights,
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )


def layer_upsample_bilinear(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Upsample(scale_factor=2, mode="bilinear", align_corners=False)."""
    return resized(weights, mode="linear", coordinate_transformation_mode="pytorch_half_pixel")


def layer_residual(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """relu(conv2(relu(conv1(h))) + h)."""
    layer = [
        convolution("conv1", "before_output", "conv1_output"),
        make_node("Relu", ["conv1_output"], ["layer_active"], name="layer_relu1"),
        convolution("conv2", "layer_active", "conv2_output"),
        make_node("Add", ["conv2_output", "before_output"], ["layer_sum"], name="layer_add"),
        make_node("Relu", ["layer_sum"], ["layer_output"], name="layer_relu2"),
    ]
    return image_model(weights, layer)


def layer_functional(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """conv2(relu(conv1(h))), all of it in the one graph."""
    layer = [
        convolution("conv1", "before_output", "conv1_output"),
        make_node("Relu", ["conv1_output"], ["layer_active"], name="layer_relu"),
        convolution("conv2", "layer_active", "layer_output"),
    ]
    return image_model(weights, layer)


def layer_subclassed(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """The same from a Python loop: ONNX sees nothing of the program that made the graph."""
    layer = []
    source = "before_output"
    for name in ("conv1", "conv2"):
        if name == "conv2":
            layer.append(make_node("Relu", [source], ["layer_active"], name="layer_relu"))
            source = "layer_active"
        target = "layer_output" if name == "conv2" else f"{name}_output"
        layer.append(convolution(name, source, target))
        source = target
    return image_model(weights, layer)


def layer_nested(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """The same with its first half as a model inside the model: a function of the model's own."""
    inner = onnx.helper.make_function(
        "example",
        "Inner",
        ["image", "weight", "bias"],
        ["active"],
        [
            make_node(
                "Conv",
                ["image", "weight", "bias"],
                ["convolved"],
                name="inner_conv",
                kernel_shape=[3, 3],
                pads=[1, 1, 1, 1],
            ),
            make_node("Relu", ["convolved"], ["active"], name="inner_relu"),
        ],
        [onnx.helper.make_opsetid("", 21)],
    )
    layer = [
        make_node(
            "Inner",
            ["before_output", "conv1.weight", "conv1.bias"],
            ["layer_active"],
            name="layer_inner",
            domain="example",
        ),
        convolution("conv2", "layer_active", "layer_output"),
    ]
    return image_model(weights, layer, functions=[inner])


def layer_data_dependent_branch(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """relu(conv1(h)) where the sum of h is positive, conv1(h) otherwise."""
    layer = [
        convolution("conv1", "before_output", "conv1_output"),
        make_node("ReduceSum", ["before_output"], ["layer_sum"], name="layer_sum", keepdims=0),
        make_node("Greater", ["layer_sum", "layer.zero"], ["layer_positive"], name="layer_greater"),
        make_node(
            "If",
            ["layer_positive"],
            ["layer_output"],
            name="layer_if",
            then_branch=branch("Relu", "layer_then"),
            else_branch=branch("Identity", "layer_else"),
        ),
    ]
    return image_model(weights, layer, {"layer.zero": np.array(0, np.float32)})


def branch(operator: str, name: str) -> onnx.GraphProto:
    """A branch of an `If`: one operator on what conv1 gave."""
    node = make_node(operator, ["conv1_output"], [f"{name}_output"], name=name)
    shape = [1, 16, 12, 12]
    value = onnx.helper.make_tensor_value_info(f"{name}_output", onnx.TensorProto.FLOAT, shape)
    return onnx.helper.make_graph([node], name, [], [value])
