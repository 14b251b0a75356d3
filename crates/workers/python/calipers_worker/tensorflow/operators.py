"""Counts what a .tflite file computes in 8 bit and what in float, from its tensors' types."""

from collections import Counter
from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

FLOATS = frozenset(
    (schema.TensorType.FLOAT16, schema.TensorType.FLOAT32, schema.TensorType.FLOAT64)
)
EIGHT_BITS = frozenset((schema.TensorType.INT8, schema.TensorType.UINT8))

_NAMES = {
    code: name
    for name, code in vars(schema.BuiltinOperator).items()
    if isinstance(code, int) and not name.startswith("_")
}


@dataclass(frozen=True)
class OperatorCounts:
    """How many operators of each kind run in 8 bit, and how many touch a float tensor."""

    quantized: dict[str, int]
    float: dict[str, int]


def count_operators(content: bytes) -> OperatorCounts:
    """The counts of the .tflite file `content`.

    An operator is float when any of its inputs or outputs is; int8 weights alone do not make it
    quantized. Left out are the QUANTIZE and DEQUANTIZE at the graph's own inputs and outputs, and
    operators on shapes, which touch neither float nor 8-bit tensors.
    """
    quantized: Counter[str] = Counter()
    floating: Counter[str] = Counter()
    model = schema.Model.GetRootAs(content, 0)
    for position in range(model.SubgraphsLength()):
        graph = model.Subgraphs(position)
        inputs = {graph.Inputs(i) for i in range(graph.InputsLength())}
        outputs = {graph.Outputs(i) for i in range(graph.OutputsLength())}
        for index in range(graph.OperatorsLength()):
            operator = graph.Operators(index)
            name = _name(model.OperatorCodes(operator.OpcodeIndex()))
            reads = {operator.Inputs(i) for i in range(operator.InputsLength())} - {-1}
            writes = {operator.Outputs(i) for i in range(operator.OutputsLength())}
            types = {graph.Tensors(tensor).Type() for tensor in reads | writes}
            if (name == "QUANTIZE" and reads <= inputs) or (
                name == "DEQUANTIZE" and writes <= outputs
            ):
                continue
            if types & FLOATS:
                floating[name] += 1
            elif types & EIGHT_BITS:
                quantized[name] += 1
    return OperatorCounts(dict(quantized), dict(floating))


def _name(code: schema.OperatorCode) -> str:
    # Files from before the enumeration outgrew a byte fill the deprecated field alone.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if number == schema.BuiltinOperator.CUSTOM:
        return (code.CustomCode() or b"CUSTOM").decode()
    return _NAMES.get(number, f"BUILTIN_{number}")
