"""What ran in ONNX Runtime, in the words of the protocol: kinds, classes, products and times."""

import itertools
import math
import re
from typing import Any

import onnx

from calipers_worker.gaps.onnxruntime.classes import BLOCKWISE, RanGraph, class_of
from calipers_worker.onnxruntime.trace import BLOCKED_DOMAIN, Kernel, Trace
from calipers_worker.operators import executed, profiled

PROFILER = "ONNX Runtime's profiler"
RESOLUTION_NANOSECONDS = 1000
BYTES_ARE = "the operator's outputs"

KINDS = (
    ("recurrent", re.compile("LSTM|GRU|RNN")),
    ("embedding", re.compile("^GatherBlockQuantized$|^EmbedLayerNormalization$")),
    ("convolution", re.compile("Conv")),
    ("matrix-product", re.compile("MatMul|Gemm|Attention")),
    ("pooling", re.compile("Pool")),
    ("normalization", re.compile("Normalization|GroupNorm|Softmax|^LRN$|^LpNormalization$")),
    (
        "activation",
        re.compile(
            "Relu$|Sigmoid$|Gelu$|^(Abs|Celu|Clip|Cos|Elu|Erf|Exp|HardSwish|Log|Mish|Neg|"
            "Reciprocal|Selu|Sin|Softplus|Softsign|Sqrt|Swish|Tanh|ThresholdedRelu)$"
        ),
    ),
    (
        "elementwise",
        re.compile(
            "^(QLinear)?(Add|Div|Max|Mean|Min|Mod|Mul|Pow|Sub|Sum|Where)$|^And$|^Or$|^Not$|"
            "^Equal$|^Greater|^Less"
        ),
    ),
    (
        "movement",
        re.compile(
            "Concat$|^(Constant|ConstantOfShape|Cast|DepthToSpace|Gather|GatherElements|GatherND|"
            "Range|Resize|ScatterElements|ScatterND|SpaceToDepth|Transpose|Trilu|Upsample)$"
        ),
    ),
)
"""The first that fits an operator's name decides, but for conversions and moves."""


def operators(ran: Trace, plain: Trace | None) -> list[dict[str, Any]]:
    """The answer's operators, of the first inference.

    `plain` is the same inference without blocks of channels, where the sizes of products on such
    blocks are taken from: a block that is padded holds channels that the model does not have.
    """
    unblocked = {
        f"{kernel.node.output[0]}_nchwc": kernel for kernel in (plain.runs[0] if plain else ())
    }
    listed = []
    for kernel in ran.runs[0]:
        sized, trace = kernel, ran
        if plain and kernel.node.domain == BLOCKED_DOMAIN and kernel.node.name in unblocked:
            sized, trace = unblocked[kernel.node.name], plain
        weights = ran.graph.weights(kernel.node)
        listed.append(
            executed(
                kernel.node.op_type,
                kind_of(kernel, ran.graph),
                class_of(kernel.node, ran.graph),
                macs=products_of(sized, trace),
                weights=_elements(sized, trace),
                weight_bits=_bits(kernel.node, ran.graph.types[weights[0]]) if weights else 0,
            )
        )
    return listed


def profile(ran: Trace, count: int) -> dict[str, Any]:
    """The answer to `profile`: means over the last `count` inferences."""
    measured = ran.runs[-count:]
    kernels: dict[str, list[Kernel]] = {}
    for kernel in itertools.chain.from_iterable(measured):
        kernels.setdefault(f"{kernel.node.op_type} {kernel.node.name}", []).append(kernel)
    return {
        "profiler": PROFILER,
        "resolution_nanoseconds": RESOLUTION_NANOSECONDS,
        "wall_nanoseconds": sum(ran.wall_nanoseconds[-count:]) / count,
        "bytes_are": BYTES_ARE,
        "operators": [
            profiled(
                name,
                kind_of(same[0], ran.graph),
                calls=round(len(same) / count),
                nanoseconds=1000 * sum(one.microseconds for one in same) / count,
                memory=round(sum(one.output_bytes for one in same) / count),
            )
            for name, same in kernels.items()
        ],
    }


def kind_of(kernel: Kernel, graph: RanGraph) -> str:
    """The kind of an executed node in the list that all frameworks share."""
    node = kernel.node
    computes = class_of(node, graph)
    if computes == "convert":
        return "conversion"
    if node.op_type == "Gather" and graph.weights(node):
        return "embedding"
    if computes == "move":
        return "movement"
    if node.op_type == "ReduceMean" and _is_pooling(kernel):
        return "pooling"
    return next((kind for kind, names in KINDS if names.search(node.op_type)), "other")


def _is_pooling(kernel: Kernel) -> bool:
    """Whether [N, C, H, W] became [N, C, 1, 1] or [N, C]."""
    given, made = kernel.input_shapes[0], kernel.output_shapes[0]
    return len(given) == 4 and made in ((*given[:2], 1, 1), given[:2])


def products_of(kernel: Kernel, trace: Trace) -> int:
    """Multiply-accumulates of one execution, from the shapes that it had; 0 for no product."""
    node, made = kernel.node, math.prod(kernel.output_shapes[0])
    constants = [trace.constants[name] for name in trace.graph.weights(node)]
    kind = kind_of(kernel, trace.graph)
    if kind == "convolution" and constants:
        # [out, in / groups, window] of a convolution, [in, out / groups, window] of its transpose.
        fixed = kernel.input_shapes[0] if "Transpose" in node.op_type else kernel.output_shapes[0]
        return math.prod(fixed) * math.prod(constants[0][1:])
    if kind == "recurrent":
        # [steps, batch, in] or [batch, steps, in]; the weights are used at every step.
        return math.prod(kernel.input_shapes[0][:2]) * sum(map(math.prod, constants))
    if kind != "matrix-product":
        return 0
    if "Attention" in node.op_type:
        return _attention_products(kernel, constants)
    left = kernel.input_shapes[0]
    transposed = any(one.name == "transA" and one.i for one in node.attribute)
    return made * left[-2 if transposed else -1]


def _attention_products(kernel: Kernel, constants: list[tuple[int, ...]]) -> int:
    """Projections where the operator holds them, scores of each pair of positions, and sums."""
    made = math.prod(kernel.output_shapes[0])
    query = kernel.input_shapes[0]
    if constants:
        return math.prod(query[:-1]) * math.prod(constants[0]) + 2 * made * query[-2]
    return 2 * math.prod(query) * kernel.input_shapes[1][-2]


def _elements(kernel: Kernel, trace: Trace) -> int:
    """Elements of the constants that a kernel multiplies or gathers."""
    shapes = [trace.constants[name] for name in trace.graph.weights(kernel.node)]
    elements = sum(math.prod(shape) for shape in shapes)
    packed = _packed_bits(kernel.node)
    return elements * 8 // packed if packed else elements


def _bits(node: onnx.NodeProto, stored: str) -> int:
    """Bits of an element of a constant of the type `stored`, such as `uint8`."""
    return _packed_bits(node) or int("".join(filter(str.isdigit, stored)))


def _packed_bits(node: onnx.NodeProto) -> int:
    """Bits of an element where several share a byte of a constant of bytes; 0 where none do."""
    if node.op_type not in BLOCKWISE:
        return 0
    return next((one.i for one in node.attribute if one.name == "bits"), 4)
