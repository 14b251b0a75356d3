"""Runs models of one operator each in LiteRT with its reference kernels; needs ai-edge-litert, numpy, safetensors.

    single_operator.py CASES.json VALUES.safetensors RESULTS.safetensors [--save FOLDER]

CASES holds a list of cases:

    {"name": "a", "operator": "CONV_2D", "version": 1, "options": {"type": "Conv2DOptions", "strideH": 1, ...},
     "inputs": [TENSOR or null, ...], "outputs": [TENSOR, ...], "intermediates": [TENSOR, ...]}

Options are attributes of the class of that name in LiteRT's schema; version, options and intermediates may be absent.
"resolver": "BUILTIN_WITHOUT_DEFAULT_DELEGATES" asks for the optimized kernels, for operators that have no others.
A TENSOR is

    {"type": "INT8", "shape": [1, 2], "scale": [0.5], "zero_point": [0], "axis": 0, "value": "key in VALUES",
     "constant": true, "variable": true}

where all but type and shape may be absent. A constant's value is part of the model, a variable's begins as zero, any
other input's value is fed. RESULTS holds "NAME.INDEX" for every output of every case that ran. Standard output is one
JSON object: the version of LiteRT, and why each case that did not run was refused. --save keeps NAME.tflite of each.
"""

import argparse
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from safetensors.numpy import load_file, save_file

Json = dict[str, Any]
Values = dict[str, np.ndarray]


class ModelBuilder:
    """The model of one operator."""

    def __init__(self, case: Json, values: Values) -> None:
        self.values = values
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = case["name"]
        self.model.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.name = "main"
        self.graph.tensors = []
        self.fed: list[tuple[int, np.ndarray]] = []
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, case["operator"])
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = case.get("version", 1)
        operator = schema.OperatorT()
        operator.opcodeIndex = 0
        operator.inputs = [
            self.tensor(case["name"], tensor) for tensor in case["inputs"]
        ]
        operator.outputs = [
            self.tensor(case["name"], tensor) for tensor in case["outputs"]
        ]
        operator.intermediates = [
            self.tensor(case["name"], tensor)
            for tensor in case.get("intermediates", [])
        ]
        if "options" in case:
            options = dict(case["options"])
            kind = options.pop("type")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = getattr(schema, kind + "T")()
            for attribute, value in options.items():
                if not hasattr(operator.builtinOptions, attribute):
                    raise ValueError(f"{kind} has no attribute {attribute}")
                setattr(operator.builtinOptions, attribute, value)
        self.graph.inputs = [index for index, _ in self.fed]
        self.graph.outputs = operator.outputs
        self.graph.operators = [operator]
        self.model.operatorCodes = [code]
        self.model.subgraphs = [self.graph]

    def tensor(self, name: str, description: Json | None) -> int:
        """The index of a new tensor; -1 for one that is left out."""
        if description is None:
            return -1
        tensor = schema.TensorT()
        index = len(self.graph.tensors)
        tensor.name = f"{name}_{index}"
        tensor.shape = description["shape"]
        tensor.type = getattr(schema.TensorType, description["type"])
        tensor.buffer = 0
        tensor.hasRank = True
        tensor.isVariable = description.get("variable", False)
        if "scale" in description:
            quantization = schema.QuantizationParametersT()
            quantization.scale = description["scale"]
            quantization.zeroPoint = description.get(
                "zero_point", [0] * len(description["scale"])
            )
            quantization.quantizedDimension = description.get("axis", 0)
            tensor.quantization = quantization
        self.graph.tensors.append(tensor)
        if "value" in description:
            value = self.values[description["value"]].reshape(description["shape"])
            if description.get("constant", False):
                buffer = schema.BufferT()
                buffer.data = np.frombuffer(value.tobytes(), dtype=np.uint8)
                tensor.buffer = len(self.model.buffers)
                self.model.buffers.append(buffer)
            else:
                self.fed.append((index, value))
        return index

    def serialize(self) -> bytes:
        """The bytes of the file."""
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def run(case: Json, values: Values, folder: Path | None) -> list[np.ndarray]:
    """The outputs of a case."""
    builder = ModelBuilder(case, values)
    content = builder.serialize()
    if folder is not None:
        (folder / f"{case['name']}.tflite").write_bytes(content)
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=getattr(
            OpResolverType, case.get("resolver", "BUILTIN_REF")
        ),
        num_threads=1,
    )
    interpreter.allocate_tensors()
    for index, value in builder.fed:
        interpreter.set_tensor(index, value)
    interpreter.invoke()
    return [interpreter.get_tensor(index).copy() for index in builder.graph.outputs]


def main() -> None:
    """Runs the cases of the command line's files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", type=Path)
    parser.add_argument("values", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--save", type=Path, help="folder for the models")
    arguments = parser.parse_args()
    if arguments.save is not None:
        arguments.save.mkdir(parents=True, exist_ok=True)
    cases: list[Json] = json.loads(arguments.cases.read_text())
    values: Values = load_file(arguments.values)
    results: Values = {}
    refused: dict[str, str] = {}
    for case in cases:
        try:
            outputs = run(case, values, arguments.save)
        except (RuntimeError, ValueError) as error:
            refused[case["name"]] = str(error)
            continue
        for index, output in enumerate(outputs):
            results[f"{case['name']}.{index}"] = np.ascontiguousarray(output)
    save_file(results, arguments.results)
    print(
        json.dumps(
            {
                "version": importlib.metadata.version("ai-edge-litert"),
                "refused": refused,
            }
        )
    )


if __name__ == "__main__":
    main()
