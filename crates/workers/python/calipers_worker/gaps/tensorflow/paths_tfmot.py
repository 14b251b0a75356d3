"""TensorFlow Model Optimization: training with fake quantization, then the TFLite converter."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from calipers_worker.gaps.stages import stage
from calipers_worker.gaps.tensorflow.paths_tflite import Quantized, Samples, starts_from

QAT_EPOCHS = 2
# TFMOT's ranges begin at -6 and 6 and forget a thousandth in each step.
OBSERVED_STEPS = 5000


def train_fake_quantized(model: Any, quantized: Any, samples: Samples) -> None:
    """Forward passes in training mode until the ranges are those of the samples, then a few steps.

    The statistics of batch normalization stay: those of single samples are not the model's.
    """
    for wrapper in quantized.layers:
        inner = getattr(wrapper, "layer", None)
        if isinstance(inner, tf_keras.layers.BatchNormalization):
            inner.trainable = False
    inputs = [np.concatenate(column) for column in zip(*(s.values() for s in samples), strict=True)]
    targets = np.concatenate([model.predict_on_batch(list(s.values())) for s in samples])

    @tf.function
    def observe() -> None:
        for _ in tf.range(OBSERVED_STEPS):
            quantized([tf.constant(column) for column in inputs], training=True)

    observe()
    quantized.compile(tf_keras.optimizers.SGD(1e-4), loss="mse")
    quantized.fit(inputs, targets, batch_size=1, epochs=QAT_EPOCHS, shuffle=False, verbose=0)


def convert_fake_quantized(quantized: Any) -> bytes:
    """The trained model as an int8 .tflite file."""
    converter = tf.lite.TFLiteConverter.from_keras_model(quantized)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


def custom_objects(model: Any) -> dict[str, Any]:
    """The layers and activations that are the user's own, by name: TFMOT rebuilds the model."""
    own = {}
    for layer in model.layers:
        for thing in (type(layer), getattr(layer, "activation", None)):
            if thing is not None and not thing.__module__.startswith("tf_keras."):
                own[thing.__name__] = thing
    return own


@starts_from(tf_keras)
def path_tfmot(model: Any, samples: Samples, folder: Path) -> Quantized:  # noqa: ARG001
    """The whole model by `quantize_model`."""
    with stage("prepare"), tfmot.quantization.keras.quantize_scope(custom_objects(model)):
        quantized = tfmot.quantization.keras.quantize_model(model)
    with stage("calibrate"):
        train_fake_quantized(model, quantized, samples)
    with stage("convert"):
        return Quantized(convert_fake_quantized(quantized), quantized)


def annotated(layer: Any) -> Any:
    """Annotates a layer, but no operator: TFMOT has no configuration for one."""
    if isinstance(layer, tf_keras.layers.InputLayer) or "OpLambda" in type(layer).__name__:
        return layer
    return tfmot.quantization.keras.quantize_annotate_layer(layer)


@starts_from(tf_keras)
def path_tfmot_annotated(model: Any, samples: Samples, folder: Path) -> Quantized:  # noqa: ARG001
    """Layer by layer by `quantize_annotate_layer`, then `quantize_apply`."""
    with stage("prepare"), tfmot.quantization.keras.quantize_scope(custom_objects(model)):
        marked = tf_keras.models.clone_model(model, clone_function=annotated)
        quantized = tfmot.quantization.keras.quantize_apply(marked)
    with stage("calibrate"):
        train_fake_quantized(model, quantized, samples)
    with stage("convert"):
        return Quantized(convert_fake_quantized(quantized), quantized)
