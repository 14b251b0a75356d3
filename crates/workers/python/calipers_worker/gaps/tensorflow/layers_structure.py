"""Probes of how a model is put together: nesting, subclassing, branches, residuals."""

from types import ModuleType
from typing import Any

import tensorflow as tf

from calipers_worker.gaps.tensorflow.layers_sandwich import (
    Symbolic,
    Weights,
    conv2d,
    image_input,
)


def layer_residual(keras: ModuleType, weights: Weights) -> Any:
    """A residual block with the layers Add and ReLU."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    y = keras.layers.ReLU()(conv2d(keras, weights, "conv1", h))
    y = conv2d(keras, weights, "conv2", y)
    h = keras.layers.ReLU()(keras.layers.Add()([y, h]))
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_nested(keras: ModuleType, weights: Weights) -> Any:
    """A Sequential model as a layer of a functional one."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    first = keras.layers.Conv2D(16, 3, padding="same", name="conv1")
    inner = keras.Sequential([first, keras.layers.ReLU()], name="inner")
    h = inner(h)
    first.set_weights([weights["conv1.weight"].transpose(2, 3, 1, 0), weights["conv1.bias"]])
    h = conv2d(keras, weights, "conv2", h)
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_functional(keras: ModuleType, weights: Weights) -> Any:
    """The functional API, in which all other probes but the subclassed one are written too."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    h = keras.layers.ReLU()(conv2d(keras, weights, "conv1", h))
    h = conv2d(keras, weights, "conv2", h)
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_subclassed(keras: ModuleType, weights: Weights) -> Any:
    """A class of the user's with a loop over a list of layers."""

    class Subclassed(keras.Model):
        """Convolutions in a list, one ReLU among them."""

        def __init__(self) -> None:
            super().__init__()
            self.chain = [
                keras.layers.Conv2D(16, 3, padding="same", name="before"),
                keras.layers.Conv2D(16, 3, padding="same", name="conv1"),
                keras.layers.ReLU(),
                keras.layers.Conv2D(16, 3, padding="same", name="conv2"),
                keras.layers.Conv2D(16, 3, padding="same", name="after"),
            ]

        def call(self, x: Symbolic) -> Symbolic:
            """Every layer of the list in turn."""
            for layer in self.chain:
                x = layer(x)
            return x

    model = Subclassed()
    model(tf.zeros((1, 12, 12, 16)))
    for layer in model.chain:
        if layer.weights:
            weight = weights[f"{layer.name}.weight"].transpose(2, 3, 1, 0)
            layer.set_weights([weight, weights[f"{layer.name}.bias"]])
    return model


def layer_data_dependent_branch(keras: ModuleType, weights: Weights) -> Any:
    """A layer of the user's that does one thing or another, by what it is given."""

    class Branch(keras.layers.Layer):
        """ReLU of the second input where the sum of the first is positive."""

        def call(self, h: Symbolic, c: Symbolic) -> Symbolic:
            """One of two branches."""
            return tf.cond(tf.reduce_sum(h) > 0, lambda: tf.nn.relu(c), lambda: tf.identity(c))

    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    c = conv2d(keras, weights, "conv1", h)
    return keras.Model(x, conv2d(keras, weights, "after", Branch(name="layer")(h, c)))
