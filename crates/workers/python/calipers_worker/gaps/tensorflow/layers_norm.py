"""Probes of normalizations; Keras' default epsilons are not PyTorch's and are given."""

from types import ModuleType
from typing import Any

from calipers_worker.gaps.stages import NoApi
from calipers_worker.gaps.tensorflow.layers_sandwich import (
    Symbolic,
    Weights,
    conv2d,
    dense,
    image_input,
    sequence_input,
)


def batch_norm(keras: ModuleType, weights: Weights, x: Symbolic) -> Symbolic:
    """BatchNormalization; PyTorch's momentum 0.1 is Keras' 0.9."""
    layer = keras.layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name="norm")
    y = layer(x)
    names = ("weight", "bias", "running_mean", "running_var")
    layer.set_weights([weights[f"norm.{name}"] for name in names])
    return y


def layer_batch_norm_folded(keras: ModuleType, weights: Weights) -> Any:
    """BatchNormalization right after a Conv2D."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    h = conv2d(keras, weights, "layer", h)
    h = batch_norm(keras, weights, h)
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_batch_norm_unfoldable(keras: ModuleType, weights: Weights) -> Any:
    """BatchNormalization after a ReLU."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    h = keras.layers.ReLU()(h)
    h = batch_norm(keras, weights, h)
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_batch_norm_alone(keras: ModuleType, weights: Weights) -> Any:
    """BatchNormalization of the input."""
    x = image_input(keras)
    h = batch_norm(keras, weights, x)
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_layer_norm(keras: ModuleType, weights: Weights) -> Any:
    """LayerNormalization."""
    x = sequence_input(keras)
    h = dense(keras, weights, "before", x)
    layer = keras.layers.LayerNormalization(epsilon=1e-5, name="layer")
    h = layer(h)
    layer.set_weights([weights["layer.weight"], weights["layer.bias"]])
    return keras.Model(x, dense(keras, weights, "after", h))


def layer_group_norm(keras: ModuleType, weights: Weights) -> Any:
    """GroupNormalization with 4 groups."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    layer = keras.layers.GroupNormalization(groups=4, epsilon=1e-5, name="layer")
    h = layer(h)
    layer.set_weights([weights["layer.weight"], weights["layer.bias"]])
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_instance_norm(keras: ModuleType, weights: Weights) -> Any:
    """Instance normalization, which is GroupNormalization with `groups=-1`."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    layer = keras.layers.GroupNormalization(groups=-1, epsilon=1e-5, name="layer")
    h = layer(h)
    layer.set_weights([weights["layer.weight"], weights["layer.bias"]])
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_rms_norm(keras: ModuleType, weights: Weights) -> Any:
    """RMSNormalization."""
    if not hasattr(keras.layers, "RMSNormalization"):
        raise NoApi(f"{keras.__name__}.layers has no RMSNormalization")
    x = sequence_input(keras)
    h = dense(keras, weights, "before", x)
    layer = keras.layers.RMSNormalization(epsilon=1e-6, name="layer")
    h = layer(h)
    layer.set_weights([weights["layer.weight"]])
    return keras.Model(x, dense(keras, weights, "after", h))
