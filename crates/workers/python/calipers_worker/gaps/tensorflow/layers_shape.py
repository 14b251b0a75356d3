"""Probes of pooling, arithmetic between tensors, and changes of size."""

from types import ModuleType
from typing import Any

import tensorflow as tf

from calipers_worker.gaps.stages import NoApi
from calipers_worker.gaps.tensorflow.layers_activation import between_convolutions, between_dense
from calipers_worker.gaps.tensorflow.layers_sandwich import (
    Symbolic,
    Weights,
    conv2d,
    image_input,
)


def layer_max_pool2d(keras: ModuleType, weights: Weights) -> Any:
    """MaxPooling2D."""
    return between_convolutions(keras, weights, keras.layers.MaxPooling2D(2))


def layer_avg_pool2d(keras: ModuleType, weights: Weights) -> Any:
    """AveragePooling2D."""
    return between_convolutions(keras, weights, keras.layers.AveragePooling2D(2))


def layer_adaptive_avg_pool2d(keras: ModuleType, weights: Weights) -> Any:
    """AdaptiveAveragePooling2D."""
    if not hasattr(keras.layers, "AdaptiveAveragePooling2D"):
        raise NoApi(f"{keras.__name__}.layers has no AdaptiveAveragePooling2D")
    return between_convolutions(keras, weights, keras.layers.AdaptiveAveragePooling2D(4))


def layer_global_avg_pool2d(keras: ModuleType, weights: Weights) -> Any:
    """GlobalAveragePooling2D."""
    return between_convolutions(keras, weights, keras.layers.GlobalAveragePooling2D(keepdims=True))


def layer_add(keras: ModuleType, weights: Weights) -> Any:
    """`+` of two Keras tensors."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    return keras.Model(x, conv2d(keras, weights, "after", h + x))


def layer_mul(keras: ModuleType, weights: Weights) -> Any:
    """`*` of two Keras tensors."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    return keras.Model(x, conv2d(keras, weights, "after", h * x))


def layer_add_layer(keras: ModuleType, weights: Weights) -> Any:
    """The layer Add."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    h = keras.layers.Add()([h, x])
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_mul_layer(keras: ModuleType, weights: Weights) -> Any:
    """The layer Multiply."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    h = keras.layers.Multiply()([h, x])
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_concat(keras: ModuleType, weights: Weights) -> Any:
    """Concatenation by a function on Keras tensors."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    if hasattr(keras, "ops"):
        h = keras.ops.concatenate([h, x], axis=-1)
    else:
        h = tf.concat([h, x], axis=-1)
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_concat_layer(keras: ModuleType, weights: Weights) -> Any:
    """The layer Concatenate."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    h = keras.layers.Concatenate()([h, x])
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_matmul(keras: ModuleType, weights: Weights) -> Any:
    """Product of two activations, by a function on Keras tensors."""

    def product(h: Symbolic) -> Symbolic:
        if hasattr(keras, "ops"):
            return keras.ops.matmul(h, keras.ops.swapaxes(h, -1, -2))
        return tf.matmul(h, h, transpose_b=True)

    return between_dense(keras, weights, product)


def layer_upsample_nearest(keras: ModuleType, weights: Weights) -> Any:
    """UpSampling2D by nearest neighbours."""
    return between_convolutions(keras, weights, keras.layers.UpSampling2D(2))


def layer_upsample_bilinear(keras: ModuleType, weights: Weights) -> Any:
    """UpSampling2D by bilinear interpolation, which is PyTorch's with align_corners=False."""
    return between_convolutions(
        keras, weights, keras.layers.UpSampling2D(2, interpolation="bilinear")
    )
