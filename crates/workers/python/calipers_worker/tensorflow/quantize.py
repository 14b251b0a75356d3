"""The TFLite converter's ways to quantize after training, and its float file."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras

from calipers_worker.batches import DataFile
from calipers_worker.protocol import Reporter
from calipers_worker.recipes import source_of
from calipers_worker.tensorflow.train import channels_last

RepresentativeDataset = Callable[[], Iterator[list[np.ndarray]]]


@dataclass(frozen=True)
class Converted:
    """A .tflite file's content, its recipe, and the seconds that its making took, by stage.

    `samples` is how many it was calibrated on.
    """

    content: bytes
    recipe: str
    prepare_seconds: float
    calibrate_seconds: float
    convert_seconds: float
    samples: int


def convert_float(model: tf_keras.Model) -> bytes:
    """A .tflite file that computes in float, for any batch."""
    return tf.lite.TFLiteConverter.from_keras_model(model).convert()


def dynamic_range(model: tf_keras.Model) -> tf.lite.TFLiteConverter:
    """Weights of 1024 elements and more in int8, activations quantized as the model runs."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter


def float16(model: tf_keras.Model) -> tf.lite.TFLiteConverter:
    """Weights in float16, arithmetic in float32."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return converter


def full_integer(
    model: tf_keras.Model, representative_dataset: RepresentativeDataset
) -> tf.lite.TFLiteConverter:
    """Every operator in int8, or the converter refuses; float32 input and output."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = representative_dataset
    return converter


def int16_activations(
    model: tf_keras.Model, representative_dataset: RepresentativeDataset
) -> tf.lite.TFLiteConverter:
    """Weights in int8, activations in int16; float32 input and output."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    ]
    converter.representative_dataset = representative_dataset
    return converter


def convert(converter: tf.lite.TFLiteConverter) -> bytes:
    """Run the converter."""
    return converter.convert()


CALIBRATED = {
    ("tflite", "ptq-static"): full_integer,
    ("tflite-int16x8", "ptq-static"): int16_activations,
}
UNCALIBRATED = {
    ("tflite", "ptq-dynamic"): dynamic_range,
    ("tflite-float16", "weight-only"): float16,
}


def convert_calibrated(
    path: str, variant: str, model: tf_keras.Model, calibration: DataFile, reporter: Reporter
) -> Converted:
    """A file whose activations have fixed scales, from every sample of `calibration` by itself."""
    recipe = CALIBRATED[path, variant]
    samples = _Samples(calibration, reporter)
    with reporter.stage("prepare") as prepare:
        converter = recipe(model, samples.read)
    with reporter.stage("convert") as watch:
        content = convert(converter)
    return Converted(
        content,
        source_of(recipe, convert),
        prepare.seconds,
        samples.seconds,
        max(watch.seconds - samples.seconds, 0.0),
        calibration.count,
    )


def convert_uncalibrated(
    path: str, variant: str, model: tf_keras.Model, reporter: Reporter
) -> Converted:
    """A file whose weights alone are stored in fewer bits."""
    recipe = UNCALIBRATED[path, variant]
    with reporter.stage("prepare") as prepare:
        converter = recipe(model)
    with reporter.stage("convert") as watch:
        content = convert(converter)
    return Converted(
        content, source_of(recipe, convert), prepare.seconds, 0.0, watch.seconds, samples=0
    )


class _Samples:
    """The representative data set, and the seconds from its first sample to its last."""

    def __init__(self, data: DataFile, reporter: Reporter) -> None:
        self.data = data
        self.reporter = reporter
        self.seconds = 0.0

    def read(self) -> Iterator[list[np.ndarray]]:
        """Every sample as the converter wants it: a list of inputs, each with a batch of one."""
        started = time.perf_counter()
        with self.reporter.stage("calibrate"):
            for index in range(self.data.count):
                yield [channels_last(self.data.floats(index, index + 1))]
                self.reporter.progress(index + 1, self.data.count)
        self.seconds += time.perf_counter() - started
