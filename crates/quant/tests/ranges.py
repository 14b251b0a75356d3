"""Ranges of numbers by numpy and ONNX Runtime: ranges.py FOLDER.

FOLDER holds `NAME.bin` files of raw little-endian f32. Prints, as JSON, for each name: quantiles over all numbers
(numpy), the percentile and entropy ranges of ONNX Runtime's calibration, and the squared error of every range that
cuts both ends in steps of 2^(-1/12), for u8 with a zero point.
"""

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np
from onnxruntime.quantization.calibrate import HistogramCollector

PERCENTS = (99.0, 99.9, 99.99)


def collect(data: np.ndarray, method: str, percent: float) -> list[float]:
    """Range that ONNX Runtime finds with 2,048 bins over all numbers, in two batches."""
    collector = HistogramCollector(
        method=method,
        symmetric=False,
        num_bins=2048,
        num_quantized_bins=128,
        percentile=percent,
        scenario="same",
    )
    with contextlib.redirect_stdout(io.StringIO()):
        collector.collect({"x": data})
        low, high = collector.compute_collection_result()["x"][:2]
    return [float(low), float(high)]


def squared_error(data: np.ndarray, low: float, high: float) -> float:
    """Mean squared error of u8 over [low, high], which holds zero."""
    scale = (high - low) / 255
    zero = np.round(-low / scale)
    q = np.clip(np.round(data / scale) + zero, 0, 255)
    return float(np.mean((data - scale * (q - zero)) ** 2))


def least_error(data: np.ndarray) -> float:
    """Least error over a grid of ranges."""
    low, high = min(0.0, float(data.min())), max(0.0, float(data.max()))
    factors = 2.0 ** (-np.arange(0, 60, 3) / 12)
    lows = low * factors if low < 0 else [0.0]
    highs = high * factors if high > 0 else [0.0]
    return min(squared_error(data, a, b) for a in lows for b in highs if b - a > 1e-30)


def main() -> None:
    """Measure every file."""
    answer = {}
    for file in sorted(Path(sys.argv[1]).glob("*.bin")):
        data = np.fromfile(file, np.float32)
        quantiles = {
            str(percent): [
                float(np.quantile(data.astype(np.float64), q))
                for q in (0.5 - percent / 200, 0.5 + percent / 200)
            ]
            for percent in PERCENTS
        }
        wide = data.astype(np.float64)
        entry = {"quantiles": quantiles, "least_error": least_error(wide)}
        chosen = Path(f"{file.with_suffix('')}.mse")
        if chosen.exists():
            low, high = (float(text) for text in chosen.read_text().split())
            entry["our_error"] = squared_error(wide, min(low, 0.0), max(high, 0.0))
        entry["percentile"] = {str(p): collect(data, "percentile", p) for p in PERCENTS}
        if data.min() < 0 < data.max():
            entry["entropy"] = collect(data, "entropy", 99.9)
        answer[file.stem] = entry
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
