"""Probes of activations, in the form that a user of each Keras writes."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import tensorflow as tf

from calipers_worker.gaps.tensorflow.layers_sandwich import (
    Symbolic,
    Weights,
    conv2d,
    dense,
    image_input,
    sequence_input,
)


def between_convolutions(
    keras: ModuleType, weights: Weights, function: Callable[[Symbolic], Symbolic]
) -> Any:
    """The model `before`, `function`, `after` on images."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    return keras.Model(x, conv2d(keras, weights, "after", function(h)))


def between_dense(
    keras: ModuleType, weights: Weights, function: Callable[[Symbolic], Symbolic]
) -> Any:
    """The model `before`, `function`, `after` on sequences."""
    x = sequence_input(keras)
    h = dense(keras, weights, "before", x)
    return keras.Model(x, dense(keras, weights, "after", function(h)))


def layer_relu(keras: ModuleType, weights: Weights) -> Any:
    """ReLU."""
    return between_convolutions(keras, weights, keras.layers.ReLU())


def layer_relu6(keras: ModuleType, weights: Weights) -> Any:
    """ReLU that ends at 6."""
    return between_convolutions(keras, weights, keras.layers.ReLU(max_value=6.0))


def layer_silu(keras: ModuleType, weights: Weights) -> Any:
    """SiLU, by the name that both Keras know."""
    return between_convolutions(keras, weights, keras.layers.Activation("swish"))


def layer_hardswish(keras: ModuleType, weights: Weights) -> Any:
    """Hard swish; Keras 2 has none, and its own MobileNetV3 writes the formula."""
    if hasattr(keras.activations, "hard_swish"):
        return between_convolutions(keras, weights, keras.layers.Activation("hard_swish"))
    return between_convolutions(
        keras, weights, lambda x: x * keras.layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)
    )


def layer_hardsigmoid(keras: ModuleType, weights: Weights) -> Any:
    """Hard sigmoid; Keras 2's activation of this name has another slope, so its formula there."""
    if hasattr(keras.activations, "hard_swish"):
        return between_convolutions(keras, weights, keras.layers.Activation("hard_sigmoid"))
    return between_convolutions(
        keras, weights, lambda x: keras.layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)
    )


def layer_sigmoid(keras: ModuleType, weights: Weights) -> Any:
    """Sigmoid."""
    return between_convolutions(keras, weights, keras.layers.Activation("sigmoid"))


def layer_tanh(keras: ModuleType, weights: Weights) -> Any:
    """Hyperbolic tangent."""
    return between_convolutions(keras, weights, keras.layers.Activation("tanh"))


def layer_leaky_relu(keras: ModuleType, weights: Weights) -> Any:
    """LeakyReLU; its default slope in Keras is 0.3."""
    return between_convolutions(keras, weights, keras.layers.LeakyReLU(0.01))


def layer_prelu(keras: ModuleType, weights: Weights) -> Any:
    """PReLU with one slope a channel."""
    layer = keras.layers.PReLU(shared_axes=[1, 2], name="layer")
    model = between_convolutions(keras, weights, layer)
    layer.set_weights([weights["layer.weight"].reshape(1, 1, -1)])
    return model


def layer_gelu(keras: ModuleType, weights: Weights) -> Any:
    """GELU by the error function."""
    return between_dense(keras, weights, keras.layers.Activation("gelu"))


def tanh_gelu(x: Symbolic) -> Symbolic:
    """GELU by the hyperbolic tangent."""
    return tf.nn.gelu(x, approximate=True)


def layer_gelu_tanh(keras: ModuleType, weights: Weights) -> Any:
    """GELU by the hyperbolic tangent, as an activation function of the user's."""
    return between_dense(keras, weights, keras.layers.Activation(tanh_gelu))


def layer_softmax(keras: ModuleType, weights: Weights) -> Any:
    """Softmax over the last axis."""
    return between_dense(keras, weights, keras.layers.Softmax())


def layer_dropout(keras: ModuleType, weights: Weights) -> Any:
    """Dropout."""
    return between_convolutions(keras, weights, keras.layers.Dropout(0.5))
