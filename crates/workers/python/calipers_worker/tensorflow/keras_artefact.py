"""A Keras file, run as a traced function of TensorFlow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from calipers_worker.latency import time_calls
from calipers_worker.tensorflow import keras_trace
from calipers_worker.tensorflow.artefacts import KERAS_FILE, Artefact, existing


class KerasArtefact(Artefact):
    """A Keras model, run as a tf.function: one trace for any batch, one for each size to time."""

    def __init__(self, model: tf_keras.Model) -> None:
        _, height, width, channels = model.input_shape
        super().__init__((None, channels, height, width))
        self.model = model
        self._traces: dict[int | None, Callable[[tf.Tensor], tf.Tensor]] = {}

    @classmethod
    def load(cls, folder: Path) -> "KerasArtefact":
        """Load `model.keras` from `folder`; nothing in the file is run as code."""
        path = existing(folder / KERAS_FILE)
        return cls(tf_keras.models.load_model(path, compile=False, safe_mode=True))

    def _infer(self, batch: int | None) -> Any:
        """The model traced for batches of one size, or of any where it is None."""
        if batch not in self._traces:
            self._traces[batch] = self._traced(batch)
        return self._traces[batch]

    def _traced(self, batch: int | None) -> Any:
        """The model traced anew."""
        infer = tf.function(lambda images: self.model(images, training=False))
        shape = [batch, *self.model.input_shape[1:]]
        return infer.get_concrete_function(tf.TensorSpec(shape, tf.float32))

    def operators(self) -> list[dict[str, Any]]:
        """What the executor ran of the trace for one sample, after its rewriting."""
        infer = self._traced(1)
        image = tf.zeros([1, *self.model.input_shape[1:]])
        infer(image)
        return keras_trace.executed_operators(keras_trace.trace(infer, [image], 1), infer.graph)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The logits of a batch of images [N,H,W,C]."""
        return self._infer(None)(tf.constant(images)).numpy()

    def time(self, images: list[np.ndarray], count: int, warm_up: int) -> list[int]:
        """Times the tensor to array call; the images are tensors before the first reading."""
        infer = self._infer(len(images[0]))
        batches = [tf.constant(batch) for batch in images]
        return time_calls(lambda batch: infer(batch).numpy(), batches, count, warm_up)

    def profile(self, images: list[np.ndarray], count: int) -> dict[str, Any]:
        """The executor's kernels, by TensorFlow's profiler."""
        infer, inputs = self._traced(1), [tf.constant(image) for image in images]

        def call(image: tf.Tensor) -> np.ndarray:
            return infer(image).numpy()

        call(inputs[0])
        keras_trace.trace(call, inputs, count)
        trace = keras_trace.trace(call, inputs, count)
        return {
            "profiler": keras_trace.PROFILER,
            "resolution_nanoseconds": keras_trace.RESOLUTION_NANOSECONDS,
            "wall_nanoseconds": trace.wall_nanoseconds,
            "bytes_are": keras_trace.BYTES_ARE,
            "operators": keras_trace.profiled_operators(trace, infer.graph),
        }
