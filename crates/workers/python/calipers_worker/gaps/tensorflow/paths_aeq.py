"""AI Edge Quantizer: from a float .tflite file to a quantized one, by its recipes."""

from pathlib import Path
from typing import Any

import keras
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe

from calipers_worker.gaps.stages import stage
from calipers_worker.gaps.tensorflow.paths_tflite import (
    Quantized,
    Samples,
    float_tflite,
    starts_from,
)

# Its ranges are moving averages that begin at the first sample and forget a twentieth with each.
CALIBRATION_ROUNDS = 25


def quantize_by_recipe(model: Any, samples: Samples, folder: Path, steps: Any) -> Quantized:
    """The float file quantized as `steps` say, calibrated on the samples where they ask for it."""
    float_file = folder / "float.tflite"
    with stage("prepare"):
        float_file.write_bytes(float_tflite(model))
        quantization = quantizer.Quantizer(str(float_file), steps)
    ranges = None
    if quantization.need_calibration:
        with stage("calibrate"):
            signatures = Interpreter(str(float_file)).get_signature_list()
            (key,) = signatures
            names = signatures[key]["inputs"]
            named = [s if len(names) > 1 else {names[0]: s[next(iter(s))]} for s in samples]
            ranges = quantization.calibrate({key: named * CALIBRATION_ROUNDS})
    with stage("convert"):
        result = quantization.quantize(ranges) if ranges else quantization.quantize()
        return Quantized(bytes(result.quantized_model))


@starts_from(keras)
def path_aeq_static(model: Any, samples: Samples, folder: Path) -> Quantized:
    """int8 weights and activations with fixed scales."""
    return quantize_by_recipe(model, samples, folder, recipe.static_wi8_ai8())


@starts_from(keras)
def path_aeq_dynamic(model: Any, samples: Samples, folder: Path) -> Quantized:
    """int8 weights, activations quantized as the model runs."""
    return quantize_by_recipe(model, samples, folder, recipe.dynamic_wi8_afp32())


@starts_from(keras)
def path_aeq_weight_only(model: Any, samples: Samples, folder: Path) -> Quantized:
    """int8 weights, arithmetic in float."""
    return quantize_by_recipe(model, samples, folder, recipe.weight_only_wi8_afp32())


@starts_from(keras)
def path_aeq_4bit(model: Any, samples: Samples, folder: Path) -> Quantized:
    """4-bit weights in blocks of 32, activations quantized as the model runs."""
    return quantize_by_recipe(model, samples, folder, recipe.dynamic_wi4b32_afp32())


@starts_from(keras)
def path_aeq_2bit(model: Any, samples: Samples, folder: Path) -> Quantized:
    """2-bit weights in blocks of 32, activations quantized as the model runs."""
    return quantize_by_recipe(model, samples, folder, recipe.dynamic_wi2b32_afp32())
