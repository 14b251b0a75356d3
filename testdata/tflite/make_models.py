"""Makes the TFLite files of this folder: `python make_models.py`, with the workers' TensorFlow environment.

Small networks with seeded weights, as the TFLite converter writes them in each of its ways to quantize.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

FOLDER = Path(__file__).parent


def image_network(batch: int | None) -> tf_keras.Model:
    """Convolutions, pooling; 1,280 weights in one layer."""
    x = image = tf_keras.Input((6, 6, 3), batch_size=batch, name="image")
    x = layers.Conv2D(4, 3, 2, padding="same", activation="relu6")(x)
    x = layers.DepthwiseConv2D(2, depth_multiplier=2)(x)
    x = layers.Conv2D(40, 2, padding="same")(x)
    x = layers.AveragePooling2D(2)(x)
    return tf_keras.Model(image, layers.Reshape((40,))(x))


def sequence_network() -> tf_keras.Model:
    """Embedding, LSTM, Dense."""
    tokens = tf_keras.Input((4,), batch_size=1, dtype="int32", name="tokens")
    x = layers.LSTM(3)(layers.Embedding(5, 2)(tokens))
    return tf_keras.Model(tokens, layers.Dense(2)(x))


class Functions(tf.Module):
    """Two functions, one with a loop and one with a branch."""

    @tf.function(input_signature=[tf.TensorSpec([2, 3], name="x")])
    def doubled(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Doubles until the sum passes 100."""
        y = tf.while_loop(lambda y: tf.reduce_sum(y) < 100.0, lambda y: [2.0 * y], [x])
        return {"y": y[0]}

    @tf.function(input_signature=[tf.TensorSpec([3], name="x")])
    def chosen(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """The sine or the square, by the sign of the sum."""
        positive = tf.reduce_sum(x) > 0.0
        return {"y": tf.cond(positive, lambda: tf.sin(x), lambda: tf.square(x))}


def samples() -> Iterator[list[np.ndarray]]:
    """Data to calibrate on."""
    random = np.random.default_rng(7)
    for _ in range(4):
        yield [random.standard_normal((1, 6, 6, 3)).astype(np.float32)]


def converter(model: tf_keras.Model) -> tf.lite.TFLiteConverter:
    """A converter that quantizes what it can."""
    made = tf.lite.TFLiteConverter.from_keras_model(model)
    made.optimizations = [tf.lite.Optimize.DEFAULT]
    return made


def main() -> None:
    """Writes all files."""
    tf_keras.utils.set_random_seed(1)
    network = image_network(1)
    files: dict[str, bytes] = {}

    files["batch"] = tf.lite.TFLiteConverter.from_keras_model(
        image_network(None)
    ).convert()

    outside = tf.lite.TFLiteConverter.from_keras_model(network)
    outside._experimental_use_buffer_offset = True
    files["buffers_outside"] = outside.convert()

    files["dynamic_range"] = converter(network).convert()

    half = converter(network)
    half.target_spec.supported_types = [tf.float16]
    files["float16"] = half.convert()

    sets = tf.lite.OpsSet
    for name, kernels, kind in (
        ("int8", sets.TFLITE_BUILTINS_INT8, tf.int8),
        (
            "int16x8",
            sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
            tf.int16,
        ),
    ):
        whole = converter(network)
        whole.representative_dataset = samples
        whole.target_spec.supported_ops = [kernels]
        whole.inference_input_type = whole.inference_output_type = kind
        files[name] = whole.convert()

    files["lstm"] = tf.lite.TFLiteConverter.from_keras_model(
        sequence_network()
    ).convert()

    module = Functions()
    with tempfile.TemporaryDirectory() as folder:
        signatures = {"doubled": module.doubled, "chosen": module.chosen}
        tf.saved_model.save(module, folder, signatures=signatures)
        files["two_signatures"] = tf.lite.TFLiteConverter.from_saved_model(
            folder
        ).convert()

    for name, content in files.items():
        (FOLDER / f"{name}.tflite").write_bytes(content)


if __name__ == "__main__":
    main()
