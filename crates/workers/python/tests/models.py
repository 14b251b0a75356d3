"""Tiny ONNX models and data files for the tests, from seeded numbers."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

CLASSES = 5
INPUT = (3, 8, 8)


class ModelBuilder:
    """Collects nodes and initializers; each method appends one node and names its output."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, np.ndarray] = {}

    def node(self, kind: str, name: str, inputs: list[str], **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}.out"], name, **attributes))
        return f"{name}.out"

    def parameter(self, name: str, value: np.ndarray) -> str:
        self.initializers[name] = np.asarray(value, order="C")
        return name

    def normal(self, name: str, shape: tuple[int, ...], deviation: float) -> str:
        return self.parameter(name, self.random.normal(0, deviation, shape).astype(np.float32))

    def conv(self, name: str, value: str, sizes: tuple[int, int, int, int], bias: bool) -> str:
        """`sizes` are input channels, output channels, kernel, stride; padding is kernel // 2."""
        inputs, outputs, kernel, stride = sizes
        deviation = (2 / (outputs * kernel * kernel)) ** 0.5
        names = [value, self.normal(f"{name}.weight", (outputs, inputs, kernel, kernel), deviation)]
        if bias:
            names.append(self.normal(f"{name}.bias", (outputs,), 0.1))
        pads = [kernel // 2] * 4
        return self.node(
            "Conv", name, names, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads
        )

    def batch_norm(self, name: str, value: str, channels: int) -> str:
        uniform = self.random.uniform
        names = [
            self.parameter(f"{name}.{key}", numbers.astype(np.float32))
            for key, numbers in (
                ("scale", uniform(0.5, 1.5, channels)),
                ("shift", uniform(-0.5, 0.5, channels)),
                ("mean", uniform(-0.5, 0.5, channels)),
                ("variance", uniform(0.5, 1.5, channels)),
            )
        ]
        return self.node("BatchNormalization", name, [value, *names], epsilon=1e-5, momentum=0.9)

    def save(self, path: Path, output: str) -> Path:
        graph = helper.make_graph(
            self.nodes,
            "tiny",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *INPUT])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", CLASSES])],
            [numpy_helper.from_array(value, name) for name, value in self.initializers.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)
        return path


def residual(path: Path, *, batch_norm: bool, seed: int = 1) -> Path:
    """A residual network: stem, max pool, a plain and a strided block, average pool, Gemm."""
    model = ModelBuilder(seed)

    def unit(name: str, value: str, sizes: tuple[int, int, int, int]) -> str:
        value = model.conv(f"{name}.conv", value, sizes, bias=False)
        return model.batch_norm(f"{name}.norm", value, sizes[1]) if batch_norm else value

    value = model.node("Relu", "stem.relu", [unit("stem", "image", (3, 8, 3, 1))])
    value = model.node(
        "MaxPool", "pool", [value], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
    )
    for block, (inputs, outputs, stride) in enumerate([(8, 8, 1), (8, 12, 2)]):
        name = f"layer1.{block}"
        inner = unit(f"{name}.first", value, (inputs, outputs, 3, stride))
        inner = model.node("Relu", f"{name}.relu1", [inner])
        inner = unit(f"{name}.second", inner, (outputs, outputs, 3, 1))
        side = value if stride == 1 else unit(f"{name}.down", value, (inputs, outputs, 1, stride))
        value = model.node("Add", f"{name}.add", [inner, side])
        value = model.node("Relu", f"{name}.relu2", [value])
    value = model.node("GlobalAveragePool", "global", [value])
    value = model.node("Flatten", "flatten", [value], axis=1)
    weight = model.normal("head.weight", (CLASSES, 12), 0.3)
    bias = model.normal("head.bias", (CLASSES,), 0.1)
    value = model.node("Gemm", "head", [value, weight, bias], transB=1)
    return model.save(path, value)


def assorted(path: Path) -> Path:
    """The other forms of the protocol's operators, and a Relu and a name that modules take."""
    model = ModelBuilder(3)
    value = model.conv("train", "image", (3, 4, 3, 1), bias=True)
    value = model.batch_norm("norm", value, 4)
    value = model.node("Identity", "same", [value])
    value = model.node(
        "AveragePool",
        "average",
        [value],
        kernel_shape=[3, 3],
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        count_include_pad=1,
    )
    left = model.node("Relu", "4/relu", [value])
    value = model.node("Add", "sum", [left, value])
    weight = model.normal("depthwise.weight", (4, 1, 3, 3), 0.4)
    value = model.node(
        "Conv", "depthwise", [value, weight], kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=4
    )
    shape = model.parameter("shape", np.array([-1, 64], np.int64))
    value = model.node("Reshape", "flat", [value, shape])
    weight = model.normal("hidden.weight", (64, 6), 0.2)
    bias = model.normal("hidden.bias", (6,), 0.1)
    value = model.node("MatMul", "hidden.product", [value, weight])
    value = model.node("Add", "hidden.sum", [value, bias])
    value = model.node("Relu", "hidden.relu", [value])
    weight = model.normal("head.weight", (CLASSES, 6), 0.3)
    value = model.node("Gemm", "head", [value, weight], transB=1)
    value = model.node("Identity", "logits", [value])
    return model.save(path, value)


def data(path: Path, count: int, seed: int = 2) -> Path:
    """Random images whose label shows as brightness, with a normalising table."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    images = random.integers(0, 128, (count, *INPUT)) + 20 * labels[:, None, None, None]
    mean = np.array([0.485, 0.456, 0.406], np.float32)[:, None]
    deviation = np.array([0.229, 0.224, 0.225], np.float32)[:, None]
    table = (np.arange(256, dtype=np.float32)[None] / 255 - mean) / deviation
    save_file(
        {
            "images": images.astype(np.uint8),
            "labels": labels.astype(np.int64),
            "table": table.astype(np.float32),
        },
        path,
    )
    return path


def initializers(path: Path) -> dict[str, np.ndarray]:
    """The f32 initializers of an ONNX file, by name."""
    values = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    return {name: value for name, value in values.items() if value.dtype == np.float32}
