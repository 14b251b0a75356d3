"""Weights between ONNX's layouts and Keras': which variable holds which initializer, and how."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras

from calipers_worker.errors import BadModel

Transposition = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Layout:
    """A pair of inverse transpositions between an initializer and a Keras variable."""

    to_keras: Transposition
    to_onnx: Transposition


def _unchanged(array: np.ndarray) -> np.ndarray:
    return array


UNCHANGED = Layout(_unchanged, _unchanged)
CONVOLUTION = Layout(
    lambda oihw: oihw.transpose(2, 3, 1, 0), lambda hwio: hwio.transpose(3, 2, 0, 1)
)
DENSE = Layout(np.transpose, np.transpose)


def depthwise(channels: int) -> Layout:
    """[C M, 1, kh, kw] and [kh, kw, C, M], M the multiplier of `channels` C."""

    def to_keras(array: np.ndarray) -> np.ndarray:
        kernel = array.shape[2:]
        return array.reshape(channels, -1, *kernel).transpose(2, 3, 0, 1)

    def to_onnx(array: np.ndarray) -> np.ndarray:
        kernel = array.shape[:2]
        return array.transpose(2, 3, 0, 1).reshape(-1, 1, *kernel)

    return Layout(to_keras, to_onnx)


@dataclass(frozen=True)
class Parameter:
    """One initializer and the Keras variable `layer/attribute` that holds it in a built model."""

    initializer: str
    layer: str
    attribute: str
    layout: Layout = UNCHANGED

    @property
    def variable(self) -> str:
        """The variable's name, which TFMOT's wrappers keep."""
        return f"{self.layer}/{self.attribute}:0"


def assign(
    model: tf_keras.Model, parameters: tuple[Parameter, ...], values: Mapping[str, np.ndarray]
) -> None:
    """Set the model's variables from `values`, by initializer name and in ONNX's layouts."""
    variables = _variables(model, parameters)
    for parameter in parameters:
        variable = variables[parameter.variable]
        value = parameter.layout.to_keras(values[parameter.initializer])
        if tuple(value.shape) != tuple(variable.shape):
            raise BadModel(
                f"initializer `{parameter.initializer}`: Keras variable `{parameter.variable}` has "
                f"shape {tuple(variable.shape)}, the initializer gives {value.shape}"
            )
        variable.assign(value)


def read(model: tf_keras.Model, parameters: tuple[Parameter, ...]) -> dict[str, np.ndarray]:
    """Copies of the model's variables by initializer name, in ONNX's layouts.

    In a model from TFMOT these are the float weights that training updates, before quantization.
    """
    variables = _variables(model, parameters)
    return {
        parameter.initializer: np.ascontiguousarray(
            parameter.layout.to_onnx(variables[parameter.variable].numpy())
        ).copy()
        for parameter in parameters
    }


def _variables(model: tf_keras.Model, parameters: tuple[Parameter, ...]) -> dict[str, tf.Variable]:
    variables = {variable.name: variable for variable in model.variables}
    for parameter in parameters:
        if parameter.variable not in variables:
            raise BadModel(
                f"initializer `{parameter.initializer}`: expected a Keras variable "
                f"`{parameter.variable}`, found {sorted(variables)[:20]}"
            )
    return variables
