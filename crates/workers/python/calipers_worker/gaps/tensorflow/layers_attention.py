"""Probes of attention."""

from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from calipers_worker.gaps.stages import NoApi
from calipers_worker.gaps.tensorflow.layers_activation import between_dense
from calipers_worker.gaps.tensorflow.layers_sandwich import (
    Symbolic,
    Weights,
    dense,
    sequence_input,
)


def attention_weights(weights: Weights, name: str) -> list[np.ndarray]:
    """Kernel and bias of query, key, value and output, for 4 heads of 16 numbers."""
    given = []
    products = np.split(weights[f"{name}.in_proj_weight"], 3)
    biases = np.split(weights[f"{name}.in_proj_bias"], 3)
    for product, bias in zip(products, biases, strict=True):
        given += [product.T.reshape(64, 4, 16), bias.reshape(4, 16)]
    output = weights[f"{name}.out_proj.weight"].T.reshape(4, 16, 64)
    return [*given, output, weights[f"{name}.out_proj.bias"]]


def layer_multihead_attention(keras: ModuleType, weights: Weights) -> Any:
    """MultiHeadAttention of a sequence with itself."""
    x = sequence_input(keras)
    h = dense(keras, weights, "before", x)
    layer = keras.layers.MultiHeadAttention(num_heads=4, key_dim=16, name="layer")
    h = layer(h, h)
    layer.set_weights(attention_weights(weights, "layer"))
    return keras.Model(x, dense(keras, weights, "after", h))


def layer_multihead_attention_sequence_first(
    keras: ModuleType,
    weights: Weights,  # noqa: ARG001
) -> Any:
    """MultiHeadAttention with the sequence in the first axis: Keras has no such order."""
    raise NoApi(
        f"{keras.__name__}.layers.MultiHeadAttention takes the batch first and no other order"
    )


def layer_scaled_dot_product_attention(keras: ModuleType, weights: Weights) -> Any:
    """softmax(q q^T / sqrt(16)) q in 4 heads; in Keras 3 a function, in Keras 2 TensorFlow's."""

    def attention(h: Symbolic) -> Symbolic:
        q = keras.layers.Reshape((32, 4, 16))(h)
        if hasattr(keras, "ops"):
            return keras.layers.Reshape((32, 64))(keras.ops.dot_product_attention(q, q, q))
        q = keras.layers.Permute((2, 1, 3))(q)
        scores = tf.nn.softmax(tf.matmul(q, q, transpose_b=True) / 4.0)
        h = keras.layers.Permute((2, 1, 3))(tf.matmul(scores, q))
        return keras.layers.Reshape((32, 64))(h)

    return between_dense(keras, weights, attention)


def layer_transformer_decoder_layer(keras: ModuleType, weights: Weights) -> Any:
    """A decoder layer of Keras' layers; the memory is the model's input."""

    def normalized(name: str, x: Symbolic) -> Symbolic:
        layer = keras.layers.LayerNormalization(epsilon=1e-5, name=name)
        y = layer(x)
        layer.set_weights([weights[f"layer.{name}.weight"], weights[f"layer.{name}.bias"]])
        return y

    def linear(name: str, units: int, x: Symbolic, activation: str | None = None) -> Symbolic:
        layer = keras.layers.Dense(units, activation=activation, name=name)
        y = layer(x)
        layer.set_weights([weights[f"layer.{name}.weight"].T, weights[f"layer.{name}.bias"]])
        return y

    memory = sequence_input(keras)
    h = dense(keras, weights, "before", memory)
    attention = keras.layers.MultiHeadAttention(num_heads=4, key_dim=16, name="self_attn")
    attended = attention(h, h, use_causal_mask=True)
    attention.set_weights(attention_weights(weights, "layer.self_attn"))
    h = normalized("norm1", keras.layers.Add()([h, attended]))
    attention = keras.layers.MultiHeadAttention(num_heads=4, key_dim=16, name="multihead_attn")
    attended = attention(h, memory)
    attention.set_weights(attention_weights(weights, "layer.multihead_attn"))
    h = normalized("norm2", keras.layers.Add()([h, attended]))
    fed = linear("linear2", 64, linear("linear1", 128, h, activation="relu"))
    h = normalized("norm3", keras.layers.Add()([h, fed]))
    return keras.Model(memory, dense(keras, weights, "after", h))
