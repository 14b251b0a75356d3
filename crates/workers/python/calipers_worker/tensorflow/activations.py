"""The Keras layers of the functions of one value, in the forms that Keras' own models have."""

from typing import Any

import tensorflow as tf
from tf_keras import layers

from calipers_worker.onnx_operations import (
    Clip,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Sigmoid,
    Softmax,
    Tanh,
)

Activation = Clip | HardSigmoid | HardSwish | LeakyRelu | Sigmoid | Softmax | Tanh
SIX = HardSigmoid(alpha=1 / 6, beta=0.5)
"""The sigmoid of a HardSwish, x of which is relu6(x + 3) / 6."""
CLOSE = 1e-6


def build(operation: Activation, name: str, tensor: Any) -> Any:
    """The output of `operation` on a Keras tensor, by a layer of that name last.

    Keras' own hard_sigmoid is 0.2 x + 0.5 and its hard swish is not a layer; both are composed as
    in tf_keras.applications.MobileNetV3, where the converter knows the latter again, but of layers:
    TFMOT fails on Python's operators without saying where.
    """
    match operation:
        case Clip(0.0, maximum):
            limit = None if maximum == float("inf") else maximum
            return layers.ReLU(max_value=limit, name=name)(tensor)
        case Clip(minimum, maximum):
            return tf.clip_by_value(tensor, minimum, maximum, name=name)
        case HardSwish():
            sigmoid = build(SIX, f"{name}.sigmoid", tensor)
            return layers.Multiply(name=name)([tensor, sigmoid])
        case HardSigmoid(alpha, beta) if abs(alpha - 1 / 6) < CLOSE and beta == 0.5:
            raised = layers.Rescaling(1.0, 3.0, name=f"{name}.add")(tensor)
            limited = layers.ReLU(6.0, name=f"{name}.relu6")(raised)
            return layers.Rescaling(1.0 / 6.0, name=name)(limited)
        case HardSigmoid(alpha, beta):
            scaled = layers.Rescaling(alpha, beta, name=f"{name}.scale")(tensor)
            return layers.ReLU(1.0, name=name)(scaled)
        case Sigmoid():
            return layers.Activation("sigmoid", name=name)(tensor)
        case Tanh():
            return layers.Activation("tanh", name=name)(tensor)
        case LeakyRelu(slope):
            return layers.LeakyReLU(alpha=slope, name=name)(tensor)
        case Softmax():
            return layers.Softmax(axis=-1, name=name)(tensor)


def is_non_negative(operation: Activation, given: bool) -> bool:
    """Whether no result of `operation` is below zero; `given` says so of what it reads."""
    match operation:
        case Clip(minimum, maximum):
            return minimum >= 0 or (given and maximum >= 0)
        case HardSigmoid() | Sigmoid() | Softmax():
            return True
        case HardSwish() | LeakyRelu() | Tanh():
            return given
