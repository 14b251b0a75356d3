"""Writes the node cases of the `onnx` package as JSON and raw bytes, with attributes as Calipers names them.

Usage: `python node_cases.py FOLDER`, which gets `cases.json` and `data.bin`. Needs `onnx` and `numpy`.
"""

import json
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases

TYPES = {
    TensorProto.BOOL: "bool",
    TensorProto.INT2: "i2",
    TensorProto.INT4: "i4",
    TensorProto.INT8: "i8",
    TensorProto.INT16: "i16",
    TensorProto.INT32: "i32",
    TensorProto.INT64: "i64",
    TensorProto.UINT2: "u2",
    TensorProto.UINT4: "u4",
    TensorProto.UINT8: "u8",
    TensorProto.UINT16: "u16",
    TensorProto.UINT32: "u32",
    TensorProto.UINT64: "u64",
    TensorProto.FLOAT4E2M1: "f4e2m1",
    TensorProto.FLOAT8E4M3FN: "f8e4m3fn",
    TensorProto.FLOAT8E4M3FNUZ: "f8e4m3fnuz",
    TensorProto.FLOAT8E5M2: "f8e5m2",
    TensorProto.FLOAT8E5M2FNUZ: "f8e5m2fnuz",
    TensorProto.FLOAT8E8M0: "f8e8m0",
    TensorProto.FLOAT16: "f16",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.FLOAT: "f32",
    TensorProto.DOUBLE: "f64",
    TensorProto.COMPLEX64: "complex64",
    TensorProto.COMPLEX128: "complex128",
    TensorProto.STRING: "string",
}
# Operators whose last change came before operator set 13.
UNCHANGED = {"ConvInteger", "DynamicQuantizeLinear", "MatMulInteger"}
NARROW = {"i2": 2, "u2": 2, "i4": 4, "u4": 4, "f4e2m1": 4}
TYPE_ATTRIBUTES = {("Cast", "to"), ("BitCast", "to"), ("EyeLike", "dtype")}

Shapes = dict[str, tuple[int, ...]]


class LeftOutError(Exception):
    """Why a case is not written."""


class Data:
    """The bytes of all tensors, one after another."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def tensor(self, value: Any) -> dict[str, Any]:
        """Appends a tensor and gives its entry."""
        if isinstance(value, TensorProto):
            value = numpy_helper.to_array(value)
        if not isinstance(value, (np.ndarray, np.generic)):
            raise LeftOutError("sequences and optionals")
        value = np.asarray(value)
        if value.dtype.kind in "OUS":
            words = [
                word if isinstance(word, bytes) else str(word).encode()
                for word in value.ravel().tolist()
            ]
            strings = [word.decode("latin-1") for word in words]
            return {"type": "string", "shape": list(value.shape), "strings": strings}
        name = TYPES[onnx.helper.np_dtype_to_tensor_dtype(value.dtype)]
        raw = np.ascontiguousarray(value).tobytes()
        if name in NARROW:
            bits = NARROW[name]
            codes = np.frombuffer(raw, np.uint8) & ((1 << bits) - 1)
            per_byte = 8 // bits
            codes = np.pad(codes, (0, -len(codes) % per_byte)).reshape(-1, per_byte)
            raw = (
                (codes << (np.arange(per_byte, dtype=np.uint8) * bits))
                .sum(axis=1)
                .astype(np.uint8)
                .tobytes()
            )
        start = len(self.bytes)
        self.bytes += raw
        return {
            "type": name,
            "shape": list(value.shape),
            "start": start,
            "end": len(self.bytes),
        }


def attribute_of(
    node: NodeProto, attribute: AttributeProto, data: Data
) -> dict[str, Any]:
    """An attribute as one entry named by its kind."""
    value = onnx.helper.get_attribute_value(attribute)
    if (
        node.op_type,
        attribute.name,
    ) in TYPE_ATTRIBUTES or attribute.name == "output_datatype":
        return {"type": TYPES[value]}
    match attribute.type:
        case AttributeProto.INT:
            return {"int": value}
        case AttributeProto.FLOAT:
            return {"float": value}
        case AttributeProto.STRING:
            return {"string": value.decode()}
        case AttributeProto.INTS:
            return {"ints": list(value)}
        case AttributeProto.FLOATS:
            return {"floats": list(value)}
        case AttributeProto.STRINGS:
            return {"strings": [word.decode() for word in value]}
        case AttributeProto.TENSOR:
            return {"tensor": data.tensor(value)}
    raise LeftOutError("subgraphs")


def window_of(
    node: NodeProto, attributes: dict[str, Any], kernel: list[int], extents: list[int]
) -> None:
    """Replaces the attributes of a sliding window by those with everything stated."""
    axes = len(kernel)
    strides = attributes.setdefault("strides", {"ints": [1] * axes})["ints"]
    dilations = attributes.setdefault("dilations", {"ints": [1] * axes})["ints"]
    automatic = attributes.pop("auto_pad", {"string": "NOTSET"})["string"]
    attributes.setdefault("pads", {"ints": [0] * (2 * axes)})
    attributes.pop("kernel_shape", None)
    if automatic == "VALID":
        attributes["pads"] = {"ints": [0] * (2 * axes)}
    elif automatic.startswith("SAME"):
        totals = []
        for axis in range(axes):
            reach = dilations[axis] * (kernel[axis] - 1) + 1
            if node.op_type == "ConvTranspose":
                totals.append(max(reach - strides[axis], 0))
            else:
                positions = math.ceil(extents[axis] / strides[axis])
                totals.append(
                    max((positions - 1) * strides[axis] + reach - extents[axis], 0)
                )
        less, more = (
            [total // 2 for total in totals],
            [total - total // 2 for total in totals],
        )
        attributes["pads"] = {
            "ints": less + more if automatic == "SAME_UPPER" else more + less
        }


def mapped(
    node: NodeProto, attributes: dict[str, Any], shapes: Shapes, types: dict[str, str]
) -> str:
    """The operator's name in Calipers; its attributes are changed in place."""
    operator = node.op_type

    def rename(old: str, new: str) -> None:
        if old in attributes:
            attributes[new] = attributes.pop(old)

    def shape(index: int) -> tuple[int, ...]:
        if node.input[index] not in shapes:
            raise LeftOutError("shapes that only a run tells")
        return shapes[node.input[index]]

    if operator in ("Conv", "ConvInteger", "ConvTranspose"):
        window_of(node, attributes, list(shape(1)[2:]), list(shape(0)[2:]))
        rename("group", "groups")
        if operator == "ConvTranspose" and "output_shape" in attributes:
            wanted = attributes.pop("output_shape")["ints"]
            axes = len(wanted)
            added = attributes.get("output_padding", {"ints": [0] * axes})["ints"]
            totals = []
            for axis in range(axes):
                reach = (
                    attributes["dilations"]["ints"][axis] * (shape(1)[2 + axis] - 1) + 1
                )
                whole = (
                    attributes["strides"]["ints"][axis] * (shape(0)[2 + axis] - 1)
                    + added[axis]
                    + reach
                )
                totals.append(max(whole - wanted[axis], 0))
                added[axis] += max(wanted[axis] - whole, 0)
            attributes["output_padding"] = {"ints": added}
            attributes["pads"] = {
                "ints": [t - t // 2 for t in totals] + [t // 2 for t in totals]
            }
    elif operator in ("MaxPool", "AveragePool", "LpPool"):
        kernel = attributes["kernel_shape"]["ints"]
        window_of(node, attributes, kernel, list(shape(0)[2:]))
        attributes["kernel"] = {"ints": kernel}
        rename("ceil_mode", "ceil")
        rename("storage_order", "column_major")
    elif operator == "Gemm":
        rename("transA", "transpose_a")
        rename("transB", "transpose_b")
    elif operator == "Clip":
        return "Limit"
    elif operator == "Transpose":
        rename("perm", "permutation")
        if "permutation" not in attributes:
            attributes["permutation"] = {"ints": list(reversed(range(len(shape(0)))))}
    elif operator == "CastLike":
        # The type is that of the second input, which in a longer case only a run tells.
        attributes["to"] = {"type": types.get(node.input[1], "")}
    elif operator == "QuantizeLinear":
        attributes.pop("precision", None)
        if attributes.get("output_dtype", {}).get("int", 0):
            attributes["dtype"] = {"type": TYPES[attributes["output_dtype"]["int"]]}
        elif len(node.input) > 2:
            attributes["dtype"] = {"type": types[node.input[2]]}
        else:
            attributes["dtype"] = {"type": "u8"}
        attributes.pop("output_dtype", None)
    elif operator == "DequantizeLinear":
        attributes.pop("output_dtype", None)
    elif (
        operator == "BatchNormalization"
        and attributes.pop("training_mode", {"int": 0})["int"]
    ):
        raise LeftOutError("training")
    return operator


def case_of(case: Any, data: Data) -> dict[str, Any]:
    """One case: nodes in order, and for each data set inputs by name and expected outputs."""
    graph = case.model.graph
    opsets = {entry.domain: entry.version for entry in case.model.opset_import}
    sets = []
    shapes: Shapes = {}
    types: dict[str, str] = {}
    for given, expected in case.data_sets:
        inputs = {
            value.name: data.tensor(tensor)
            for value, tensor in zip(graph.input, given, strict=True)
        }
        shapes |= {name: tuple(entry["shape"]) for name, entry in inputs.items()}
        types |= {name: entry["type"] for name, entry in inputs.items()}
        sets.append(
            {"inputs": inputs, "outputs": [data.tensor(tensor) for tensor in expected]}
        )
    nodes = []
    constants = {
        initializer.name: data.tensor(initializer) for initializer in graph.initializer
    }
    shapes |= {name: tuple(entry["shape"]) for name, entry in constants.items()}
    types |= {name: entry["type"] for name, entry in constants.items()}
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise LeftOutError(f"domain {node.domain}")
        if opsets[""] < 13 and node.op_type not in UNCHANGED:
            raise LeftOutError("operator sets before 13")
        attributes = {
            entry.name: attribute_of(node, entry, data) for entry in node.attribute
        }
        if node.op_type == "Constant":
            kind, value = next(iter(attributes.items()))
            value = next(iter(value.values()))
            if kind != "value":
                floats = kind.startswith("value_float")
                value = data.tensor(np.array(value, np.float32 if floats else np.int64))
            constants[node.output[0]] = value
            shapes[node.output[0]], types[node.output[0]] = (
                tuple(value["shape"]),
                value["type"],
            )
            continue
        if node.op_type.startswith("Reduce") and "axes" in attributes:
            # Before operator set 18 they were an attribute.
            axes = np.array(attributes.pop("axes")["ints"], np.int64)
            constants[f"{node.output[0]}/axes"] = data.tensor(axes)
            node.input.append(f"{node.output[0]}/axes")
        name = mapped(node, attributes, shapes, types)
        nodes.append(
            {
                "op": name,
                "attributes": attributes,
                "inputs": list(node.input),
                "outputs": list(node.output),
            }
        )
    return {
        "name": case.name,
        "nodes": nodes,
        "constants": constants,
        "sets": sets,
        "outputs": [value.name for value in graph.output],
        "rtol": case.rtol,
        # numpy transforms f32 in f32, so that what should be 0 is not.
        "atol": max(case.atol, 1e-6) if "_dft" in case.name else case.atol,
    }


def main() -> None:
    """Writes all cases that can be written, and why others are left out."""
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    folder = Path(sys.argv[1])
    data = Data()
    cases, left_out = [], []
    for case in collect_testcases(None):
        try:
            cases.append(case_of(case, data))
        except (LeftOutError, KeyError) as reason:
            left_out.append({"name": case.name, "reason": f"{reason}"})
    (folder / "cases.json").write_text(
        json.dumps({"cases": cases, "left_out": left_out})
    )
    (folder / "data.bin").write_bytes(data.bytes)


if __name__ == "__main__":
    main()
