"""Writes cases of ONNX Runtime's own operators, with its results, to a folder: `dump_contributed.py FOLDER`.

The files are those of dump_cases.py. Needs onnx, onnxruntime and numpy.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from dump_cases import save
from onnx import helper, numpy_helper

RANDOM = np.random.default_rng(7)


def floats(*shape: int) -> np.ndarray:
    """Normal numbers."""
    return RANDOM.standard_normal(shape).astype(np.float32)


def integers(dtype: type, *shape: int) -> np.ndarray:
    """Any numbers of a type, its ends among them."""
    ends = np.iinfo(dtype)
    values = RANDOM.integers(ends.min, ends.max, shape, dtype, endpoint=True)
    if values.size > 1:
        values.flat[0], values.flat[-1] = ends.min, ends.max
    return values


def scale(value: float) -> np.ndarray:
    """A scale for all elements."""
    return np.array(value, np.float32)


# A case: operator, inputs (the first `dynamic` are inputs of the model, the others constants), attributes, outputs.
Case = tuple[str, str, list[np.ndarray | None], int, dict[str, object], int]


def quantized() -> Iterator[Case]:
    """Operators on integers with scales beside them."""
    for dtype, zero in ((np.uint8, 117), (np.int8, -9)):
        kind = np.dtype(dtype).name
        point = np.array(zero, dtype)
        for name, shape in (("", (2, 3, 5)), ("_row", (5,)), ("_one", (1, 3, 1))):
            for op in ("QLinearAdd", "QLinearMul"):
                inputs = [integers(dtype, 2, 3, 5), scale(0.03), point]
                inputs += [
                    integers(dtype, *shape),
                    scale(0.05),
                    np.array(zero + 3, dtype),
                ]
                inputs += [scale(0.07), np.array(zero - 5, dtype)]
                yield f"{op}_{kind}{name}", op, inputs, 1, {}, 1
        unary = [integers(dtype, 2, 64), scale(0.05), point]
        low = np.array(np.iinfo(dtype).min, dtype)
        yield (
            f"QLinearSigmoid_{kind}",
            "QLinearSigmoid",
            [*unary, scale(1 / 256), low],
            1,
            {},
            1,
        )
        leaky = [*unary, scale(0.04), point]
        yield (
            f"QLinearLeakyRelu_{kind}",
            "QLinearLeakyRelu",
            leaky,
            1,
            {"alpha": 0.1},
            1,
        )
        soft = [*unary, scale(1 / 256), low]
        yield (
            f"QLinearSoftmax_{kind}",
            "QLinearSoftmax",
            soft,
            1,
            {"axis": -1, "opset": 13},
            1,
        )
        parts: list[np.ndarray | None] = [scale(0.06), point]
        for step in (0.03, 0.06, 0.1):
            parts += [integers(dtype, 2, 4), scale(step), point]
        yield f"QLinearConcat_{kind}", "QLinearConcat", parts, 0, {"axis": 1}, 1
        image = [integers(dtype, 1, 4, 6, 7), scale(0.05), point, scale(0.03), point]
        last = [integers(dtype, 1, 6, 7, 4), *image[1:]]
        window = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 0]}
        yield f"QLinearAveragePool_{kind}", "QLinearAveragePool", image, 1, window, 1
        counted = {**window, "channels_last": 1, "count_include_pad": 1}
        yield (
            f"QLinearAveragePool_last_{kind}",
            "QLinearAveragePool",
            last,
            1,
            counted,
            1,
        )
        pool = "QLinearGlobalAveragePool"
        yield f"{pool}_{kind}", pool, image, 1, {"channels_last": 0}, 1
        yield f"{pool}_last_{kind}", pool, last, 1, {"channels_last": 1}, 1
        gemm = [integers(dtype, 4, 6), scale(0.02), point]
        weights = RANDOM.integers(-127, 127, (5, 6), np.int8)
        gemm += [weights, np.full(5, 0.01, np.float32), np.zeros(5, np.int8)]
        bias = RANDOM.integers(-900, 900, (5,), np.int32)
        attributes = {"transB": 1, "alpha": 1.0}
        yield (
            f"QGemm_{kind}",
            "QGemm",
            [*gemm, bias, scale(0.05), point],
            1,
            attributes,
            1,
        )
        yield f"QGemm_float_{kind}", "QGemm", [*gemm, bias], 1, attributes, 1
        where = [
            np.array([[True, False, True, True]]),
            integers(dtype, 3, 4),
            scale(0.05),
            point,
        ]
        where += [integers(dtype, 3, 4), scale(0.02), point, scale(0.04), point]
        yield f"QLinearWhere_{kind}", "QLinearWhere", where, 1, {}, 1
        matrix = integers(dtype, 6, 5)
        dynamic = [floats(3, 6), matrix, scale(0.01), point, floats(5)]
        yield (
            f"DynamicQuantizeMatMul_{kind}",
            "DynamicQuantizeMatMul",
            dynamic,
            1,
            {},
            1,
        )
        to_float = [integers(np.uint8, 3, 6), matrix, scale(0.02), scale(0.01)]
        to_float += [np.array(100, np.uint8), point, floats(5)]
        yield f"MatMulIntegerToFloat_{kind}", "MatMulIntegerToFloat", to_float, 1, {}, 1
    for dtype in (np.uint16, np.int16):
        kind = np.dtype(dtype).name
        point = np.array(77, dtype)
        x = 3 * floats(3, 5)
        yield (
            f"QuantizeLinear_{kind}",
            "QuantizeLinear",
            [x, scale(1e-4), point],
            1,
            {},
            1,
        )
        q = [integers(dtype, 3, 5), scale(1e-4), point]
        yield f"DequantizeLinear_{kind}", "DequantizeLinear", q, 1, {}, 1


def packed() -> Iterator[Case]:
    """Matrices of 4 and 8 bits in blocks."""
    for bits, columns, block in ((4, 64, 16), (4, 50, 16), (4, 96, 32), (8, 64, 32)):
        rows, blocks = 6, -(-columns // block)
        weight = integers(np.uint8, rows, blocks, block * bits // 8)
        scales = np.abs(floats(rows * blocks)) / 20
        attributes = {"K": columns, "N": rows, "bits": bits, "block_size": block}
        base: list[np.ndarray | None] = [floats(3, columns), weight, scales]
        name = f"MatMulNBits_{bits}_{columns}_{block}"
        yield name, "MatMulNBits", base, 1, attributes, 1
        zeros = integers(np.uint8, rows * -(-blocks * bits // 8))
        yield f"{name}_zeros", "MatMulNBits", [*base, zeros], 1, attributes, 1
        with_bias = [*base, None, None, floats(rows)]
        yield f"{name}_bias", "MatMulNBits", with_bias, 1, attributes, 1


def fused() -> Iterator[Case]:
    """Several operators in one."""
    a, b = floats(2, 3, 4), floats(2, 5, 4)
    yield "FusedMatMul", "FusedMatMul", [a, b], 2, {"transB": 1, "alpha": 0.5}, 1
    for op in ("Gelu", "QuickGelu", "FastGelu"):
        yield op, op, [2 * floats(3, 8)], 1, {}, 1
    for op in ("BiasGelu", "FastGelu"):
        yield f"{op}_bias", op, [2 * floats(3, 8), floats(8)], 1, {}, 1
    x, skip, gamma, beta, bias = (
        floats(2, 3, 8),
        floats(2, 3, 8),
        floats(8),
        floats(8),
        floats(8),
    )
    epsilon = {"epsilon": 1e-5}
    op = "SkipLayerNormalization"
    yield op, op, [x, skip, gamma, beta, bias], 2, epsilon, 4
    yield f"{op}_plain", op, [x, skip, gamma], 2, epsilon, 1
    op = "SkipSimplifiedLayerNormalization"
    yield op, op, [x, skip, gamma, bias], 2, epsilon, 4
    angles = np.outer(np.arange(10), 1 / 10 ** np.arange(4)).astype(np.float32)
    positions = np.array([[1, 2, 5], [0, 3, 9]], np.int64)
    rotary = [floats(2, 3, 16), positions, np.cos(angles), np.sin(angles)]
    for interleaved in (0, 1):
        name = f"RotaryEmbedding_{interleaved}"
        yield name, "RotaryEmbedding", rotary, 2, {"interleaved": interleaved}, 1
    image, weight = floats(1, 3, 6, 6), floats(4, 3, 3, 3)
    for name, parameters in (
        ("Relu", []),
        ("LeakyRelu", [0.2]),
        ("Clip", [-0.5, 0.5]),
        ("Tanh", []),
    ):
        attributes = {"activation": name, "pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
        if parameters:
            attributes["activation_params"] = parameters
        yield (
            f"FusedConv_{name}",
            "FusedConv",
            [image, weight, floats(4)],
            1,
            attributes,
            1,
        )
    gemm = {
        "activation": "LeakyRelu",
        "activation_alpha": 0.1,
        "transB": 1,
        "beta": 0.5,
    }
    yield "FusedGemm", "FusedGemm", [floats(3, 4), floats(5, 4), floats(5)], 1, gemm, 1


def model_of(case: Case) -> onnx.ModelProto:
    """A model of one node."""
    _, op, inputs, dynamic, attributes, outputs = case
    names = [
        f"in_{index}" if value is not None else "" for index, value in enumerate(inputs)
    ]
    results = ["y" if index in (0, outputs - 1) else "" for index in range(outputs)]
    results = [f"{name}{index}" if name else "" for index, name in enumerate(results)]
    node = helper.make_node(
        op, names, results, "node", domain="com.microsoft", **attributes
    )
    given = [
        helper.make_tensor_value_info(
            names[index], helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for index, value in enumerate(inputs[:dynamic])
        if value is not None
    ]
    constants = [
        numpy_helper.from_array(value, names[index])
        for index, value in enumerate(inputs)
        if index >= dynamic and value is not None
    ]
    types = [onnx.ValueInfoProto(name=name) for name in results if name]
    graph = helper.make_graph([node], "case", given, types, constants)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def main() -> None:
    """Writes all cases to the folder that the command line names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    table = []
    for case in [*quantized(), *packed(), *fused()]:
        name = f"contributed.{case[0]}"
        path = folder / f"{name}.onnx"
        path.write_bytes(model_of(case).SerializeToString())
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_inputs()]
        given = [value for value in case[2][: case[3]] if value is not None]
        found = session.run(None, dict(zip(names, given, strict=True)))
        save({"input": list(given), "output": list(found)}, folder / f"{name}.0.onnx")
        table.append(
            {
                "name": name,
                "suite": "contributed",
                "rtol": 1e-4,
                "atol": 1e-5,
                "inputs": names,
                "sets": 1,
                "left_out": None,
            }
        )
    (folder / "cases.json").write_text(json.dumps(table))


if __name__ == "__main__":
    main()
