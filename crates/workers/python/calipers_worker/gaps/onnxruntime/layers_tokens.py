"""Layers that look tokens up in a table, as ONNX models."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx.helper import make_node

from calipers_worker.gaps.onnxruntime.layers_sandwich import (
    float_input,
    integers,
    linear,
    linear_of_rows,
    model_of,
    token_input,
    turned,
)


def looked_up(target: str) -> onnx.NodeProto:
    """The rows of `layer.weight` that the tokens number."""
    return make_node("Gather", ["layer.weight", "ids"], [target], name="layer", axis=0)


def layer_embedding(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Embedding(200, 64)."""
    nodes = [looked_up("layer_output"), *linear("after", "layer_output", "y")]
    return model_of(nodes, [token_input()], turned(weights, "after"))


def layer_embedding_bag(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """EmbeddingBag(200, 64, mode="mean"): rows looked up, then their mean."""
    nodes = [
        looked_up("layer_rows"),
        make_node(
            "ReduceMean",
            ["layer_rows", "layer.axes"],
            ["layer_output"],
            name="layer_mean",
            keepdims=0,
        ),
        *linear_of_rows("after", "layer_output", "y"),
    ]
    return model_of(nodes, [token_input()], {**weights, "layer.axes": integers(1)}, rank=2)


def layer_embedding_tied(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Tokens to rows and back to tokens by the same table, with a linear layer between."""
    nodes = [
        looked_up("layer_rows"),
        *linear("middle", "layer_rows", "middle_output"),
        make_node("Transpose", ["layer.weight"], ["layer_columns"], name="layer_turn", perm=[1, 0]),
        make_node("MatMul", ["middle_output", "layer_columns"], ["y"], name="layer_logits"),
    ]
    return model_of(nodes, [token_input()], turned(weights, "middle"))


def layer_several_inputs(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """before(x) + embedding(ids)."""
    nodes = [
        *linear("before", "x", "before_output"),
        looked_up("layer_rows"),
        make_node("Add", ["before_output", "layer_rows"], ["layer_output"], name="layer_add"),
        *linear("after", "layer_output", "y"),
    ]
    inputs = [float_input(1, 32, 64), token_input()]
    return model_of(nodes, inputs, turned(weights, "before", "after"))
