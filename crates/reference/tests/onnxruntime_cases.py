"""Writes cases of single operators with the outputs of ONNX Runtime, in the form of `node_cases.py`.

Usage: `python onnxruntime_cases.py FOLDER`. Needs `onnx`, `onnxruntime` and `numpy`.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from node_cases import Data, LeftOutError, case_of
from onnx import helper

ARRAY = np.ndarray[Any, Any]
RANDOM = np.random.default_rng(20)
NARROW_TYPES = (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)
FLOAT8 = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")


@dataclass
class Case:
    """One operator on inputs; absent ones are `None`."""

    name: str
    operator: str
    inputs: list[ARRAY | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    opset: int = 21
    rtol: float = 1e-5
    atol: float = 1e-6
    model: Any = None
    data_sets: Any = None

    def run(self) -> None:
        """Fills in the model and what ONNX Runtime gives."""
        named = {
            f"x{index}": value
            for index, value in enumerate(self.inputs)
            if value is not None
        }
        names = [
            "" if value is None else f"x{index}"
            for index, value in enumerate(self.inputs)
        ]
        outputs = [f"y{index}" for index in range(self.outputs)]
        nodes = [helper.make_node(self.operator, names, outputs, **self.attributes)]
        # Its Python interface takes and gives no such types.
        narrow = {
            name: named.pop(name)
            for name, value in list(named.items())
            if value.dtype.name in ("int4", "uint4", *FLOAT8)
        }
        if self.operator == "QuantizeLinear" and (
            narrow or self.attributes.get("output_dtype", 0) in NARROW_TYPES
        ):
            outputs = ["wide"]
            nodes.append(
                helper.make_node("Cast", ["y0"], outputs, to=onnx.TensorProto.FLOAT)
            )
        inputs = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for name, value in named.items()
        ]
        constants = [
            onnx.numpy_helper.from_array(value, name) for name, value in narrow.items()
        ]
        graph = helper.make_graph(
            nodes,
            "case",
            inputs,
            [onnx.ValueInfoProto(name=name) for name in outputs],
            constants,
        )
        self.model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(
                self.model.SerializeToString(), options, ["CPUExecutionProvider"]
            )
            given = {
                name: onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(
                    np.ascontiguousarray(value),
                    helper.np_dtype_to_tensor_dtype(value.dtype),
                )
                for name, value in named.items()
            }
            results = session.run_with_ort_values(None, given)
        except Exception as error:
            reason = str(error).split("\n")[0][:90]
            raise LeftOutError(f"ONNX Runtime: {self.operator}: {reason}") from error
        expected = []
        for result in results:
            value = result.numpy()
            dtype = helper.tensor_dtype_to_np_dtype(result.element_type())
            expected.append(value if value.dtype == dtype else value.view(dtype))
        self.data_sets = [(list(named.values()), expected)]


def normal(*shape: int) -> ARRAY:
    """Normally distributed f32."""
    return RANDOM.standard_normal(shape).astype(np.float32)


def quantization() -> Iterator[Case]:
    """Quantization over types, granularities, ties, saturation and what is not finite."""
    hard = np.array(
        [0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 1e30, -1e30, np.inf, -np.inf, 300.4],
        np.float32,
    )
    x = np.concatenate([hard, normal(12) * 40, normal(24) * 4]).reshape(4, 4, 3)
    types = [np.uint8, np.int8, np.uint16, np.int16, ml_dtypes.uint4, ml_dtypes.int4]
    shapes = {
        "tensor": ({}, ()),
        "first": ({"axis": 0}, (4,)),
        "middle": ({}, (4,)),
        "last": ({"axis": -1}, (3,)),
        "blocked": ({"axis": 1, "block_size": 2}, (4, 2, 3)),
        "ragged": ({"axis": 0, "block_size": 3}, (2, 4, 3)),
    }
    for dtype, (kind, (attributes, shape)), float_type in product(
        types, shapes.items(), [np.float32, np.float16]
    ):
        info = ml_dtypes.iinfo(dtype)
        scale = RANDOM.choice([0.25, 1.0, 0.1, 3.0], shape).astype(float_type)
        points = np.asarray(
            RANDOM.integers(int(info.min), int(info.max) + 1, shape)
        ).astype(dtype)
        codes = (
            RANDOM.integers(int(info.min), int(info.max) + 1, x.shape)
            .astype(np.int32)
            .astype(dtype)
        )
        name = f"{np.dtype(dtype).name}_{kind}_{np.dtype(float_type).name}"
        for zero_point in (points, None):
            suffix = name + ("_symmetric" if zero_point is None else "")
            output = (
                {"output_dtype": helper.np_dtype_to_tensor_dtype(np.dtype(dtype))}
                if zero_point is None
                else {}
            )
            with np.errstate(over="ignore"):
                narrow = x.astype(float_type)
            yield Case(
                f"quantize_{suffix}",
                "QuantizeLinear",
                [narrow, scale, zero_point],
                attributes | output,
            )
            yield Case(
                f"dequantize_{suffix}",
                "DequantizeLinear",
                [codes, scale, zero_point],
                attributes,
                rtol=0,
                atol=0,
            )
    for dtype in (np.uint8, np.int8, np.int16):
        nan = np.array([np.nan, 1.0, -np.nan, np.nan, 5.0], np.float32)
        yield Case(
            f"quantize_nan_{np.dtype(dtype).name}",
            "QuantizeLinear",
            [nan, np.float32(0.5), dtype(3)],
        )
        yield Case(
            f"quantize_zero_scale_{np.dtype(dtype).name}",
            "QuantizeLinear",
            [np.array([1.0, -1.0, 2.0], np.float32), np.float32(0), dtype(3)],
        )
    for dtype_name, saturate in product(FLOAT8, (0, 1)):
        dtype = np.dtype(getattr(ml_dtypes, dtype_name))
        values = np.concatenate(
            [hard, normal(100) * 1000, normal(100), normal(100) * 1e-3, [np.nan]]
        ).astype(np.float32)
        # Here ONNX Runtime rounds what overflows to the largest value without saturation.
        steps = np.abs(values / 0.5)
        values = values[~((steps > 464) & (steps <= 496))]
        yield Case(
            f"quantize_{dtype_name}_{saturate}",
            "QuantizeLinear",
            [values, np.float32(0.5), np.zeros((), dtype)],
            {"saturate": saturate},
        )
        codes = np.arange(256, dtype=np.uint8).view(dtype)
        yield Case(
            f"dequantize_{dtype_name}_{saturate}",
            "DequantizeLinear",
            [codes, np.float32(0.3), np.zeros((), dtype)],
            rtol=0,
            atol=0,
        )
    wide = RANDOM.integers(-(2**31), 2**31, (3, 4)).astype(np.int32)
    yield Case(
        "dequantize_int32",
        "DequantizeLinear",
        [wide, np.array([0.1, 0.2, 3], np.float32)],
        {"axis": 0},
        rtol=0,
        atol=0,
    )
    ranges = [(0, 1), (3, 9), (-9, -3), (-1, 3), (0, 0), (-1e-30, 1e-30), (-1000, 1)]
    for index, (low, high) in enumerate(ranges):
        values = np.linspace(low, high, 77).astype(np.float32)
        yield Case(
            f"dynamic_{index}",
            "DynamicQuantizeLinear",
            [values],
            outputs=3,
            opset=11,
            rtol=0,
            atol=0,
        )


def convolutions() -> Iterator[Case]:
    """Convolutions over ranks, groups, windows and zero points."""
    for rank in (1, 2, 3):
        extents = (9, 8, 7)[:rank]
        windows: list[dict[str, Any]] = [
            {},
            {"strides": [2] * rank, "pads": [1] * (2 * rank)},
            {"dilations": [2] * rank, "pads": [0, 1, 2][:rank] + [3] * rank},
        ]
        for groups, (index, window) in product((1, 2), enumerate(windows)):
            attributes = {"group": groups, **window}
            name = f"{rank}d_{groups}_{index}"
            weight = normal(6, 4 // groups, *([3] * rank))
            yield Case(
                f"conv_{name}",
                "Conv",
                [normal(2, 4, *extents), weight, normal(6)],
                attributes,
                rtol=1e-4,
                atol=1e-5,
            )
            weight = normal(4, 6 // groups, *([3] * rank))
            yield Case(
                f"transposed_{name}",
                "ConvTranspose",
                [normal(2, 4, *extents), weight, normal(6)],
                attributes | ({"output_padding": [1] * rank} if index == 1 else {}),
                rtol=1e-4,
                atol=1e-5,
            )
    for signed, groups in product((np.uint8, np.int8), (1, 2)):
        x = RANDOM.integers(0, 256, (2, 4, 6, 5)).astype(np.uint8)
        low = -128 if signed == np.int8 else 0
        weight = RANDOM.integers(low, low + 256, (6, 4 // groups, 3, 3)).astype(signed)
        yield Case(
            f"integer_{np.dtype(signed).name}_{groups}",
            "ConvInteger",
            [x, weight, np.uint8(100), signed(3)],
            {"group": groups, "pads": [1, 1, 1, 1]},
            opset=10,
        )
    offsets = normal(2, 2 * 9, 5, 5)
    yield Case(
        "deformable",
        "DeformConv",
        [
            normal(2, 4, 5, 5),
            normal(6, 2, 3, 3),
            offsets,
            normal(6),
            RANDOM.random((2, 9, 5, 5)).astype(np.float32),
        ],
        {"group": 2, "pads": [1, 1, 1, 1]},
        opset=22,
        rtol=1e-4,
        atol=1e-5,
    )


def pools() -> Iterator[Case]:
    """Pooling over windows, types and rounding."""
    windows: list[dict[str, Any]] = [
        {"kernel_shape": [3, 2]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
        {"kernel_shape": [3, 3], "strides": [2, 3], "pads": [1, 0, 1, 2]},
        {"kernel_shape": [2, 2], "dilations": [2, 3], "pads": [1, 1, 1, 1]},
        {
            "kernel_shape": [3, 3],
            "strides": [3, 2],
            "pads": [1, 1, 1, 1],
            "ceil_mode": 1,
        },
    ]
    x = normal(2, 3, 9, 8)
    for index, window in enumerate(windows):
        for order in (0, 1):
            yield Case(
                f"max_{index}_{order}",
                "MaxPool",
                [x],
                {**window, "storage_order": order},
                outputs=2,
            )
        for dtype in (np.uint8, np.int8):
            codes = (x * 50).astype(np.int8).astype(dtype)
            yield Case(
                f"max_{index}_{np.dtype(dtype).name}", "MaxPool", [codes], window
            )
        for count in (0, 1):
            yield Case(
                f"average_{index}_{count}",
                "AveragePool",
                [x],
                {**window, "count_include_pad": count},
            )
        yield Case(f"norm_{index}", "LpPool", [x], {**window, "p": 3}, rtol=1e-4)
    volume = normal(1, 2, 5, 6, 7)
    window = {"kernel_shape": [2, 3, 2], "strides": [1, 2, 2], "pads": [1, 0, 0] * 2}
    for operator in ("MaxPool", "AveragePool", "LpPool"):
        yield Case(f"volume_{operator}", operator, [volume], window, rtol=1e-4)
    yield Case(
        "volume_positions",
        "MaxPool",
        [volume],
        {**window, "storage_order": 1},
        outputs=2,
    )
    for operator in ("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"):
        yield Case(operator, operator, [volume], rtol=1e-4)
    regions = np.array(
        [[0, 1, 2, 6, 7], [1, 0, 0, 3, 3], [1, 4, 4, 20, 5], [0, 8, 7, 2, 1]],
        np.float32,
    )
    for scale in (1.0, 0.5):
        yield Case(
            f"regions_{scale}",
            "MaxRoiPool",
            [x, regions],
            {"pooled_shape": [2, 3], "spatial_scale": scale},
        )
    for mode, ratio in product(("half_pixel", "output_half_pixel"), (0, 2)):
        yield Case(
            f"align_{mode}_{ratio}",
            "RoiAlign",
            [x, regions[:2, 1:], np.array([0, 1])],
            {
                "coordinate_transformation_mode": mode,
                "output_height": 3,
                "output_width": 2,
                "sampling_ratio": ratio,
                "spatial_scale": 0.7,
            },
            rtol=1e-4,
        )


def recurrent_layers() -> Iterator[Case]:
    """Recurrent layers over directions, lengths, activations, clips and peepholes."""
    time, batch, size, hidden = 5, 3, 4, 6
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}
    activations = {
        "RNN": ["Relu"],
        "GRU": ["HardSigmoid", "ScaledTanh"],
        "LSTM": ["HardSigmoid", "Softsign", "Affine"],
    }
    alpha = {"RNN": [], "GRU": [0.3, 1.2], "LSTM": [0.3, 0.7]}
    beta = {"RNN": [], "GRU": [0.4, 0.8], "LSTM": [0.4, 0.1]}
    for operator, direction in product(gates, ("forward", "reverse", "bidirectional")):
        directions = 2 if direction == "bidirectional" else 1
        variants: list[tuple[str, bool, dict[str, Any]]] = [
            ("plain", False, {}),
            ("lengths", True, {}),
            ("clip", True, {"clip": 0.3}),
            (
                "activations",
                False,
                {
                    "activations": activations[operator] * directions,
                    "activation_alpha": alpha[operator] * directions,
                    "activation_beta": beta[operator] * directions,
                },
            ),
        ]
        if operator == "GRU":
            variants.append(("linear", True, {"linear_before_reset": 1}))
        if operator == "LSTM":
            variants.append(("coupled", False, {"input_forget": 1}))
        for variant, full, attributes in variants:
            count = gates[operator]
            inputs: list[ARRAY | None] = [
                normal(time, batch, size),
                normal(directions, count * hidden, size),
                normal(directions, count * hidden, hidden),
            ]
            if full:
                inputs += [
                    normal(directions, 2 * count * hidden),
                    np.array([5, 2, 3], np.int32),
                    normal(directions, batch, hidden),
                ]
                if operator == "LSTM":
                    inputs += [
                        normal(directions, batch, hidden),
                        normal(directions, 3 * hidden),
                    ]
            kept = {name: value for name, value in attributes.items() if value != []}
            yield Case(
                f"{operator}_{direction}_{variant}",
                operator,
                inputs,
                {"direction": direction, "hidden_size": hidden, **kept},
                outputs=3 if operator == "LSTM" else 2,
                rtol=1e-4,
                atol=1e-5,
            )


def images() -> Iterator[Case]:
    """Resizing and sampling over modes."""
    coordinates = (
        "half_pixel",
        "pytorch_half_pixel",
        "align_corners",
        "asymmetric",
        "half_pixel_symmetric",
    )
    x = normal(1, 2, 5, 6)
    for mode, place, scales in product(
        ("nearest", "linear", "cubic"),
        coordinates,
        # To whole extents: of others ONNX Runtime aligns the corners by the rounded one.
        ([1, 1, 2, 1.5], [1, 1, 0.6, 0.5], [1, 1, 3, 1]),
    ):
        yield Case(
            f"{mode}_{place}_{scales[2]}",
            "Resize",
            [x, None, np.array(scales, np.float32)],
            {"mode": mode, "coordinate_transformation_mode": place},
            opset=19,
            rtol=1e-4,
            atol=1e-5,
        )
    for nearest, sizes in product(
        ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
        ([1, 2, 9, 11], [1, 2, 3, 4]),
    ):
        yield Case(
            f"{nearest}_{sizes[2]}",
            "Resize",
            [(x * 40).astype(np.int8), None, None, np.array(sizes)],
            {"mode": "nearest", "nearest_mode": nearest},
            opset=19,
        )
    for mode, exclude in product(("linear", "cubic"), (0, 1)):
        yield Case(
            f"antialias_{mode}_{exclude}",
            "Resize",
            [normal(1, 1, 12, 15), None, None, np.array([1, 1, 5, 4])],
            {"mode": mode, "antialias": 1, "exclude_outside": exclude},
            opset=19,
            rtol=1e-3,
            atol=1e-4,
        )
    volume = normal(1, 2, 3, 4, 5)
    yield Case(
        "volume",
        "Resize",
        [volume, None, None, np.array([1, 2, 5, 3, 9])],
        {"mode": "linear"},
        opset=19,
        rtol=1e-4,
        atol=1e-5,
    )
    for mode, padding, corners in product(
        ("nearest", "linear", "cubic"), ("zeros", "border", "reflection"), (0, 1)
    ):
        attributes = {"mode": mode, "padding_mode": padding, "align_corners": corners}
        yield Case(
            f"grid_{mode}_{padding}_{corners}",
            "GridSample",
            [normal(2, 3, 5, 4), normal(2, 3, 7, 2)],
            attributes,
            opset=20,
            rtol=1e-4,
            atol=1e-5,
        )
        if mode != "cubic":
            yield Case(
                f"grid_volume_{mode}_{padding}_{corners}",
                "GridSample",
                [normal(2, 2, 3, 4, 5), normal(2, 2, 3, 2, 3)],
                attributes,
                opset=20,
                rtol=1e-4,
                atol=1e-5,
            )
    yield Case(
        "columns",
        "Col2Im",
        [normal(2, 12, 12), np.array([5, 6]), np.array([2, 2])],
        {"dilations": [2, 1], "pads": [0, 1, 1, 0], "strides": [1, 2]},
        opset=18,
    )


def products() -> Iterator[Case]:
    """Matrix products, Einsum, attention, determinants and transforms."""
    shapes = [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (4, 3, 2)),
        ((2, 1, 4, 3), (5, 3, 2)),
    ]
    for index, (a, b) in enumerate(shapes):
        yield Case(f"matmul_{index}", "MatMul", [normal(*a), normal(*b)], rtol=1e-4)
        integers = [RANDOM.integers(-(2**20), 2**20, shape) for shape in (a, b)]
        for dtype in (np.int32, np.int64, np.uint32, np.uint64):
            yield Case(
                f"matmul_{index}_{np.dtype(dtype).name}",
                "MatMul",
                [value.astype(dtype) for value in integers],
            )
    a = RANDOM.integers(0, 256, (2, 4, 3)).astype(np.uint8)
    b = RANDOM.integers(-128, 128, (2, 3, 5)).astype(np.int8)
    yield Case("matmul_integer", "MatMulInteger", [a, b, np.uint8(7)], opset=10)
    points = np.array([1, 2, 3, 4, 5], np.int8)
    yield Case(
        "matmul_integer_columns",
        "MatMulInteger",
        [a[0], b[0], np.uint8(7), points],
        opset=10,
    )
    for transpose_a, transpose_b, c in product(
        (0, 1), (0, 1), (None, (), (5,), (4, 1), (4, 5))
    ):
        yield Case(
            f"gemm_{transpose_a}_{transpose_b}_{c}",
            "Gemm",
            [
                normal(*((3, 4) if transpose_a else (4, 3))),
                normal(*((5, 3) if transpose_b else (3, 5))),
                None if c is None else np.asarray(normal(*c)),
            ],
            {"transA": transpose_a, "transB": transpose_b, "alpha": 0.5, "beta": 2.0},
            rtol=1e-4,
        )
    equations = {
        "bij,bjk->bik": [(2, 3, 4), (2, 4, 5)],
        "ii->i": [(4, 4)],
        "...ii->...": [(3, 4, 4)],
        "bhqd,bhkd->bhqk": [(2, 3, 4, 5), (2, 3, 6, 5)],
        "i,j": [(3,), (4,)],
        "ij->": [(3, 4)],
        "ba": [(3, 4)],
        "ijk,kl,lm->ijm": [(2, 3, 4), (4, 5), (5, 2)],
        "...ij,...jk->...ik": [(2, 1, 3, 4), (5, 4, 2)],
    }
    for equation, extents in equations.items():
        yield Case(
            f"einsum_{equation}",
            "Einsum",
            [normal(*shape) for shape in extents],
            {"equation": equation},
            rtol=1e-4,
            atol=1e-5,
        )
    yield Case("determinant", "Det", [normal(3, 5, 5)], rtol=1e-4)
    mask = RANDOM.random((2, 1, 5, 7)) > 0.3
    mask[..., 0] = True
    for causal, used in product((0, 1), (None, mask, normal(5, 7))):
        yield Case(
            f"attention_{causal}_{None if used is None else used.dtype.name}",
            "Attention",
            [normal(2, 4, 5, 8), normal(2, 2, 7, 8), normal(2, 2, 7, 6), used],
            {"is_causal": causal, "scale": 0.4, "softcap": 2.0},
            opset=23,
            rtol=1e-4,
            atol=1e-5,
        )
    for length, onesided, inverse in product((7, 12, 16), (0, 1), (0, 1)):
        if not (onesided and inverse):
            yield Case(
                f"dft_{length}_{onesided}_{inverse}",
                "DFT",
                [normal(2, 12, 3, 1 + inverse), np.array(length), np.array(1)],
                {"onesided": onesided, "inverse": inverse},
                opset=20,
                rtol=1e-4,
                atol=1e-4,
            )
    yield Case(
        "stft",
        "STFT",
        [normal(2, 40, 1), np.array(5), normal(12)],
        opset=17,
        rtol=1e-4,
        atol=1e-5,
    )


def normalizations() -> Iterator[Case]:
    """Normalizations over axes and ranks."""
    x = normal(2, 6, 3, 4)
    for size in (1, 2, 3, 4):
        yield Case(f"lrn_{size}", "LRN", [x], {"size": size, "alpha": 0.1}, rtol=1e-4)
    for axis, p in product((0, 1, -1), (1, 2)):
        yield Case(f"norm_{axis}_{p}", "LpNormalization", [x], {"axis": axis, "p": p})
    for axes in ([0, 2, 3], [1], [0, 1, 2, 3]):
        yield Case(
            f"mean_variance_{axes}",
            "MeanVarianceNormalization",
            [x],
            {"axes": axes},
            rtol=1e-4,
            atol=1e-5,
        )
    for shape in ((2, 6, 5), (2, 6, 3, 4), (2, 6, 3, 2, 2)):
        yield Case(
            f"instance_{len(shape)}",
            "InstanceNormalization",
            [normal(*shape), normal(6), normal(6)],
            rtol=1e-4,
            atol=1e-5,
        )
        statistics = [normal(6), normal(6), normal(6), RANDOM.random(6, np.float32)]
        yield Case(
            f"batch_{len(shape)}",
            "BatchNormalization",
            [normal(*shape), *statistics],
            rtol=1e-4,
            atol=1e-5,
        )
    for axis in (1, 2, -1):
        yield Case(
            f"layer_{axis}",
            "LayerNormalization",
            [x, normal(*x.shape[axis:]), normal(*x.shape[axis:])],
            {"axis": axis},
            outputs=3,
            rtol=1e-4,
            atol=1e-5,
        )


def main() -> None:
    """Writes all cases that ONNX Runtime runs, and why others are left out."""
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    data = Data()
    cases, left_out = [], []
    families = (
        quantization,
        convolutions,
        pools,
        recurrent_layers,
        images,
        products,
        normalizations,
    )
    for family in families:
        for case in family():
            try:
                case.run()
                cases.append(case_of(case, data))
            except LeftOutError as reason:
                left_out.append({"name": case.name, "reason": f"{reason}"})
    (folder / "cases.json").write_text(
        json.dumps({"cases": cases, "left_out": left_out})
    )
    (folder / "data.bin").write_bytes(data.bytes)


if __name__ == "__main__":
    main()
