"""TensorFlow's own ways to an int8 model: the converter's calibration, and TFMOT's training."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from calipers_worker.batches import DataFile
from calipers_worker.protocol import Reporter
from calipers_worker.tensorflow.train import channels_last


@dataclass(frozen=True)
class Converted:
    """A .tflite file's content, and the seconds that its making took, by stage."""

    content: bytes
    prepare_seconds: float
    calibrate_seconds: float
    convert_seconds: float


def fake_quantized(model: tf_keras.Model) -> tf_keras.Model:
    """TFMOT's model for quantization-aware training, with a copy of `model`'s weights."""
    return tfmot.quantization.keras.quantize_model(model)


def convert_fake_quantized(model: tf_keras.Model) -> bytes:
    """The int8 model of a trained TFMOT model; float32 input and output."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


def quantize_after_training(
    model: tf_keras.Model, calibration: DataFile, reporter: Reporter
) -> Converted:
    """The converter's full-integer model of `model`, calibrated on every sample one by one.

    Its input and output stay float32; every operator between them must have an int8 form.
    """
    with reporter.stage("prepare") as prepare:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        samples = _Samples(calibration, reporter)
        converter.representative_dataset = samples.read
    with reporter.stage("convert") as convert:
        content = converter.convert()
    return Converted(
        content, prepare.seconds, samples.seconds, max(convert.seconds - samples.seconds, 0.0)
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
                yield [channels_last(self.data.sample(index))]
                self.reporter.progress(index + 1, self.data.count)
        self.seconds += time.perf_counter() - started
