"""Checks files that this crate wrote: `check_models.py ORIGINAL WRITTEN [ORIGINAL WRITTEN ...]`.

Each written file must pass the ONNX checker with full checks, and give the same bits in ONNX Runtime as the original.
An original of `-` means that there is none to compare with. Prints one line per pair; fails on the first that differs.
"""

import sys

import numpy as np
import onnx
import onnxruntime


def run(path: str, optimize: bool) -> list[np.ndarray]:
    """Runs a model on seeded normal numbers, symbolic extents being 2."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if not optimize:
        options.graph_optimization_level = (
            onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        )
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    random = np.random.default_rng(0)
    feeds = {}
    for value in session.get_inputs():
        shape = [extent if isinstance(extent, int) else 2 for extent in value.shape]
        feeds[value.name] = random.standard_normal(shape).astype(np.float32)
    return session.run(None, feeds)


def main() -> None:
    """Checks all pairs."""
    print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
    for original, written in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        onnx.checker.check_model(written, full_check=True)
        compared = 0
        for optimize in (False, True):
            found = run(written, optimize)
            expected = found if original == "-" else run(original, optimize)
            assert len(found) == len(expected) > 0, written
            for left, right in zip(found, expected, strict=True):
                assert left.dtype == right.dtype and left.shape == right.shape, written
                assert left.size > 0 and np.array_equal(left, right), (
                    f"{written} differs from {original}"
                )
                compared += left.size
        print("equal", written, compared)


if __name__ == "__main__":
    main()
