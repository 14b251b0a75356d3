"""One cell: a layer's native float model, its quantized form by a path, and what LiteRT ran."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from calipers_worker.gaps.stages import stage
from calipers_worker.gaps.tensorflow.litert_profile import NotProfiled, litert_kernels
from calipers_worker.gaps.tensorflow.paths_tflite import Quantized, Samples
from calipers_worker.gaps.tensorflow.tflite_operators import (
    tflite_operators,
    tflite_trace,
    tflite_weights,
)

INPUT_ORDER = ("x", "ids")
TFLITE_FILE = "model.tflite"
NEEDED = ("keras", "tf_keras", "tensorflow_model_optimization", "ai_edge_quantizer.quantizer")


def warm() -> None:
    """Import what cells need; TensorFlow starts its threads at the first tensor, not here."""
    for name in NEEDED:
        importlib.import_module(name)


def keras_inputs(sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A sample as the Keras model takes it: images with channels last, tokens in int32."""
    given = {}
    for name in INPUT_ORDER:
        if name in sample:
            value = sample[name]
            value = value.astype(np.int32) if name == "ids" else value.astype(np.float32)
            given[name] = value.transpose(0, 2, 3, 1) if value.ndim == 4 else value
    return given


def channels_first(output: Any) -> np.ndarray:
    """An output of the Keras model as the samples' expected outputs are."""
    output = np.asarray(output)
    return output.transpose(0, 3, 1, 2) if output.ndim == 4 else output


def keras_outputs(model: Any, inputs: Samples) -> list[np.ndarray]:
    """What a Keras model gives in evaluation mode."""
    outputs = []
    for sample in inputs:
        given = list(sample.values())
        outputs.append(channels_first(model(given if len(given) > 1 else given[0], training=False)))
    return outputs


def quantized_number(value: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """A float input as the file takes it."""
    if not np.issubdtype(detail["dtype"], np.integer) or value.dtype != np.float32:
        return value.astype(detail["dtype"])
    scale, zero_point = detail["quantization"]
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.round(value / scale) + zero_point, limits.min, limits.max).astype(
        detail["dtype"]
    )


def real_number(value: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """An output of the file in float."""
    if not np.issubdtype(value.dtype, np.integer):
        return value
    scale, zero_point = detail["quantization"]
    return ((value.astype(np.float32) - zero_point) * scale).astype(np.float32)


def litert_outputs(content: bytes, inputs: Samples, kernels: OpResolverType) -> list[np.ndarray]:
    """What LiteRT gives for the file with one set of its kernels."""
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    (gives,) = interpreter.get_output_details()
    outputs = []
    for sample in inputs:
        # A fused LSTM keeps its state from one inference to the next.
        interpreter.reset_all_variables()
        for takes in interpreter.get_input_details():
            # A file may lack the names of the inputs; these differ in rank.
            (value,) = (one for one in sample.values() if one.ndim == len(takes["shape"]))
            interpreter.set_tensor(takes["index"], quantized_number(value, takes))
        interpreter.invoke()
        value = interpreter.get_tensor(gives["index"])
        outputs.append(channels_first(real_number(value, gives)))
    return outputs


def largest_difference(some: list[np.ndarray], others: list[np.ndarray]) -> float | None:
    """The largest |some - others|, or None where it is not a number."""
    largest = max(float(np.abs(a - b).max()) for a, b in zip(some, others, strict=True))
    return largest if np.isfinite(largest) else None


def compared_with_reference(
    quantized: Quantized,
    inputs: Samples,
    outputs: list[np.ndarray],
    float_outputs: list[np.ndarray],
) -> dict[str, Any]:
    """How far `outputs` are from the fake-quantized model's or LiteRT's reference kernels'."""
    try:
        if quantized.fake_quantized is not None:
            reference = "fake-quantized Keras model"
            reference_outputs = keras_outputs(quantized.fake_quantized, inputs)
        else:
            reference = "LiteRT reference kernels"
            kernels = OpResolverType.BUILTIN_REF
            reference_outputs = litert_outputs(quantized.content, inputs, kernels)
    except (RuntimeError, ValueError) as refusal:
        return {"reference_note": f"{reference}: {refusal}"}
    return {
        "reference": reference,
        "reference_error": largest_difference(reference_outputs, float_outputs),
        "reference_difference": largest_difference(outputs, reference_outputs),
    }


def run_cell(
    layer: Callable[..., Any],
    path: Callable[..., Any],
    weights: dict[str, np.ndarray],
    samples: list[dict[str, np.ndarray]],
    expected: list[np.ndarray] | None,
    folder: Path,
    planted: dict[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """What comes of `layer` through `path`; `planted` are weights to quantize in others' stead."""
    inputs = [keras_inputs(sample) for sample in samples]
    with stage("build"):
        model = layer(path.keras, weights)
        float_outputs = keras_outputs(model, inputs)
        given = layer(path.keras, planted) if planted else model
    quantized = path(given, inputs, folder)
    unplanted = path(model, inputs, folder) if planted else quantized
    with stage("run"):
        (folder / TFLITE_FILE).write_bytes(quantized.content)
        trace = tflite_trace(quantized.content, {name.split(".")[0] for name in weights})
        outputs = litert_outputs(quantized.content, inputs, OpResolverType.AUTO)
        answer: dict[str, Any] = {
            "parity": largest_difference(float_outputs, expected) if expected else None,
            "float_range": float(max(y.max() for y in float_outputs))
            - float(min(y.min() for y in float_outputs)),
            "max_error": largest_difference(outputs, float_outputs),
            "finite": all(bool(np.isfinite(y).all()) for y in outputs),
            **compared_with_reference(unplanted, inputs, outputs, float_outputs),
            "operators": trace,
            "weights": tflite_weights(tflite_operators(quantized.content)),
            "kernels": [],
            "files": sorted(file.name for file in folder.iterdir()),
        }
        try:
            answer["kernels"] = litert_kernels(folder / TFLITE_FILE)
        except NotProfiled as refusal:
            answer["kernels_note"] = str(refusal)
    return answer
