"""The TFLite converter's ways to quantize, from models of Keras 3 and of Keras 2."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from calipers_worker.gaps.stages import stage

Samples = list[dict[str, np.ndarray]]


@dataclass
class Quantized:
    """What a path makes: a .tflite file's content, and its model of fake quantization, if any."""

    content: bytes
    fake_quantized: Any = None


PathFunction = Callable[[Any, Samples, Path], Quantized]


def starts_from(module: ModuleType) -> Callable[[PathFunction], PathFunction]:
    """Marks a path with the Keras that its models are made of."""

    def mark(path: PathFunction) -> PathFunction:
        path.keras = module  # type: ignore[attr-defined]
        return path

    return mark


def calibration(samples: Samples) -> Callable[[], Iterator[Any]]:
    """The representative data set: a list of the one input, or several inputs by name."""

    def read() -> Iterator[Any]:
        with stage("calibrate"):
            for sample in samples:
                yield sample if len(sample) > 1 else list(sample.values())

    return read


def float_tflite(model: Any) -> bytes:
    """The model as a .tflite file that computes in float."""
    return tf.lite.TFLiteConverter.from_keras_model(model).convert()


def tflite_int8(model: Any, samples: Samples) -> Quantized:
    """Every operator in int8, or the converter refuses; the model's own inputs stay float."""
    with stage("prepare"):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = calibration(samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with stage("convert"):
        return Quantized(converter.convert())


def tflite_dynamic(model: Any) -> Quantized:
    """Weights in int8, activations quantized as the model runs."""
    with stage("prepare"):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    with stage("convert"):
        return Quantized(converter.convert())


def tflite_int16x8(model: Any, samples: Samples) -> Quantized:
    """Weights in int8, activations in int16."""
    with stage("prepare"):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = calibration(samples)
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]
    with stage("convert"):
        return Quantized(converter.convert())


def tflite_float16(model: Any) -> Quantized:
    """Weights in float16, arithmetic in float32."""
    with stage("prepare"):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    with stage("convert"):
        return Quantized(converter.convert())


@starts_from(keras)
def path_none(model: Any, samples: Samples, folder: Path) -> Quantized:  # noqa: ARG001
    """Nothing is quantized."""
    with stage("convert"):
        return Quantized(float_tflite(model))


@starts_from(keras)
def path_tflite_int8(model: Any, samples: Samples, folder: Path) -> Quantized:  # noqa: ARG001
    """Full int8 from Keras 3."""
    return tflite_int8(model, samples)


@starts_from(keras)
def path_tflite_dynamic(model: Any, samples: Samples, folder: Path) -> Quantized:  # noqa: ARG001
    """Dynamic range from Keras 3."""
    return tflite_dynamic(model)


@starts_from(keras)
def path_tflite_int16x8(model: Any, samples: Samples, folder: Path) -> Quantized:  # noqa: ARG001
    """int16 activations from Keras 3."""
    return tflite_int16x8(model, samples)


@starts_from(keras)
def path_tflite_float16(model: Any, samples: Samples, folder: Path) -> Quantized:  # noqa: ARG001
    """float16 weights from Keras 3."""
    return tflite_float16(model)


@starts_from(tf_keras)
def path_keras2_tflite_int8(model: Any, samples: Samples, folder: Path) -> Quantized:  # noqa: ARG001
    """Full int8 from Keras 2."""
    return tflite_int8(model, samples)


@starts_from(tf_keras)
def path_keras2_tflite_dynamic(model: Any, samples: Samples, folder: Path) -> Quantized:  # noqa: ARG001
    """Dynamic range from Keras 2."""
    return tflite_dynamic(model)


@starts_from(tf_keras)
def path_keras2_tflite_int16x8(model: Any, samples: Samples, folder: Path) -> Quantized:  # noqa: ARG001
    """int16 activations from Keras 2."""
    return tflite_int16x8(model, samples)


@starts_from(tf_keras)
def path_keras2_tflite_float16(model: Any, samples: Samples, folder: Path) -> Quantized:  # noqa: ARG001
    """float16 weights from Keras 2."""
    return tflite_float16(model)
