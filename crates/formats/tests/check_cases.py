"""Checks models written from the test cases of the ONNX project: `check_cases.py CASES WRITTEN`.

For each WRITTEN/NAME.onnx: it must pass the ONNX checker, and give what CASES/NAME.onnx gives in ONNX Runtime on the
case's inputs (CASES/NAME.0.onnx), equal up to rounding. Originals that the checker refuses need not pass, those that
ONNX Runtime cannot run are not compared. Prints one line per failure, then the counts.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper


def run(path: Path, feeds: list[np.ndarray]) -> list[np.ndarray]:
    """Runs a model on the inputs of a case, by position."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    )
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, feeds, strict=False)))


def invalid(path: Path) -> str | None:
    """What the checker of onnx says against a model."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:
        return str(error).strip().splitlines()[0]
    return None


def close(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two results are the same but for rounding."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.kind in "fc":
        return np.allclose(left, right, rtol=1e-4, atol=1e-5, equal_nan=True)
    return np.array_equal(left, right)


def main() -> None:
    """Checks all written models."""
    cases, written = Path(sys.argv[1]), Path(sys.argv[2])
    checked = compared = failed = 0
    for path in sorted(written.glob("*.onnx")):
        problem = invalid(path)
        if problem is None:
            checked += 1
        elif invalid(cases / path.name) is None:
            failed += 1
            print(f"invalid {path.stem}: {problem}")
            continue
        data = onnx.load(cases / f"{path.stem}.0.onnx").graph.initializer
        feeds = [
            numpy_helper.to_array(tensor)
            for tensor in data
            if tensor.name.startswith("input_")
        ]
        try:
            expected = run(cases / path.name, feeds)
        except Exception:
            continue
        try:
            found = run(path, feeds)
        except Exception as error:
            failed += 1
            print(f"does not run {path.stem}: {str(error).strip().splitlines()[0]}")
            continue
        pairs = zip(found, expected, strict=True)
        if all(close(left, right) for left, right in pairs):
            compared += 1
        else:
            failed += 1
            print(f"differs {path.stem}")
    print(f"checked {checked} compared {compared} failed {failed}")


if __name__ == "__main__":
    main()
