"""Golden scales, zero points and integers of ONNX Runtime's quantizer.

Run with an interpreter that has onnxruntime and onnx: python scales.py > scales.json
"""

import json
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto
from onnxruntime.quantization.quant_utils import (
    compute_data_quant_params,
    compute_scale_zp,
    get_qmin_qmax_for_qType,
    quantize_nparray,
)

TYPES = {"u8": TensorProto.UINT8, "i8": TensorProto.INT8}


def ranges() -> list[tuple[float, float]]:
    """Ranges of every kind: around zero, on one side of it, tiny, huge, degenerate."""
    generator = np.random.default_rng(11)
    drawn = [tuple(sorted(pair)) for pair in generator.normal(0, 3, (40, 2)).tolist()]
    fixed = [
        (0.0, 0.0),
        (0.0, 6.0),
        (-1.0, 1.0),
        (-6.0, 0.0),
        (2.0, 3.0),
        (-3.0, -2.0),
        (-0.5, 254.5),
        (-1.5, 253.5),
        (-1e-6, 1e-6),
        (0.0, 1e-38),
        (0.0, 3e-36),
        (-3.0e38, 3.0e38),
    ]
    return fixed + drawn


def activations() -> list[dict[str, object]]:
    """`compute_scale_zp` over the ranges, for each type and scheme."""
    cases: list[dict[str, object]] = []
    for low, high in ranges():
        for name, dtype in TYPES.items():
            for symmetric in (False, True):
                qmin, qmax = get_qmin_qmax_for_qType(
                    dtype, reduce_range=False, symmetric=symmetric
                )
                rmin, rmax = np.array(low, np.float32), np.array(high, np.float32)
                zero_point, scale = compute_scale_zp(rmin, rmax, qmin, qmax, symmetric)
                cases.append(
                    {
                        "min": float(rmin),
                        "max": float(rmax),
                        "type": name,
                        "symmetric": symmetric,
                        "scale": float(np.float32(scale)),
                        "zero_point": int(zero_point),
                    }
                )
    return cases


def weights() -> list[dict[str, object]]:
    """Symmetric i8 weights, one scale for all."""
    generator = np.random.default_rng(12)
    cases: list[dict[str, object]] = []
    for size in (1, 7, 64):
        data = generator.normal(0, 0.1, size).astype(np.float32)
        zero_point, scale = compute_data_quant_params(
            data, TensorProto.INT8, symmetric=True
        )
        quantized = quantize_nparray(TensorProto.INT8, data, scale, zero_point)
        cases.append(
            {
                "weight": data.tolist(),
                "scale": [float(np.float32(scale))],
                "quantized": quantized.tolist(),
            }
        )
    return cases


def main() -> None:
    """Write the golden file to standard output."""
    golden = {
        "onnxruntime": onnxruntime.__version__,
        "activations": activations(),
        "weights": weights(),
    }
    json.dump(golden, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
