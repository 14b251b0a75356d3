"""Runs a model in ONNX Runtime: run_onnx.py MODEL INPUT OUTPUT COUNT CHANNELS HEIGHT WIDTH.

INPUT and OUTPUT are raw little-endian f32. Prints how often each operator stands in the optimized graph, as JSON.
"""

import collections
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime


def main() -> None:
    """Run the model once on the whole input."""
    model, source, target = sys.argv[1:4]
    shape = [int(extent) for extent in sys.argv[4:]]
    onnx.checker.check_model(model, full_check=True)
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.optimized_model_filepath = str(optimized)
        options.log_severity_level = 3
        # Processors without VNNI saturate sums of two products otherwise.
        options.add_session_config_entry("session.x64quantprecision", "1")
        session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        nodes = onnx.load(optimized).graph.node
    name = session.get_inputs()[0].name
    outputs = session.run(None, {name: np.fromfile(source, np.float32).reshape(shape)})
    np.asarray(outputs[0], np.float32).tofile(target)
    print(json.dumps(collections.Counter(node.op_type for node in nodes)))


if __name__ == "__main__":
    main()
