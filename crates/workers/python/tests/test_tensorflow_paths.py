"""Tests of TensorFlow's paths: what each of them makes, and what of it runs in which numbers."""

import ctypes
import math
import os
import unittest
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from calipers_worker.batches import DataFile
from tests import models
from tests.client import Failed
from tests.tensorflow_worker import COUNT, WithWorker, decibels

# Kernel size, output elements and weights of each product of `wide`, by hand.
PRODUCTS = [
    ("convolution", 8 * 8 * 16 * 27, 432),
    ("convolution", 8 * 8 * 16 * 144, 2304),
    ("convolution", 8 * 8 * 16 * 144, 2304),
    ("convolution", 4 * 4 * 64 * 144, 9216),
    ("convolution", 4 * 4 * 64 * 25, 1600),
    ("matrix-product", 32 * 64, 2048),
    ("matrix-product", models.CLASSES * 32, 160),
]
# The converter leaves constants of less than 1024 elements in float.
DYNAMIC_RANGE = [("dynamic", 8) if weights >= 1024 else ("float", 32) for _, _, weights in PRODUCTS]
ALL = len(PRODUCTS)
PATHS = {
    ("tflite", "ptq-static"): [("integer", 8)] * ALL,
    ("tflite", "ptq-dynamic"): DYNAMIC_RANGE,
    ("tflite-int16x8", "ptq-static"): [("integer", 8)] * ALL,
    ("tflite-float16", "weight-only"): [("weight_only", 32)] * ALL,
    ("aeq", "ptq-static"): [("integer", 8)] * ALL,
    ("aeq", "ptq-dynamic"): [("dynamic", 8)] * ALL,
    ("aeq", "weight-only"): [("weight_only", 32)] * ALL,
}
UNCALIBRATED = ("ptq-dynamic", "weight-only")


def wide(path: Path) -> Path:
    """A network whose weights are mostly large enough for every path, with a depthwise one."""
    model = models.ModelBuilder(11)

    def unit(name: str, value: str, sizes: tuple[int, int, int, int]) -> str:
        value = model.conv(f"{name}.conv", value, sizes, bias=False)
        return model.batch_norm(f"{name}.norm", value, sizes[1])

    value = model.node("Relu", "stem.relu", [unit("stem", "image", (3, 16, 3, 1))])
    inner = model.node("Relu", "first.relu", [unit("first", value, (16, 16, 3, 1))])
    value = model.node("Add", "add", [unit("second", inner, (16, 16, 3, 1)), value])
    value = model.node("Relu", "add.relu", [value])
    value = model.node("Relu", "down.relu", [unit("down", value, (16, 64, 3, 2))])
    weight = model.normal("depthwise.weight", (64, 1, 5, 5), 0.4)
    value = model.node(
        "Conv", "depthwise", [value, weight], kernel_shape=[5, 5], pads=[2, 2, 2, 2], group=64
    )
    value = model.node("GlobalAveragePool", "global", [value])
    value = model.node("Flatten", "flatten", [value], axis=1)
    names = [model.normal("hidden.weight", (32, 64), 0.3), model.normal("hidden.bias", (32,), 0.1)]
    value = model.node("Gemm", "hidden", [value, *names], transB=1)
    value = model.node("Relu", "hidden.relu", [value])
    names = [
        model.normal("head.weight", (models.CLASSES, 32), 0.3),
        model.normal("head.bias", (models.CLASSES,), 0.1),
    ]
    return model.save(path, model.node("Gemm", "head", [value, *names], transB=1))


def products(operators: list[dict[str, object]]) -> list[dict[str, object]]:
    """The operators that multiply a constant."""
    return [one for one in operators if one["macs"]]


class Paths(WithWorker):
    def setUp(self) -> None:
        super().setUp()
        self.model = wide(self.folder / "wide.onnx")

    def artefact(self, path: str, variant: str, tuning: str = "default") -> Path:
        folder = self.folder / f"{path} {variant} {tuning}"
        # A path that calibrates nothing must not read the data.
        data = self.folder / "nowhere" if variant in UNCALIBRATED else self.data
        made = self.quantized(
            self.model, folder, path=path, variant=variant, tuning=tuning, data=data
        )
        self.assertEqual(made["samples"], 0 if variant in UNCALIBRATED else COUNT)
        self.assertEqual(made["calibrate_seconds"] > 0, variant not in UNCALIBRATED)
        self.assertEqual(made["file_bytes"], (folder / "model.tflite").stat().st_size)
        return folder

    def check_products(
        self, operators: list[dict[str, object]], expected: list[tuple[str, int]]
    ) -> None:
        found = [
            (one["kind"], one["macs"], one["weights"], one["class"], one["weight_bits"])
            for one in products(operators)
        ]
        wanted = [(*shapes, *computes) for shapes, computes in zip(PRODUCTS, expected, strict=True)]
        self.assertEqual(found, wanted)

    def test_what_runs_on_each_path(self) -> None:
        expected = self.logits(self.model)
        for (path, variant), classes in PATHS.items():
            with self.subTest(f"{path} {variant}"):
                folder = self.artefact(path, variant)
                loaded = self.load(path=path, variant=variant, model=self.model, artefact=folder)
                self.check_products(loaded["operators"], classes)
                found = self.evaluate(loaded["handle"])
                self.assertGreater(decibels(expected, found), 20)
                one_by_one = self.evaluate(loaded["handle"], batch=1)
                np.testing.assert_allclose(found, one_by_one, rtol=0, atol=1e-5)
                self.worker.call("unload", handle=loaded["handle"])

    def test_float_in_litert_is_float(self) -> None:
        folder = self.folder / "float"
        saved = self.save_float(self.model, folder, path="tflite")
        self.assertEqual(saved["file"], "model.tflite")
        self.assertIn("TFLiteConverter", saved["recipe"])
        loaded = self.load(path="tflite", variant="float", model=self.model, artefact=folder)
        self.check_products(loaded["operators"], [("float", 32)] * ALL)
        classes = {one["class"] for one in loaded["operators"]}
        self.assertLessEqual(classes, {"float", "move"})
        found = self.evaluate(loaded["handle"])
        np.testing.assert_allclose(found, self.reference(self.model), rtol=0, atol=1e-5)

    def test_what_runs_of_a_keras_file(self) -> None:
        folder = self.folder / "keras"
        self.assertIn("model.save(path)", self.save_float(self.model, folder)["recipe"])
        loaded = self.load(path="keras", variant="float", model=self.model, artefact=folder)
        self.check_products(loaded["operators"], [("float", 32)] * ALL)
        self.assertLessEqual({one["class"] for one in loaded["operators"]}, {"float", "move"})
        # Normalizations and activations run inside convolutions, but for those after a sum.
        kinds = [one["kind"] for one in loaded["operators"]]
        self.assertEqual(kinds.count("normalization"), 0)
        self.assertEqual((kinds.count("pooling"), kinds.count("elementwise")), (1, 1))

    def test_fake_quantized_training_ends_in_integers(self) -> None:
        for tuning in ("default", "tuned"):
            with self.subTest(tuning):
                folder = self.folder / tuning
                made = self.qat(self.model, folder, 2, tuning)
                self.assertEqual("ObservedQuantizer" in made["recipe"], tuning == "tuned")
                loaded = self.load(
                    path="tfmot", variant="qat", tuning=tuning, model=self.model, artefact=folder
                )
                self.check_products(loaded["operators"], [("integer", 8)] * ALL)
                computing = {one["class"] for one in loaded["operators"]} - {"convert", "move"}
                self.assertEqual(computing, {"integer"})

    def test_tuned_training_keeps_to_the_data(self) -> None:
        model = models.residual(self.folder / "residual.onnx", batch_norm=True)
        trained = self.begin(model, weight_decay=0.0)
        for _ in range(30):
            self.train(trained, [0.02], batch=35)
        self.state(trained)
        weights = (self.folder / "state").rename(self.folder / "weights")
        expected = self.logits(model, weights)
        ratios = {}
        for tuning in ("default", "tuned"):
            folder = self.folder / tuning
            arguments = {"mode": "qat", "path": "tfmot", "tuning": tuning, "weights": weights}
            trainer = self.begin(model, **arguments)
            # At a rate of zero the weights stay, so that the ranges alone tell the artefacts apart.
            self.train(trainer, [0.0], batch=35)
            self.worker.call("train_finish", trainer=trainer, artefact=folder)
            found = self.loaded_logits(
                self.worker,
                path="tfmot",
                variant="qat",
                tuning=tuning,
                model=model,
                artefact=folder,
            )
            ratios[tuning] = decibels(expected, found)
        self.assertGreater(ratios["tuned"], ratios["default"] + 6)

    def test_tuned_calibration_clips_less(self) -> None:
        expected = self.logits(self.model)
        ratios = {}
        for tuning in ("default", "tuned"):
            folder = self.artefact("aeq", "ptq-static", tuning)
            found = self.loaded_logits(
                self.worker,
                path="aeq",
                variant="ptq-static",
                tuning=tuning,
                model=self.model,
                artefact=folder,
            )
            ratios[tuning] = decibels(expected, found)
        self.assertGreater(ratios["tuned"], ratios["default"] + 6)

    def test_recipes_hold_the_calls(self) -> None:
        for arguments, words in (
            ({"path": "tflite-int16x8"}, "ACTIVATIONS_INT16_WEIGHTS_INT8"),
            ({"path": "aeq"}, "static_wi8_ai8"),
            ({"path": "aeq", "tuning": "tuned"}, "min_max_update"),
        ):
            with self.subTest(words):
                made = self.quantized(self.model, self.folder / "recipe", **arguments)
                self.assertIn(words, made["recipe"])

    def test_what_does_not_exist_is_refused_by_name(self) -> None:
        for arguments, words in (
            ({"tuning": "tuned"}, "no tuned form"),
            ({"path": "tflite-float16"}, "`weight-only`"),
            ({"path": "tfmot", "variant": "qat"}, "is not quantization after training"),
        ):
            with self.subTest(words), self.assertRaises(Failed) as caught:
                self.quantized(self.model, self.folder / "refused", **arguments)
            answer = caught.exception.answer
            self.assertEqual(answer["type"], "BadArgument")
            self.assertIn(words, answer["message"])


class Profiles(WithWorker):
    def setUp(self) -> None:
        super().setUp()
        self.model = wide(self.folder / "wide.onnx")

    def profile(self, handle: int, count: int = 5) -> dict[str, object]:
        return self.worker.call("profile", handle=handle, data=self.data, samples=3, count=count)

    def check(self, loaded: dict[str, object], result: dict[str, object]) -> None:
        operators = result["operators"]
        total = sum(one["nanoseconds"] for one in operators)
        self.assertTrue(all(one["nanoseconds"] >= 0 and one["calls"] == 1 for one in operators))
        self.assertLess(total, result["wall_nanoseconds"])
        self.assertEqual(
            sorted((one["name"], one["kind"]) for one in operators),
            sorted((one["name"], one["kind"]) for one in loaded["operators"]),
        )
        sizes = [one["bytes"] for one in operators if one["kind"] == "convolution"]
        elements = [8 * 8 * 16] * 3 + [4 * 4 * 64] * 2
        width = result["bytes_of_an_element"]
        self.assertEqual(sizes, [count * width for count in elements])

    def test_keras(self) -> None:
        folder = self.folder / "keras"
        self.save_float(self.model, folder)
        loaded = self.load(path="keras", variant="float", model=self.model, artefact=folder)
        result = self.profile(loaded["handle"])
        self.assertEqual(result["profiler"], "tf.profiler")
        self.assertEqual(result["resolution_nanoseconds"], 1)
        self.assertTrue(all(one["nanoseconds"] > 0 for one in products_of(result)))
        self.check(loaded, {**result, "bytes_of_an_element": 4})

    def test_litert(self) -> None:
        for path, width in (("tflite", 1), ("tflite-int16x8", 2)):
            with self.subTest(path):
                folder = self.folder / path
                self.quantized(self.model, folder, path=path)
                loaded = self.load(
                    path=path, variant="ptq-static", model=self.model, artefact=folder
                )
                result = self.profile(loaded["handle"])
                self.assertEqual(result["resolution_nanoseconds"], 1000)
                self.check(loaded, {**result, "bytes_of_an_element": width})
                self.assertEqual(
                    [one["name"] for one in result["operators"]],
                    [one["name"] for one in loaded["operators"]],
                )
        # XNNPACK has no kernels for 16-bit activations; the built-in ones take their time.
        slow = [one["nanoseconds"] for one in products_of(result)]
        self.assertTrue(all(nanoseconds >= 1000 for nanoseconds in slow[:4]), slow)

    def test_the_profiled_run_computes_what_the_timed_one_does(self) -> None:
        # TensorFlow reads these when it is imported.
        os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        from calipers_worker.tensorflow.litert_artefact import LiteRtArtefact
        from calipers_worker.tensorflow.litert_session import Session

        image = np.ascontiguousarray(DataFile(self.data).floats(3, 4).transpose(0, 2, 3, 1))
        for variant in ("ptq-static", "ptq-dynamic"):
            with self.subTest(variant):
                folder = self.folder / variant
                self.quantized(self.model, folder, variant=variant)
                artefact = LiteRtArtefact.load(folder, threads=1)
                session = Session(str(artefact.path), threads=1)
                given = ctypes.create_string_buffer(image.tobytes(), session.input.bytes)
                found = ctypes.create_string_buffer(session.output.bytes)
                session.run(given, found)
                expected = artefact.logits(image)
                np.testing.assert_array_equal(np.frombuffer(found, np.float32), expected.ravel())

    def test_a_file_that_litert_refuses_is_an_error_with_its_words(self) -> None:
        os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        from calipers_worker.tensorflow import litert_profile

        path = self.folder / "broken.tflite"
        path.write_bytes(b"no model")
        with self.assertRaises(litert_profile.NotProfiled) as caught:
            litert_profile.profile(path, [np.zeros((1, 8, 8, 3), np.float32)], 1, 1, warm_up=0)
        self.assertIn("CreateModelFromFile", str(caught.exception))


def products_of(result: dict[str, object]) -> list[dict[str, object]]:
    """The profiled operators that are products."""
    return [one for one in result["operators"] if one["kind"] in ("convolution", "matrix-product")]


class Weights(WithWorker):
    def test_a_keras_file_gives_the_initializers_back(self) -> None:
        model = wide(self.folder / "wide.onnx")
        folder, output = self.folder / "keras", self.folder / "weights"
        self.save_float(model, folder)
        loaded = self.load(path="keras", variant="float", model=model, artefact=folder)
        answer = self.worker.call("read_weights", handle=loaded["handle"], output=output)
        own, written = models.initializers(model), load_file(output)
        by_initializer = {one["initializer"]: one for one in answer["tensors"]}
        self.assertEqual(by_initializer.keys(), own.keys())
        for name, value in own.items():
            tensor = by_initializer[name]
            self.assertEqual(tensor["type"], "float32")
            self.assertEqual(math.prod(tensor["shape"]), value.size)
            self.assertEqual(tensor["bytes"], value.nbytes)
            if value.ndim >= 2:
                np.testing.assert_array_equal(written[tensor["name"]], value, err_msg=name)
            else:
                self.assertNotIn(tensor["name"], written)

    def test_a_tflite_file_is_not_read_by_the_worker(self) -> None:
        model = wide(self.folder / "wide.onnx")
        self.save_float(model, self.folder / "float", path="tflite")
        loaded = self.load(
            path="tflite", variant="float", model=model, artefact=self.folder / "float"
        )
        with self.assertRaises(Failed) as caught:
            self.worker.call(
                "read_weights", handle=loaded["handle"], output=self.folder / "weights"
            )
        self.assertEqual(caught.exception.answer["type"], "BadArgument")


if __name__ == "__main__":
    unittest.main()
