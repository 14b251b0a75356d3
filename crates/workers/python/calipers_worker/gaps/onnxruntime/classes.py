"""What kind of arithmetic an executed node was, from the types that it was fed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx

QUANTIZED = ("int2", "uint2", "int4", "uint4", "int8", "uint8", "int16", "uint16")

CONVERT = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast")

MOVE = (
    "Dropout",
    "Expand",
    "Flatten",
    "Identity",
    "If",
    "Loop",
    "Pad",
    "ReorderInput",
    "ReorderOutput",
    "Reshape",
    "Shape",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
)

# Kernels that are fed float and quantize it themselves, at run time.
QUANTIZES_INSIDE = ("DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "QAttention")

# Kernels with weights in blocks; float arithmetic but at the accuracy level that asks for int8.
BLOCKWISE = ("GatherBlockQuantized", "MatMulNBits")

INT8_ACCURACY_LEVEL = 4

# Where what multiplies or gathers constants, in all of its fused forms, has them among its inputs.
PRODUCTS = (
    (re.compile("^QLinearConv$"), (3,)),
    (re.compile("^(QLinearMatMul|QGemm)$"), (0, 3)),
    (re.compile("Conv"), (1,)),
    (re.compile("MatMul|Gemm"), (0, 1)),
    (re.compile("LSTM|GRU|RNN"), (1, 2)),
    (re.compile("^(Q|Packed)?Attention$"), (1,)),
    (re.compile("^Gather"), (0,)),
)

# What a table of positions or masks holds: nothing that was learned.
NO_TABLE = ("int32", "int64", "bool")

# How the quantizers name scales and zero points.
SCALES = re.compile(r"_(scale|scales|zero_point|zero_points)$")


@dataclass
class RanGraph:
    """The graph that was run: its nodes, and what is known of its tensors by name."""

    nodes: dict[str, onnx.NodeProto] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    constant_ranks: dict[str, int] = field(default_factory=dict)
    makers: dict[str, onnx.NodeProto] = field(default_factory=dict)
    users: dict[str, list[onnx.NodeProto]] = field(default_factory=dict)
    unnamed: list[onnx.NodeProto] = field(default_factory=list)

    def named(self, name: str, operator: str) -> onnx.NodeProto:
        """The node that the profile calls `name`: of nodes without a name, the next `operator`."""
        if name in self.nodes:
            return self.nodes[name]
        node = next(node for node in self.unnamed if node.op_type == operator)
        self.unnamed.remove(node)
        return node

    def stored(self, name: str) -> str | None:
        """The constant that a tensor is, or was made of by converting and moving."""
        while name not in self.constant_ranks:
            maker = self.makers.get(name)
            if maker is None or maker.op_type not in CONVERT + MOVE or not maker.input:
                return None
            name = maker.input[0]
        return name

    def is_scale(self, name: str) -> bool:
        """Whether a tensor is a scale, a zero point, or a product of scales."""
        if SCALES.search(name):
            return True
        maker = self.makers.get(name)
        return maker is not None and maker.op_type == "Mul" and all(map(self.is_scale, maker.input))

    def data(self, node: onnx.NodeProto) -> list[str]:
        """The node's inputs without scales and zero points."""
        if node.op_type in CONVERT:
            return [node.input[0]]
        return [name for name in node.input if name and not self.is_scale(name)]

    def weights(self, node: onnx.NodeProto) -> list[str]:
        """The constants of rank 2 and more among what the node multiplies or gathers."""
        places = next((places for names, places in PRODUCTS if names.search(node.op_type)), ())
        stored = (self.stored(node.input[place]) for place in places if place < len(node.input))
        found = [name for name in stored if name is not None and self.constant_ranks[name] >= 2]
        gathers = node.op_type.startswith("Gather")
        return [name for name in found if not (gathers and self.types[name] in NO_TABLE)]

    def activations(self, node: onnx.NodeProto) -> Iterator[str]:
        """The inputs that are computed."""
        return (name for name in self.data(node) if self.stored(name) is None)

    def quantized_at_run_time(self, name: str) -> bool:
        """Whether a tensor comes from a quantization whose scale was found at run time."""
        maker = self.makers.get(name)
        while maker is not None and maker.op_type in MOVE:
            maker = self.makers.get(maker.input[0])
        return maker is not None and maker.op_type == "DynamicQuantizeLinear"


def class_of(node: onnx.NodeProto, graph: RanGraph) -> str:
    """The class of an executed node."""
    operator = node.op_type
    if operator in CONVERT:
        return "convert"
    if operator == "Mul" and any(graph.is_scale(name) for name in node.input):
        return "convert"
    if operator in BLOCKWISE:
        levels = {one.name: one.i for one in node.attribute}
        int8 = levels.get("accuracy_level", 0) == INT8_ACCURACY_LEVEL
        return "dynamic" if int8 else "weight_only"
    if operator in QUANTIZES_INSIDE:
        return "dynamic"
    weights = [graph.types[name] for name in graph.weights(node)]
    if operator in MOVE or (operator == "Gather" and not weights):
        return "move"
    if all(graph.types[name] in ("int64", "bool") for name in node.output if name):
        return "move"
    quantized = [name for name in graph.activations(node) if graph.types[name] in QUANTIZED]
    if quantized:
        dynamic = any(map(graph.quantized_at_run_time, quantized))
        return "dynamic" if dynamic else "integer"
    if any(kind in QUANTIZED for kind in weights):
        return "integer" if _stays_quantized(node, graph) else "weight_only"
    return "weight_only" if "float16" in weights else "float"


def _stays_quantized(node: onnx.NodeProto, graph: RanGraph) -> bool:
    """Whether rows of a quantized table go on into arithmetic as they are."""
    if graph.types[node.output[0]] not in QUANTIZED:
        return False
    users = graph.users.get(node.output[0], [])
    return any(
        _stays_quantized(user, graph) if user.op_type in MOVE else user.op_type not in CONVERT
        for user in users
    )
