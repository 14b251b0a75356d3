"""AI Edge Quantizer: from a float .tflite file to a quantized one, by its recipes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tf_keras
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import (
    algorithm_manager,
    calibrator,
    qtyping,
    quantizer,
    recipe,
    recipe_manager,
)
from ai_edge_quantizer.utils import qsv_utils

from calipers_worker.batches import DataFile
from calipers_worker.protocol import Reporter
from calipers_worker.recipes import source_of
from calipers_worker.tensorflow.quantize import Converted, convert_float
from calipers_worker.tensorflow.train import channels_last

Signatures = Mapping[str, Iterable[dict[str, np.ndarray]]]


def static(float_file: bytes) -> quantizer.Quantizer:
    """int8 weights and activations with fixed scales; input and output of the file stay float."""
    quantization = quantizer.Quantizer(float_file, recipe.static_wi8_ai8())
    for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        quantization.update_quantization_recipe(
            ".*", end, algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE
        )
    return quantization


def dynamic(float_file: bytes) -> quantizer.Quantizer:
    """int8 weights, activations quantized as the model runs."""
    return quantizer.Quantizer(float_file, recipe.dynamic_wi8_afp32())


def weight_only(float_file: bytes) -> quantizer.Quantizer:
    """int8 weights, arithmetic in float."""
    return quantizer.Quantizer(float_file, recipe.weight_only_wi8_afp32())


def calibrate(
    quantization: quantizer.Quantizer, _float_file: bytes, samples: Signatures, threads: int
) -> Any:
    """The ranges as the quantizer finds them: moving averages that begin at the first sample."""
    return quantization.calibrate(samples, num_threads=threads)


def calibrate_min_max(
    quantization: quantizer.Quantizer, float_file: bytes, samples: Signatures, threads: int
) -> Any:
    """The ranges from the least to the largest value of all samples, so that none is clipped.

    A moving average forgets a twentieth with each sample, so it depends on their order, and it is
    an average of extremes, which by its nature clips.
    """
    ranges = calibrator.Calibrator(
        float_file, num_threads=threads, qsv_update_func=qsv_utils.min_max_update
    )
    steps = recipe_manager.RecipeManager()
    steps.load_quantization_recipe(quantization.get_quantization_recipe())
    ranges.calibrate(samples, steps)
    return ranges.get_model_qsvs()


def quantize(quantization: quantizer.Quantizer, ranges: Any) -> bytes:
    """The quantized file."""
    return bytes(quantization.quantize(ranges).quantized_model)


RECIPES = {"ptq-static": static, "ptq-dynamic": dynamic, "weight-only": weight_only}


def quantize_file(
    variant: str,
    tuned: bool,
    model: tf_keras.Model,
    calibration: Callable[[], DataFile],
    threads: int,
    reporter: Reporter,
) -> Converted:
    """The quantized file of `model`; `calibration` is opened where the recipe asks for ranges."""
    recipe_of_variant = RECIPES[variant]
    functions: list[Callable[..., Any]] = [convert_float, recipe_of_variant]
    with reporter.stage("prepare") as prepare:
        float_file = convert_float(model)
        quantization = recipe_of_variant(float_file)
    ranges, samples, seconds = None, 0, 0.0
    if quantization.need_calibration:
        data, find_ranges = calibration(), calibrate_min_max if tuned else calibrate
        functions.append(find_ranges)
        with reporter.stage("calibrate") as watch:
            named = _by_signature(float_file, data, reporter)
            ranges, samples = find_ranges(quantization, float_file, named, threads), data.count
        seconds = watch.seconds
    with reporter.stage("convert") as convert:
        content = quantize(quantization, ranges)
    return Converted(
        content,
        source_of(*functions, quantize),
        prepare.seconds,
        seconds,
        convert.seconds,
        samples,
    )


def _by_signature(float_file: bytes, data: DataFile, reporter: Reporter) -> Signatures:
    """The samples for the file's only signature, by the name of its only input."""
    ((key, ends),) = Interpreter(model_content=float_file).get_signature_list().items()
    return {key: _Samples(data, ends["inputs"][0], reporter)}


class _Samples:
    """Every sample as the quantizer wants it: inputs by name, each with a batch of one.

    It goes through them twice, the first time to count them.
    """

    def __init__(self, data: DataFile, name: str, reporter: Reporter) -> None:
        self.data, self.name, self.reporter = data, name, reporter

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for index in range(self.data.count):
            yield {self.name: channels_last(self.data.floats(index, index + 1))}
            self.reporter.progress(index + 1, self.data.count)
