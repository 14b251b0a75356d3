"""What executes of a .tflite file: the kernels that LiteRT's profiler saw, and whose they are.

A kernel of the delegate tells by its name what it multiplies; the file tells the shapes. Where both
do not fit each other, nothing is claimed.
"""

import math
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from calipers_worker.errors import WorkerError
from calipers_worker.gaps.tensorflow.tflite_operators import (
    CONVERSIONS,
    MOVES,
    PRODUCTS,
    TfliteOperator,
    TfliteTensor,
    tflite_operators,
)
from calipers_worker.operators import executed
from calipers_worker.tensorflow.litert_profile import Kernel

BITS = {
    "int2": 2, "int4": 4, "uint4": 4, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16,
    "float16": 16, "bfloat16": 16, "float32": 32, "int32": 32, "float64": 64, "int64": 64,
}  # fmt: skip
KINDS = {
    "CONV_2D": "convolution",
    "DEPTHWISE_CONV_2D": "convolution",
    "FULLY_CONNECTED": "matrix-product",
    "MAX_POOL_2D": "pooling",
    "AVERAGE_POOL_2D": "pooling",
    "MEAN": "pooling",
    "ADD": "elementwise",
    "SUB": "elementwise",
    "MUL": "elementwise",
    "MINIMUM": "activation",
    "MAXIMUM": "activation",
    "RELU": "activation",
    "RELU6": "activation",
    "RELU_0_TO_1": "activation",
    "LEAKY_RELU": "activation",
    "LOGISTIC": "activation",
    "TANH": "activation",
    "HARD_SWISH": "activation",
    "SOFTMAX": "normalization",
    "CONCATENATION": "movement",
}
# What a kernel of the delegate says in its name, the first that fits, and its kind.
DELEGATED_KINDS = (
    (r"^Convert\b", "conversion"),
    (r"^Convolution\b", "convolution"),
    (r"^Fully Connected\b", "matrix-product"),
    (r"Pooling\b|^Mean\b", "pooling"),
    (r"^(Static|Constant Pad|Copy|Reshape|Transpose|Slice|Concatenate|Even Split)\b", "movement"),
    (r"^(Add|Subtract|Multiply|Divide)\b", "elementwise"),
    (r"^Soft ?Max\b", "normalization"),
    (r"^(Clamp|Sigmoid|Tanh|Hard ?Swish|Leaky ?ReLU|Min|Max|ELU|PReLU)", "activation"),
)
# The dimensions of a weight that one output element is a sum over.
TAPS = {
    "CONV_2D": slice(1, None),
    "DEPTHWISE_CONV_2D": slice(1, 3),
    "FULLY_CONNECTED": slice(1, None),
}
OF_PRODUCTS = ("convolution", "matrix-product")
CLAMPS = {"RELU", "RELU6", "RELU_0_TO_1"}
TYPES = re.compile(r"\b(?:QD\w+|Q[A-Z]\d+\w*|F16|F32)\b")


class NotSeen(WorkerError):
    """The kernels that ran are not those of the file, so that nothing can be said of them."""


@dataclass(frozen=True)
class SeenKernel:
    """A kernel that ran, as the protocol tells it, and the operator of the file that it is of."""

    kernel: Kernel
    kind: str
    computes: str
    operator: TfliteOperator | None

    def executed(self) -> dict[str, Any]:
        """The protocol's words for it."""
        if self.operator is None or self.kind not in OF_PRODUCTS:
            return executed(self.kernel.name, self.kind, self.computes)
        weight = _weight(self.operator)
        # A float kernel of the delegate unpacks the weights of the file when the model is loaded.
        unpacks = self.computes == "weight_only" and self.kernel.operator is None
        return executed(
            self.kernel.name,
            self.kind,
            self.computes,
            macs=_macs(self.operator),
            weights=math.prod(weight.shape),
            weight_bits=BITS["float32" if unpacks else weight.type],
            activation_bits=_activation_bits(self.operator),
        )

    @property
    def output_bytes(self) -> int | None:
        """Bytes of what the operator makes; None for a kernel that no operator stands for."""
        if self.operator is None:
            return None
        return sum(
            -(-math.prod(tensor.shape) * BITS[tensor.type] // 8) for tensor in self.operator.writes
        )


def seen_kernels(content: bytes, kernels: Sequence[Kernel]) -> list[SeenKernel]:
    """What each of `kernels` is, which ran the file `content` in this order.

    A built-in kernel is of the operator with its number. The delegate's kernels come in the order
    of the file's other operators: its products are those products, one by one, and what else
    computes is the next operator of its kind. NotSeen where a product did not run, or is another.
    """
    operators = tflite_operators(content)
    builtin = {kernel.operator for kernel in kernels if kernel.operator is not None}
    left = [operator for index, operator in enumerate(operators) if index not in builtin]
    products = deque(operator for operator in left if operator.name in PRODUCTS)
    others = deque(operator for operator in left if _computes_else(operator))
    seen: list[SeenKernel] = []
    for kernel in kernels:
        if kernel.operator is not None:
            seen.append(_of_builtin(kernel, operators[kernel.operator]))
            continue
        kind = _delegated_kind(kernel.name)
        if kind in OF_PRODUCTS:
            seen.append(_of_product(kernel, kind, products))
        elif kind in ("conversion", "movement"):
            computes = "convert" if kind == "conversion" else "move"
            seen.append(SeenKernel(kernel, kind, computes, None))
        else:
            seen.append(_of_other(kernel, kind, others, seen))
    if products:
        missed = [operator.writes[0].name for operator in products]
        raise NotSeen(f"no kernel was seen of the products that make {missed}")
    return seen


def _of_builtin(kernel: Kernel, operator: TfliteOperator) -> SeenKernel:
    if operator.name != kernel.name:
        raise NotSeen(f"kernel `{kernel.name}` ran where the file has {operator.name}")
    kind = _kind(operator.name)
    return SeenKernel(kernel, kind, "move" if kind == "movement" else operator.kind(), operator)


def _of_product(kernel: Kernel, kind: str, products: deque[TfliteOperator]) -> SeenKernel:
    # XNNPACK runs a convolution of one pixel as a fully connected layer, and not the other way.
    if not products or (kind == "convolution" and _kind(products[0].name) != kind):
        found = products[0].name if products else "no product left"
        raise NotSeen(f"kernel `{kernel.name}` ran where the file has {found}")
    operator = products.popleft()
    computes = _class_of_product(kernel.name, operator)
    return SeenKernel(kernel, _kind(operator.name), computes, operator)


def _of_other(
    kernel: Kernel, kind: str, others: deque[TfliteOperator], seen: Sequence[SeenKernel]
) -> SeenKernel:
    """A kernel that multiplies nothing; one that the delegate put in is of the class before it."""
    clamps_before = kernel.name.startswith("Clamp") and not (others and others[0].name in CLAMPS)
    while others and not clamps_before:
        operator = others.popleft()
        if kind in ("other", _kind(operator.name)):
            return SeenKernel(kernel, _kind(operator.name), operator.kind(), operator)
    before = [one.computes for one in seen if one.computes not in ("convert", "move")]
    return SeenKernel(kernel, kind, before[-1] if before else "float", None)


def _class_of_product(name: str, operator: TfliteOperator) -> str:
    """By XNNPACK's names of types: QD8 and QDU8 are found at run time, other Q8 are fixed."""
    types = TYPES.findall(name)
    if any(one.startswith("QD") for one in types):
        return "dynamic"
    if {"F32", "F16"} & set(types):
        return "float" if _weight(operator).type == "float32" else "weight_only"
    if types:
        return "integer"
    raise NotSeen(f"kernel `{name}` does not say in which types it computes")


def _delegated_kind(name: str) -> str:
    kinds = (kind for pattern, kind in DELEGATED_KINDS if re.search(pattern, name, re.IGNORECASE))
    return next(kinds, "other")


def _computes_else(operator: TfliteOperator) -> bool:
    return operator.name not in PRODUCTS and _kind(operator.name) not in ("conversion", "movement")


def _kind(name: str) -> str:
    if name in CONVERSIONS:
        return "conversion"
    if name in MOVES:
        return "movement"
    return KINDS.get(name, "other")


def _weight(operator: TfliteOperator) -> TfliteTensor:
    """The constant that a product multiplies by, in the type in which it is stored."""
    for tensor in operator.stored:
        if len(tensor.shape) >= 2:
            return tensor
    raise NotSeen(f"{operator.name} multiplies no constant, which the worker's models do not have")


def _activation_bits(operator: TfliteOperator) -> int | None:
    """Bits of the integers that it computes on, where they are not of 8 bits."""
    types = {tensor.type for tensor in operator.reads if not tensor.constant}
    return BITS["int16"] if "int16" in types else None


def _macs(operator: TfliteOperator) -> int:
    """Multiply-accumulates of one sample, those on padding included."""
    if operator.name not in TAPS:
        raise NotSeen(f"it is not known how often {operator.name} multiplies")
    taps = _weight(operator).shape[TAPS[operator.name]]
    return math.prod(operator.writes[0].shape[1:]) * math.prod(taps)
