"""Runs models in ONNX Runtime: schemes.py FOLDER.

FOLDER/cases.json lists the cases: a name, whose model is NAME.onnx, and inputs by name with type, shape and raw file.
The first output of each is written as raw f32 to NAME.out. Prints, as JSON, for each name how often each operator
stands in the optimized graph, or what went wrong.
"""

import collections
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime


def run(folder: Path, case: dict) -> dict:
    """Check one model and run it once."""
    name = case["name"]
    path = folder / f"{name}.onnx"
    onnx.checker.check_model(str(path), full_check=True)
    optimized = folder / f"{name}.optimized.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(optimized)
    options.log_severity_level = 3
    # Processors without VNNI saturate sums of two products otherwise.
    options.add_session_config_entry("session.x64quantprecision", "1")
    # Products with weights of few bits would quantize their activations to 8 bits otherwise.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    inputs = {
        each["name"]: np.fromfile(folder / each["file"], each["type"]).reshape(
            each["shape"]
        )
        for each in case["inputs"]
    }
    output = session.run(None, inputs)[0]
    np.asarray(output, np.float32).tofile(folder / f"{name}.out")
    nodes = onnx.load(optimized).graph.node
    return {"nodes": collections.Counter(node.op_type for node in nodes)}


def main() -> None:
    """Run every case."""
    folder = Path(sys.argv[1])
    answer = {}
    for case in json.loads((folder / "cases.json").read_text()):
        try:
            answer[case["name"]] = run(folder, case)
        except Exception as error:
            answer[case["name"]] = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
