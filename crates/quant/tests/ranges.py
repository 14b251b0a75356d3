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


def divergence(p: np.ndarray, inner: np.ndarray) -> float:
    """Divergence of p from the inner distribution reduced to 128 levels and spread over the bins that p fills."""
    size = max(len(p) // 128, 1)
    q = np.full(len(p), 1e-4)
    for level in range(min(128, len(p))):
        part = slice(level * size, len(p) if level == 127 else (level + 1) * size)
        filled = p[part] > 0
        if filled.any():
            mean = inner[part].sum() / filled.sum()
            q[part][filled] = max(mean, 1e-4)
    p, q = p / p.sum(), q / q.sum()
    kept = p > 0
    return float(np.sum(p[kept] * np.log(p[kept] / q[kept])))


def entropy(data: np.ndarray) -> list[float]:
    """Range of least divergence, by bins of 1/256, which all numbers below 4 in magnitude share."""
    two_sides = bool(data.min() < 0)
    edges = np.arange(-1024 if two_sides else 0, 1025) / 256
    counts = np.histogram(data, edges)[0].astype(np.float64)
    zero = 1024 if two_sides else 0
    best, threshold = np.inf, 4.0
    for half in range(64 if two_sides else 128, 1025):
        start, end = (zero - half if two_sides else 0), zero + half
        inner = counts[start:end]
        p = inner.copy()
        p[0] += counts[:start].sum()
        p[-1] += counts[end:].sum()
        found = divergence(p, inner)
        if found < best:
            best, threshold = found, half / 256
    low, high = max(float(data.min()), -threshold), min(float(data.max()), threshold)
    return [low, high]


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
        entry["entropy"] = entropy(wide)
        if data.min() < 0 < data.max():
            entry["onnx_runtime_entropy"] = collect(data, "entropy", 99.9)
        answer[file.stem] = entry
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
