"""An ONNX file as typed layers that name no framework, and its weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import shape_inference

from calipers_worker.errors import BadModel, BadWeights
from calipers_worker.onnx_operations import (
    Add,
    AveragePool,
    BatchNorm,
    Clip,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    HardSigmoid,
    HardSwish,
    Layer,
    LeakyRelu,
    Linear,
    MaxPool,
    Multiply,
    Operation,
    Relu,
    Shape,
    Sigmoid,
    Softmax,
    Tanh,
)
from calipers_worker.onnx_reader import Reader
from calipers_worker.onnx_structure import read_structure
from calipers_worker.tensor_files import read_tensors, write_tensors

__all__ = [
    "Add",
    "AveragePool",
    "BatchNorm",
    "Clip",
    "Concat",
    "Conv",
    "Flatten",
    "GlobalAveragePool",
    "HardSigmoid",
    "HardSwish",
    "Layer",
    "LeakyRelu",
    "Linear",
    "MaxPool",
    "Multiply",
    "OnnxGraph",
    "Operation",
    "Relu",
    "Shape",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "load",
]


@dataclass
class OnnxGraph:
    """A graph of one input and one output; layers in execution order, each value made once.

    `initializers` holds the f32 initializers by their names in the file, in the file's layouts;
    `shapes` the values' shapes, None for a symbolic or unknown dimension.
    """

    path: Path
    input_name: str
    input_shape: Shape
    output_name: str
    layers: list[Layer]
    initializers: dict[str, np.ndarray]
    shapes: dict[str, Shape] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        """K of the output's [N, K]."""
        shape = self.shapes.get(self.output_name, ())
        if len(shape) == 2 and shape[1] is not None:
            return shape[1]
        raise BadModel(
            f"{self.path}: output `{self.output_name}` must have shape [N, K] with a known K, "
            f"found {shape}"
        )

    def consumers(self, value: str) -> list[Layer]:
        """The layers that read `value`."""
        return [layer for layer in self.layers if value in layer.inputs]

    def sole_consumer(self, value: str) -> Layer | None:
        """The layer that alone reads `value`; None for several, none, or the graph's output."""
        readers = self.consumers(value)
        return readers[0] if len(readers) == 1 and value != self.output_name else None

    def write_weights(self, path: Path, values: Mapping[str, np.ndarray]) -> None:
        """Write `values` as a weights file; initializers that they lack keep the graph's values."""
        complete = {name: values.get(name, own) for name, own in self.initializers.items()}
        check_weights(path, complete, self.initializers)
        write_tensors(path, complete)


def load_structure(path: Path) -> OnnxGraph:
    """The graph of the ONNX file at `path`, with zeros for large weights, which take no memory."""
    model = _read_model(path, lambda: read_structure(path))
    return OnnxGraph(path, **vars(Reader(path, model).read()))


def load(path: Path, weights: Path | None = None) -> OnnxGraph:
    """The graph of the ONNX file at `path`, with the weights of the file `weights` if given."""
    model = _read_model(path, lambda: _checked(path))
    graph = OnnxGraph(path, **vars(Reader(path, model).read()))
    if weights is not None:
        values = read_tensors(weights)
        check_weights(weights, values, graph.initializers)
        graph.initializers = {name: values[name] for name in graph.initializers}
    return graph


def check_weights(
    path: Path, values: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> None:
    missing, unknown = (
        sorted(expected.keys() - values.keys()),
        sorted(values.keys() - expected.keys()),
    )
    if missing or unknown:
        raise BadWeights(
            f"{path}: does not fit the model: missing {missing[:5]}, unknown {unknown[:5]} "
            f"({len(missing)} and {len(unknown)} in all)"
        )
    for name, value in values.items():
        if value.shape != expected[name].shape or value.dtype != np.float32:
            raise BadWeights(
                f"{path}: `{name}` must be float32 of shape {expected[name].shape}, found "
                f"{value.dtype.name} of shape {value.shape}"
            )
        if not np.isfinite(value).all():
            raise BadWeights(f"{path}: `{name}` holds a value that is not finite")


def _read_model(path: Path, read: Callable[[], onnx.ModelProto]) -> onnx.ModelProto:
    if not path.is_file():
        raise BadModel(f"{path}: expected an ONNX file, found no file there")
    try:
        return shape_inference.infer_shapes(read(), strict_mode=True, data_prop=True)
    except Exception as error:
        # The parser, the checker and shape inference each raise types of their own.
        raise BadModel(f"{path}: not a valid ONNX file: {error}") from error


def _checked(path: Path) -> onnx.ModelProto:
    model = onnx.load(path)
    onnx.checker.check_model(model)
    return model
