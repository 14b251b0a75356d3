"""Writes files of single operators by LiteRT's schema: `python schema_facts.py FOLDER`; needs ai-edge-litert.

`NAME.tflite` has one operator of each builtin code, without tensors. `CLASS.tflite` has an operator that is kept with
options of that class, each field at another value than its default; standard output is one JSON object of the values
by class and field.
"""

import inspect
import json
import re
import sys
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

KEPT = schema.BuiltinOperator.HASHTABLE_LOOKUP
NUMBERS = [1, 2, 3]
# Lists that take no other numbers: booleans, and indices of subgraphs.
OTHER_LISTS = {
    "boundaries": [1.0, 2.0, 3.0],
    "windowReversal": [1, 0, 1],
    "calledComputations": [1, 1],
    "branchSubgraphIndices": [1, 1],
}


def snake_case(name: str) -> str:
    """`stride_w` of `strideW`."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"([A-Z])([A-Z][a-z])", r"\1_\2", words).lower()


def model(code: int) -> schema.ModelT:
    """A model of one operator without tensors, and a second subgraph."""
    made = schema.ModelT()
    made.version = 3
    made.buffers = [schema.BufferT()]
    entry = schema.OperatorCodeT()
    entry.builtinCode = code
    entry.deprecatedBuiltinCode = min(code, 127)
    made.operatorCodes = [entry]
    operator = schema.OperatorT()
    graph, other = schema.SubGraphT(), schema.SubGraphT()
    graph.operators = [operator]
    other.name = "other"
    made.subgraphs = [graph, other]
    return made


def write(path: Path, made: schema.ModelT) -> None:
    """Writes a file."""
    builder = flatbuffers.Builder(256)
    builder.Finish(made.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def filled(options: object) -> dict[str, object]:
    """Sets every field, and returns the values."""
    pack = inspect.getsource(type(options).Pack)
    values: dict[str, object] = {}
    for field, default in vars(options).items():
        value: object
        if isinstance(default, bool):
            value = not default
        elif isinstance(default, float):
            value = 1.5
        elif isinstance(default, int):
            value = 0 if default == 1 else 1
        elif f"CreateString(self.{field})" in pack:
            value = "text"
        else:
            value = OTHER_LISTS.get(field, NUMBERS)
        setattr(options, field, value)
        values[snake_case(field)] = value
    return values


def main() -> None:
    """Writes all files."""
    folder = Path(sys.argv[1])
    for name, code in vars(schema.BuiltinOperator).items():
        if not name.startswith("_"):
            write(folder / f"{name}.tflite", model(code))
    expected: dict[str, dict[str, object]] = {}
    for union, attribute in (
        (schema.BuiltinOptions, "builtinOptions"),
        (schema.BuiltinOptions2, "builtinOptions2"),
    ):
        for name, number in vars(union).items():
            if name.startswith("_") or number == 0:
                continue
            options = getattr(schema, name + "T")()
            expected[name] = filled(options)
            made = model(KEPT)
            setattr(made.subgraphs[0].operators[0], attribute + "Type", number)
            setattr(made.subgraphs[0].operators[0], attribute, options)
            write(folder / f"{name}.tflite", made)
    builtins = [name for name in vars(schema.BuiltinOperator) if name[0] != "_"]
    print(json.dumps({"builtins": builtins, "options": expected}))


if __name__ == "__main__":
    main()
