"""Tests of the TensorFlow worker against the ONNX reference evaluator, numpy, and itself anew."""

import unittest
from pathlib import Path

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import load_file, save_file

from calipers_worker.batches import DataFile
from tests import models
from tests.client import Failed, Worker
from tests.tensorflow_worker import COUNT, WithWorker, decibels

BUILDERS = {
    "residual": lambda path: models.residual(path, batch_norm=False),
    "residual_batch_norm": lambda path: models.residual(path, batch_norm=True),
    "assorted": models.assorted,
}


class WithModels(WithWorker):
    """Models by the names of their builders."""

    def model(self, name: str) -> Path:
        return BUILDERS[name](self.folder / f"{name}.onnx")


class FloatModel(WithModels):
    def test_hello_tells_what_runs(self) -> None:
        self.assertEqual(self.hello["framework"], "tensorflow")
        self.assertEqual(self.hello["threads"], 2)
        self.assertEqual(self.hello["pid"], self.worker.process.pid)
        self.assertIn("ai-edge-litert", self.hello["versions"])

    def test_logits_equal_the_onnx_reference(self) -> None:
        for name in BUILDERS:
            with self.subTest(name):
                model = self.model(name)
                found, expected = self.logits(model), self.reference(model)
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)

    def test_every_kind_of_window_equals_the_onnx_reference(self) -> None:
        for kind in ("MaxPool", "AveragePool", "Conv"):
            for relu in (False, True):
                for kernel, stride, pad in [
                    ((3, 3), (2, 2), (1, 1)),
                    ((3, 3), (1, 1), (1, 1)),
                    ((2, 2), (2, 2), (0, 0)),
                    ((5, 3), (3, 2), (1, 0)),
                    ((5, 5), (2, 2), (2, 2)),
                    ((3, 5), (1, 2), (0, 2)),
                ]:
                    with self.subTest(kind, relu=relu, kernel=kernel, stride=stride, pad=pad):
                        model = self.window(kind, relu, kernel, stride, pad)
                        found, expected = self.logits(model), self.reference(model)
                        tolerance = 1e-6 * max(1, np.abs(expected).max())
                        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)

    def window(
        self,
        kind: str,
        relu: bool,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        pad: tuple[int, int],
    ) -> Path:
        """One window over the image less one column, whose values are mostly below zero."""
        model = models.ModelBuilder(7)
        # A kernel of one row by two columns makes a width of 7, so that height and width differ.
        weight = model.normal("first.weight", (4, 3, 1, 2), 0.5)
        low = model.parameter("first.bias", np.full(4, -3, np.float32))
        value = model.node("Conv", "first", ["image", weight, low], kernel_shape=[1, 2])
        if relu:
            value = model.node("Relu", "relu", [value])
        attributes = {"kernel_shape": list(kernel), "strides": list(stride), "pads": [*pad, *pad]}
        inputs = [value]
        if kind == "Conv":
            inputs.append(model.normal("window.weight", (4, 4, *kernel), 0.3))
        if kind == "AveragePool":
            attributes["count_include_pad"] = 1
        value = model.node(kind, "window", inputs, **attributes)
        value = model.node("Flatten", "flatten", [value], axis=1)
        height, width = (
            (size + 2 * pad[i] - kernel[i]) // stride[i] + 1 for i, size in enumerate((8, 7))
        )
        weight = model.normal("head.weight", (models.CLASSES, 4 * height * width), 0.3)
        value = model.node("Gemm", "head", [value, weight], transB=1)
        return model.save(self.folder / "window.onnx", value)

    def test_a_mean_without_its_pads_is_refused_by_name(self) -> None:
        model = self.window("AveragePool", False, (3, 3), (2, 2), (1, 1))
        graph = onnx.load(model)
        (pool,) = (node for node in graph.graph.node if node.op_type == "AveragePool")
        for attribute in pool.attribute:
            if attribute.name == "count_include_pad":
                attribute.i = 0
        onnx.save(graph, model)
        with self.assertRaises(Failed) as caught:
            self.logits(model)
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("build", "UnsupportedOperator"))
        self.assertIn("`window` (AveragePool)", answer["message"])

    def test_float_artefact_is_the_same_in_a_fresh_process(self) -> None:
        with Worker("tensorflow") as fresh:
            fresh.call("hello", threads=2)
            for name in BUILDERS:
                with self.subTest(name):
                    model, folder = self.model(name), self.folder / name
                    saved = self.save_float(model, folder)
                    self.assertEqual([path.name for path in folder.iterdir()], ["model.keras"])
                    self.assertEqual(saved["file"], "model.keras")
                    self.assertEqual(saved["file_bytes"], (folder / "model.keras").stat().st_size)
                    found = self.loaded_logits(
                        fresh, path="keras", variant="float", model=model, artefact=folder
                    )
                    np.testing.assert_array_equal(found, self.logits(model))

    def test_times_each_inference(self) -> None:
        model, folder = self.model("residual"), self.folder / "float"
        self.save_float(model, folder)
        loaded = self.load(path="keras", variant="float", model=model, artefact=folder)
        arguments = {"handle": loaded["handle"], "data": self.data, "warm_up": 2, "count": 23}
        for batch in (1, 4):
            times = self.worker.call("time", samples=7, batch=batch, **arguments)["nanoseconds"]
            self.assertEqual(len(times), 23)
            self.assertTrue(all(isinstance(time, int) and time > 0 for time in times))
        with self.assertRaises(Failed) as caught:
            self.worker.call("time", samples=COUNT + 1, batch=1, **arguments)
        self.assertEqual(caught.exception.answer["stage"], "time")


class Training(WithModels):
    def linear_model(self) -> Path:
        model = models.ModelBuilder(5)
        value = model.node("Flatten", "flatten", ["image"], axis=1)
        size = int(np.prod(models.INPUT))
        weight = model.normal("head.weight", (models.CLASSES, size), 0.05)
        bias = model.normal("head.bias", (models.CLASSES,), 0.1)
        value = model.node("Gemm", "head", [value, weight, bias], transB=1)
        return model.save(self.folder / "linear.onnx", value)

    def test_update_rule_by_hand(self) -> None:
        model = self.linear_model()
        rates = [0.1, 0.1, 0.1, 0.01, 0.01]
        own = models.initializers(model)
        weights = [own["head.weight"].astype(np.float64), own["head.bias"].astype(np.float64)]
        velocities = [np.zeros_like(weight) for weight in weights]
        losses, data = [], DataFile(self.data)
        for step, (images, labels) in enumerate(data.labelled(16)):
            inputs = images.reshape(len(labels), -1).astype(np.float64)
            scores = inputs @ weights[0].T + weights[1]
            scores -= scores.max(1, keepdims=True)
            probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
            losses += list(-np.log(probabilities[np.arange(len(labels)), labels]))
            error = (probabilities - np.eye(models.CLASSES)[labels]) / len(labels)
            for index, gradient in enumerate([error.T @ inputs, error.sum(0)]):
                velocities[index] = 0.9 * velocities[index] + gradient + 1e-2 * weights[index]
                weights[index] = weights[index] - rates[step] * velocities[index]
        trainer = self.begin(model)
        result = self.train(trainer, rates, batch=16)
        self.assertEqual(result["steps"], 5)
        self.assertEqual(len(result["step_seconds"]), 5)
        self.assertAlmostEqual(result["loss"], float(np.mean(losses)), places=4)
        state = self.state(trainer)
        np.testing.assert_allclose(state["head.weight"], weights[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(state["head.bias"], weights[1], rtol=1e-4, atol=1e-5)

    def test_batch_norm_keeps_the_unbiased_variance(self) -> None:
        model = self.model("residual_batch_norm")
        images = DataFile(self.data).floats(0, COUNT)
        stem = onnx.load(model)
        del stem.graph.node[1:]
        stem.graph.output[0].name = stem.graph.node[0].output[0]
        stem.graph.output[0].type.tensor_type.ClearField("shape")
        (values,) = ReferenceEvaluator(stem).run(None, {"image": images})
        own = models.initializers(model)
        trainer = self.begin(model)
        self.train(trainer, [0.0], batch=COUNT)
        state = self.state(trainer)
        expected = 0.9 * own["stem.norm.variance"] + 0.1 * values.var((0, 2, 3), ddof=1)
        biased = 0.9 * own["stem.norm.variance"] + 0.1 * values.var((0, 2, 3))
        error = np.abs(state["stem.norm.variance"] - expected).max()
        self.assertLess(error, 1e-6)
        self.assertLess(3 * error, np.abs(biased - expected).max())
        expected = 0.9 * own["stem.norm.mean"] + 0.1 * values.mean((0, 2, 3))
        np.testing.assert_allclose(state["stem.norm.mean"], expected, rtol=1e-5, atol=1e-6)

    def test_state_makes_the_same_model(self) -> None:
        for name in BUILDERS:
            with self.subTest(name):
                model, folder = self.model(name), self.folder / name
                trainer = self.begin(model)
                self.assertEqual(self.train(trainer, [0.05])["steps"], 3)
                state, own = self.state(trainer), models.initializers(model)
                self.assertEqual(
                    {key: value.shape for key, value in state.items()},
                    {key: value.shape for key, value in own.items()},
                )
                self.assertTrue(all((state[key] != own[key]).any() for key in own))
                self.worker.call("train_finish", trainer=trainer, artefact=folder)
                found = self.loaded_logits(
                    self.worker,
                    path="keras",
                    variant="float-finetuned",
                    model=model,
                    artefact=folder,
                )
                again = self.logits(model, self.folder / "state")
                np.testing.assert_array_equal(found, again)

    def test_weights_come_back_as_they_were_given(self) -> None:
        for name in BUILDERS:
            for mode, path in (("float", "keras"), ("qat", "tfmot")):
                with self.subTest(f"{name} {mode}"):
                    model = self.model(name)
                    trainer = self.begin(model, mode=mode, path=path)
                    state = self.state(trainer)
                    for key, value in models.initializers(model).items():
                        np.testing.assert_array_equal(state[key], value, err_msg=key)
                    self.worker.call("train_drop", trainer=trainer)

    def test_training_learns(self) -> None:
        trainer = self.begin(self.model("residual_batch_norm"))
        first = self.train(trainer, [0.05])
        for _ in range(8):
            last = self.train(trainer, [0.05])
        self.assertLess(last["loss"], 0.7 * first["loss"])
        self.assertGreater(last["accuracy"], first["accuracy"])

    def test_qat_trains_every_master_weight(self) -> None:
        for name in BUILDERS:
            with self.subTest(name):
                model = self.model(name)
                own = models.initializers(model)
                trainer = self.begin(model, mode="qat", path="tfmot")
                self.train(trainer, [0.0])
                state = self.state(trainer)
                for key, value in own.items():
                    if not key.endswith((".mean", ".variance")):
                        np.testing.assert_array_equal(state[key], value, err_msg=key)
                self.train(trainer, [0.01])
                state = self.state(trainer)
                self.assertTrue(all((state[key] != own[key]).any() for key in own))
                self.worker.call("train_drop", trainer=trainer)

    def test_a_loss_that_is_not_finite_names_step_and_rate(self) -> None:
        trainer = self.begin(self.model("residual"))
        with self.assertRaises(Failed) as caught:
            self.train(trainer, [1e6, 1e20, 1e30], batch=32)
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("train", "NonFiniteLoss"))
        self.assertRegex(answer["message"], r"step 3 of 3 .*learning rate 1e\+30.*loss is")
        self.worker.call("train_drop", trainer=trainer)
        with self.assertRaises(Failed) as caught:
            self.worker.call("train_drop", trainer=trainer)
        self.assertEqual(caught.exception.answer["type"], "UnknownHandle")

    def test_weights_that_are_not_finite_are_an_error_although_the_loss_is_finite(self) -> None:
        trainer = self.begin(self.model("residual"))
        self.train(trainer, [1e6], batch=COUNT)
        with self.assertRaises(Failed) as caught:
            self.train(trainer, [1e20], batch=COUNT)
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("train", "NonFiniteLoss"))
        self.assertRegex(answer["message"], r"step 2 .*learning rate 1e\+20.*variable .*kernel")

    def test_wrong_requests_are_typed_errors(self) -> None:
        model = self.model("residual")
        with self.assertRaises(Failed) as caught:
            self.begin(model, mode="qat", path="keras")
        self.assertEqual(caught.exception.answer["type"], "BadArgument")
        trainer = self.begin(model)
        data = load_file(self.data)
        data["labels"][3] = models.CLASSES
        save_file(data, self.data)
        with self.assertRaises(Failed) as caught:
            self.train(trainer, [0.1])
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("train", "BadData"))
        broken = onnx.load(model)
        broken.graph.node[1].op_type = "Erf"
        path = self.folder / "broken.onnx"
        onnx.save(broken, path)
        with self.assertRaises(Failed) as caught:
            self.logits(path)
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("build", "UnsupportedOperator"))
        self.assertIn("`stem.relu` (Erf)", answer["message"])


class Quantization(WithModels):
    def test_int8_stays_near_float_for_every_batch_size(self) -> None:
        for name in BUILDERS:
            with self.subTest(name):
                model, folder = self.model(name), self.folder / name
                result = self.quantized(model, folder)
                self.assertEqual(result["samples"], COUNT)
                arguments = {
                    "path": "tflite",
                    "variant": "ptq-static",
                    "model": model,
                    "artefact": folder,
                }
                found = self.loaded_logits(self.worker, **arguments)
                self.assertGreater(decibels(self.logits(model), found), 15)
                one_by_one = self.loaded_logits(self.worker, batch=1, **arguments)
                np.testing.assert_array_equal(found, one_by_one)

    def test_qat_artefact_stays_near_its_master_weights(self) -> None:
        model, folder = self.model("residual_batch_norm"), self.folder / "qat"
        self.qat(model, folder, 6)
        expected = self.logits(model, self.folder / "state")
        found = self.loaded_logits(
            self.worker, path="tfmot", variant="qat", model=model, artefact=folder
        )
        self.assertGreater((found.argmax(1) == expected.argmax(1)).mean(), 0.85)

    def test_a_fresh_process_gives_the_same_logits(self) -> None:
        model = self.model("residual_batch_norm")
        self.quantized(model, self.folder / "tflite")
        self.qat(model, self.folder / "tfmot", 1)
        with Worker("tensorflow") as fresh:
            fresh.call("hello", threads=1)
            for path, variant in (("tflite", "ptq-static"), ("tfmot", "qat")):
                with self.subTest(path):
                    arguments = {
                        "path": path,
                        "variant": variant,
                        "model": model,
                        "artefact": self.folder / path,
                    }
                    np.testing.assert_array_equal(
                        self.loaded_logits(fresh, **arguments),
                        self.loaded_logits(self.worker, **arguments),
                    )

    def test_an_absent_artefact_is_an_error_of_load(self) -> None:
        for path, variant in (("keras", "float"), ("tflite", "ptq-static")):
            with self.subTest(path), self.assertRaises(Failed) as caught:
                self.load(
                    path=path,
                    variant=variant,
                    model=self.model("residual"),
                    artefact=self.folder / "nowhere",
                )
            answer = caught.exception.answer
            self.assertEqual((answer["stage"], answer["type"]), ("load", "BadData"))
            self.assertIn("nowhere", answer["message"])


if __name__ == "__main__":
    unittest.main()
