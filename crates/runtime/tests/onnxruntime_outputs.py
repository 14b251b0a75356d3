"""Runs every model of a folder in ONNX Runtime: NAME.onnx on NAME.inputs.safetensors, to NAME.outputs.safetensors.

Writes operators.json too: for each model the operators of the graph that ONNX Runtime made of it.
"""

import json
import sys
from pathlib import Path

import onnx
import onnxruntime
from safetensors.numpy import load_file, save_file


def run(model: Path, folder: Path) -> list[str]:
    """Runs one model; returns the operators that ran."""
    optimized = folder / f"{model.stem}.optimized"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # Without this, ONNX Runtime runs patterns of signed activations in f32 on x86-64.
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.optimized_model_filepath = str(optimized)
    session = onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"]
    )
    inputs = load_file(folder / f"{model.stem}.inputs.safetensors")
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, inputs), strict=True))
    save_file(outputs, folder / f"{model.stem}.outputs.safetensors")
    graph = onnx.load(optimized).graph
    return [node.op_type for node in graph.node]


def main() -> None:
    """Runs all models of the folder that the command line names."""
    folder = Path(sys.argv[1])
    operators = {
        model.stem: run(model, folder) for model in sorted(folder.glob("*.onnx"))
    }
    (folder / "operators.json").write_text(json.dumps(operators))


if __name__ == "__main__":
    main()
