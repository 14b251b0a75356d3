"""Attention as ONNX models, written in matrix products as exporters write it."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx.helper import make_node

from calipers_worker.gaps.onnxruntime.layers_sandwich import integers, linear, sequence_model

# 64 features as 4 heads of 16, and back; 1 / sqrt(16).
HEADS = {
    "layer.heads": integers(1, 32, 4, 16),
    "layer.rows": integers(1, 32, 64),
    "layer.scale": np.array(0.25, np.float32),
}


def to_heads(name: str, source: str, perm: tuple[int, ...] = (0, 2, 1, 3)) -> list[onnx.NodeProto]:
    """[1, 32, 64] to [1, 4, 32, 16], or another order of axes: gives `name`_heads."""
    split, turned_name = f"{name}_split", f"{name}_heads"
    return [
        make_node("Reshape", [source, "layer.heads"], [split], name=split),
        make_node("Transpose", [split], [turned_name], name=turned_name, perm=perm),
    ]


def attended(
    name: str, query: str, key: str, value: str, target: str, mask: str | None = None
) -> list[onnx.NodeProto]:
    """Scaled dot-product attention of heads; `key` comes as [1, 4, 16, 32]."""
    scores = f"{name}_scores"
    masked = f"{name}_masked" if mask else scores
    nodes = [
        make_node("Mul", [query, "layer.scale"], [f"{name}_scaled"], name=f"{name}_scale"),
        make_node("MatMul", [f"{name}_scaled", key], [scores], name=scores),
        make_node("Softmax", [masked], [f"{name}_shares"], name=f"{name}_softmax", axis=-1),
        make_node("MatMul", [f"{name}_shares", value], [target], name=f"{name}_mix"),
    ]
    if mask:
        nodes.insert(2, make_node("Add", [scores, mask], [masked], name=f"{name}_mask"))
    return nodes


def merged(name: str, source: str, target: str) -> list[onnx.NodeProto]:
    """Heads back to rows."""
    turned_name = f"{name}_turned"
    return [
        make_node("Transpose", [source], [turned_name], name=turned_name, perm=[0, 2, 1, 3]),
        make_node("Reshape", [turned_name, "layer.rows"], [target], name=f"{name}_merge"),
    ]


def layer_scaled_dot_product_attention(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """F.scaled_dot_product_attention(q, q, q)."""
    turn = [0, 1, 3, 2]
    layer = [
        *to_heads("layer", "before_output"),
        make_node("Transpose", ["layer_heads"], ["layer_key"], name="layer_key", perm=turn),
        *attended("layer", "layer_heads", "layer_key", "layer_heads", "layer_mixed"),
        *merged("layer", "layer_mixed", "layer_output"),
    ]
    return sequence_model(weights, layer, HEADS)


def attention(
    name: str, query: str, memory: str, target: str, mask: str | None = None
) -> list[onnx.NodeProto]:
    """MultiheadAttention(64, 4), batch first: one product for what comes from one tensor."""
    q, k, v = f"{name}_q", f"{name}_k", f"{name}_v"
    if query == memory:
        nodes = [
            *linear(f"{name}.in_proj", query, f"{name}_qkv"),
            make_node(
                "Split", [f"{name}_qkv"], [q, k, v], name=f"{name}_parts", axis=-1, num_outputs=3
            ),
        ]
    else:
        nodes = [
            *linear(f"{name}.in_proj_q", query, q),
            *linear(f"{name}.in_proj_kv", memory, f"{name}_kv"),
            make_node(
                "Split", [f"{name}_kv"], [k, v], name=f"{name}_parts", axis=-1, num_outputs=2
            ),
        ]
    return [
        *nodes,
        *to_heads(q, q),
        *to_heads(k, k, (0, 2, 3, 1)),
        *to_heads(v, v),
        *attended(name, f"{q}_heads", f"{k}_heads", f"{v}_heads", f"{name}_mixed", mask),
        *merged(name, f"{name}_mixed", f"{name}_merged"),
        *linear(f"{name}.out_proj", f"{name}_merged", target),
    ]


def projections(weights: Mapping[str, np.ndarray], name: str, apart: bool) -> dict[str, np.ndarray]:
    """The weights of `attention`, turned; `apart`: query and memory are not one tensor."""
    weight = weights[f"{name}.in_proj_weight"].T
    bias = weights[f"{name}.in_proj_bias"]
    out = {
        f"{name}.out_proj.weight": weights[f"{name}.out_proj.weight"].T,
        f"{name}.out_proj.bias": weights[f"{name}.out_proj.bias"],
    }
    if not apart:
        return {**out, f"{name}.in_proj.weight": weight, f"{name}.in_proj.bias": bias}
    return {
        **out,
        f"{name}.in_proj_q.weight": weight[:, :64],
        f"{name}.in_proj_q.bias": bias[:64],
        f"{name}.in_proj_kv.weight": weight[:, 64:],
        f"{name}.in_proj_kv.bias": bias[64:],
    }


def sandwich_weights(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of the linear layers before and after."""
    return {
        name: array for name, array in weights.items() if name.startswith(("before.", "after."))
    }


def layer_multihead_attention(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Self-attention by MultiheadAttention(64, 4, batch_first=True)."""
    layer = attention("layer", "before_output", "before_output", "layer_output")
    constants = {**HEADS, **projections(weights, "layer", apart=False)}
    return sequence_model(sandwich_weights(weights), layer, constants)


def layer_multihead_attention_sequence_first(
    weights: Mapping[str, np.ndarray],
) -> onnx.ModelProto:
    """Self-attention of [32, 1, 64]: sequence, batch, features."""
    layer = [
        make_node("Transpose", ["before_output"], ["layer_in"], name="layer_in", perm=[1, 0, 2]),
        *attention("layer", "layer_in", "layer_in", "layer_rows"),
        make_node("Transpose", ["layer_rows"], ["layer_output"], name="layer_out", perm=[1, 0, 2]),
    ]
    constants = {**HEADS, **projections(weights, "layer", apart=False)}
    return sequence_model(sandwich_weights(weights), layer, constants, shape=(32, 1, 64))


def add_and_norm(number: int, source: str, change: str, target: str) -> list[onnx.NodeProto]:
    """LayerNorm(source + change)."""
    norm = f"layer.norm{number}"
    return [
        make_node("Add", [source, change], [f"{norm}_sum"], name=f"{norm}_add"),
        make_node(
            "LayerNormalization",
            [f"{norm}_sum", f"{norm}.weight", f"{norm}.bias"],
            [target],
            name=norm,
            axis=-1,
            epsilon=1e-5,
        ),
    ]


def layer_transformer_decoder_layer(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """TransformerDecoderLayer(64, 4, 128, batch_first=True): causal on before(x), memory x."""
    layer = [
        *attention("layer.self_attn", "before_output", "before_output", "layer_own", "layer.mask"),
        *add_and_norm(1, "before_output", "layer_own", "layer_first"),
        *attention("layer.multihead_attn", "layer_first", "x", "layer_cross"),
        *add_and_norm(2, "layer_first", "layer_cross", "layer_second"),
        *linear("layer.linear1", "layer_second", "layer_wide"),
        make_node("Relu", ["layer_wide"], ["layer_active"], name="layer_relu"),
        *linear("layer.linear2", "layer_active", "layer_forward"),
        *add_and_norm(3, "layer_second", "layer_forward", "layer_output"),
    ]
    constants = {
        **HEADS,
        "layer.mask": np.triu(np.full((32, 32), -np.inf, np.float32), 1),
        **{name: array for name, array in weights.items() if name.startswith("layer.norm")},
        **projections(weights, "layer.self_attn", apart=False),
        **projections(weights, "layer.multihead_attn", apart=True),
        "layer.linear1.weight": weights["layer.linear1.weight"].T,
        "layer.linear1.bias": weights["layer.linear1.bias"],
        "layer.linear2.weight": weights["layer.linear2.weight"].T,
        "layer.linear2.bias": weights["layer.linear2.bias"],
    }
    return sequence_model(sandwich_weights(weights), layer, constants)
