"""Tests of the PyTorch worker against the ONNX reference evaluator, numpy, and itself anew."""

import unittest
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import load_file, save_file

from calipers_worker.batches import DataFile
from tests import models
from tests.client import Failed, Worker
from tests.with_pytorch import BUILDERS, WithWorker


class FloatModel(WithWorker):
    def test_hello_tells_what_runs(self) -> None:
        with Worker("pytorch") as worker:
            hello = worker.call("hello", threads=2)
            self.assertEqual(hello["framework"], "pytorch")
            self.assertEqual(hello["versions"]["torch"], torch.__version__.split("+")[0])
            self.assertEqual(hello["threads"], 2)
            self.assertEqual(hello["pid"], worker.process.pid)
            self.assertEqual(worker.call("hello", threads=1)["threads"], 1)

    def test_logits_equal_the_onnx_reference(self) -> None:
        images = DataFile(self.data).floats(0, 70)
        for name in BUILDERS:
            with self.subTest(name):
                model = self.model(name)
                (expected,) = ReferenceEvaluator(str(model)).run(None, {"image": images})
                np.testing.assert_allclose(self.logits(model), expected, rtol=0, atol=1e-5)

    def test_float_artefact_equals_the_model(self) -> None:
        for name in BUILDERS:
            with self.subTest(name):
                model, folder = self.model(name), self.folder / name
                saved = self.save_float(model, folder)
                self.assertEqual(saved["file_bytes"], (folder / saved["file"]).stat().st_size)
                self.assertIn("torch.save(model.state_dict()", saved["recipe"])
                found = self.loaded_logits(model, folder, path="eager", variant="float")
                np.testing.assert_array_equal(found, self.logits(model))

    def test_times_each_inference(self) -> None:
        model, folder = self.model("residual"), self.folder / "float"
        self.save_float(model, folder)
        handle = self.load(model, folder, path="eager", variant="float")["handle"]
        given = {"handle": handle, "data": self.data, "count": 9, "warm_up": 2}
        for batch in (1, 16):
            nanoseconds = self.worker.call("time", samples=5, batch=batch, **given)["nanoseconds"]
            self.assertEqual(len(nanoseconds), 9)
            self.assertTrue(all(isinstance(one, int) and one > 1000 for one in nanoseconds))
        with self.assertRaises(Failed) as caught:
            self.worker.call("time", samples=71, batch=1, **given)
        self.assertEqual(caught.exception.answer["stage"], "time")


class Training(WithWorker):
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
        # Of 8 numbers a channel, so that fake quantization moves the statistics by far less.
        samples = 2
        self.data = models.data(self.folder / "few", samples)
        builder = models.ModelBuilder(5)
        convolved = builder.conv("stem", "image", (3, 8, 3, 4), bias=False)
        value = builder.batch_norm("norm", convolved, 8)
        value = builder.node("GlobalAveragePool", "global", [value])
        value = builder.node("Flatten", "flatten", [value], axis=1)
        weight = builder.normal("head.weight", (models.CLASSES, 8), 0.3)
        model = builder.save(
            self.folder / "norm.onnx", builder.node("Gemm", "head", [value, weight], transB=1)
        )
        images = DataFile(self.data).floats(0, samples)
        evaluator = ReferenceEvaluator(str(model))
        values = evaluator.run(None, {"image": images}, intermediate=True)[convolved]
        own = models.initializers(model)
        before = own["norm.variance"]
        expected, biased = (
            0.9 * before + 0.1 * values.var((0, 2, 3), ddof=freedom) for freedom in (1, 0)
        )
        mean = 0.9 * own["norm.mean"] + 0.1 * values.mean((0, 2, 3))
        for mode, path in (("float", "eager"), ("qat", "eager"), ("qat", "fx"), ("qat", "pt2e")):
            with self.subTest(f"{mode} {path}"):
                trainer = self.begin(model, mode=mode, path=path)
                self.train(trainer, [0.01], batch=samples)
                state = self.state(trainer)
                tolerance = 1e-5 if mode == "float" else 2e-2
                np.testing.assert_allclose(state["norm.mean"], mean, rtol=0, atol=tolerance)
                error = np.abs(state["norm.variance"] - expected).max()
                self.assertLess(error, tolerance)
                self.assertLess(3 * error, np.abs(biased - expected).max())

    def test_state_makes_the_same_model(self) -> None:
        for name in BUILDERS:
            with self.subTest(name):
                model, folder = self.model(name), self.folder / name
                trainer = self.begin(model)
                self.assertEqual(self.train(trainer, [0.05])["steps"], 3)
                state = self.state(trainer)
                own = models.initializers(model)
                self.assertEqual(
                    {key: value.shape for key, value in state.items()},
                    {key: value.shape for key, value in own.items()},
                )
                self.assertTrue(all((state[key] != own[key]).any() for key in own))
                self.worker.call("train_finish", trainer=trainer, artefact=folder)
                found = self.loaded_logits(model, folder, path="eager", variant="float-finetuned")
                again = self.logits(model, self.folder / "state")
                np.testing.assert_array_equal(found, again)

    def test_training_learns(self) -> None:
        trainer = self.begin(self.model("residual_batch_norm"))
        first = self.train(trainer, [0.05])
        for _ in range(8):
            last = self.train(trainer, [0.05])
        self.assertLess(last["loss"], 0.7 * first["loss"])
        self.assertGreater(last["accuracy"], first["accuracy"])

    def test_qat_without_a_step_keeps_the_master_weights(self) -> None:
        for name in BUILDERS:
            model = self.model(name)
            own = models.initializers(model)
            for path in ("eager", "fx"):
                with self.subTest(f"{name} {path}"):
                    trainer = self.begin(model, mode="qat", path=path)
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
            for _ in range(3):
                self.train(trainer, [1e6, 1e20, 1e30], batch=32)
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("train", "NonFiniteLoss"))
        self.assertRegex(answer["message"], r"step 3 of 3 .*learning rate 1e\+30.*loss is")
        self.worker.call("train_drop", trainer=trainer)
        with self.assertRaises(Failed) as caught:
            self.worker.call("train_drop", trainer=trainer)
        self.assertEqual(caught.exception.answer["type"], "UnknownHandle")

    def test_wrong_requests_are_typed_errors(self) -> None:
        trainer = self.begin(self.model("residual"))
        data = load_file(self.data)
        data["labels"][3] = models.CLASSES
        save_file(data, self.data)
        with self.assertRaises(Failed) as caught:
            self.train(trainer, [0.1])
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("train", "BadData"))
        models.data(self.data, 70)
        with self.assertRaises(Failed) as caught:
            self.train(trainer, [0.1, 0.1])
        self.assertIn("1 or 3", caught.exception.answer["message"])

        broken = onnx.load(self.model("residual"))
        broken.graph.node[1].op_type = "Softsign"
        path = self.folder / "broken.onnx"
        onnx.save(broken, path)
        with self.assertRaises(Failed) as caught:
            self.logits(path)
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("build", "UnsupportedOperator"))
        self.assertIn("`stem.relu` (Softsign)", answer["message"])


if __name__ == "__main__":
    unittest.main()
