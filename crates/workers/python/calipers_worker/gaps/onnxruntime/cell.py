"""One cell: a layer as an ONNX model, quantized along one path, run, and looked into."""

import importlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from calipers_worker.gaps.onnxruntime.executed import executed_operators, stored_weights
from calipers_worker.gaps.stages import stage

Arrays = Mapping[str, np.ndarray]
LayerFunction = Callable[[Arrays], onnx.ModelProto]
PathFunction = Callable[[onnx.ModelProto, Sequence[Arrays], Path], Path]

# What the numbers are held against: QuantizeLinear and DequantizeLinear around float operators.
REFERENCE = "the same model, graph optimizations disabled"


def warm() -> None:
    """Import what is not imported with this file; no session is opened, as it starts threads."""
    importlib.import_module("onnxruntime.tools.symbolic_shape_infer")


def session_options() -> onnxruntime.SessionOptions:
    """The defaults, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return options


def outputs_of(
    model: str, samples: Sequence[Arrays], options: onnxruntime.SessionOptions
) -> list[np.ndarray]:
    """What the model in the file gives for each sample."""
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [session.run(None, dict(sample))[0] for sample in samples]


def reference_outputs(model: str, samples: Sequence[Arrays]) -> list[np.ndarray]:
    """What the model gives where nothing is fused: see REFERENCE."""
    options = session_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return outputs_of(model, samples, options)


def largest_difference(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float | None:
    """Max |ours - theirs| over all samples; None where a value is not finite."""
    pairs = zip(ours, theirs, strict=True)
    largest = float(np.max([np.max(np.abs(our - their)) for our, their in pairs]))
    return largest if np.isfinite(largest) else None


def run_cell(
    layer: LayerFunction,
    path: PathFunction,
    weights: Arrays,
    samples: Sequence[Arrays],
    expected: Sequence[np.ndarray] | None,
    folder: Path,
    *,
    planted: Arrays | None = None,
) -> dict[str, Any]:
    """Quantize the layer along the path; the artefact is left in `folder` as model.onnx.

    `planted` are weights to quantize in place of `weights`, for a control that must be seen.
    """
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        with stage("build"):
            model = layer(weights)
            native = str(scratch / "native.onnx")
            onnx.save(model, native)
            floats = outputs_of(native, samples, session_options())
            parity = largest_difference(floats, expected) if expected else None
        made = folder / "model.onnx"
        shutil.copyfile(path(layer(planted) if planted else model, samples, scratch), made)
        with stage("run"):
            quantized = outputs_of(str(made), samples, session_options())
            operators = executed_operators(str(made), samples[0], scratch, session_options())
        reference_model = made
        if planted:
            reference_model = path(model, samples, scratch)
        with stage("run"):
            reference = reference_outputs(str(reference_model), samples)
    error = largest_difference(quantized, floats)
    return {
        "parity": parity,
        "float_range": float(np.ptp(np.concatenate(floats))),
        "max_error": error,
        "finite": error is not None,
        "reference": REFERENCE,
        "reference_error": largest_difference(reference, floats),
        "reference_difference": largest_difference(quantized, reference),
        "operators": operators,
        "weights": stored_weights(onnx.load(made), weights),
        "kernels": [],
        "files": ["model.onnx"],
    }
