"""Makes the ONNX files of this folder: `python make_models.py`, with the packages `onnx` 1.23 and `numpy` 2.

The graphs are built as PyTorch exports them; the weights are small and seeded. Each file is checked before it is
written.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).parent


class Graph:
    """A graph under construction."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        """Adds an initializer."""
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, name: str, *shape: int) -> str:
        """Adds normal numbers of a deviation that keeps activations near one."""
        fan_in = int(np.prod(shape[1:])) or 1
        values = self.random.standard_normal(shape) / np.sqrt(fan_in)
        return self.constant(name, values.astype(np.float32))

    def node(
        self, op: str, inputs: Sequence[str], output: str, **attributes: object
    ) -> str:
        """Adds a node of one output, called as PyTorch's exporter calls nodes."""
        self.nodes.append(
            helper.make_node(op, inputs, [output], name=f"/{output}/{op}", **attributes)
        )
        return output

    def conv(
        self,
        x: str,
        output: str,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
    ) -> str:
        """Adds a convolution without bias that halves the extent at stride 2."""
        weight = self.weight(f"{output}.weight", outputs, inputs, kernel, kernel)
        pad = kernel // 2
        return self.node(
            "Conv",
            [x, weight],
            output,
            dilations=[1, 1],
            group=1,
            kernel_shape=[kernel, kernel],
            pads=[pad] * 4,
            strides=[stride, stride],
        )

    def batch_norm(self, x: str, output: str, channels: int) -> str:
        """Adds a batch normalization with statistics that are not trivial."""
        scale = self.constant(
            f"{output}.weight",
            self.random.uniform(0.5, 1.5, channels).astype(np.float32),
        )
        bias = self.constant(
            f"{output}.bias",
            self.random.uniform(-0.2, 0.2, channels).astype(np.float32),
        )
        mean = self.constant(
            f"{output}.running_mean",
            self.random.uniform(-0.1, 0.1, channels).astype(np.float32),
        )
        variance = self.constant(
            f"{output}.running_var",
            self.random.uniform(0.5, 2.0, channels).astype(np.float32),
        )
        return self.node(
            "BatchNormalization",
            [x, scale, bias, mean, variance],
            output,
            epsilon=1e-5,
            momentum=0.9,
        )

    def save(
        self,
        name: str,
        output: str,
        output_shape: Sequence[int | str],
        opset: int,
        *,
        input_shape: Sequence[int | str] = ("batch", 3, 8, 8),
        inferred: bool = False,
    ) -> None:
        """Checks the model and writes it."""
        graph = helper.make_graph(
            self.nodes,
            name,
            [
                helper.make_tensor_value_info(
                    "input", TensorProto.FLOAT, list(input_shape)
                )
            ],
            [
                helper.make_tensor_value_info(
                    output, TensorProto.FLOAT, list(output_shape)
                )
            ],
            self.initializers,
        )
        opsets = [helper.make_opsetid("", opset)]
        ir_version = helper.find_min_ir_version_for(opsets)
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=ir_version,
            producer_name="make_models",
        )
        model.doc_string = f"A test model: {name}."
        helper.set_model_props(model, {"purpose": "test"})
        if inferred:
            model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model, full_check=True)
        (FOLDER / f"{name}.onnx").write_bytes(
            model.SerializeToString(deterministic=True)
        )


def residual(name: str, opset: int, *, normalize: bool) -> None:
    """A stem, one residual block with a projection, and a classifier."""
    graph = Graph(seed=opset)

    def conv(
        x: str, output: str, inputs: int, outputs: int, kernel: int, stride: int = 1
    ) -> str:
        y = graph.conv(x, f"{output}.conv", inputs, outputs, kernel, stride)
        return graph.batch_norm(y, f"{output}.bn", outputs) if normalize else y

    x = graph.node("Relu", [conv("input", "stem", 3, 4, 3)], "stem.relu")
    x = graph.node(
        "MaxPool",
        [x],
        "pool",
        ceil_mode=0,
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
        strides=[2, 2],
    )
    y = graph.node("Relu", [conv(x, "block.1", 4, 6, 3, 2)], "block.relu")
    y = conv(y, "block.2", 6, 6, 3)
    x = graph.node("Add", [y, conv(x, "block.down", 4, 6, 1, 2)], "block.add")
    x = graph.node("Relu", [x], "block.out")
    x = graph.node("GlobalAveragePool", [x], "avgpool")
    x = graph.node("Flatten", [x], "flatten", axis=1)
    weight = graph.weight("fc.weight", 10, 6)
    bias = graph.weight("fc.bias", 10)
    graph.node("Gemm", [x, weight, bias], "logits", alpha=1.0, beta=1.0, transB=1)
    graph.save(name, "logits", ("batch", 10), opset)


def quantized(name: str, opset: int) -> None:
    """A convolution in QDQ form: per-channel int8 weights, uint8 activations, an int32 bias."""
    graph = Graph(seed=100 + opset)
    x_scale = graph.constant("x_scale", np.float32(0.02))
    x_zero = graph.constant("x_zero_point", np.uint8(117))
    y_scale = graph.constant("y_scale", np.float32(0.03))
    y_zero = graph.constant("y_zero_point", np.uint8(0))
    weight = graph.constant(
        "weight_q", graph.random.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    )
    weight_scale = graph.constant(
        "weight_scale", graph.random.uniform(1e-3, 4e-3, 4).astype(np.float32)
    )
    weight_zero = graph.constant("weight_zero_point", np.zeros(4, np.int8))
    bias = graph.constant(
        "bias_q", graph.random.integers(-2000, 2000, 4).astype(np.int32)
    )
    bias_scale = graph.constant(
        "bias_scale", graph.random.uniform(2e-5, 8e-5, 4).astype(np.float32)
    )
    bias_zero = graph.constant("bias_zero_point", np.zeros(4, np.int32))
    x = graph.node("QuantizeLinear", ["input", x_scale, x_zero], "x_quantized")
    x = graph.node("DequantizeLinear", [x, x_scale, x_zero], "x_dequantized")
    w = graph.node(
        "DequantizeLinear", [weight, weight_scale, weight_zero], "weight", axis=0
    )
    b = graph.node("DequantizeLinear", [bias, bias_scale, bias_zero], "bias", axis=0)
    y = graph.node(
        "Conv",
        [x, w, b],
        "conv",
        kernel_shape=[3, 3],
        auto_pad="SAME_UPPER",
        strides=[2, 2],
    )
    y = graph.node("Relu", [y], "relu")
    y = graph.node("QuantizeLinear", [y, y_scale, y_zero], "y_quantized")
    graph.node("DequantizeLinear", [y, y_scale, y_zero], "output")
    graph.save(name, "output", (1, 4, 4, 4), opset, input_shape=(1, 3, 8, 8))


def blocked(name: str) -> None:
    """A matrix product whose weight is 4-bit in blocks of 16 (operator set 21)."""
    graph = Graph(seed=4)
    values = graph.random.integers(-8, 8, (32, 5))
    graph.initializers.append(
        helper.make_tensor("weight_q", TensorProto.INT4, (32, 5), values.flatten())
    )
    scale = graph.constant(
        "weight_scale", graph.random.uniform(0.01, 0.05, (2, 5)).astype(np.float32)
    )
    weight = graph.node(
        "DequantizeLinear", ["weight_q", scale], "weight", axis=0, block_size=16
    )
    graph.node("MatMul", ["input", weight], "output")
    graph.save(name, "output", ("batch", 5), 21, input_shape=("batch", 32))


def kept(name: str) -> None:
    """Operators that are kept as read among others: constants as nodes, bounds as inputs, optional outputs."""
    graph = Graph(seed=7)
    six = numpy_helper.from_array(np.float32(6), "six")
    graph.nodes.append(helper.make_node("Constant", [], ["six"], name="six", value=six))
    graph.nodes.append(
        helper.make_node("Constant", [], ["target"], name="", value_ints=[0, 1, -1])
    )
    zero = graph.constant("zero", np.float32(0))
    x = graph.node("Clip", ["input", zero, "six"], "clipped")
    x = graph.node(
        "AveragePool",
        [x],
        "average",
        kernel_shape=[2, 2],
        strides=[2, 2],
        auto_pad="SAME_LOWER",
    )
    x = graph.node("Transpose", [x], "transposed", perm=[0, 2, 3, 1])
    x = graph.node("HardSigmoid", [x], "gate", alpha=0.25)
    graph.nodes.append(
        helper.make_node(
            "Split", [x], ["left", "right"], name="split", axis=3, num_outputs=2
        )
    )
    x = graph.node("Concat", ["right", "left", "left"], "joined", axis=-1)
    x = graph.node("Reshape", [x, "target"], "rows")
    weights = [
        graph.weight("gru.weight", 1, 6, 80),
        graph.weight("gru.recurrence", 1, 6, 2),
    ]
    start = graph.weight("gru.start", 1, 1, 2)
    graph.nodes.append(
        helper.make_node(
            "GRU",
            [x, *weights, "", "", start],
            ["", "output"],
            name="gru",
            hidden_size=2,
        )
    )
    graph.save(name, "output", (1, 1, 2), 18, input_shape=(1, 3, 8, 8), inferred=True)


if __name__ == "__main__":
    residual("residual_bn_opset13", 13, normalize=True)
    residual("residual_opset17", 17, normalize=False)
    residual("residual_bn_opset21", 21, normalize=True)
    quantized("qdq_conv_opset13", 13)
    quantized("qdq_conv_opset21", 21)
    blocked("int4_blocked_opset21")
    kept("kept_opset18")
