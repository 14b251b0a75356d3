"""Tests of the operators that users' models have: their Keras forms against ONNX's definitions."""

import os
import unittest
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests import models
from tests.client import Failed
from tests.tensorflow_worker import WithWorker, decibels

Body = Callable[[models.ModelBuilder, str], str]
CHANNELS = 16


def clip(minimum: float | None, maximum: float | None) -> Body:
    def body(model: models.ModelBuilder, value: str) -> str:
        names = [value]
        for name, bound in (("minimum", minimum), ("maximum", maximum)):
            given = bound is not None
            names.append(model.parameter(name, np.array(bound, np.float32)) if given else "")
        return model.node("Clip", "clip", names)

    return body


def function(kind: str, **attributes: float) -> Body:
    return lambda model, value: model.node(kind, "function", [value], **attributes)


def pool_of_negatives(model: models.ModelBuilder, value: str) -> str:
    """A pool whose pads must not win, after a Clip whose results are below zero for any input."""
    value = model.node("Relu", "relu", [value])
    value = clip(None, -0.5)(model, value)
    sizes = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    return model.node("MaxPool", "pool", [value], **sizes)


def squeeze(model: models.ModelBuilder, value: str) -> str:
    """A squeeze-and-excitation block: each channel by a number between 0 and 1."""
    pooled = model.node("GlobalAveragePool", "squeeze", [value])
    scale = model.conv("excite", pooled, (CHANNELS, CHANNELS, 1, 1), bias=True)
    scale = model.node("HardSigmoid", "gate", [scale], alpha=1 / 6, beta=0.5)
    return model.node("Mul", "scaled", [scale, value])


def concatenation(model: models.ModelBuilder, value: str) -> str:
    left = model.conv("left", value, (CHANNELS, 6, 1, 1), bias=True)
    right = model.conv("right", value, (CHANNELS, 10, 3, 1), bias=True)
    return model.node("Concat", "joined", [left, right], axis=1)


BODIES = {
    "relu6": clip(0, 6),
    "clip": clip(-0.5, 1.5),
    "clip_below": clip(0, None),
    "clip_above": clip(None, 0.5),
    "clip_below_zero": pool_of_negatives,
    "hard_swish": function("HardSwish"),
    "hard_sigmoid_of_pytorch": function("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_sigmoid_of_onnx": function("HardSigmoid"),
    "sigmoid": function("Sigmoid"),
    "tanh": function("Tanh"),
    "leaky_relu": function("LeakyRelu", alpha=0.2),
    "squeeze": squeeze,
    "concatenation": concatenation,
}
# Layers that TFMOT has a configuration for, and the layer that it names of each other.
REFUSED = {
    "clip": "tf.clip_by_value",
    "clip_above": "tf.clip_by_value",
    "hard_swish": "function.sigmoid.add",
    "hard_sigmoid_of_pytorch": "function.add",
    "hard_sigmoid_of_onnx": "function.scale",
    "squeeze": "gate.add",
}


class Operators(WithWorker):
    def model(self, name: str, softmax: bool = False) -> Path:
        model = models.ModelBuilder(5)
        value = model.conv("stem", "image", (3, CHANNELS, 3, 1), bias=True)
        if name in BODIES:
            value = BODIES[name](model, value)
        value = model.conv("after", value, (CHANNELS, CHANNELS, 3, 1), bias=True)
        return self.save(model, name, value, softmax)

    def save(
        self, model: models.ModelBuilder, name: str, value: str, softmax: bool = False
    ) -> Path:
        """The model up to `value`, [N,CHANNELS,H,W], with a head."""
        value = model.node("GlobalAveragePool", "global", [value])
        value = model.node("Flatten", "flatten", [value], axis=1)
        weight = model.normal("head.weight", (models.CLASSES, CHANNELS), 0.3)
        value = model.node("Gemm", "head", [value, weight], transB=1)
        if softmax:
            value = model.node("Softmax", "shares", [value], axis=-1)
        return model.save(self.folder / f"{name}.onnx", value)

    def test_logits_equal_the_onnx_reference(self) -> None:
        for name in [*BODIES, "softmax"]:
            with self.subTest(name):
                model = self.model(name, softmax=name == "softmax")
                found, expected = self.logits(model), self.reference(model)
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)

    def test_a_keras_files_dilated_convolutions_do_all_their_work(self) -> None:
        model = models.ModelBuilder(5)
        spread = {"kernel_shape": [3, 3], "dilations": [2, 2], "pads": [2, 2, 2, 2]}
        names = ["image", model.normal("spread.weight", (CHANNELS, 3, 3, 3), 0.2)]
        value = model.node("Conv", "spread", names, **spread)
        names = [value, model.normal("depthwise.weight", (CHANNELS, 1, 3, 3), 0.2)]
        value = model.node("Conv", "depthwise", names, group=CHANNELS, **spread)
        folder = self.folder / "dilated"
        model = self.save(model, "dilated", value)
        self.save_float(model, folder)
        loaded = self.load(path="keras", variant="float", model=model, artefact=folder)
        work = [(one["macs"], one["weights"]) for one in loaded["operators"] if one["macs"]]
        outputs = 8 * 8 * CHANNELS
        expected = [(27 * outputs, 27 * CHANNELS), (9 * outputs, 9 * CHANNELS)]
        self.assertEqual(work, [*expected, (models.CLASSES * CHANNELS,) * 2])
        moved = [one["class"] for one in loaded["operators"] if "Batch" in one["name"]]
        self.assertEqual(moved, ["move"] * 4)

    def test_a_keras_files_convolution_in_groups_is_not_counted_as_nothing(self) -> None:
        model = models.ModelBuilder(5)
        value = model.conv("stem", "image", (3, CHANNELS, 3, 1), bias=True)
        names = [value, model.normal("groups.weight", (CHANNELS, 4, 3, 3), 0.2)]
        value = model.node("Conv", "groups", names, kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=4)
        folder = self.folder / "groups"
        model = self.save(model, "groups", value)
        self.save_float(model, folder)
        with self.assertRaises(Failed) as caught:
            self.load(path="keras", variant="float", model=model, artefact=folder)
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("load", "NotSeen"))
        self.assertIn("model/groups/", answer["message"])

    def test_int8_and_a_keras_file_stay_near(self) -> None:
        for name in ("clip", "hard_swish", "hard_sigmoid_of_pytorch", "leaky_relu", "squeeze"):
            with self.subTest(name):
                model = self.model(name)
                expected = self.reference(model)
                folder = self.folder / f"{name} keras"
                self.save_float(model, folder)
                found = self.loaded_logits(
                    self.worker, path="keras", variant="float", model=model, artefact=folder
                )
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
                folder = self.folder / f"{name} tflite"
                self.quantized(model, folder)
                loaded = self.load(
                    path="tflite", variant="ptq-static", model=model, artefact=folder
                )
                computing = {one["class"] for one in loaded["operators"]} - {"convert", "move"}
                self.assertEqual(computing, {"integer"})
                self.assertGreater(decibels(expected, self.evaluate(loaded["handle"])), 25)

    def test_fake_quantization_takes_the_layers_that_it_knows(self) -> None:
        for name in ("relu6", "leaky_relu", "concatenation", "tanh"):
            with self.subTest(name):
                model, folder = self.model(name), self.folder / name
                self.qat(model, folder, 1, "tuned")
                loaded = self.load(
                    path="tfmot", variant="qat", tuning="tuned", model=model, artefact=folder
                )
                computing = {one["class"] for one in loaded["operators"]} - {"convert", "move"}
                self.assertEqual(computing, {"integer"})

    def test_fake_quantization_refuses_other_layers_by_name(self) -> None:
        for name, layer in REFUSED.items():
            for tuning in ("default", "tuned"):
                with self.subTest(f"{name} {tuning}"), self.assertRaises(Failed) as caught:
                    self.begin(self.model(name), mode="qat", path="tfmot", tuning=tuning)
                answer = caught.exception.answer
                self.assertEqual(answer["stage"], "prepare")
                self.assertIn(layer, answer["message"])


class Ranges(unittest.TestCase):
    def test_tuned_ranges_are_means_that_begin_at_the_data(self) -> None:
        # TensorFlow reads these when it is imported.
        os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        import tensorflow as tf
        import tf_keras

        from calipers_worker.tensorflow.fake_quantization import ObservedQuantizer

        quantizer, layer = ObservedQuantizer(), tf_keras.layers.Layer()
        weights = quantizer.build(None, "output", layer)
        random = np.random.default_rng(3)
        lows, highs = [], []
        for _ in range(5):
            batch = random.normal(0.5, 2, (8, 4)).astype(np.float32)
            lows.append(min(batch.min(), 0))
            highs.append(batch.max())
            made = quantizer(tf.constant(batch), True, weights)
            self.assertAlmostEqual(float(weights["min"]), np.mean(lows), places=5)
            self.assertAlmostEqual(float(weights["max"]), np.mean(highs), places=5)
            step = (np.mean(highs) - np.mean(lows)) / 255
            inside = np.clip(batch, np.mean(lows) + step, np.mean(highs) - step)
            self.assertLess(np.abs(made.numpy() - inside).max(), 2 * step)
        # What was seen is kept as it is outside of training.
        kept = float(weights["max"])
        quantizer(tf.constant(100 * batch), False, weights)
        self.assertEqual(float(weights["max"]), kept)
        # Zero stays inside, and after a hundred batches a new one counts for a hundredth.
        weights["batches"].assign(500.0)
        quantizer(tf.fill([2, 2], 50.0), True, weights)
        self.assertAlmostEqual(float(weights["max"]), 0.99 * kept + 0.01 * 50, places=4)
        self.assertAlmostEqual(float(weights["min"]), 0.99 * np.mean(lows), places=4)


if __name__ == "__main__":
    unittest.main()
