"""Makes the hostile files of this folder: `python make_hostile.py`, in the workers' TensorFlow environment with `onnx`.

Each file breaks one rule that a reader could trip over, and is otherwise a model. What the error has to
say of it stands in `crates/fuzzing/tests/replay.rs`.
"""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import flatbuffers
import onnx
from onnx import TensorProto, helper
from tensorflow.lite.python import schema_py_generated as schema

FOLDER = Path(__file__).parent
FLOAT = TensorProto.FLOAT


def value(name: str, shape: Sequence[int | str] | None) -> onnx.ValueInfoProto:
    """A float value."""
    return helper.make_tensor_value_info(name, FLOAT, shape)


def onnx_model(
    nodes: Sequence[onnx.NodeProto],
    initializers: Sequence[onnx.TensorProto] = (),
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model from `x` [2, 3] to `y`."""
    graph = helper.make_graph(
        nodes, "hostile", [value("x", [2, 3])], [value("y", None)], initializers
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
    return helper.make_model(
        graph, opset_imports=opsets, ir_version=9, functions=functions
    )


def weight(dims: Sequence[int], raw: bytes = b"") -> onnx.TensorProto:
    """A float initializer `w` that claims these extents."""
    return TensorProto(name="w", data_type=FLOAT, dims=dims, raw_data=raw)


def external(location: str, offset: str = "0", length: str = "24") -> onnx.ModelProto:
    """A model whose weight is said to be in another file."""
    tensor = weight([2, 3])
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in [("location", location), ("offset", offset), ("length", length)]:
        tensor.external_data.add(key=key, value=text)
    return onnx_model([helper.make_node("Add", ["x", "w"], ["y"])], [tensor])


def add(dims: Sequence[int], raw: bytes = b"") -> onnx.ModelProto:
    """A model that adds a weight of these extents."""
    return onnx_model([helper.make_node("Add", ["x", "w"], ["y"])], [weight(dims, raw)])


def function(name: str, nodes: Sequence[onnx.NodeProto]) -> onnx.FunctionProto:
    """A function from `a` to `b`."""
    return helper.make_function(
        "local",
        name,
        ["a"],
        ["b"],
        nodes,
        [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)],
    )


def call(name: str, source: str = "a", target: str = "b") -> onnx.NodeProto:
    """A call of a function."""
    return helper.make_node(name, [source], [target], domain="local")


def doubling_functions(count: int) -> list[onnx.FunctionProto]:
    """Functions of which each calls the next twice: 2^count nodes when they are written out."""
    functions = []
    for index in range(count):
        name = f"f{index + 1}"
        nodes = [call(name, "a", "c"), call(name, "c", "b")]
        functions.append(function(f"f{index}", nodes))
    return [*functions, function(f"f{count}", [helper.make_node("Relu", ["a"], ["b"])])]


def field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message that holds bytes."""
    length, rest = [], len(content)
    while rest > 127:
        length.append(rest & 127 | 128)
        rest >>= 7
    return bytes([number << 3 | 2, *length, rest]) + content


def nested_ifs(depth: int) -> bytes:
    """A graph with an If in an If, `depth` times: more than the protobuf library writes."""
    shape = value("y", None).SerializeToString()
    node = helper.make_node("Relu", ["x"], ["y"]).SerializeToString()
    for _ in range(depth):
        branch = field(1, node) + field(2, b"b") + field(12, shape)
        sides = [
            field(5, field(1, name) + field(6, branch) + b"\xa0\x01\x05")
            for name in (b"then_branch",)
        ]
        node = field(1, b"c") + field(2, b"y") + field(4, b"If") + b"".join(sides)
    return field(1, node) + field(2, b"deep") + field(12, shape)


def split_into_too_many() -> onnx.ModelProto:
    """A tensor of rank 1,000 in 65,536 parts: 1.5 GB of shapes from a file of 5 KB."""
    node = helper.make_node("Split", ["w"], ["y"], axis=0, num_outputs=65536)
    model = onnx_model([node])
    model.graph.input.append(value("w", [1] * 1000))
    return model


def onnx_files() -> dict[str, bytes]:
    """The broken ONNX files by name."""
    relu = helper.make_node("Relu", ["x"], ["y"])
    models = {
        "external_outside": external("../models/residual_opset17.onnx"),
        "external_absolute": external("/weights.bin"),
        "external_past_the_end": external("external.bin", "1000000"),
        "external_huge_offset": external("external.bin", str(2**64 - 1)),
        "external_longer_than_the_file": external("external.bin", "0", str(2**62)),
        "external_negative": external("external.bin", "-8"),
        "shape_overflows": add([2**32, 2**32, 2**32]),
        "shape_absurd": add([2**40]),
        "shape_negative": add([-2, -3], bytes(24)),
        "shape_of_other_size": add([1000, 1000], bytes(24)),
        "cycle": onnx_model(
            [
                helper.make_node("Relu", ["b"], ["a"]),
                helper.make_node("Relu", ["a"], ["b"]),
                helper.make_node("Add", ["a", "x"], ["y"]),
            ]
        ),
        "reads_itself": onnx_model([helper.make_node("Add", ["x", "y"], ["y"])]),
        "function_calls_itself": onnx_model(
            [call("f", "x", "y")], functions=[function("f", [call("f")])]
        ),
        "functions_call_each_other": onnx_model(
            [call("f", "x", "y")],
            functions=[function("f", [call("g")]), function("g", [call("f")])],
        ),
        "functions_double": onnx_model(
            [call("f0", "x", "y")], functions=doubling_functions(40)
        ),
        "node_without_operator": onnx_model([helper.make_node("", ["x"], ["y"])]),
        "split_into_too_many": split_into_too_many(),
        "made_twice": onnx_model([relu, relu]),
    }
    files = {name: model.SerializeToString() for name, model in models.items()}
    whole = onnx_model([relu]).SerializeToString()
    files["cut"] = whole[: len(whole) // 2]
    files["deep_subgraphs"] = b"\x08\x09" + field(7, nested_ifs(300))
    # A graph that claims 2^62 bytes.
    files["length_past_the_end"] = b"\x08\x09\x3a" + b"\xff" * 8 + b"\x3f" + b"\x00" * 8
    # Groups within groups, 2,000 deep.
    files["deep_groups"] = b"\x08\x09" + b"\x3b" * 2000 + b"\x3c" * 2000
    return files


def tflite_model(change: Callable[[schema.ModelT], None]) -> bytes:
    """A model of one Relu on 2 by 3 numbers, and a constant, after a change."""
    model = schema.ModelT()
    model.version = 3
    model.operatorCodes = [schema.OperatorCodeT()]
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.ADD
    model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    model.buffers = [schema.BufferT(), schema.BufferT()]
    model.buffers[1].data = list(struct.pack("<6f", *range(6)))
    graph = schema.SubGraphT()
    graph.name = b"main"
    graph.tensors = []
    for name, buffer in [(b"x", 0), (b"w", 1), (b"y", 0)]:
        tensor = schema.TensorT()
        tensor.name, tensor.buffer, tensor.shape = name, buffer, [2, 3]
        graph.tensors.append(tensor)
    graph.inputs, graph.outputs = [0], [2]
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1], [2]
    operator.builtinOptionsType = schema.BuiltinOptions.AddOptions
    operator.builtinOptions = schema.AddOptionsT()
    graph.operators = [operator]
    model.subgraphs = [graph]
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tflite_files() -> dict[str, bytes]:
    """The broken TFLite files by name."""

    def setting(path: str, new: object) -> bytes:
        """The model with one field set, named by a path such as `subgraphs.0.inputs`."""

        def change(model: schema.ModelT) -> None:
            *steps, last = path.split(".")
            target: object = model
            for step in steps:
                target = target[int(step)] if step.isdigit() else getattr(target, step)
            setattr(target, last, new)

        return tflite_model(change)

    def calling_itself(model: schema.ModelT) -> None:
        model.operatorCodes[0].builtinCode = schema.BuiltinOperator.WHILE
        model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.WHILE
        operator = model.subgraphs[0].operators[0]
        operator.builtinOptionsType = schema.BuiltinOptions.WhileOptions
        operator.builtinOptions = schema.WhileOptionsT()
        operator.builtinOptions.condSubgraphIndex = 0
        operator.builtinOptions.bodySubgraphIndex = 0
        operator.inputs, operator.outputs = [0], [2]

    def cyclic(model: schema.ModelT) -> None:
        graph = model.subgraphs[0]
        graph.operators[0].inputs = [2, 1]

    def outside(model: schema.ModelT, offset: int, size: int) -> None:
        buffer = model.buffers[1]
        buffer.data, buffer.offset, buffer.size = None, offset, size

    main = "subgraphs.0"
    files = {
        "tensor_past_the_end": setting(f"{main}.inputs", [1000]),
        "tensor_negative": setting(f"{main}.outputs", [-7]),
        "input_past_the_end": setting(f"{main}.operators.0.inputs", [0, 2**31 - 1]),
        "buffer_past_the_end": setting(f"{main}.tensors.1.buffer", 77),
        "operator_code_past_the_end": setting(f"{main}.operators.0.opcodeIndex", 9),
        "shape_overflows": setting(f"{main}.tensors.1.shape", [2**31 - 1] * 8),
        "shape_absurd": setting(f"{main}.tensors.1.shape", [2**31 - 1]),
        "shape_negative": setting(f"{main}.tensors.1.shape", [-2, 3]),
        "cycle": tflite_model(cyclic),
        "subgraph_runs_itself": tflite_model(calling_itself),
        "offset_outside": tflite_model(lambda model: outside(model, 2**63, 24)),
        "size_outside": tflite_model(lambda model: outside(model, 400, 2**63)),
        "no_subgraph": setting("subgraphs", []),
        "other_version": setting("version", 77),
    }
    whole = tflite_model(lambda model: None)
    files["cut"] = whole[: len(whole) // 2]
    files["root_past_the_end"] = struct.pack("<I", 2**31) + whole[4:]
    files["root_is_itself"] = struct.pack("<I", 0) + whole[4:]
    return files


def text_files() -> dict[str, bytes]:
    """The broken texts by name."""
    graph = (
        "graph g {{\n  input %x: {0}\n  node n %y: {0} = Relu(%x)\n  output %y\n}}\n"
    )
    return {
        "brackets": graph.format("f32" + "[" * 5000).encode(),
        "overflow": b"graph g {\n  const %w: f32["
        + b", ".join([b"9223372036854775807"] * 4)
        + b"] = [1.0]\n  output %w\n}\n",
        "few_elements": b"graph g {\n  const %w: f32[4294967296] = [1.0]\n  output %w\n}\n",
        "open_quote": b'graph "g {\n',
        "not_utf8": b"graph \xff {\n}\n",
    }


def main() -> None:
    """Writes all files."""
    kinds = [("onnx", onnx_files()), ("tflite", tflite_files()), ("text", text_files())]
    for kind, files in kinds:
        folder = FOLDER / kind
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / f"{name}.{kind}").write_bytes(content)
    (FOLDER / "onnx" / "external.bin").write_bytes(bytes(24))


if __name__ == "__main__":
    main()
