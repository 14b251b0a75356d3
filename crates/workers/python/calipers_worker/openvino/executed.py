"""What ran in OpenVINO, in the words of the protocol: kinds, classes, products and times."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import openvino as ov

from calipers_worker.operators import executed, profiled

PROFILER = "OpenVINO's performance counters"
RESOLUTION_NANOSECONDS = 1000
BYTES_ARE = "the operator's outputs"

POSITIONS = {"boolean", "i32", "i64"}
"""The types of truth values, positions and sizes in a model."""
INTEGERS = ("i8", "u8", "i4", "u4")
CONSTANT = "Const"
BOUNDARY = ("Input", "Output")
QUANTIZE = ("FakeQuantize", "Convert")

KINDS = {
    "Convolution": "convolution",
    "Deconvolution": "convolution",
    "DeformableConvolution": "convolution",
    "FullyConnected": "matrix-product",
    "MatMul": "matrix-product",
    "MHA": "matrix-product",
    "ScaledDotProductAttention": "matrix-product",
    "RNNCell": "recurrent",
    "RNNSeq": "recurrent",
    "TensorIterator": "recurrent",
    "Pooling": "pooling",
    "AdaptivePooling": "pooling",
    "Eltwise": "elementwise",
    "Subgraph": "elementwise",
    "Math": "activation",
    "Softmax": "normalization",
    "LogSoftmax": "normalization",
    "MVN": "normalization",
    "NormalizeL2": "normalization",
    "RMS": "normalization",
    "LRN": "normalization",
    "GroupNormalization": "normalization",
    "FakeQuantize": "conversion",
    "Convert": "conversion",
}
"""Kinds by OpenVINO's types of layers, where these alone decide."""

MATRIX_PRODUCTS = ("MatMul", "ScaledDotProductAttention")
"""Types of operators of the model whose products a layer may hold inside."""

MOVES = (
    "Broadcast",
    "Concatenation",
    "DepthToSpace",
    "Gather",
    "Pad",
    "Reorder",
    "Reshape",
    "ShapeOf",
    "Slice",
    "SpaceToDepth",
    "Split",
    "StridedSlice",
    "Tile",
    "Transpose",
)

ACTIVATIONS = (
    "Clamp",
    "Elu",
    "Erf",
    "Exp",
    "Gelu",
    "HSigmoid",
    "HSwish",
    "Mish",
    "PRelu",
    "Relu",
    "Sigmoid",
    "SoftPlus",
    "Swish",
    "Tanh",
)
"""Types of operators of the model that OpenVINO runs as element-wise layers."""

BITS = {
    **dict.fromkeys(("f64", "i64", "u64"), 64),
    **dict.fromkeys(("f32", "i32", "u32"), 32),
    **dict.fromkeys(("bf16", "f16", "i16", "u16"), 16),
    **dict.fromkeys(("i8", "u8", "boolean"), 8),
    **dict.fromkeys(("i4", "u4"), 4),
}
"""Bits of an element, by OpenVINO's names of types."""


def operators(
    graph: ov.Model, kernels: Mapping[str, str], model: ov.Model, *, dynamic: bool
) -> list[dict[str, Any]]:
    """The answer's operators: what depends on an input, in order of execution.

    `kernels` are the counters' names of what computed each, `model` is what was compiled, `dynamic`
    whether matrix products with weights of integers were seen to quantize what they multiply.
    """
    origin = _origin(model)
    listed = []
    for node in _computed(graph):
        name = node.get_friendly_name()
        kind = _kind(node, origin)
        weight = _weight(node, kind)
        kernel = kernels.get(name, _info(node, "primitiveType"))
        listed.append(
            executed(
                f"{_info(node, 'layerType')} {kernel}",
                kind,
                _class(node, kind, origin, dynamic=dynamic),
                macs=_products(node, kind, origin),
                weights=sum(math.prod(one.output(0).shape) for one in weight),
                weight_bits=_weight_bits(node, weight[0]) if weight else 0,
            )
        )
    return listed


def microseconds(counters: Iterable[ov.ProfilingInfo]) -> dict[str, float]:
    """What each layer took on average in all inferences so far, cut to whole microseconds."""
    return {
        one.node_name: 1e6 * one.real_time.total_seconds()
        for one in counters
        if one.status == ov.ProfilingInfo.Status.EXECUTED
    }


def profile(
    graph: ov.Model, spent: Mapping[str, float], wall_nanoseconds: float, model: ov.Model
) -> dict[str, Any]:
    """The answer to `profile`: `spent` are microseconds of one inference, by layer."""
    origin = _origin(model)
    return {
        "profiler": PROFILER,
        "resolution_nanoseconds": RESOLUTION_NANOSECONDS,
        "wall_nanoseconds": wall_nanoseconds,
        "bytes_are": BYTES_ARE,
        "operators": [
            profiled(
                f"{_info(node, 'layerType')} {node.get_friendly_name()}",
                _kind(node, origin),
                calls=1,
                nanoseconds=1000 * spent[node.get_friendly_name()],
                memory=_output_bytes(node),
            )
            for node in _computed(graph)
            if node.get_friendly_name() in spent
        ],
    }


def _computed(graph: ov.Model) -> list[ov.Node]:
    """What is computed from inputs, in order of execution; the rest was computed when compiled."""
    reached: set[str] = set()
    found = []
    nodes = sorted(graph.get_ordered_ops(), key=lambda node: int(_info(node, "execOrder")))
    for node in nodes:
        layer = _info(node, "layerType")
        sources = {one.get_friendly_name() for one in _sources(node)}
        if layer == "Input" or sources & reached:
            reached.add(node.get_friendly_name())
            if layer not in BOUNDARY:
                found.append(node)
    return found


def _info(node: ov.Node, key: str) -> str:
    information = node.get_rt_info()
    return str(information[key].value) if key in information else ""


def _sources(node: ov.Node) -> list[ov.Node]:
    return [one.get_source_output().get_node() for one in node.inputs()]


def _origin(model: ov.Model) -> dict[str, ov.Node]:
    """The operators of the model that was compiled, by their names."""
    return {one.get_friendly_name(): one for one in model.get_ordered_ops()}


def _originals(node: ov.Node, origin: Mapping[str, ov.Node]) -> list[ov.Node]:
    names = _info(node, "originalLayersNames").split(",")
    return [origin[name] for name in names if name in origin]


def _original_types(node: ov.Node, origin: Mapping[str, ov.Node]) -> list[str]:
    return [one.get_type_name() for one in _originals(node, origin)]


def _kind(node: ov.Node, origin: Mapping[str, ov.Node]) -> str:
    layer = _info(node, "layerType")
    types = _original_types(node, origin)
    if layer == "Gather" and _weight(node, "embedding"):
        return "embedding"
    if layer == "Reorder" and _changes_type(node):
        return "conversion"
    if layer == "Subgraph" and any(one in MATRIX_PRODUCTS for one in types):
        return "matrix-product"
    if layer in ("Subgraph", "Eltwise") and types:
        if all(one in QUANTIZE for one in types):
            return "conversion"
        if any(one in ("Softmax", "MVN", "RMSNorm") for one in types):
            return "normalization"
        if all(one in (*ACTIVATIONS, *QUANTIZE) for one in types):
            return "activation"
    if layer == "Reduce":
        return "pooling" if len(_sources(node)[0].output(0).shape) == 4 else "other"
    return KINDS.get(layer, "movement" if layer in MOVES else "other")


def _class(node: ov.Node, kind: str, origin: Mapping[str, ov.Node], *, dynamic: bool) -> str:
    """How a layer computes, from the types of what it is fed."""
    if kind == "conversion":
        return "convert"
    if kind == "movement" or _stands_for_no_real_numbers(node, origin):
        return "move"
    weight = _weight(node, kind)
    weighted = bool(weight) and _precision(weight[0]) in INTEGERS
    if kind == "embedding":
        if not weighted:
            return "float"
        return "integer" if _goes_on_quantized(node) else "weight_only"
    given = next(
        (one for one in _sources(node) if not _stands_for_no_real_numbers(one, origin)), None
    )
    if given is not None and _precision(given) in INTEGERS:
        return "integer"
    if weighted:
        return "dynamic" if dynamic and kind == "matrix-product" else "weight_only"
    return "float"


def _stands_for_no_real_numbers(node: ov.Node, origin: Mapping[str, ov.Node]) -> bool:
    """Whether a layer makes truth values or positions alone, by the model's operators it is of.

    OpenVINO holds truth values in bytes. A layer that it puts in goes by what it reads.
    """
    originals, sources = _originals(node, origin), _sources(node)
    if not originals:
        return bool(sources) and all(_stands_for_no_real_numbers(one, origin) for one in sources)
    outputs = (output for original in originals for output in original.outputs())
    return {one.get_element_type().get_type_name() for one in outputs} <= POSITIONS


def _goes_on_quantized(node: ov.Node) -> bool:
    """Whether rows of a quantized table go into a product as they are."""
    for reader in node.output(0).get_target_inputs():
        user = reader.get_node()
        layer = _info(user, "layerType")
        if layer in MOVES and _goes_on_quantized(user):
            return True
        if KINDS.get(layer) in ("convolution", "matrix-product", "recurrent"):
            return _precision(node) in INTEGERS
    return False


def _precision(node: ov.Node) -> str:
    """The type of what a layer makes."""
    return _info(node, "outputPrecisions").split(",")[0]


def holds_integer_weights(graph: ov.Model, model: ov.Model) -> bool:
    """Whether a matrix product in float has weights of integers, which it may quantize for."""
    origin = _origin(model)
    return any(
        _class(node, "matrix-product", origin, dynamic=False) == "weight_only"
        for node in _computed(graph)
        if KINDS.get(_info(node, "layerType")) == "matrix-product"
    )


def _changes_type(node: ov.Node) -> bool:
    source = _sources(node)[0]
    return _precision(node) != _precision(source)


def _weight(node: ov.Node, kind: str) -> list[ov.Node]:
    """What was constant when the model was compiled, among what a layer multiplies or gathers."""
    sources = _sources(node)
    match kind:
        case "convolution" | "matrix-product":
            candidates = sources[1:2]
        case "embedding":
            candidates = sources[:1]
        case "recurrent":
            # [directions, gates x hidden, in]; initial states are [batch, directions, hidden].
            shapes = {one: list(one.output(0).shape) for one in sources[1:]}
            candidates = [one for one in shapes if len(shapes[one]) == 3 and shapes[one][1] > 2]
        case _:
            return []
    return [one for one in candidates if _is_constant(one) and len(one.output(0).shape) >= 2]


def _is_constant(node: ov.Node) -> bool:
    layer = _info(node, "layerType")
    sources = _sources(node)
    return layer == CONSTANT or (bool(sources) and all(map(_is_constant, sources)))


def _weight_bits(node: ov.Node, weight: ov.Node) -> int:
    """Bits of the weight as the kernel reads it: what computes in bfloat16 packs it so before."""
    held = BITS[_precision(weight)]
    return min(held, 16) if _info(node, "runtimePrecision") == "bf16" else held


def _products(node: ov.Node, kind: str, origin: Mapping[str, ov.Node]) -> int:
    """Multiply-accumulates, from the shapes that the layer ran with; 0 for no product."""
    layer, made = _info(node, "layerType"), [int(size) for size in node.output(0).shape]
    inputs = [[int(size) for size in one.output(0).shape] for one in _sources(node)]
    if kind == "convolution":
        fixed = inputs[0] if layer == "Deconvolution" else made
        return math.prod(fixed) * math.prod(inputs[1]) // fixed[1]
    if kind == "recurrent":
        steps = math.prod(inputs[0][:2])
        return steps * sum(math.prod(one.output(0).shape) for one in _weight(node, kind))
    if kind != "matrix-product":
        return 0
    if layer == "Subgraph":
        return sum(map(_inner_products, _originals(node, origin)))
    if layer in ("MHA", "ScaledDotProductAttention"):
        return _attention_products(inputs[0], inputs[1])
    return _matrix_products(inputs[0], made)


def _inner_products(node: ov.Node) -> int:
    """Products of an operator of the model that became a part of a layer."""
    if node.get_type_name() == "MatMul":
        return _matrix_products(node.input_value(0).shape, node.output(0).shape)
    if node.get_type_name() == "ScaledDotProductAttention":
        return _attention_products(node.input_value(0).shape, node.input_value(1).shape)
    return 0


def _attention_products(query: Sequence[int], key: Sequence[int]) -> int:
    """Scores of each pair of positions, and the sums that they weigh."""
    return 2 * math.prod(query) * key[-2]


def _matrix_products(left: Sequence[int], made: Sequence[int]) -> int:
    """Products of a matrix product, whichever way its left factor is stored."""
    rows = made[-2] if len(made) > 1 and len(left) > 1 else 1
    return math.prod(made) * (math.prod(left[-2:]) // rows)


def _output_bytes(node: ov.Node) -> int:
    precisions = _info(node, "outputPrecisions").split(",")
    return sum(
        math.prod(one.shape) * BITS[precision] // 8
        for one, precision in zip(node.outputs(), precisions, strict=False)
    )
