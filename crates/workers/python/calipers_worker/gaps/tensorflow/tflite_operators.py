"""Reads from a .tflite file what runs in integers: every operator, by the types of its tensors."""

from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

TFLITE_TYPES = {
    code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)
}
TFLITE_OPERATORS = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
}
FLOAT_TYPES = {"float16", "float32", "float64", "bfloat16"}
# Types of quantized numbers; int32 and int64 are those of shapes and positions.
QUANTIZED_TYPES = {"int2", "int4", "uint4", "int8", "uint8", "int16", "uint16"}
CONVERSIONS = {"QUANTIZE", "DEQUANTIZE", "CAST", "FAKE_QUANT"}
MOVES = {
    "RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "SLICE", "STRIDED_SLICE", "SPLIT", "SPLIT_V",
    "PACK", "UNPACK", "PAD", "PADV2", "SHAPE", "TILE", "FILL", "BROADCAST_TO", "REVERSE_V2",
    "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE",
    "DYNAMIC_UPDATE_SLICE", "WHILE", "IF", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE",
    "ASSIGN_VARIABLE",
}  # fmt: skip
PRODUCTS = {
    "FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D", "TRANSPOSE_CONV",
    "CONV_3D_TRANSPOSE", "BATCH_MATMUL", "LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_LSTM", "RNN", "UNIDIRECTIONAL_SEQUENCE_RNN", "SVDF",
}  # fmt: skip
GATHERS = {"GATHER", "GATHER_ND", "EMBEDDING_LOOKUP"}


@dataclass
class TfliteTensor:
    """A tensor of the file."""

    name: str
    type: str
    shape: list[int]
    constant: bool


@dataclass
class TfliteOperator:
    """An operator of the file, in the order of execution, and the tensors that it reads and writes.

    `stored` are the types in which its constants lie in the file, where a DEQUANTIZE stands
    between a constant and the operator too.
    """

    name: str
    inputs: list[int]
    outputs: list[int]
    reads: list[TfliteTensor]
    writes: list[TfliteTensor]
    stored: list[TfliteTensor]
    unpacked: bool
    main: bool

    def kind(self) -> str:
        """The class of what it computes: integer, dynamic, weight_only, float, convert or move."""
        given = {tensor.type for tensor in self.reads if not tensor.constant}
        types = given | {tensor.type for tensor in self.writes}
        weights = {tensor.type for tensor in self.stored}
        if self.name in CONVERSIONS:
            return "convert"
        if self.name in MOVES or not types & (FLOAT_TYPES | QUANTIZED_TYPES):
            return "move"
        if not types & FLOAT_TYPES:
            return "integer"
        if types & QUANTIZED_TYPES and self.name not in GATHERS:
            return "float"
        if self.unpacked or weights & {"float16"}:
            return "weight_only"
        if weights & QUANTIZED_TYPES:
            return "dynamic" if self.name in PRODUCTS else "weight_only"
        return "float"

    def weighted(self) -> bool:
        """Whether it multiplies by, or gathers rows of, a constant."""
        wide = any(len(tensor.shape) >= 2 for tensor in self.stored)
        return wide and self.name in PRODUCTS | GATHERS


def tflite_tensor(model: Any, graph: Any, index: int) -> TfliteTensor:
    """One tensor; its content may lie behind the tables, at an offset."""
    tensor = graph.Tensors(index)
    buffer = model.Buffers(tensor.Buffer())
    return TfliteTensor(
        tensor.Name().decode(),
        TFLITE_TYPES[tensor.Type()],
        [tensor.Shape(i) for i in range(tensor.ShapeLength())],
        buffer.DataLength() > 0 or buffer.Offset() > 1,
    )


def tflite_called(operator: Any) -> list[int]:
    """The subgraphs that a WHILE or an IF runs."""
    table = operator.BuiltinOptions()
    match operator.BuiltinOptionsType():
        case schema.BuiltinOptions.WhileOptions:
            options = schema.WhileOptions()
            options.Init(table.Bytes, table.Pos)
            return [options.CondSubgraphIndex(), options.BodySubgraphIndex()]
        case schema.BuiltinOptions.IfOptions:
            options = schema.IfOptions()
            options.Init(table.Bytes, table.Pos)
            return [options.ThenSubgraphIndex(), options.ElseSubgraphIndex()]
    return []


def tflite_operators(content: bytes, subgraph: int = 0) -> list[TfliteOperator]:
    """Every operator in the order of execution; behind a WHILE or an IF, what these run."""
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(subgraph)
    tensors = [tflite_tensor(model, graph, index) for index in range(graph.TensorsLength())]
    unpacked: dict[int, TfliteTensor] = {}
    operators = []
    for position in range(graph.OperatorsLength()):
        operator = graph.Operators(position)
        code = model.OperatorCodes(operator.OpcodeIndex())
        name = TFLITE_OPERATORS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        if name == "CUSTOM":
            name = code.CustomCode().decode()
        inputs = [operator.Inputs(i) for i in range(operator.InputsLength())]
        inputs = [index for index in inputs if index >= 0]
        outputs = [operator.Outputs(i) for i in range(operator.OutputsLength())]
        if name == "DEQUANTIZE" and tensors[inputs[0]].constant:
            unpacked[outputs[0]] = tensors[inputs[0]]
        stored = [tensors[index] for index in inputs if tensors[index].constant]
        stored += [unpacked[index] for index in inputs if index in unpacked]
        operators.append(
            TfliteOperator(
                name,
                inputs,
                outputs,
                [tensors[index] for index in inputs],
                [tensors[index] for index in outputs],
                stored,
                any(index in unpacked for index in inputs),
                subgraph == 0,
            )
        )
        for called in tflite_called(operator):
            operators += tflite_operators(content, called)
    return operators


def tflite_roles(operators: list[TfliteOperator], names: set[str]) -> list[str]:
    """The role of every operator: `before`, `layer` or `after`.

    The converter keeps layers' names in those of tensors, joined by `;` where it fused them, but
    gives the last operator the name of the output. So `before` is the first product that bears the
    name, with all that it needs, and `after` the last product, with all that needs it. `names` are
    the sandwich's own products.
    """
    roles = ["layer"] * len(operators)
    products = [
        position
        for position, operator in enumerate(operators)
        if operator.main and operator.weighted() and operator.name in PRODUCTS
    ]
    if "before" in names:
        named = (p for p in products if "before" in operators[p].writes[0].name)
        start = next(named, None)
        needed = set(operators[start].inputs) if start is not None else set()
        for position in range(start if start is not None else -1, -1, -1):
            operator = operators[position]
            if operator.main and (position == start or needed & set(operator.outputs)):
                roles[position] = "before"
                needed |= set(operator.inputs)
    elif "after" in names:
        made_here = {index for operator in operators for index in operator.outputs}
        for position, operator in enumerate(operators):
            if operator.main and operator.name == "QUANTIZE" and not operator.stored:
                roles[position] = "layer" if set(operator.inputs) & made_here else "before"
    if "after" in names and products and roles[products[-1]] == "layer":
        made: set[int] = set()
        for position in range(products[-1], len(operators)):
            operator = operators[position]
            if operator.main and (position == products[-1] or made & set(operator.inputs)):
                roles[position] = "after"
                made |= set(operator.outputs)
        # A constant's DEQUANTIZE belongs to the product that it is for.
        for position in range(products[-1]):
            operator = operators[position]
            if (
                operator.main
                and operator.name == "DEQUANTIZE"
                and operator.stored
                and set(operator.outputs) & set(operators[products[-1]].inputs)
            ):
                roles[position] = "after"
    return roles


def tflite_weights(operators: list[TfliteOperator]) -> list[dict[str, Any]]:
    """The constants that products and gathers use, each named after what it is for."""
    weights = []
    for operator in operators:
        if not operator.weighted():
            continue
        weights += [
            {
                "name": f"{operator.writes[0].name.split(';')[0]}: {tensor.name}",
                "type": tensor.type,
                "shape": tensor.shape,
            }
            for tensor in operator.stored
            if len(tensor.shape) >= 2 and tensor.type not in ("int32", "int64")
        ]
    return weights


def tflite_trace(content: bytes, names: set[str]) -> list[dict[str, Any]]:
    """Every operator of the file with its role, class and types."""
    operators = tflite_operators(content)
    return [
        {
            "name": operator.name,
            "role": role,
            "class": operator.kind(),
            "weighted": operator.weighted(),
            "inputs": [tensor.type for tensor in operator.reads],
            "outputs": [tensor.type for tensor in operator.writes],
        }
        for operator, role in zip(operators, tflite_roles(operators, names), strict=True)
    ]
