"""The tensors of a Keras file: its variables, f32 as they are stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tf_keras

from calipers_worker.tensorflow.parameters import UNCHANGED, Parameter


@dataclass(frozen=True)
class StoredVariable:
    """A variable of the file, the initializer that it came from, and its value in ONNX's layout."""

    name: str
    initializer: str | None
    stored: np.ndarray
    value: np.ndarray

    def answer(self) -> dict[str, Any]:
        """The protocol's words for it."""
        return {
            "name": self.name,
            "initializer": self.initializer,
            "type": self.stored.dtype.name,
            "shape": list(self.stored.shape),
            "bytes": self.stored.nbytes,
        }


def read(model: tf_keras.Model, parameters: Sequence[Parameter]) -> list[StoredVariable]:
    """All variables of `model`, in the model's order; `parameters` say what they came from."""
    known = {parameter.variable: parameter for parameter in parameters}
    found = []
    for variable in model.variables:
        value, parameter = variable.numpy(), known.get(variable.name)
        layout = parameter.layout if parameter else UNCHANGED
        initializer = parameter.initializer if parameter else None
        found.append(StoredVariable(variable.name, initializer, value, layout.to_onnx(value)))
    return found


def weights(variables: Sequence[StoredVariable]) -> dict[str, np.ndarray]:
    """The variables of rank 2 or more by name, in ONNX's layout."""
    return {one.name: np.ascontiguousarray(one.value) for one in variables if one.value.ndim >= 2}
