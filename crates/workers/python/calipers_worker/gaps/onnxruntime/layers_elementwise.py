"""Activations, normalizations and arithmetic of two tensors as ONNX models."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx.helper import make_node

from calipers_worker.gaps.onnxruntime.layers_sandwich import (
    convolution,
    image_model,
    sequence_model,
)


def activated(
    weights: Mapping[str, np.ndarray], operator: str, **attributes: object
) -> onnx.ModelProto:
    """One operator of one input between convolutions."""
    node = make_node(operator, ["before_output"], ["layer_output"], name="layer", **attributes)
    return image_model(weights, [node])


def layer_relu(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """ReLU."""
    return activated(weights, "Relu")


def layer_relu6(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """ReLU6: a clip to [0, 6]."""
    node = make_node(
        "Clip", ["before_output", "layer.low", "layer.high"], ["layer_output"], name="layer"
    )
    bounds = {"layer.low": np.array(0, np.float32), "layer.high": np.array(6, np.float32)}
    return image_model(weights, [node], bounds)


def layer_silu(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """SiLU: x sigmoid(x), as exporters write it."""
    layer = [
        make_node("Sigmoid", ["before_output"], ["layer_gate"], name="layer_sigmoid"),
        make_node("Mul", ["before_output", "layer_gate"], ["layer_output"], name="layer_mul"),
    ]
    return image_model(weights, layer)


def layer_hardswish(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Hardswish."""
    return activated(weights, "HardSwish")


def layer_hardsigmoid(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Hardsigmoid."""
    return activated(weights, "HardSigmoid", alpha=1 / 6, beta=0.5)


def layer_sigmoid(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Sigmoid."""
    return activated(weights, "Sigmoid")


def layer_tanh(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Tanh."""
    return activated(weights, "Tanh")


def layer_leaky_relu(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """LeakyReLU(0.01)."""
    return activated(weights, "LeakyRelu", alpha=0.01)


def layer_prelu(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """PReLU(16): one slope a channel."""
    node = make_node("PRelu", ["before_output", "layer.weight"], ["layer_output"], name="layer")
    return image_model(weights, [node], {"layer.weight": weights["layer.weight"].reshape(16, 1, 1)})


def layer_dropout(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Dropout(0.5) in evaluation."""
    node = make_node("Dropout", ["before_output", "layer.rate"], ["layer_output"], name="layer")
    return image_model(weights, [node], {"layer.rate": np.array(0.5, np.float32)})


def activated_rows(
    weights: Mapping[str, np.ndarray], operator: str, **attributes: object
) -> onnx.ModelProto:
    """One operator of one input between linear layers."""
    node = make_node(operator, ["before_output"], ["layer_output"], name="layer", **attributes)
    return sequence_model(weights, [node])


def layer_gelu(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """GELU by the error function."""
    return activated_rows(weights, "Gelu")


def layer_gelu_tanh(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """GELU by the hyperbolic tangent."""
    return activated_rows(weights, "Gelu", approximate="tanh")


def layer_softmax(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Softmax over the last axis."""
    return activated_rows(weights, "Softmax", axis=-1)


def normalized(source: str, target: str, name: str = "layer_norm") -> onnx.NodeProto:
    """BatchNorm2d(16) in evaluation."""
    parts = ("weight", "bias", "running_mean", "running_var")
    inputs = [source, *(f"norm.{part}" for part in parts)]
    return make_node("BatchNormalization", inputs, [target], name=name, epsilon=1e-5)


def layer_batch_norm_folded(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """A convolution, then batch normalization."""
    layer = [
        convolution("layer", "before_output", "layer_convolved"),
        normalized("layer_convolved", "layer_output"),
    ]
    return image_model(weights, layer)


def layer_batch_norm_unfoldable(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """ReLU, then batch normalization."""
    layer = [
        make_node("Relu", ["before_output"], ["layer_active"], name="layer_relu"),
        normalized("layer_active", "layer_output"),
    ]
    return image_model(weights, layer)


def layer_batch_norm_alone(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Batch normalization of the model's input."""
    return image_model(weights, [normalized("x", "layer_output")])


def layer_layer_norm(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """LayerNorm(64)."""
    node = make_node(
        "LayerNormalization",
        ["before_output", "layer.weight", "layer.bias"],
        ["layer_output"],
        name="layer",
        axis=-1,
        epsilon=1e-5,
    )
    return sequence_model(weights, [node])


def layer_rms_norm(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """RMSNorm(64)."""
    node = make_node(
        "RMSNormalization",
        ["before_output", "layer.weight"],
        ["layer_output"],
        name="layer",
        axis=-1,
        epsilon=1e-6,
    )
    return sequence_model(weights, [node], opset=23)


def layer_group_norm(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """GroupNorm(4, 16)."""
    return normalized_image(weights, "GroupNormalization", num_groups=4)


def layer_instance_norm(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """InstanceNorm2d(16, affine=True)."""
    return normalized_image(weights, "InstanceNormalization")


def normalized_image(
    weights: Mapping[str, np.ndarray], operator: str, **attributes: object
) -> onnx.ModelProto:
    """A normalization with a weight and a bias a channel."""
    inputs = ["before_output", "layer.weight", "layer.bias"]
    node = make_node(operator, inputs, ["layer_output"], name="layer", epsilon=1e-5, **attributes)
    return image_model(weights, [node])


def with_input(weights: Mapping[str, np.ndarray], operator: str) -> onnx.ModelProto:
    """`operator` of the first convolution's output and the model's input."""
    return image_model(
        weights, [make_node(operator, ["before_output", "x"], ["layer_output"], name="layer")]
    )


def layer_add(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """before(x) + x."""
    return with_input(weights, "Add")


def layer_add_layer(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """The same: ONNX has the one form."""
    return with_input(weights, "Add")


def layer_mul(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """before(x) * x."""
    return with_input(weights, "Mul")


def layer_mul_layer(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """The same: ONNX has the one form."""
    return with_input(weights, "Mul")


def layer_concat(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """before(x) and x, side by side in the channels."""
    node = make_node("Concat", ["before_output", "x"], ["layer_output"], name="layer", axis=1)
    return image_model(weights, [node])


def layer_concat_layer(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """The same: ONNX has the one form."""
    return layer_concat(weights)


def layer_matmul(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """The product of h and its own transpose."""
    layer = [
        make_node(
            "Transpose", ["before_output"], ["layer_columns"], name="layer_turn", perm=[0, 2, 1]
        ),
        make_node("MatMul", ["before_output", "layer_columns"], ["layer_output"], name="layer"),
    ]
    return sequence_model(weights, layer)
