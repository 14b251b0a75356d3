"""Writes cases of operators on elements and their places with the outputs of ONNX Runtime.

Usage: `python element_cases.py FOLDER`, in the form of `node_cases.py`. Needs `onnx`, `onnxruntime` and `numpy`.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from node_cases import Data, LeftOutError, case_of
from onnx import helper
from onnxruntime_cases import ARRAY, Case

RANDOM = np.random.default_rng(21)
INTEGERS = (
    np.int8,
    np.int16,
    np.int32,
    np.int64,
    np.uint8,
    np.uint16,
    np.uint32,
    np.uint64,
)
FLOATS = (np.float16, np.float32, np.float64)
SHAPES = (
    ((2, 3), (2, 3)),
    ((4, 1, 3), (2, 1)),
    ((), (3,)),
    ((2, 0), (1,)),
    ((1, 1), (3, 2, 2)),
)


def draw(dtype: type, *shape: int) -> ARRAY:
    """Small numbers of a type, with equal ones among them."""
    if issubclass(dtype, np.integer):
        least = -9 if issubclass(dtype, np.signedinteger) else 0
        return RANDOM.integers(least, 10, shape).astype(dtype)
    if dtype is np.bool_:
        return RANDOM.integers(0, 2, shape).astype(bool)
    return (RANDOM.integers(-20, 21, shape) / 4).astype(dtype)


def i64(*values: int) -> ARRAY:
    """A vector of i64."""
    return np.array(values, np.int64)


def elementwise() -> Iterator[Case]:
    """Functions of one and two inputs in every type that ONNX Runtime has."""
    for dtype, (left, right) in product((*INTEGERS, *FLOATS), SHAPES):
        name = f"{np.dtype(dtype)}_{len(left)}_{len(right)}"
        a, b = draw(dtype, *left), draw(dtype, *right)
        nonzero = np.where(b == 0, dtype(3), b)
        for operator in (
            "Add",
            "Sub",
            "Mul",
            "Max",
            "Min",
            "Greater",
            "LessOrEqual",
            "Equal",
        ):
            yield Case(f"{operator}_{name}", operator, [a, b])
        yield Case(f"Div_{name}", "Div", [a, nonzero])
        if issubclass(dtype, np.integer):
            yield Case(f"Mod_{name}", "Mod", [a, nonzero])
            for operator in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
                yield Case(f"{operator}_{name}", operator, [a, b])
        yield Case(f"Fmod_{name}", "Mod", [a, nonzero], {"fmod": 1})
        yield Case(f"Where_{name}", "Where", [draw(np.bool_, *right), a, b])
        yield Case(f"Pow_{name}", "Pow", [a, draw(np.int64, *right) % 4])
    for dtype, direction in product(
        (np.uint8, np.uint32, np.uint64), ("LEFT", "RIGHT")
    ):
        shifts = draw(dtype, 2, 5) % np.dtype(dtype).itemsize
        name = f"BitShift_{direction}_{np.dtype(dtype)}"
        yield Case(
            name, "BitShift", [draw(dtype, 2, 5), shifts], {"direction": direction}
        )
    special = np.array(
        [
            np.nan,
            np.inf,
            -np.inf,
            0.0,
            -0.0,
            0.5,
            1.5,
            2.5,
            -0.5,
            -1.5,
            88,
            -104,
            1e-30,
        ],
        np.float32,
    )
    for dtype in FLOATS:
        # Half floats are computed in half precision there.
        rtol, atol = (3e-3, 2e-3) if dtype is np.float16 else (1e-5, 1e-6)
        wide = draw(dtype, 3, 7)
        for operator in [
            "Abs",
            "Ceil",
            "Celu",
            "Cos",
            "Cosh",
            "Elu",
            "Erf",
            "Exp",
            "Floor",
            "Gelu",
            "HardSigmoid",
            "HardSwish",
            "IsInf",
            "IsNaN",
            "LeakyRelu",
            "Mish",
            "Neg",
            "Reciprocal",
            "Relu",
            "Round",
            "Selu",
            "Shrink",
            "Sigmoid",
            "Sign",
            "Sin",
            "Sinh",
            "Softplus",
            "Softsign",
            "Tan",
            "Tanh",
            "ThresholdedRelu",
            "Log",
            "Sqrt",
            "Asinh",
            "Atan",
        ]:
            yield Case(
                f"{operator}_{np.dtype(dtype)}", operator, [wide], rtol=rtol, atol=atol
            )
            if dtype is np.float32 and operator not in (
                "Cos",
                "Sin",
                "Tan",
                "Erf",
                "Mish",
                "Softsign",
                "HardSwish",
            ):
                yield Case(f"{operator}_special", operator, [special])
        bounds = [np.array(-1, dtype), np.array(2, dtype)]
        yield Case(f"Clip_{np.dtype(dtype)}", "Clip", [wide, *bounds])
        yield Case(f"Clip_low_{np.dtype(dtype)}", "Clip", [wide, bounds[1]])
        yield Case(
            f"Clip_crossed_{np.dtype(dtype)}", "Clip", [wide, bounds[1], bounds[0]]
        )
        yield Case(f"PRelu_{np.dtype(dtype)}", "PRelu", [wide, draw(dtype, 7)])
        for operator in ("Sum", "Mean", "Max", "Min"):
            yield Case(
                f"{operator}_{np.dtype(dtype)}",
                operator,
                [wide, draw(dtype, 1), draw(dtype, 3, 1)],
            )


def casts() -> Iterator[Case]:
    """Conversions within the range of both types."""
    for source, target in product((*INTEGERS, *FLOATS, np.bool_), repeat=2):
        x = (
            np.abs(draw(source, 3, 5))
            if np.dtype(target).kind == "u"
            else draw(source, 3, 5)
        )
        to = int(helper.np_dtype_to_tensor_dtype(np.dtype(target)))
        yield Case(
            f"Cast_{np.dtype(source)}_{np.dtype(target)}", "Cast", [x], {"to": to}
        )


def reductions() -> Iterator[Case]:
    """Every reduction over several axes, and scans."""
    names = [
        "L1",
        "L2",
        "LogSum",
        "LogSumExp",
        "Max",
        "Mean",
        "Min",
        "Prod",
        "Sum",
        "SumSquare",
    ]
    for dtype, axes, keepdims in product(
        (np.float32, np.float64, np.int32), ((1,), (0, -1), (), None), (0, 1)
    ):
        for name in names:
            x = draw(dtype, 2, 3, 4)
            if name == "LogSumExp" and dtype is np.int32:
                # ONNX Runtime rounds inside.
                continue
            if name == "LogSum":
                x = np.abs(x) + dtype(1)
            inputs = [x] if axes is None else [x, i64(*axes)]
            case = f"{name}_{np.dtype(dtype)}_{axes}_{keepdims}"
            yield Case(case, f"Reduce{name}", list(inputs), {"keepdims": keepdims})
            if not axes:
                noop = {"keepdims": keepdims, "noop_with_empty_axes": 1}
                yield Case(f"{case}_noop", f"Reduce{name}", list(inputs), noop)
    for dtype, axis in product((np.float32, np.int32, np.int8), (0, 1, -1)):
        x = draw(dtype, 3, 6, 5)
        for keepdims, last, operator in product((0, 1), (0, 1), ("ArgMax", "ArgMin")):
            attributes = {"axis": axis, "keepdims": keepdims, "select_last_index": last}
            yield Case(
                f"{operator}_{np.dtype(dtype)}_{axis}_{keepdims}_{last}",
                operator,
                [x],
                attributes,
            )
        for largest in (0, 1):
            attributes = {"axis": axis, "largest": largest}
            yield Case(
                f"TopK_{np.dtype(dtype)}_{axis}_{largest}",
                "TopK",
                [x, i64(3)],
                attributes,
                outputs=2,
            )
        for exclusive, reverse in product((0, 1), repeat=2):
            attributes = {"exclusive": exclusive, "reverse": reverse}
            inputs = [x, np.array(axis, np.int64)]
            yield Case(
                f"CumSum_{np.dtype(dtype)}_{axis}_{exclusive}_{reverse}",
                "CumSum",
                inputs,
                attributes,
            )
    for operator, axis in product(("Softmax", "LogSoftmax", "Hardmax"), (0, 1, 2, -2)):
        yield Case(
            f"{operator}_{axis}", operator, [draw(np.float32, 3, 4, 5)], {"axis": axis}
        )


def movements() -> Iterator[Case]:
    """Slices, pads, tiles and their like with random arguments."""
    for index in range(40):
        shape = RANDOM.integers(1, 6, 3)
        x = draw((np.float32, np.int64, np.uint8, np.float64)[index % 4], *shape)
        steps = RANDOM.choice([-3, -2, -1, 1, 2, 3], 3)
        starts, ends = RANDOM.integers(-8, 9, 3), RANDOM.integers(-8, 9, 3)
        axes = RANDOM.permutation(3) - 3 * (index % 2)
        yield Case(
            f"Slice_{index}",
            "Slice",
            [x, starts, ends, axes.astype(np.int64), steps.astype(np.int64)],
        )
        pads = RANDOM.integers(0, 3, 6)
        yield Case(
            f"Pad_{index}", "Pad", [x, pads, draw(x.dtype.type, 1)[0:1].reshape(())]
        )
        signed = RANDOM.integers(-1, 3, 6)
        if all(signed[axis] + signed[axis + 3] + shape[axis] > 0 for axis in range(3)):
            yield Case(f"Pad_signed_{index}", "Pad", [x, signed])
        few = np.minimum(
            np.concatenate([pads[:3], pads[3:]]), np.concatenate([shape, shape]) - 1
        )
        for mode in ("reflect", "edge", "wrap"):
            yield Case(f"Pad_{mode}_{index}", "Pad", [x, few], {"mode": mode})
        yield Case(
            f"Pad_axes_{index}",
            "Pad",
            [x, pads[:4], None, i64(-1, 0)],
            {"mode": "edge"},
        )
        yield Case(
            f"Transpose_{index}",
            "Transpose",
            [x],
            {"perm": [int(axis) for axis in RANDOM.permutation(3)]},
        )
        yield Case(f"Tile_{index}", "Tile", [x, RANDOM.integers(0, 4, 3)])
        yield Case(f"Expand_{index}", "Expand", [x[:, :1], i64(2, 1, 4, 1)])
        yield Case(f"Concat_{index}", "Concat", [x, x[:1], x], {"axis": 0})
        yield Case(f"Concat_last_{index}", "Concat", [x, x[:, :, :1]], {"axis": -1})
        yield Case(
            f"Split_{index}",
            "Split",
            [draw(np.float32, 2, 7), i64(3, 0, 4)],
            {"axis": 1},
            outputs=3,
        )
        yield Case(
            f"Split_even_{index}",
            "Split",
            [draw(np.int32, 7)],
            {"num_outputs": 3},
            outputs=3,
        )
        yield Case(
            f"Trilu_{index}",
            "Trilu",
            [x, np.array(index % 7 - 3)],
            {"upper": index % 2},
        )
        lengths = RANDOM.integers(1, shape[0] + 1, shape[1])
        yield Case(
            f"ReverseSequence_{index}",
            "ReverseSequence",
            [x, lengths],
            {"time_axis": 0, "batch_axis": 1},
        )
    for mode, block in product(("DCR", "CRD"), (1, 2, 3)):
        x = draw(np.float32, 2, 2 * block * block, 2, 3)
        yield Case(
            f"DepthToSpace_{mode}_{block}",
            "DepthToSpace",
            [x],
            {"blocksize": block, "mode": mode},
        )
        y = draw(np.float32, 2, 3, 2 * block, 3 * block)
        yield Case(
            f"SpaceToDepth_{mode}_{block}", "SpaceToDepth", [y], {"blocksize": block}
        )


def positions() -> Iterator[Case]:
    """Reading and writing by position."""
    for index in range(12):
        dtype = (np.float32, np.int64, np.int32, np.float64)[index % 4]
        x = draw(dtype, 3, 4, 5)
        for axis in (0, 1, -1):
            extent = x.shape[axis]
            at = RANDOM.integers(-extent, extent, (2, 3))
            yield Case(f"Gather_{index}_{axis}", "Gather", [x, at], {"axis": axis})
            shape = [2, 3, 4]
            shape[axis] = 6
            each = RANDOM.integers(-extent, extent, shape)
            yield Case(
                f"GatherElements_{index}_{axis}",
                "GatherElements",
                [x, each],
                {"axis": axis},
            )
            updates = draw(dtype, *shape)
            for reduction in ("add", "mul", "max", "min"):
                attributes = {"axis": axis, "reduction": reduction}
                name = f"ScatterElements_{index}_{axis}_{reduction}"
                yield Case(
                    name, "ScatterElements", [x, each, updates], attributes, opset=18
                )
            once = np.stack(
                [RANDOM.permutation(extent)[:2] for _ in range(12)]
            ).reshape(3, 4, 2)
            once = np.moveaxis(once, 2, axis)[
                tuple(
                    slice(0, n)
                    for n in np.minimum(np.moveaxis(once, 2, axis).shape, x.shape)
                )
            ]
            yield Case(
                f"ScatterElements_{index}_{axis}",
                "ScatterElements",
                [x, once, draw(dtype, *once.shape)],
                {"axis": axis},
            )
            condition = draw(np.bool_, extent)
            yield Case(
                f"Compress_{index}_{axis}", "Compress", [x, condition], {"axis": axis}
            )
            yield Case(
                f"Unique_{index}_{axis}",
                "Unique",
                [x % dtype(2)],
                {"axis": axis},
                outputs=4,
            )
        for depth in (1, 2, 3):
            rows = np.stack(
                [RANDOM.integers(-n, n, (2, 3)) for n in x.shape[:depth]], axis=-1
            )
            yield Case(f"GatherND_{index}_{depth}", "GatherND", [x, rows])
            updates = draw(dtype, 2, 3, *x.shape[depth:])
            for reduction in ("add", "mul", "max", "min"):
                name = f"ScatterND_{index}_{depth}_{reduction}"
                yield Case(
                    name,
                    "ScatterND",
                    [x, rows, updates],
                    {"reduction": reduction},
                    opset=18,
                )
        batched = RANDOM.integers(-4, 4, (3, 2, 1))
        yield Case(
            f"GatherND_batch_{index}", "GatherND", [x, batched], {"batch_dims": 1}
        )
        yield Case(f"Compress_flat_{index}", "Compress", [x, draw(np.bool_, 30)])
        for ordered in (0, 1):
            yield Case(
                f"Unique_{index}_flat_{ordered}",
                "Unique",
                [x],
                {"sorted": ordered},
                outputs=4,
            )
        yield Case(f"NonZero_{index}", "NonZero", [x])
        depth, values = np.array(5, np.int64), np.array([2, 7], dtype)
        yield Case(
            f"OneHot_{index}",
            "OneHot",
            [RANDOM.integers(-7, 8, (2, 3)), depth, values],
            {"axis": index % 3},
        )
        corners = RANDOM.uniform(0, 4, (2, 8, 4)).astype(np.float32)
        scores = RANDOM.permutation(48).reshape(2, 3, 8).astype(np.float32) / 48
        for center in (0, 1):
            limits = [i64(4), np.array([0.3], np.float32), np.array([0.2], np.float32)]
            attributes = {"center_point_box": center}
            yield Case(
                f"NonMaxSuppression_{index}_{center}",
                "NonMaxSuppression",
                [corners, scores, *limits],
                attributes,
            )
    for start, limit, delta in ((0, 10, 3), (5, -5, -2), (3, 3, 1), (3, 1, 1)):
        for dtype in (np.float32, np.int32, np.int64, np.float64):
            inputs: list[ARRAY | None] = [
                np.array(value, dtype) for value in (start, limit, delta)
            ]
            yield Case(f"Range_{start}_{limit}_{np.dtype(dtype)}", "Range", inputs)
    for operator, periodic in product(
        ("HannWindow", "HammingWindow", "BlackmanWindow"), (0, 1)
    ):
        yield Case(
            f"{operator}_{periodic}",
            operator,
            [np.array(9, np.int64)],
            {"periodic": periodic},
        )
    mel: list[ARRAY | None] = [
        np.array(8, np.int64),
        np.array(32, np.int64),
        np.array(8000, np.int64),
    ]
    mel += [np.array(20, np.float32), np.array(4000, np.float32)]
    yield Case("MelWeightMatrix", "MelWeightMatrix", mel)


def main() -> None:
    """Writes all cases that ONNX Runtime runs, and why others are left out."""
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    folder = Path(sys.argv[1])
    data = Data()
    cases, left_out = [], []
    for family in (elementwise, casts, reductions, movements, positions):
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
