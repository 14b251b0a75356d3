"""The products around and inside every probe, with PyTorch's weights put into Keras' layouts."""

from types import ModuleType
from typing import Any

import numpy as np

Weights = dict[str, np.ndarray]
# A symbolic tensor of either Keras; the two share no type.
Symbolic = Any


def image_input(keras: ModuleType) -> Symbolic:
    """The image `x` of the probes of images, channels last."""
    return keras.Input((12, 12, 16), batch_size=1, name="x")


def sequence_input(keras: ModuleType, steps: int = 32) -> Symbolic:
    """The sequence `x` of the probes of sequences."""
    return keras.Input((steps, 64), batch_size=1, name="x")


def vector_input(keras: ModuleType) -> Symbolic:
    """The single step `x` of the probes of recurrent cells."""
    return keras.Input((64,), batch_size=1, name="x")


def token_input(keras: ModuleType) -> Symbolic:
    """The tokens `ids`."""
    return keras.Input((32,), batch_size=1, dtype="int32", name="ids")


def dense(keras: ModuleType, weights: Weights, name: str, x: Symbolic) -> Symbolic:
    """Linear: the kernel is PyTorch's, transposed."""
    weight = weights[f"{name}.weight"]
    layer = keras.layers.Dense(weight.shape[0], name=name)
    y = layer(x)
    layer.set_weights([weight.T, weights[f"{name}.bias"]])
    return y


def conv2d(keras: ModuleType, weights: Weights, name: str, x: Symbolic, **options: Any) -> Symbolic:
    """Conv2d: the kernel is PyTorch's [out, in, h, w] as [h, w, in, out]; padding `same`."""
    weight = weights[f"{name}.weight"]
    options = {"padding": "same", **options}
    layer = keras.layers.Conv2D(weight.shape[0], weight.shape[2:], name=name, **options)
    y = layer(x)
    layer.set_weights([weight.transpose(2, 3, 1, 0), weights[f"{name}.bias"]])
    return y
