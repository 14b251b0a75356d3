"""Reads the nodes of an ONNX graph into typed layers.

Owns every check of a node: what a framework package receives can be built. Errors name the node.
"""

import keyword
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from calipers_worker.errors import BadModel, UnsupportedOperator
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
    Pair,
    Relu,
    Shape,
    Sigmoid,
    Softmax,
    Tanh,
)
from calipers_worker.onnx_structure import numbers


@dataclass(frozen=True)
class Read:
    """What a graph of one input and one output holds, as `OnnxGraph` has it."""

    input_name: str
    input_shape: Shape
    output_name: str
    layers: list[Layer]
    initializers: dict[str, np.ndarray]
    shapes: dict[str, Shape]


class Reader:
    """The state of one reading: values' aliases, constants, and what is known of shapes."""

    def __init__(self, path: Path, model: onnx.ModelProto) -> None:
        self.path = path
        self.graph = model.graph
        self.constants: dict[str, np.ndarray] = {}
        self.initializers: dict[str, np.ndarray] = {}
        self.aliases: dict[str, str] = {}
        self.layers: list[Layer] = []
        self.names: set[str] = set()
        self.used: dict[str, str] = {}
        self.shapes: dict[str, Shape] = {}

    def read(self) -> Read:
        """All of the graph; BadModel or UnsupportedOperator where it cannot be built."""
        for tensor in self.graph.initializer:
            self.constants[tensor.name] = numbers(tensor)
        self.initializers = {
            name: value for name, value in self.constants.items() if value.dtype == np.float32
        }
        for info in [*self.graph.input, *self.graph.value_info, *self.graph.output]:
            self.shapes[info.name] = _shape(info)
        inputs = [info.name for info in self.graph.input if info.name not in self.constants]
        outputs = [info.name for info in self.graph.output]
        if len(inputs) != 1 or len(outputs) != 1:
            raise BadModel(
                f"{self.path}: expected one input and one output, found inputs {inputs} and "
                f"outputs {outputs}"
            )
        nodes = list(self.graph.node)
        skip: set[int] = set()
        for index, node in enumerate(nodes):
            if index not in skip:
                self._add(node, nodes, skip)
        output = self._resolve(outputs[0])
        self.shapes.setdefault(output, self.shapes[outputs[0]])
        return Read(
            inputs[0],
            self.shapes[inputs[0]],
            output,
            self.layers,
            self.initializers,
            self.shapes,
        )

    def _add(self, node: onnx.NodeProto, nodes: list[onnx.NodeProto], skip: set[int]) -> None:
        attributes = _Attributes(self, node)
        if node.domain not in ("", "ai.onnx"):
            raise self.unsupported(node, f"domain `{node.domain}` is not ONNX's own")
        match node.op_type:
            case "Constant":
                value = attributes.take("value", None)
                if value is None:
                    raise self.unsupported(node, "only a tensor as attribute `value` is read")
                self.constants[node.output[0]] = numpy_helper.to_array(value)
            case "Identity":
                self.aliases[node.output[0]] = self._resolve(node.input[0])
            case "Conv":
                self._append(node, [node.input[0]], self._conv(node, attributes))
            case "BatchNormalization":
                self._append(node, [node.input[0]], self._batch_norm(node, attributes))
            case "Relu":
                self._append(node, node.input, Relu())
            case "MaxPool":
                kernel, stride, padding, dilation = self._window(node, attributes, None)
                attributes.expect("storage_order", 0)
                self._append(node, node.input, MaxPool(kernel, stride, padding, dilation))
            case "AveragePool":
                kernel, stride, padding, dilation = self._window(node, attributes, None)
                if dilation != (1, 1):
                    raise self.unsupported(
                        node, f"attribute `dilations` is {dilation}, only 1 is built"
                    )
                include = bool(attributes.take("count_include_pad", 0))
                self._append(node, node.input, AveragePool(kernel, stride, padding, include))
            case "GlobalAveragePool":
                self._append(node, node.input, GlobalAveragePool())
            case "Add":
                self._append(node, node.input, self._add_operation(node))
            case "Mul":
                self._append(node, node.input, self._multiply(node))
            case "Concat":
                self._append(node, node.input, self._concat(node, attributes))
            case "ReduceMean":
                self._reduce_mean(node, attributes)
            case "Clip":
                self._append(node, [node.input[0]], self._clip(node))
            case "HardSwish":
                self._append(node, node.input, HardSwish())
            case "HardSigmoid":
                alpha = _decimal(attributes.take("alpha", 0.2))
                beta = _decimal(attributes.take("beta", 0.5))
                self._append(node, node.input, HardSigmoid(alpha, beta))
            case "Sigmoid":
                self._append(node, node.input, Sigmoid())
            case "Tanh":
                self._append(node, node.input, Tanh())
            case "LeakyRelu":
                slope = _decimal(attributes.take("alpha", 0.01))
                self._append(node, node.input, LeakyRelu(slope))
            case "Softmax":
                self._append(node, node.input, self._softmax(node, attributes))
            case "Dropout":
                self._dropout(node, attributes)
            case "Flatten":
                attributes.expect("axis", 1)
                self._append(node, node.input, Flatten())
            case "Reshape":
                self._check_reshape(node, attributes)
                self._append(node, [node.input[0]], Flatten())
            case "Gemm":
                self._append(node, [node.input[0]], self._gemm(node, attributes))
            case "MatMul":
                self._mat_mul(node, nodes, skip)
            case _:
                raise self.unsupported(
                    node,
                    "workers build Conv, BatchNormalization, Gemm, MatMul, Relu, Clip, HardSwish, "
                    "HardSigmoid, Sigmoid, Tanh, LeakyRelu, Softmax, MaxPool, AveragePool, "
                    "GlobalAveragePool, ReduceMean over H and W, Add, Mul, Concat, Flatten, "
                    "Reshape, Dropout, Identity and Constant",
                )
        attributes.finish()

    def _append(
        self,
        node: onnx.NodeProto,
        inputs: Any,
        operation: Operation,
        output: str | None = None,
    ) -> None:
        values = tuple(self._resolve(name) for name in inputs)
        for value in values:
            if value in self.constants:
                raise self.unsupported(
                    node, f"input `{value}` is a constant where a value is built"
                )
        if len([name for name in node.output if name]) != 1:
            raise self.unsupported(node, f"it has {len(node.output)} outputs, one is built")
        made = output or node.output[0]
        self.layers.append(Layer(self._identifier(node), _title(node), values, made, operation))

    def _conv(self, node: onnx.NodeProto, attributes: "_Attributes") -> Conv:
        weight, array = self._parameter(node, 1, 4)
        bias = self._parameter(node, 2, 1)[0] if len(node.input) > 2 and node.input[2] else None
        size = (array.shape[2], array.shape[3])
        kernel, stride, padding, dilation = self._window(node, attributes, size)
        groups = int(attributes.take("group", 1))
        return Conv(
            weight,
            bias,
            array.shape[1] * groups,
            array.shape[0],
            kernel,
            stride,
            padding,
            dilation,
            groups,
        )

    def _batch_norm(self, node: onnx.NodeProto, attributes: "_Attributes") -> BatchNorm:
        attributes.expect("training_mode", 0)
        shape = self.shapes.get(node.input[0])
        if shape is not None and len(shape) != 4:
            raise self.unsupported(node, f"its input has rank {len(shape)}, only rank 4 is built")
        names = [self._parameter(node, position, 1) for position in range(1, 5)]
        return BatchNorm(
            *(name for name, _ in names),
            channels=names[0][1].shape[0],
            epsilon=_decimal(attributes.take("epsilon", 1e-5)),
            momentum=_decimal(attributes.take("momentum", 0.9)),
        )

    def _add_operation(self, node: onnx.NodeProto) -> Add:
        shapes = [self.shapes.get(name) for name in node.input]
        if None not in shapes and shapes[0] != shapes[1]:
            raise self.unsupported(
                node, f"shapes {shapes[0]} and {shapes[1]} differ, only equal ones are built"
            )
        return Add()

    def _multiply(self, node: onnx.NodeProto) -> Multiply:
        shapes = [self.shapes.get(name) for name in node.input]
        if None in shapes or shapes[0] == shapes[1]:
            return Multiply()
        are_images = all(len(shape) == 4 for shape in shapes)
        if (
            are_images
            and shapes[0][:2] == shapes[1][:2]
            and (1, 1) in (shapes[0][2:], shapes[1][2:])
        ):
            return Multiply()
        raise self.unsupported(
            node,
            f"shapes {shapes[0]} and {shapes[1]} differ; only equal ones, and [N,C,H,W] with "
            "[N,C,1,1], are built",
        )

    def _concat(self, node: onnx.NodeProto, attributes: "_Attributes") -> Concat:
        axis = attributes.take("axis", None)
        rank = len(self.shapes.get(node.input[0], ()))
        if axis != 1 and not (rank and axis == 1 - rank):
            raise self.unsupported(node, f"attribute `axis` is {axis}, only 1 is built")
        return Concat()

    def _softmax(self, node: onnx.NodeProto, attributes: "_Attributes") -> Softmax:
        axis = attributes.take("axis", -1)
        shape = self.shapes.get(node.input[0])
        if shape is None or len(shape) != 2 or axis not in (-1, 1):
            raise self.unsupported(
                node, f"it runs along axis {axis} of {shape}, only the last of [N, K] is built"
            )
        return Softmax()

    def _clip(self, node: onnx.NodeProto) -> Clip:
        bounds = [-np.inf, np.inf]
        for position in (1, 2):
            if len(node.input) > position and node.input[position]:
                name = self._resolve(node.input[position])
                value = self.constants.get(name)
                if value is None or value.dtype != np.float32 or value.size != 1:
                    raise self.unsupported(
                        node, f"input {position} `{name}` must be a constant float32 scalar"
                    )
                bounds[position - 1] = _decimal(value.item())
        if not bounds[0] < bounds[1]:
            raise self.unsupported(node, f"its bounds are {bounds[0]} and {bounds[1]}")
        return Clip(*bounds)

    def _reduce_mean(self, node: onnx.NodeProto, attributes: "_Attributes") -> None:
        axes = attributes.take("axes", None)
        if axes is None and len(node.input) > 1:
            axes = self.constants.get(self._resolve(node.input[1]))
        keeps = bool(attributes.take("keepdims", 1))
        attributes.expect("noop_with_empty_axes", 0)
        shape = self.shapes.get(node.input[0])
        found = None if axes is None else sorted(int(axis) % 4 for axis in axes)
        if shape is None or len(shape) != 4 or found != [2, 3]:
            raise self.unsupported(
                node, f"it runs along axes {axes} of {shape}, only H and W of [N,C,H,W] are built"
            )
        if keeps:
            self._append(node, [node.input[0]], GlobalAveragePool())
            return
        pooled = f"{node.output[0]} before it is flat"
        self._append(node, [node.input[0]], GlobalAveragePool(), pooled)
        self._append(node, [pooled], Flatten())

    def _dropout(self, node: onnx.NodeProto, attributes: "_Attributes") -> None:
        attributes.take("seed", None)
        if len(node.input) > 2 and node.input[2]:
            training = self.constants.get(self._resolve(node.input[2]))
            if training is None or bool(training):
                raise self.unsupported(node, "its input `training_mode` is not the constant false")
        read = {name for other in self.graph.node for name in other.input}
        read |= {info.name for info in self.graph.output}
        if len(node.output) > 1 and node.output[1] in read:
            raise self.unsupported(node, f"its mask `{node.output[1]}` is read")
        self.aliases[node.output[0]] = self._resolve(node.input[0])

    def _check_reshape(self, node: onnx.NodeProto, attributes: "_Attributes") -> None:
        attributes.expect("allowzero", 0)
        target = self.constants.get(self._resolve(node.input[1]))
        if target is None or target.shape != (2,):
            raise self.unsupported(node, "only a Reshape to a constant [N, -1] is built")
        shape = self.shapes.get(node.input[0], ())
        size = 1
        for dim in shape[1:]:
            size = size * dim if dim is not None and size is not None else None
        first, second = (int(number) for number in target)
        keeps_batch = first == 0 or (first == -1 and second == size)
        if not keeps_batch or (second not in (-1, size)) or (first == -1 and second == -1):
            raise self.unsupported(
                node,
                f"a Reshape from {shape} to [{first}, {second}] is not a flattening to [N, -1]",
            )

    def _gemm(self, node: onnx.NodeProto, attributes: "_Attributes") -> Linear:
        attributes.expect("alpha", 1.0)
        attributes.expect("beta", 1.0)
        attributes.expect("transA", 0)
        in_out = not attributes.take("transB", 0)
        weight, array = self._parameter(node, 1, 2)
        bias = self._parameter(node, 2, 1)[0] if len(node.input) > 2 and node.input[2] else None
        return _linear(weight, array, bias, in_out)

    def _mat_mul(self, node: onnx.NodeProto, nodes: list[onnx.NodeProto], skip: set[int]) -> None:
        weight, array = self._parameter(node, 1, 2)
        bias, output = None, node.output[0]
        readers = [index for index, other in enumerate(nodes) if output in other.input]
        graph_outputs = {info.name for info in self.graph.output}
        if len(readers) == 1 and output not in graph_outputs:
            reader = nodes[readers[0]]
            others = [name for name in reader.input if name != output]
            if reader.op_type == "Add" and len(others) == 1:
                value = self.constants.get(self._resolve(others[0]))
                if value is not None and value.shape == (array.shape[1],):
                    position = list(reader.input).index(others[0])
                    bias = self._parameter(reader, position, 1)[0]
                    output = reader.output[0]
                    skip.add(readers[0])
        self._append(node, [node.input[0]], _linear(weight, array, bias, True), output)

    def _window(
        self, node: onnx.NodeProto, attributes: "_Attributes", size: Pair | None
    ) -> tuple[Pair, Pair, Pair, Pair]:
        """Kernel, stride, symmetric padding and dilation of a 2-d window."""
        auto_pad = attributes.take("auto_pad", b"NOTSET").decode()
        if auto_pad not in ("NOTSET", "VALID"):
            raise self.unsupported(
                node, f"attribute `auto_pad` is {auto_pad}, only NOTSET is built"
            )
        attributes.expect("ceil_mode", 0)
        kernel = tuple(attributes.take("kernel_shape", size or ()))
        pads = tuple(attributes.take("pads", (0, 0, 0, 0)))
        stride = tuple(attributes.take("strides", (1, 1)))
        dilation = tuple(attributes.take("dilations", (1, 1)))
        if len(kernel) != 2 or len(stride) != 2 or len(dilation) != 2 or len(pads) != 4:
            raise self.unsupported(
                node, f"its kernel is {list(kernel)}, only two dimensions are built"
            )
        if size is not None and kernel != size:
            raise BadModel(
                f"{self.path}: {_title(node)}: `kernel_shape` is {kernel}, the weight's {size}"
            )
        if pads[:2] != pads[2:]:
            raise self.unsupported(node, f"pads {list(pads)} are not symmetric")
        return kernel, stride, pads[:2], dilation

    def _parameter(self, node: onnx.NodeProto, position: int, rank: int) -> tuple[str, np.ndarray]:
        """Name and value of an input that must be an f32 initializer, read by no other node."""
        name = self._resolve(node.input[position])
        value = self.initializers.get(name)
        if value is None or value.ndim != rank:
            raise self.unsupported(
                node,
                f"input {position} `{name}` must be a float32 initializer of rank {rank}, "
                f"found {self._found(name)}",
            )
        if name in self.used:
            raise self.unsupported(
                node,
                f"initializer `{name}` is read by {self.used[name]} too; each layer needs its own",
            )
        if not np.isfinite(value).all():
            raise BadModel(
                f"{self.path}: {_title(node)}: initializer `{name}` holds a value that is not "
                "finite"
            )
        self.used[name] = _title(node)
        return name, value

    def _found(self, name: str) -> str:
        """What a value is that is not the initializer that it must be."""
        value = self.constants.get(name)
        if value is None:
            return "a computed value"
        found = f"{value.dtype.name} of shape {value.shape}"
        if name in {tensor.name for tensor in self.graph.initializer}:
            return found
        return f"{found} from a Constant node; export the model with its weights as initializers"

    def _resolve(self, name: str) -> str:
        return self.aliases.get(name, name)

    def _identifier(self, node: onnx.NodeProto) -> str:
        stem = re.sub(r"\W+", "_", node.name or node.output[0], flags=re.ASCII).strip("_")
        if not stem or stem[0].isdigit() or keyword.iskeyword(stem):
            stem = f"{node.op_type.lower()}_{stem}".rstrip("_")
        name, suffix = stem, 1
        while name in self.names:
            suffix += 1
            name = f"{stem}_{suffix}"
        self.names.add(name)
        return name

    def unsupported(self, node: onnx.NodeProto, reason: str) -> UnsupportedOperator:
        """The error of a node that has no native form."""
        return UnsupportedOperator(f"{self.path}: {_title(node)} cannot be built: {reason}")


class _Attributes:
    """A node's attributes; those that nobody took are an error, so none is silently ignored."""

    def __init__(self, reader: Reader, node: onnx.NodeProto) -> None:
        self.reader, self.node = reader, node
        self.left = {
            attribute.name: onnx.helper.get_attribute_value(attribute)
            for attribute in node.attribute
        }

    def take(self, name: str, default: Any) -> Any:
        return self.left.pop(name, default)

    def expect(self, name: str, value: Any) -> None:
        found = self.left.pop(name, value)
        if found != value:
            raise self.reader.unsupported(
                self.node, f"attribute `{name}` is {found}, only {value} is built"
            )

    def finish(self) -> None:
        if self.left:
            raise self.reader.unsupported(
                self.node, f"attributes {sorted(self.left)} are not known"
            )


def _linear(weight: str, array: np.ndarray, bias: str | None, in_out: bool) -> Linear:
    rows, columns = array.shape
    features = (rows, columns) if in_out else (columns, rows)
    return Linear(weight, bias, *features, weight_is_in_out=in_out)


def _decimal(number: float) -> float:
    """The shortest decimal that is the same f32: 1e-05 for ONNX's stored 9.9999997e-06."""
    return float(str(np.float32(number)))


def _shape(info: onnx.ValueInfoProto) -> Shape:
    dims = info.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)


def _title(node: onnx.NodeProto) -> str:
    return f"node `{node.name or node.output[0]}` ({node.op_type})"
